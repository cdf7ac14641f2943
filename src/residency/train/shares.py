"""The loss of each data set of a mixture, beside that of all of them."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from residency.types import Batch


class ByData:
    """Sums of losses and response tokens of an update by data set, of this process.

    A sample of a data set that is not among `names` counts under none of them.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._place = {name: place for place, name in enumerate(names)}
        self.reset()

    def reset(self) -> None:
        """Forget the last update."""
        self.sums = torch.zeros(len(self.names), 2)

    def add(self, batch: Batch, terms: Float[Tensor, " r"]) -> None:
        """Count a microbatch; `terms` are the weighted losses of its response tokens."""
        places = [self._place.get(name, -1) for name in batch.datasets]
        if len(self.names) < 2 or not places:
            return
        of = torch.tensor(places, device=terms.device)[batch.targets.sample.to(terms.device)]
        known = of >= 0
        counted = torch.stack([terms.detach().float(), torch.ones_like(terms)], dim=1)
        sums = torch.zeros(len(self.names), 2, device=terms.device)
        self.sums += sums.index_add_(0, of[known], counted[known]).cpu()

    def told(self, sums: Float[Tensor, "d 2"]) -> dict[str, dict[str, float]]:
        """For the journal, of all processes together: mean loss and tokens of data sets that were seen."""
        return {
            name: {"loss": total / tokens, "tokens": tokens}
            for name, (total, tokens) in zip(self.names, sums.tolist(), strict=True)
            if tokens
        }
