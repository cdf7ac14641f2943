"""AdaMLLM's seed: Vision-FLAN's short answers, ALLaVA's captions and long answers, joined by image (2024).

Source and licence: those of `vision_flan` and `allava_vflan`. On disk, in one folder: Vision-FLAN's
`annotation_191-task_1k.json` (or `vflan_metadata.json`), `ALLaVA-Caption-VFLAN-4V.json`,
`ALLaVA-Instruct-VFLAN-4V.json` and the images. The key of an image is its file name; a question of both
sides is matched by its words, or by being the only one of its image on both sides. One sample per matched
question; `attributes` hold the caption and, as `kind`, the task's name.

tested on: fixture
"""

from collections import Counter, defaultdict
from pathlib import Path, PurePosixPath

from residency.data.published import holds, one_of
from residency.data.rows import Rows
from residency.dataset import Dataset, open_dataset
from residency.errors import DataError
from residency.text import normalise
from residency.types import Sample

PRECISE = ("annotation_191-task_1k.json", "vflan_metadata.json")
CAPTION, INFORMATIVE = "ALLaVA-Caption-VFLAN-4V.json", "ALLaVA-Instruct-VFLAN-4V.json"


def recognises(path: Path) -> bool:
    """A folder with all three files."""
    return holds(path, CAPTION, INFORMATIVE) and one_of(path, *PRECISE) is not None


def load(where: str) -> Dataset:
    """Open the folder of the three files.

    Raises:
        DataError: a file is missing, or nothing can be joined.
    """
    root = Path(where)
    short = one_of(root, *PRECISE)
    if not where or short is None or not recognises(root):
        raise DataError(
            f"seed_vflan needs a folder with {PRECISE[0]}, {CAPTION} and {INFORMATIVE}; "
            f"given: {where!r}."
        )
    precise = open_dataset(f"vision_flan:{short}")
    captions = open_dataset(f"allava_vflan:{root / CAPTION}")
    informative = open_dataset(f"allava_vflan:{root / INFORMATIVE}")
    told = {_image(one): str(one.answer) for one in captions.split("train")}
    long = _by_image(informative)
    rows, lost = [], Counter[str]()
    for image, asked in _by_image(precise).items():
        for question, sample in asked.items():
            answer = long.get(image, {}).get(question)
            if answer is None and len(asked) == len(long.get(image, {})) == 1:
                answer = next(iter(long[image].values()))
            if answer is None or image not in told:
                what = "long answer" if image in told else "caption"
                lost[f"Questions without a {what}"] += 1
                continue
            rows.append(_sample(sample, str(answer.answer), told[image]))
    if not rows:
        raise DataError(f"{root}: no question has a caption and both answers. Check the files.")
    parts = (precise, captions, informative)
    return Dataset(
        name="seed_vflan",
        splits={"train": Rows(len(rows), rows.__getitem__)},
        digest=".".join(one.digest[:16] for one in parts),
        source="; ".join(dict.fromkeys(one.source for one in parts)),
        licence="; ".join(dict.fromkeys(one.licence for one in parts)),
        notes=tuple(f"{what} (left out): {count:,}." for what, count in sorted(lost.items())),
        defects={f"{what} (left out)": count for what, count in lost.items()},
    )


def _image(sample: Sample) -> str:
    return PurePosixPath(sample.images[0].key).name


def _by_image(dataset: Dataset) -> dict[str, dict[str, Sample]]:
    """Every exchange by the name of its image and the words of its question."""
    found: dict[str, dict[str, Sample]] = defaultdict(dict)
    for sample in dataset.split("train"):
        for one in (sample, *sample.also):
            found[_image(sample)].setdefault(normalise(one.question), one)
    return found


def _sample(sample: Sample, informative: str, caption: str) -> Sample:
    return Sample(
        id=f"seed_vflan/{sample.id.removeprefix(sample.dataset + '/')}",
        dataset="seed_vflan",
        task="triplet",
        answer=(sample.question, str(sample.answer), informative),
        images=sample.images,
        attributes={"caption": caption, "kind": sample.attributes.get("task_name", "")},
    )
