"""What an expert is fitted on: the images and targets of several data sets, row by row."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from residency.dataset import Dataset
from residency.errors import DataError, UsageError
from residency.model.expert import Expert
from residency.types import Sample

MEMORY = 8 * 2**30  # bytes of decoded images that a split may keep
DECODERS = 8


class Images:
    """The resized images of a split by row: decoded once if they fit in memory, else each time."""

    def __init__(self, expert: Expert, samples: Sequence[Sample], memory: int) -> None:
        self._expert, self._samples = expert, samples
        side = expert.image_size
        size = len(samples) * 3 * side * side
        self._kept: UInt8[Tensor, "n 3 h w"] | None = None
        if size <= memory:
            self._kept = torch.empty(len(samples), 3, side, side, dtype=torch.uint8)
            for rows in torch.split(torch.arange(len(samples)), 256):
                self._kept[rows] = self._decode(rows)
        self.held = size if self._kept is not None else 0

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, rows: Int[Tensor, " k"]) -> UInt8[Tensor, "k 3 h w"]:
        return self._decode(rows) if self._kept is None else self._kept[rows]

    def _decode(self, rows: Int[Tensor, " k"]) -> UInt8[Tensor, "k 3 h w"]:
        def one(row: int) -> UInt8[Tensor, "1 3 h w"]:
            return self._expert.resized([self._samples[row].images[0].load()])

        with ThreadPoolExecutor(DECODERS) as pool:  # decoding and resizing release the lock
            return torch.cat(list(pool.map(one, rows.tolist())))


class Joined(Sequence[Sample]):
    """Several sequences of samples, one after the other, still built only when indexed."""

    def __init__(self, parts: Sequence[Sequence[Sample]]) -> None:
        self._parts = parts
        self._ends = list(accumulate(len(part) for part in parts))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, row: int) -> Sample:  # type: ignore[override]
        number = bisect_right(self._ends, row)
        return self._parts[number][row - (self._ends[number - 1] if number else 0)]


@dataclass(frozen=True, slots=True)
class Table:
    """A split of several data sets: images, targets over the joint head, and their slices."""

    pixels: Images
    targets: Float[Tensor, "n o"]  # 1 at the outputs that are true
    inside: Bool[Tensor, "n o"]  # True at the outputs of the sample's slice
    multi: Bool[Tensor, " n"]
    dataset: Int[Tensor, " n"]

    def facts(
        self, rows: Int[Tensor, " k"]
    ) -> tuple[Float[Tensor, "k o"], Bool[Tensor, "k o"], Bool[Tensor, " k"]]:
        """Targets, slices and whether several labels may be true, as the loss takes them."""
        return self.targets[rows], self.inside[rows], self.multi[rows]


def tabulate(
    expert: Expert, datasets: Sequence[Dataset], split: str, *, memory: int = MEMORY
) -> Table:
    """Read a split of every data set, in order.

    Images are kept as bytes, 12 kB each at 64 pixels, if all of them fit in `memory` bytes.

    Raises:
        DataError: an image is missing or cannot be decoded.
        UsageError: an empty split, or a label outside the set.
    """
    targets, inside, multi, numbers = [], [], [], []
    for number, dataset in enumerate(datasets):
        part = expert.layout.of(dataset)
        place = {label: part.start + k for k, label in enumerate(part.labels)}
        samples = dataset.split(split)
        if not len(samples):
            raise UsageError(f"The split {split!r} of data set {dataset.name!r} is empty.")
        rows = torch.zeros(len(samples), expert.layout.outputs)
        for row, sample in zip(rows, samples, strict=True):
            row[[place[label] for label in _labels(sample, place)]] = 1
        targets.append(rows)
        inside.append(expert.layout.inside(part).expand(len(samples), -1))
        multi += [part.multi_label] * len(samples)
        numbers += [number] * len(samples)
    return Table(
        Images(expert, Joined([dataset.split(split) for dataset in datasets]), memory),
        torch.cat(targets),
        torch.cat(inside),
        torch.tensor(multi),
        torch.tensor(numbers),
    )


def _labels(sample: Sample, place: Mapping[str, int]) -> list[str]:
    if not sample.images:
        raise DataError(f"Sample {sample.id!r} has no image, which an expert needs. Leave it out.")
    answer = sample.answer if isinstance(sample.answer, tuple) else (sample.answer,)
    labels = [str(label) for label in answer]
    for label in labels:
        if label not in place:
            raise UsageError(
                f"Sample {sample.id!r} has label {label!r}, which is not in its set: "
                f"{', '.join(place)}."
            )
    return labels
