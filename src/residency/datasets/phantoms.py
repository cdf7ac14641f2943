"""Phantoms: painted images of five modalities with exact facts; nothing is read from disk (ours).

`phantoms`, `phantoms:MODALITY` or `phantoms:MODALITY:key=value,key=value`, where a colon may stand
for a comma. Modalities are the modules of `residency.phantoms.modalities`; `ct_volume` gives the
volume whose cut `ct` shows, and `frames` of its slices as images (`frames=24`: all). Its voxels, and
cuboids in them, lie as the slices are shown: x along the width, z from the top of the abdomen down.
A sample depends on (seed, split, index) alone.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from residency.catalog import find, names, suggest
from residency.data.rows import Rows
from residency.data.volumes import Slices, choose
from residency.dataset import Dataset, read_options
from residency.errors import UsageError
from residency.phantoms.asking import ask
from residency.phantoms.case import Case, Modality, localise, say, stream
from residency.phantoms.recent import Recent
from residency.types import Language, Picture, Sample, Volume

DEFAULT = "smear"
VERSION = 1  # raise it with every change of what is drawn or painted
TASKS = (
    "classification", "report", "detection", "detection3d", "landmark", "vqa", "mcq", "caption",
)  # fmt: skip
LANGUAGES = ("en", "zh")
FLAT = ("detection", "landmark")  # tasks of a picture alone
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
    frames: int = 12


def recognises(path: Path) -> bool:
    """Never: phantoms have no files."""
    return False


def load(where: str) -> Dataset:
    """Open a variant, `''` for the default modality.

    Raises:
        UsageError: no such modality or key, or a value that the key cannot take.
    """
    head, _, rest = where.partition(":")
    kinds = modalities()
    kind = head or DEFAULT
    if kind not in kinds:
        raise UsageError(
            f"phantoms has no modality {kind!r}.{suggest(kind, kinds)} "
            f"Available: {', '.join(kinds)}."
        )
    options = parse(rest)
    _check(kind, options)
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


def _check(kind: str, options: Options) -> None:
    """Refuse a task that the modality does not have, and frames of what is no volume."""
    volume = kind.endswith("_volume")
    if volume and options.task in FLAT:
        raise UsageError(
            f"phantoms:{kind} has no task {options.task!r}: its boxes and landmarks belong to one "
            f"slice. Use phantoms:{kind.removesuffix('_volume')} instead, or task=detection3d."
        )
    if not volume and options.task == "detection3d":
        raise UsageError(f"phantoms:{kind} is flat and has no cuboids. Use phantoms:ct_volume.")
    if not volume and options.frames != Options().frames:
        raise UsageError(f"phantoms:{kind} is one picture: frames={options.frames} says nothing.")


def modalities() -> list[str]:
    """The names that may follow `phantoms:`."""
    found = names("phantoms.modalities")
    return sorted([*found, "ct_volume"]) if "ct" in found else found


def parse(text: str) -> Options:
    """The options of a variant.

    Raises:
        UsageError: an unknown or repeated key, or a value that the key cannot take.
    """
    given = read_options(text, [field.name for field in fields(Options)], "phantoms")
    values: dict[str, Any] = {key: _value(key, value) for key, value in given.items()}
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
    low, high = {"shift": (0, 1), "size": (32, 1024), "seed": (0, 2**31), "frames": (1, 24)}.get(
        key, (0, 10**7)
    )
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
    """Identifies the content: the code version and every option that the modality has."""
    own = asdict(options)
    if not kind.endswith("_volume"):
        own.pop("frames")
    content = repr((VERSION, kind, sorted(own.items())))
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
        volume = self.kind.endswith("_volume")
        asked = ask(
            self.modality,
            case,
            self.options.task,
            language,
            size=self.options.size,
            rng=stream(*self.root, "question", index),
            volume=volume,
        )
        patient = f"{self.root[1]}-{self.options.seed}-{self.split}-p{self.patients[index]:05d}"
        return Sample(
            id=f"{self.kind}-{self.split}-{index:06d}",
            dataset=self.dataset,
            task=self.options.task,
            answer=asked.answer,
            images=self._frames(case, index) if volume else (self._picture(case, index),),
            volume=self._volume(case, index) if volume else None,
            question=asked.question,
            options=asked.options,
            modality=say(self.modality, self.modality.NAME, language),
            group=patient,
            attributes=self._attributes(case, language),
            language=language,
        )

    def _attributes(self, case: Case, language: Language) -> Mapping[str, str]:
        """The facts, and of cuboids the map from frames to voxels and millimetres."""
        facts = localise(self.modality, case, language)
        if not self.kind.endswith("_volume"):
            return facts
        for trait in self.modality.OF_A_SLICE:  # type: ignore[attr-defined]
            facts.pop(say(self.modality, trait, language))
        if self.options.task != "detection3d":
            return facts
        step = self.modality.spacing_mm(self.options.size)[0]  # type: ignore[attr-defined]
        return {**facts, **Slices(self._places(), 0.0, -step, as_stored=True).attributes}

    def _places(self) -> tuple[int, ...]:
        """The slices that are shown."""
        return choose(self.modality.DEPTH, count=self.options.frames)  # type: ignore[attr-defined]

    def _frames(self, case: Case, index: int) -> tuple[Picture, ...]:
        size = self.options.size
        return tuple(
            Picture(
                key=f"{self.key(index)}/volume#z={place}",
                load=partial(_cut, self, case, index, place),
                size=(size, size),
            )
            for place in self._places()
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


class Split(Rows):
    """A source as a sequence."""

    def __init__(self, source: Source) -> None:
        super().__init__(source.count, source.sample, f"{source.dataset} {source.split}")
        self.source = source

    def case(self, index: int) -> Case:
        """The facts behind a sample."""
        return self.source.case(index)


def _picture(source: Source, case: Case, index: int) -> Image.Image:
    def paint() -> np.ndarray:
        pixels, options = stream(*source.root, "pixels", index), source.options
        return source.modality.paint(case, options.size, options.shift, pixels)

    return Image.fromarray(_PIXELS.get(source.key(index), paint))


def _cut(source: Source, case: Case, index: int, place: int) -> Image.Image:
    def paint() -> np.ndarray:
        pixels, options = stream(*source.root, "pixels", index), source.options
        made: np.ndarray = source.modality.cut(  # type: ignore[attr-defined]
            case, place, options.size, options.shift, pixels
        )
        return made

    return Image.fromarray(_PIXELS.get((source.key(index), place), paint))


def _voxels(source: Source, case: Case, index: int) -> np.ndarray:
    pixels, options = stream(*source.root, "pixels", index), source.options
    voxels: np.ndarray = source.modality.voxels(  # type: ignore[attr-defined]
        case, options.size, options.shift, pixels
    )
    return voxels
