"""What every training method is: views to read, and the loss terms it makes of them."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from residency.types import Targets, View

Logits = Mapping[View, Float[Tensor, "r v"]]
Terms = dict[str, Float[Tensor, " r"]]


@runtime_checkable
class Objective(Protocol):
    """A training method.

    Called with the logits that predict each response token under each of its views, it returns
    named terms per response token, already weighted. A term of a token depends on its own logits and
    targets alone: it may be called with some of the tokens of a batch. The trainer adds terms up and
    divides by the number of response tokens in the global batch.
    """

    @property
    def views(self) -> tuple[View, ...]:
        """The views it must be given, each `[r, v]` however long its prompt."""
        ...

    def __call__(self, logits: Logits, targets: Targets) -> Terms:
        """Terms by name, `[r]` each."""
        ...


def wide(logits: Float[Tensor, "r v"]) -> Float[Tensor, "r v"]:
    """The logits in float32, or as they are where that is more."""
    return logits if logits.dtype == torch.float64 else logits.float()


def nll(logits: Float[Tensor, "r v"], tokens: Int[Tensor, " r"]) -> Float[Tensor, " r"]:
    """Negative log-likelihood of each response token, in float32 or wider."""
    return F.cross_entropy(wide(logits), tokens, reduction="none")


def kl(
    student: Float[Tensor, "r v"],
    teacher: Float[Tensor, "r v"],
    *,
    detach: bool = True,
    temperature: float = 1.0,
) -> Float[Tensor, " r"]:
    """KL(student || teacher) of each response token over the full vocabulary, in float32 or
    wider.

    With `detach` gradients reach the student only (VITask's RDA; without it, RDA*). `temperature`
    divides both logits; no squared factor is applied.
    """
    teacher = teacher.detach() if detach else teacher
    p = (wide(student) / temperature).log_softmax(-1)
    q = (wide(teacher) / temperature).log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)
