"""Do test samples occur in training: the same pixels, the same look, the same patient, the same question?"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from residency.dataset import Dataset
from residency.evaluate.fingerprints import WORDS, look, pixel_hash
from residency.text import normalise
from residency.types import Sample

NEAR = 10  # of 256 bits: what a resize or a new compression changes at most, as a rule (ours)
FLAT = 16  # fewer bits than this: nearly one colour, which looks like every other such image
SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """How many test samples share something with the training split.

    `exact` show an image that is also a training image, pixel by pixel; `near` one that looks like one
    (perceptual hash, at most 10 of 256 bits apart) and is not exact: look at `examples` before you believe
    it, because aligned radiographs of two people may look alike. `patients` are those of a group that
    trains as well, None where no sample names a group; `questions` repeat a training question about the
    same image, None where nothing is asked.
    """

    dataset: str
    split: str
    n: int
    n_train: int
    exact: int
    near: int
    patients: int | None
    questions: int | None
    examples: tuple[tuple[str, str], ...]  # (test sample, training sample)

    def as_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)

    def __str__(self) -> str:
        patients = "patients unknown" if self.patients is None else f"{self.patients} by patient"
        repeated = "" if self.questions is None else f", {self.questions} questions repeated"
        return (
            f"{self.dataset}: of {self.n} {self.split} samples {self.exact} show a training image, "
            f"{self.near} one that looks like it, {patients}{repeated} ({self.n_train} training samples)"
        )


def overlap(dataset: Dataset, samples: Sequence[Sample], *, split: str) -> Overlap | None:
    """Compare `samples` of a split with the training split; None where there is none, or it is that split.

    Decodes every distinct image of both once.
    """
    if split == "train" or not len(dataset.splits.get("train", ())):
        return None
    train = list(dataset.split("train"))
    theirs, ours = _Images(train), _Images(samples)
    exact = {key for key, pixels in ours.pixels.items() if pixels in theirs.by_pixels}
    near = ours.near(theirs)
    groups = {sample.group for sample in train} - {""}
    asked = {_asked(sample, theirs) for sample in train}
    said = [sample for sample in samples if sample.question]
    matched = {key: theirs.by_pixels[ours.pixels[key]] for key in exact} | near
    hit = [(s, [p.key for p in s.images if p.key in matched]) for s in samples]
    return Overlap(
        dataset=dataset.name,
        split=split,
        n=len(samples),
        n_train=len(train),
        exact=sum(any(key in exact for key in keys) for _, keys in hit),
        near=sum(bool(keys) and not any(key in exact for key in keys) for _, keys in hit),
        patients=sum(s.group in groups for s in samples) if groups else None,
        questions=sum(_asked(s, ours) in asked for s in said) if said else None,
        examples=tuple((s.id, matched[keys[0]]) for s, keys in hit if keys)[:SHOWN],
    )


class _Images:
    """The distinct images of some samples by key: pixel hash, look, and a sample that shows each."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.pixels: dict[str, str] = {}
        self.by_pixels: dict[str, str] = {}
        self.owners: dict[str, str] = {}
        looks = []
        for sample in samples:
            for picture in sample.images:
                if picture.key in self.pixels:
                    continue
                image = picture.load()
                self.pixels[picture.key] = pixel_hash(image)
                self.by_pixels.setdefault(self.pixels[picture.key], sample.id)
                self.owners[picture.key] = sample.id
                looks.append(look(image))
        self.looks = np.array(looks, dtype=np.uint64).reshape(-1, WORDS)

    def near(self, others: "_Images") -> dict[str, str]:
        """Keys of images that look like one of the others and are not the same pixels, with its sample."""
        found: dict[str, str] = {}
        names = list(others.owners.values())
        if not names:
            return found
        for key, own in zip(self.pixels, self.looks, strict=True):
            if self.pixels[key] in others.by_pixels or np.bitwise_count(own).sum() < FLAT:
                continue
            apart = np.bitwise_count(others.looks ^ own).sum(1)
            closest = int(apart.argmin())
            if apart[closest] <= NEAR:
                found[key] = names[closest]
        return found


def _asked(sample: Sample, images: _Images) -> tuple[str, ...]:
    """What was asked about which pixels."""
    return (normalise(sample.question), *(images.pixels[p.key] for p in sample.images))
