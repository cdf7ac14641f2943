"""Slow weights: a part that is read through the moving average of its weights (InstFree, eq. 3).

t are the fast weights, t-bar the slow ones. Every forward and backward pass sees t-bar; an update does

    printed (Algorithm 1, and the authors' code)    t <- t-bar - step(gradient at t-bar)
    moco    (the usual reading of momentum)         t <- t     - step(gradient at t-bar)

and then, in both, t-bar <- alpha t-bar + (1 - alpha) t. The printed form starts every step at t-bar, so
with any optimizer it is plain training of t-bar with steps shortened to (1 - alpha); decoupled weight
decay shrinks likewise. The algorithm puts the average in front of the next step; as t-bar starts at t,
the sequence is the same. Moments of the optimizer belong to t and are never reset.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from residency.train.values import Full, MomentumForm, Train


class SlowWeights:
    """t and t-bar of one part; the parameters hold t-bar except inside an update.

    Both are float32, whatever the precision of the forward pass: at alpha .999 an average in bfloat16
    would stand still.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], momentum: float, form: MomentumForm
    ) -> None:
        self._parameters = dict(parameters)
        self._momentum, self._form = momentum, form
        self._fast = {name: p.detach().clone() for name, p in parameters.items()}
        self._slow = {name: p.detach().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def before(self) -> None:
        """Call between the gradient and the optimizer's step."""
        if self._form == "moco":
            for name, parameter in self._parameters.items():
                parameter.copy_(self._fast[name])

    @torch.no_grad()
    def after(self) -> None:
        """Call after the optimizer's step: t has moved, t-bar follows, the parameters hold t-bar."""
        for name, parameter in self._parameters.items():
            fast, slow = self._fast[name], self._slow[name]
            fast.copy_(parameter)
            slow.lerp_(fast, 1 - self._momentum)
            parameter.copy_(slow)

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Both trajectories, for a checkpoint."""
        return {"fast": self._fast, "slow": self._slow}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take up what `state` returned; the parameters hold t-bar again."""
        for name, parameter in self._parameters.items():
            self._fast[name].copy_(state["fast"][name])
            self._slow[name].copy_(state["slow"][name])
            parameter.copy_(self._slow[name])


def slow_weights(
    parts: Mapping[str, Mapping[str, nn.Parameter]], train: Mapping[str, Train]
) -> dict[str, SlowWeights]:
    """The slow weights of every part whose training asks for a momentum."""
    return {
        part: SlowWeights(parts[part], how.momentum, how.momentum_form)
        for part, how in train.items()
        if isinstance(how, Full) and how.momentum is not None
    }
