"""Loss terms a piece at a time, where all logits at once would fill the memory.

Logits of long responses are the largest tensors of an update: a thousand tokens of a vocabulary of
150,000 take 0.6 GB, and a loss holds several copies. Terms of a token depend on its own logits alone,
so they are made for some tokens at a time; the backward pass makes these logits again.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
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
    """`objective` on the logits that `head` makes of `states`, in pieces of at most `MOST` logits.

    However long a response, no more exist at once (but those of one token). Nothing is cut, and nothing
    computed twice, where they all fit.
    """
    total = len(targets.tokens)
    most = max(1, MOST // max(1, vocabulary * len(states)))

    def piece(start: int, end: int) -> Terms:
        own = targets.each(lambda one: one[start:end])
        return objective({view: head(of[start:end]) for view, of in states.items()}, own)

    if total <= most:
        return piece(0, total)
    made = [
        checkpoint(
            piece, start, min(start + most, total), use_reentrant=False, preserve_rng_state=False
        )
        for start in range(0, total, most)
    ]
    return {name: torch.cat([one[name] for one in made]) for name in made[0]}
