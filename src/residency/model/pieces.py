"""Loss terms a piece at a time, where all logits at once would fill the memory.

Logits of long responses are the largest tensors of an update: a thousand tokens of a vocabulary of
150,000 take 0.6 GB, and a loss holds several copies. Terms of a sample depend on its own logits alone,
so they are made for a few samples at a time; the backward pass makes these logits again.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from residency.objective import Objective, Terms
from residency.types import Targets, View

MOST = 2**27  # logits of a piece over all views: half a gigabyte in float32 (ours)
Head = Callable[[Float[Tensor, "r d"]], Float[Tensor, "r v"]]


def terms(
    head: Head,
    states: Mapping[View, Float[Tensor, "r d"]],
    targets: Targets,
    objective: Objective,
    vocabulary: int,
) -> Terms:
    """`objective` on the logits that `head` makes of `states`, in pieces of whole samples.

    Nothing is cut, and nothing computed twice, where all logits are at most `MOST`.
    """
    ends = cuts(targets.sample, MOST // max(1, vocabulary * len(states)))

    def piece(start: int, end: int) -> Terms:
        own = Targets(
            targets.tokens[start:end],
            targets.sample[start:end],
            targets.weights[start:end],
            targets.diverges[start:end],
        )
        return objective({view: head(of[start:end]) for view, of in states.items()}, own)

    if len(ends) <= 1:
        return piece(0, len(targets.tokens))
    made = [
        checkpoint(piece, start, end, use_reentrant=False, preserve_rng_state=False)
        for start, end in zip([0, *ends], ends, strict=False)
    ]
    return {name: torch.cat([one[name] for one in made]) for name in made[0]}


def cuts(sample: Int[Tensor, " r"], most: int) -> list[int]:
    """Where pieces of at most so many tokens end; a sample that is longer is a piece of its own."""
    if len(sample) <= most:
        return [len(sample)]
    bounds = [*(torch.nonzero(sample.diff())[:, 0] + 1).tolist(), len(sample)]
    ends: list[int] = []
    start = last = 0
    for bound in bounds:
        if bound - start > most and last > start:
            ends.append(last)
            start = last
        last = bound
    return [*ends, last]
