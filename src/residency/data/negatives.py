"""Which sample may stand in for which: negatives for contrastive tuning, and random strangers."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from hashlib import blake2b

import numpy as np
from jaxtyping import Int

from residency.errors import DataError


def uniform(size: int, *key: int) -> int:
    """An integer in `[0, size)` that depends on nothing but `key`.

    A hash instead of a generator: no state, and the same draw under every version of numpy. The
    bias is below `size / 2**64`.
    """
    digest = blake2b(",".join(map(str, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") * size >> 64


class Negatives:
    """Draws, for a sample, another sample of the same group whose response differs.

    For VITask (Bai et al., 2024, section 4.3) a group is a data set and an instruction. The draw is
    uniform over all candidates, so a frequent response is a frequent negative. Samples lie sorted
    by group and response; a draw skips the block of the sample's own response by arithmetic, with
    one hash and without rejection. Three integers per sample are kept, no samples and no texts.
    """

    def __init__(
        self,
        pairs: Iterable[tuple[Hashable, Hashable]],
        *,
        name: Callable[[int], str] = str,
        remedy: str = "no other response shares its instruction. Use contrast=0, or add classes.",
    ) -> None:
        """Index (group, response) `pairs` in sample order; `name`, `remedy` are for errors."""
        self._name, self._remedy = name, remedy
        groups: dict[Hashable, int] = {}
        responses: dict[tuple[int, Hashable], int] = {}
        rows: list[tuple[int, int]] = []
        for group, response in pairs:
            number = groups.setdefault(group, len(groups))
            rows.append((number, responses.setdefault((number, response), len(responses))))
        table = np.asarray(rows, dtype=np.int64).reshape(-1, 2)
        self._order = np.lexsort((table[:, 1], table[:, 0]))
        self._group, self._response = table[:, 0].copy(), table[:, 1].copy()
        self._group_start, self._group_size = self._blocks(self._group, len(groups))
        self._response_start, self._response_size = self._blocks(self._response, len(responses))

    def _blocks(
        self, ids: Int[np.ndarray, " n"], count: int
    ) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
        """Where each of `count` ids begins in the sorted order, and how often it occurs."""
        start = np.zeros(count, dtype=np.int64)
        positions = np.arange(len(ids))
        # Written back to front, the first position of each id is what remains.
        start[ids[self._order][::-1]] = positions[::-1]
        return start, np.bincount(ids, minlength=count)

    def __len__(self) -> int:
        return len(self._order)

    def candidates(self, index: int) -> int:
        """How many samples may be drawn for this one."""
        return int(
            self._group_size[self._group[index]] - self._response_size[self._response[index]]
        )

    @property
    def missing(self) -> Int[np.ndarray, " m"]:
        """The indices of all samples for which nothing can be drawn."""
        choices = self._group_size[self._group] - self._response_size[self._response]
        return np.flatnonzero(choices == 0)

    def check(self) -> None:
        """Refuse before training what would fail during it.

        Raises:
            DataError: some samples have no negative; names the first and counts the others.
        """
        missing = self.missing
        if len(missing):
            raise self._lacking(int(missing[0]), len(missing) - 1)

    def draw(self, index: int, seed: int, epoch: int = 0) -> int:
        """The index of a negative, uniform over the candidates and fixed by (seed, epoch, index).

        Raises:
            DataError: the sample has no negative.
        """
        choices = self.candidates(index)
        if not choices:
            raise self._lacking(index, 0)
        own = self._response[index]
        place = int(self._group_start[self._group[index]]) + uniform(choices, seed, epoch, index)
        if place >= self._response_start[own]:
            place += int(self._response_size[own])
        return int(self._order[place])

    def near(self, index: int, company: Sequence[int], seed: int, epoch: int = 0) -> int:
        """A negative from `company`, whose images are read anyway; `draw` where it has none.

        Uniform over the candidates in `company`, fixed by (company, seed, epoch, index).

        Raises:
            DataError: the sample has no negative anywhere.
        """
        fits = [
            other
            for other in company
            if self._group[other] == self._group[index]
            and self._response[other] != self._response[index]
        ]
        return (
            fits[uniform(len(fits), seed, epoch, index)] if fits else self.draw(index, seed, epoch)
        )

    def spread(self, indices: Sequence[int]) -> list[int]:
        """Places in `indices`, groups together and the responses of a group evenly mixed.

        Cut into runs, nearly all find negatives among their neighbours: a run lacks one only where
        a response is rarer than runs are, or a group ends.
        """
        given = np.asarray(indices, dtype=np.int64)
        response = self._response[given]
        alike = np.argsort(response, kind="stable")
        ordered = response[alike]
        first, last = (np.searchsorted(ordered, ordered, side) for side in ("left", "right"))
        share = np.empty(len(given))
        share[alike] = (np.arange(len(given)) - first + 0.5) / (last - first)
        return [int(k) for k in np.lexsort((response, share, self._group[given]))]

    def _lacking(self, index: int, others: int) -> DataError:
        more = f" (nor have {others} more)" if others else ""
        return DataError(f"Sample {self._name(index)!r} has no negative{more}: {self._remedy}")
