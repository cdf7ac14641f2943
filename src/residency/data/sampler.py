"""The order in which samples are seen: a function of seed and epoch, so that a run resumes anywhere."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from residency.data.negatives import uniform
from residency.errors import UsageError


def order(n: int, *, seed: int, epoch: int) -> Int[np.ndarray, " n"]:
    """The permutation of `n` samples for an epoch.

    It sorts raw Philox output, whose stream numpy guarantees, so the order survives an upgrade.
    """
    key = np.array([seed % 2**64, epoch % 2**64], dtype=np.uint64)
    return np.argsort(np.random.Philox(key=key).random_raw(n), kind="stable")


def endless(n: int, start: int, count: int, *, seed: int) -> Int[np.ndarray, " count"]:
    """`count` places from `start` on in the endless row of permutations of `n` samples."""
    places = np.arange(start, start + count)
    rounds = places // n
    found = np.empty(count, dtype=np.int64)
    for number in range(int(rounds[0]), int(rounds[-1]) + 1) if count else ():
        inside = rounds == number
        found[inside] = order(n, seed=seed, epoch=number)[places[inside] % n]
    return found


def balanced(
    classes: Sequence[Sequence[int]], start: int, count: int, *, seed: int
) -> Int[np.ndarray, " count"]:
    """As `endless`, each class in turn: every round of as many draws as classes has all of them."""
    turns = endless(len(classes), start, count, seed=seed)
    rounds = np.arange(start, start + count) // len(classes)
    found = np.empty(count, dtype=np.int64)
    for number, members in enumerate(classes):
        mine = turns == number
        if mine.any():
            first, last = int(rounds[mine][0]), int(rounds[mine][-1])
            own = endless(len(members), first, last - first + 1, seed=seed + number + 1)
            found[mine] = np.asarray(members)[own[rounds[mine] - first]]
    return found


def drawn(weights: Float[np.ndarray, " n"], *, seed: int, epoch: int) -> Int[np.ndarray, " n"]:
    """As many draws with replacement as there are weights, in proportion to them, for an epoch."""
    key = np.array([seed % 2**64, epoch % 2**64], dtype=np.uint64)
    points = np.random.Philox(key=key).random_raw(len(weights)) / 2.0**64
    ends = np.cumsum(weights)
    places = np.searchsorted(ends, points * ends[-1], side="right")
    return np.minimum(places, len(weights) - 1).astype(np.int64)  # rounding at the last end


class Sampler:
    """Batches of indices, epoch after epoch, that can be stopped and taken up again.

    Iterating yields what remains of the current epoch, its last partial batch included, and leaves
    the sampler at the start of the next one. With `length`, every `pool` batches in a row are made
    of the same samples, sorted by it: rows of like length meet, and batches come in random order.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        seed: int,
        draw: Callable[[int], np.ndarray] | None = None,
        *,
        pool: int = 1,
        length: Callable[[int], float] | None = None,
    ) -> None:
        """`draw` gives the `n` samples of an epoch in their order; by default `order` does.

        Raise UsageError where `n` or `batch_size` is below one.
        """
        if n < 1 or batch_size < 1:
            raise UsageError(f"Cannot batch {n} samples by {batch_size}: both must be positive.")
        self.n, self.batch_size, self.seed, self._draw = n, batch_size, seed, draw
        self.pool, self._length = pool, length
        self.epoch = self.position = 0

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-self.n // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        return (indices for indices, _ in self.with_state())

    def with_state(self) -> Iterator[tuple[list[int], dict[str, int]]]:
        """Batches, each with the state after it: what to save once *this* batch is trained on.

        A background reader runs ahead of training, so `state()` itself would skip batches.
        """
        if self._draw is None:
            permutation = order(self.n, seed=self.seed, epoch=self.epoch)
        else:
            permutation = self._draw(self.epoch)
        span = self.pool * self.batch_size
        pooled, begun = [np.zeros(0, dtype=np.int64)], -1
        while True:
            start = self.position // span * span
            if start != begun:
                pooled, begun = self._pooled(permutation[start : start + span], start), start
            indices = pooled[(self.position - start) // self.batch_size].tolist()
            self.position += len(indices)
            ended = self.position >= self.n
            if ended:
                self.epoch, self.position = self.epoch + 1, 0
            yield indices, self.state()
            if ended:
                return

    def _pooled(self, members: Int[np.ndarray, " n"], start: int) -> list[np.ndarray]:
        """The batches of the pool that starts there; a partial one stays last."""
        if self._length is not None and self.pool > 1:
            lengths = [self._length(int(i)) for i in members]
            members = members[np.argsort(lengths, kind="stable")]
        batches = np.split(members, range(self.batch_size, len(members), self.batch_size))
        whole = len(members) // self.batch_size if self.pool > 1 else 0
        key = uniform(2**63, self.seed, self.epoch, start)
        return [batches[k] for k in order(whole, seed=key, epoch=0)] + batches[whole:]

    def state(self) -> dict[str, int]:
        """Where the sampler stands, with what must be equal to go on from there."""
        return {
            "n": self.n,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "pool": self.pool,
            "epoch": self.epoch,
            "position": self.position,
        }

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on from `state`.

        Raises:
            UsageError: the state belongs to other data, another batch size or another seed.
        """
        own = self.state()
        fixed = ("n", "batch_size", "seed", "pool")
        differing = [
            f"{key} {state.get(key)} -> {own[key]}" for key in fixed if state.get(key) != own[key]
        ]
        if differing:
            raise UsageError(f"The saved sampler differs: {', '.join(differing)}. Start a new run.")
        self.epoch, self.position = state["epoch"], state["position"]
