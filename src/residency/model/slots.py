"""Slots, runs of placeholder tokens with computed embeddings: exemplar and proxy instruction."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class ExemplarConnector(nn.Module):
    """LayerNorm -> Linear -> GELU -> Linear from expert width to model width.

    VITask names a learnable connector without its shape; this one mirrors InternVL's projector:
    ours.
    """

    def __init__(self, expert_width: int, model_width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(expert_width)
        self.rise = nn.Linear(expert_width, model_width)
        self.out = nn.Linear(model_width, model_width)

    def forward(self, exemplars: Float[Tensor, "n k e"]) -> Float[Tensor, "n k d"]:
        """Embeddings of k features of n images."""
        return self.out(nn.functional.gelu(self.rise(self.norm(exemplars))))


class ProxyInstruction(nn.Module):
    """Learned vectors that stand in for the instruction text (InstFree, sec. 3.3.1)."""

    def __init__(self, width: int, model_width: int, *, std: float = 0.02) -> None:
        super().__init__()
        self.vectors = nn.Parameter(std * torch.randn(width, model_width))

    def forward(self) -> Float[Tensor, "k d"]:
        """The vectors as they are."""
        return self.vectors


def fill(
    embeddings: Float[Tensor, "b t d"],
    tokens: Int[Tensor, "b t"],
    placeholder: int,
    values: Float[Tensor, "n d"],
) -> Float[Tensor, "b t d"]:
    """Put `values`, in reading order, where `tokens` holds the placeholder.

    Raises:
        RuntimeError: the counts differ, a defect of the caller.
    """
    here = tokens == placeholder
    if int(here.sum()) != len(values):
        raise RuntimeError(f"{int(here.sum())} placeholders for {len(values)} embeddings.")
    return embeddings.masked_scatter(here[..., None], values.to(embeddings.dtype))
