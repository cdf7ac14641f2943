"""How known data sets become a benchmark: their attributes, and the published protocol's settings.

Option lists, names and repetitions are those of the authors' `eval_utils.py` and
`preprocess_att_dataset.py` (github.com/myeongkyunkang/InstFree, MIT).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from residency.data.benchmark import Attribute, Case, Plan, Protocol, infer
from residency.data.caption_facts import caption_facts
from residency.data.framing import Frame
from residency.dataset import Dataset
from residency.errors import UsageError
from residency.types import Language, Sample

LABEL: Mapping[Language, str] = {"en": "class", "zh": "类别"}
CONCEPTS = "dermatologic feature"
WBCATT: Mapping[str, tuple[str, ...]] = {
    "cell_size": ("big", "small"),
    "cell_shape": ("irregular", "round"),
    "nucleus_shape": (
        "irregular", "segmented-bilobed", "segmented-multilobed", "unsegmented-band",
        "unsegmented-indented", "unsegmented-round",
    ),
    "nuclear_cytoplasmic_ratio": ("high", "low"),
    "chromatin_density": ("densely", "loosely"),
    "cytoplasm_vacuole": ("yes", "no"),
    "cytoplasm_texture": ("clear", "frosted"),
    "cytoplasm_colour": ("blue", "light blue", "purple blue"),
    "granularity": ("yes", "no"),
    "granule_type": ("coarse", "round", "small"),
    "granule_colour": ("pink", "purple", "red"),
    "label": ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil"),
}  # fmt: skip
CBIS: Mapping[str, tuple[str, ...]] = {
    "mass shape": (
        "architectural distortion", "asymmetric breast tissue", "focal asymmetric density",
        "irregular", "lobulated", "lymph node", "oval", "round",
    ),
    "mass margins": ("circumscribed", "ill defined", "microlobulated", "obscured", "spiculated"),
    "calc type": (
        "amorphous", "coarse", "eggshell", "fine linear branching", "lucent center",
        "pleomorphic", "punctate", "round and regular", "vascular",
    ),
    "calc distribution": (
        "clustered", "diffusely scattered", "linear", "regional", "segmental",
    ),
    "abnormality type": ("calcification", "mass"),
    "pathology": ("benign", "malignant"),
}  # fmt: skip
CBIS_BARE = ("abnormality type", "pathology")
# SKINCON's image number 1: the authors' script takes the nameless index column, where it holds a 1, for
# a concept. The list of options and every draw after it depend on that.
MISREAD = {"bb3d08781eb23890a9909201deed8c85": "unnamed: 0, "}


def cases_of(dataset: Dataset) -> dict[str, list[Case]]:
    """The images of a data set with their attributes, a class label being one of them.

    Captions and reports stay what they are and are searched for facts where there are no attributes.
    """
    return {
        split: [_case(dataset, sample, f"{split}/") for sample in samples]
        for split, samples in dataset.splits.items()
    }


def _case(dataset: Dataset, sample: Sample, split: str) -> Case:
    facts, text = dict(sample.attributes), ""
    if sample.task in ("caption", "report") and not facts and isinstance(sample.answer, str):
        text, facts = sample.answer, caption_facts(sample.answer)
    if sample.task == "classification" and isinstance(sample.answer, str):
        facts[LABEL[sample.language]] = sample.answer
    key = sample.id.removeprefix(f"{dataset.name}/").removeprefix(split)
    return Case(
        key=key, pictures=sample.images, facts=facts, group=sample.group, text=text,
        language=sample.language,
    )  # fmt: skip


def plan_of(
    name: str,
    cases: Mapping[str, Sequence[Case]],
    *,
    protocol: Protocol,
    modality: str,
    choices: int = 5,
    every: bool = False,
    seed: int = 0,
    bare: Sequence[str] = (),
) -> tuple[Plan, tuple[str, ...]]:
    """The plan of a data set by the name of its reader, and the facts that are no attributes.

    Raises:
        UsageError: the published protocol for a set that has none.
    """
    if protocol == "published":
        if name not in PUBLISHED:
            raise UsageError(
                f"{name} has no published protocol; {', '.join(PUBLISHED)} have. Use protocol=ours."
            )
        return replace(PUBLISHED[name](cases), modality=modality), ()
    told = bare or (*LABEL.values(), "label", "concepts", *CBIS_BARE)
    names = {"label": "cell type", "concepts": CONCEPTS} if name in PUBLISHED else {}
    attributes, odd = infer(cases.get("train", ()), bare=told, names=names)
    if name == "skincon":
        attributes, odd = _skincon(cases).attributes, ()
    # A caption states few facts, so each is asked.
    every = every or (name != "table" and any(case.text for case in cases.get("train", ())))
    plan = Plan(attributes=attributes, choices=choices, every=every, seed=seed, modality=modality)
    return plan, odd


def as_read_by_the_authors(name: str, cases: Mapping[str, Sequence[Case]]) -> dict[str, list[Case]]:
    """The cases of a data set as the published script reads its table, its mistakes included."""
    return {
        split: [
            replace(case, facts={"concepts": MISREAD[case.key] + case.facts["concepts"]})
            if name == "skincon" and case.key in MISREAD
            else case
            for case in some
        ]
        for split, some in cases.items()
    }


def _wbcatt(cases: Mapping[str, Sequence[Case]]) -> Plan:
    attributes = tuple(
        Attribute(key=key, name=key.replace("_", " "), options=options, bare=key == "label")
        for key, options in WBCATT.items()
    )
    return Plan(attributes=attributes, protocol="published", task="choice", frame=Frame("stretch"))


def _cbis(cases: Mapping[str, Sequence[Case]]) -> Plan:
    attributes = tuple(
        Attribute(
            key=key, name=key, options=options, bare=key in CBIS_BARE,
            sampled=key not in CBIS_BARE, asked_as=key.replace("margins", "margin"),
        )
        for key, options in CBIS.items()
    )  # fmt: skip
    return Plan(
        attributes=attributes, protocol="published", task="choice", repeat=3, every=True,
        frame=Frame("letterbox"),
    )  # fmt: skip


def _skincon(cases: Mapping[str, Sequence[Case]]) -> Plan:
    lists = sorted({case.facts["concepts"] for some in cases.values() for case in some})
    attribute = Attribute(
        key="concepts", name=CONCEPTS, options=tuple(lists), bare=True, sampled=True
    )
    return Plan(
        attributes=(attribute,), protocol="published", task="choice", repeat=3, every=True,
        frame=Frame("letterbox"),
    )  # fmt: skip


PUBLISHED = {"wbcatt": _wbcatt, "cbis_ddsm": _cbis, "skincon": _skincon}
