"""Samples by answer: a subset that keeps the proportions, and the stratum that a sample belongs to."""

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Int

from residency.types import Sample


def stratified(samples: Sequence[Sample], limit: int, seed: int) -> Int[np.ndarray, " n"]:
    """`limit` sorted indices in which every answer keeps its proportion (largest remainder).

    Where `limit` allows, no answer disappears. Answers that are boxes or points count by their
    names.
    """
    strata: dict[Hashable, list[int]] = {}
    for index in range(len(samples)):
        strata.setdefault(stratum(samples[index]), []).append(index)
    sizes = np.array([len(members) for members in strata.values()])
    generator = np.random.default_rng(seed)
    share = limit * sizes / sizes.sum()
    take = np.maximum(np.floor(share), limit >= len(sizes)).astype(np.int64)
    ties = generator.random(len(sizes))
    while take.sum() > limit:  # the guaranteed ones are taken from the strata furthest ahead
        take[np.argmax(np.where(take > 1, take - share, -np.inf))] -= 1
    rest = np.lexsort((ties, take - share))[: limit - int(take.sum())]
    take[rest] += 1
    chosen = [
        generator.choice(members, size=count, replace=False)
        for members, count in zip(strata.values(), take, strict=True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def stratum(sample: Sample) -> Hashable:
    """Task and answer; of boxes and points, their names."""
    if isinstance(sample.answer, str):
        return sample.task, sample.answer
    return sample.task, *(a if isinstance(a, str) else a.name for a in sample.answer)
