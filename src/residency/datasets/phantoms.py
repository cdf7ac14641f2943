"""Phantoms: painted images of five modalities with exact facts; nothing is read from disk (ours).

`phantoms`, `phantoms:MODALITY` or `phantoms:MODALITY:key=value,key=value`, where a colon may stand
for a comma. Modalities are the modules of `residency.phantoms.modalities`; `ct_volume` gives the
volume whose cut `ct` shows. A sample depends on (seed, split, index) alone.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image

from residency.catalog import find, names, suggest
from residency.dataset import Dataset
from residency.errors import UsageError
from residency.phantoms.case import Case, Modality, fill, localise, report, say, stream
from residency.phantoms.recent import Recent
from residency.types import Answer, Box, Language, Picture, Point, Sample, Volume

DEFAULT = "smear"
VERSION = 1  # raise it with every change of what is drawn or painted
TASKS = ("classification", "report", "detection", "landmark", "vqa", "caption")
LANGUAGES = ("en", "zh")
QUESTIONS = {
    "en": ("What is the {trait}?", "Is the {trait} {value}?", ("yes", "no")),
    "zh": ("{trait}是什么?", "{trait}是{value}吗?", ("是", "否")),
}
CASE_BYTES = 20_000  # what a case weighs at most, in any modality
# Drawing and painting cost about 10 ms a sample, and every step of a run asks for the same ones.
_CASES: Recent[Case] = Recent(budget=80_000_000, weigh=lambda case: CASE_BYTES)
_PIXELS: Recent[np.ndarray] = Recent(budget=128_000_000, weigh=lambda pixels: pixels.nbytes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What a variant may set; the field names are the keys."""

    train: int = 1600
    val: int = 200
    test: int = 400
    seed: int = 0
    shift: float = 0.0
    size: int = 96
    task: str = "classification"
    language: str = "en"


def recognises(path: Path) -> bool:
    """Never: phantoms have no files."""
    return False


def load(where: str) -> Dataset:
    """Open a variant, `''` for the default modality.

    Raises:
        UsageError: no such modality or key, or a value that the key cannot take.
    """
    head, *rest = where.split(":")
    kinds = modalities()
    kind = head or DEFAULT
    if kind not in kinds:
        raise UsageError(
            f"phantoms has no modality {kind!r}.{suggest(kind, kinds)} "
            f"Available: {', '.join(kinds)}."
        )
    options = parse(",".join(rest))
    if kind.endswith("_volume") and options.task in ("detection", "landmark"):
        raise UsageError(
            f"phantoms:{kind} has no task {options.task!r}: its boxes and landmarks belong to one "
            f"slice. Use phantoms:{kind.removesuffix('_volume')} instead."
        )
    modality: Modality = find("phantoms.modalities", kind.removesuffix("_volume"))
    name = spell(kind, options)
    return Dataset(
        name=name,
        splits={
            split: Split(
                Source(kind=kind, modality=modality, split=split, options=options, dataset=name)
            )
            for split in ("train", "val", "test")
        },
        labels=tuple(say(modality, label, _language(options)) for label in modality.LABELS)
        if options.task == "classification"
        else (),
        modality={"en": modality.NAME, "zh": modality.WORDS[modality.NAME]},
        digest=digest(kind, options),
        source="painted by residency.phantoms",
        licence="Apache-2.0",
        notes=(f"Painted images, version {VERSION}; not patient data.",),
        synthetic=True,
    )


def modalities() -> list[str]:
    """The names that may follow `phantoms:`."""
    found = names("phantoms.modalities")
    return sorted([*found, "ct_volume"]) if "ct" in found else found


def parse(text: str) -> Options:
    """The options of a variant.

    Raises:
        UsageError: an unknown or repeated key, or a value that the key cannot take.
    """
    known = {field.name: field.type for field in fields(Options)}
    values: dict[str, Any] = {}
    for pair in filter(None, text.split(",")):
        key, equals, value = pair.partition("=")
        if not equals or key not in known:
            raise UsageError(
                f"phantoms does not know {pair!r}.{suggest(key, list(known))} "
                f"Options are written key=value; keys: {', '.join(known)}."
            )
        if key in values:
            raise UsageError(f"phantoms option {key!r} is given twice; give it once.")
        values[key] = _value(key, value)
    return Options(**values)


def _value(key: str, text: str) -> str | int | float:
    closed = {"task": TASKS, "language": LANGUAGES}
    if key in closed:
        if text not in closed[key]:
            raise UsageError(
                f"phantoms option {key}={text!r}.{suggest(text, list(closed[key]))} "
                f"Available: {', '.join(closed[key])}."
            )
        return text
    low, high = {"shift": (0, 1), "size": (32, 1024), "seed": (0, 2**31)}.get(key, (0, 10**7))
    kind = float if key == "shift" else int
    try:
        number = kind(text)
    except ValueError:
        number = kind(-1)
    if not low <= number <= high:
        what = "a number" if key == "shift" else "a whole number"
        raise UsageError(f"phantoms option {key}={text!r}: give {what} from {low} to {high}.")
    return number


def spell(kind: str, options: Options) -> str:
    """The shortest spec that opens the same data set, without commas."""
    default = asdict(Options())
    changed = [f"{k}={v}" for k, v in asdict(options).items() if v != default[k]]
    return ":".join(["phantoms", kind, *changed])


def digest(kind: str, options: Options) -> str:
    """Identifies the content: the code version and every option."""
    content = repr((VERSION, kind, sorted(asdict(options).items())))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _language(options: Options) -> Language:
    return "zh" if options.language == "zh" else "en"


class Source:
    """Draws the samples of one split by number."""

    def __init__(
        self, *, kind: str, modality: Modality, split: str, options: Options, dataset: str
    ) -> None:
        self.kind, self.modality, self.split = kind, modality, split
        self.options, self.dataset = options, dataset
        self.count: int = getattr(options, split)
        self.root = (VERSION, kind.removesuffix("_volume"), options.seed, split)
        sizes = stream(*self.root, "patients").integers(1, 5, self.count)
        self.patients = np.repeat(np.arange(self.count), sizes)[: self.count]

    def case(self, index: int) -> Case:
        """The facts of a sample; classes come in shuffled rounds, so they are balanced."""
        key = (*self.root, self.patients[index], index)
        return _CASES.get(key, lambda: self._draw(index))

    def _draw(self, index: int) -> Case:
        labels = self.modality.LABELS
        turn, place = divmod(index, len(labels))
        label = labels[stream(*self.root, "round", turn).permutation(len(labels))[place]]
        patient = stream(*self.root, "patient", self.patients[index])
        return self.modality.draw(label, stream(*self.root, "case", index), patient)

    def sample(self, index: int) -> Sample:
        """The sample; its pixels are painted when they are loaded."""
        case, language = self.case(index), _language(self.options)
        question, options, answer = _ask(self, case, index)
        patient = f"{self.root[1]}-{self.options.seed}-{self.split}-p{self.patients[index]:05d}"
        volume = self.kind.endswith("_volume")
        return Sample(
            id=f"{self.kind}-{self.split}-{index:06d}",
            dataset=self.dataset,
            task=self.options.task,
            answer=answer,
            images=() if volume else (self._picture(case, index),),
            volume=self._volume(case, index) if volume else None,
            question=question,
            options=options,
            modality=say(self.modality, self.modality.NAME, language),
            group=patient,
            attributes=localise(self.modality, case, language),
            language=language,
        )

    def key(self, index: int) -> str:
        """What identifies the pixels of a sample."""
        place = "/".join(map(str, ("phantoms", *self.root, index)))
        return f"{place}/size={self.options.size}/shift={self.options.shift}"

    def _picture(self, case: Case, index: int) -> Picture:
        size = self.options.size
        load = partial(_picture, self, case, index)
        return Picture(key=self.key(index), load=load, size=(size, size))

    def _volume(self, case: Case, index: int) -> Volume:
        spacing = self.modality.spacing_mm(self.options.size)  # type: ignore[attr-defined]
        load = partial(_voxels, self, case, index)
        return Volume(key=f"{self.key(index)}/volume", load=load, spacing_mm=spacing)


class Split(Sequence[Sample]):
    """A source as a sequence."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __len__(self) -> int:
        return self.source.count

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        count = len(self)
        if isinstance(index, slice):
            return [self.source.sample(i) for i in range(*index.indices(count))]
        if not -count <= index < count:
            raise IndexError(
                f"{self.source.dataset} {self.source.split} has {count} samples, not {index}."
            )
        return self.source.sample(index % count)

    def case(self, index: int) -> Case:
        """The facts behind a sample."""
        return self.source.case(index)


def _picture(source: Source, case: Case, index: int) -> Image.Image:
    def paint() -> np.ndarray:
        pixels, options = stream(*source.root, "pixels", index), source.options
        return source.modality.paint(case, options.size, options.shift, pixels)

    return Image.fromarray(_PIXELS.get(source.key(index), paint))


def _voxels(source: Source, case: Case, index: int) -> np.ndarray:
    pixels, options = stream(*source.root, "pixels", index), source.options
    voxels: np.ndarray = source.modality.voxels(  # type: ignore[attr-defined]
        case, options.size, options.shift, pixels
    )
    return voxels


def _ask(source: Source, case: Case, index: int) -> tuple[str, tuple[str, ...], Answer]:
    """The question (empty where the task asks by itself), the closed options and the answer."""
    modality, language, size = source.modality, _language(source.options), source.options.size
    task = source.options.task
    if task == "classification":
        labels = tuple(say(modality, label, language) for label in modality.LABELS)
        return "", labels, say(modality, case.label, language)
    if task == "report":
        return "", (), report(modality, case, language)
    if task == "caption":
        return "", (), fill(modality, case, case.caption, language)
    if task == "vqa":
        return _question(modality, case, language, stream(*source.root, "question", index))
    if task == "detection":
        return "", (), boxes(modality, case, size, language)
    found = landmarks(modality, case, size, language)
    return "", tuple(point.name for point in found), found


def boxes(modality: Modality, case: Case, size: int, language: Language) -> tuple[Box, ...]:
    """The boxes of a case in pixels of a `size` x `size` image."""
    return tuple(
        Box(
            name=say(modality, name, language),
            x1=round(x1 * size, 2), y1=round(y1 * size, 2),
            x2=round(x2 * size, 2), y2=round(y2 * size, 2),
        )
        for name, (x1, y1, x2, y2) in case.boxes
    )  # fmt: skip


def landmarks(modality: Modality, case: Case, size: int, language: Language) -> tuple[Point, ...]:
    """The landmarks of a case in pixels of a `size` x `size` image."""
    return tuple(
        Point(name=say(modality, name, language), x=round(x * size, 2), y=round(y * size, 2))
        for name, (x, y) in case.points
    )


def _question(
    modality: Modality, case: Case, language: Language, rng: np.random.Generator
) -> tuple[str, tuple[str, ...], str]:
    """One question about a trait: half open, half yes/no with as many yes as no."""
    traits: Mapping[str, tuple[str, ...]] = modality.TRAITS
    trait = list(traits)[int(rng.integers(len(traits)))]
    truth = case.facts[trait]
    what, whether, verdicts = QUESTIONS[language]
    names_trait = say(modality, trait, language)
    if rng.random() < 0.5:
        return what.format(trait=names_trait), (), say(modality, truth, language)
    others = [value for value in traits[trait] if value != truth]
    holds = bool(rng.random() < 0.5)
    value = truth if holds else others[int(rng.integers(len(others)))]
    asked = whether.format(trait=names_trait, value=say(modality, value, language))
    return asked, verdicts, verdicts[0] if holds else verdicts[1]
