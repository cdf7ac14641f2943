"""How much of each data set an epoch shows: a value, written as text on the command line.

`all` shows every sample once. `weights:3:1` and `temperature:2` keep the length of the epoch and share
it out; `counts:500:200` fixes the draws of each data set. `+classes` behind any of them draws every
answer of a data set equally often. Draws go on where the last epoch ended, so that over time no sample
of a data set (or of a class) is seen more than once more than another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from residency.errors import UsageError

Kind = Literal["all", "weights", "counts", "temperature"]
FORMS = "all, weights:W:W..., counts:N:N..., temperature:T, each with +classes behind it or not"


@dataclass(frozen=True, slots=True)
class Mix:
    """`numbers` are those behind `kind`; `classes` draws the answers of a data set equally often."""

    kind: Kind = "all"
    numbers: tuple[float, ...] = ()
    classes: bool = False

    @classmethod
    def of(cls, text: str) -> "Mix":
        """Read `weights:3:1+classes` and the like.

        Raises:
            UsageError: another form, or numbers that are none, not positive, or not whole counts.
        """
        base, plus, suffix = text.partition("+")
        kind, *given = base.split(":")
        try:
            numbers = tuple(float(number) for number in given)
        except ValueError:
            numbers = (float("nan"),)
        known = kind in ("weights", "counts", "temperature", "all") and (
            not plus or suffix == "classes"
        )
        amount = {"all": len(numbers) == 0, "temperature": len(numbers) == 1}.get(
            kind, bool(numbers)
        )
        positive = all(0 < number < float("inf") for number in numbers)
        whole = kind != "counts" or all(number == int(number) for number in numbers if positive)
        if not (known and amount and positive and whole):
            raise UsageError(f"mix={text!r}: expected {FORMS}.")
        return cls(kind, numbers, bool(plus))  # type: ignore[arg-type]

    @property
    def plain(self) -> bool:
        """Whether an epoch is every sample once."""
        return self == Mix()

    def draws(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """How often an epoch draws from data sets of these sizes.

        With p_i the weights, or n_i^(1/T) for a temperature T (1: as they are, large: all alike), and
        N all samples, data set i gets N p_i / sum(p), rounded so that the sum stays N, at least 1.

        Raises:
            UsageError: not one number for each data set.
        """
        if self.kind == "all":
            return tuple(sizes)
        if self.kind != "temperature" and len(self.numbers) != len(sizes):
            raise UsageError(
                f"mix={self.kind} has {len(self.numbers)} numbers for {len(sizes)} data sets. Give one "
                "for each, in their order."
            )
        if self.kind == "counts":
            return tuple(int(number) for number in self.numbers)
        share = np.array(self.numbers)
        if self.kind == "temperature":
            share = np.array(sizes, dtype=np.float64) ** (1 / self.numbers[0])
        exact = sum(sizes) * share / share.sum()
        found = np.floor(exact).astype(np.int64)
        rest = np.argsort(found - exact, kind="stable")[: sum(sizes) - int(found.sum())]
        found[rest] += 1
        return tuple(max(1, int(count)) for count in found)
