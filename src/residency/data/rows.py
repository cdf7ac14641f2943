"""Samples that are built when they are indexed, so that opening a large data set costs nothing."""

from collections.abc import Callable, Sequence
from typing import overload

from residency.types import Sample


class Rows(Sequence[Sample]):
    """`count` samples; `build(row)` makes the one at `row` each time it is asked for.

    `name` says of what, where a row that is not there is asked for.
    """

    def __init__(self, count: int, build: Callable[[int], Sample], name: str = "") -> None:
        self._count = count
        self._build = build
        self._name = name

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self._build(row) for row in range(*index.indices(self._count))]
        row = index + self._count if index < 0 else index
        if not 0 <= row < self._count:
            of = f" of {self._name}" if self._name else ""
            raise IndexError(f"Row {index} of {self._count} samples{of}.")
        return self._build(row)
