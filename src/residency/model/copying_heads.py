"""Heads of a language model that copy: where a block looks, and how such heads are begun by hand (ours)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.models.qwen2_vl.modeling_qwen2_vl import apply_rotary_pos_emb

from residency.errors import UsageError
from residency.model.huggingface import Backbone

DRIFTED = 0.8  # share of an embedding's length along the common direction
CALM = 0.01  # times what blocks write: in nano the first one alone writes twenty times an embedding
ECHO = 0.5  # of what is read is written
SHARP = 7.0  # of the biases: enough for nine tenths of the weight at the token before


class Gaze:
    """Where a block of the language model looks: one head of each group that shares keys and values."""

    def __init__(self, backbone: Backbone, block: int) -> None:
        """Watch block number `block`, counted from 1.

        Raises:
            UsageError: there is no such block, or its attention is not that of Qwen2-VL.
        """
        language_model: Any = backbone.family.language_model(backbone.model)
        blocks: Sequence[nn.Module] = getattr(language_model, "layers", ())
        if not 0 < block <= len(blocks):
            raise UsageError(f"block={block}: the language model has blocks 1 to {len(blocks)}.")
        self._rates: Any = getattr(getattr(language_model, "rotary_emb", None), "inv_freq", None)
        self._norm: Any = getattr(blocks[block - 1], "input_layernorm", None)
        attention: Any = getattr(blocks[block - 1], "self_attn", None)
        if type(attention).__name__ != "Qwen2VLAttention":
            raise UsageError(
                f"{backbone.name}: only the language model of Qwen2-VL can be shown where to look. "
                "Larger models can copy already: use copying=0."
            )
        self._seen: Any = None
        self._attention: Any = attention
        self._handle = attention.register_forward_pre_hook(self._keep, with_kwargs=True)

    def _keep(self, module: nn.Module, given: Any, named: Mapping[str, Any]) -> None:
        self._seen = named.get("hidden_states", given[0] if given else None), named

    def log_weights(self) -> Float[Tensor, "b h t t"]:
        """Logarithms of the attention weights of the last pass, without a mask but the causal one."""
        (hidden, named), attention = self._seen, self._attention
        self._seen = None
        query, key = (
            made(hidden).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
            for made in (attention.q_proj, attention.k_proj)
        )
        query = query[:, :: attention.num_key_value_groups]
        query, key = apply_rotary_pos_emb(query, key, *named["position_embeddings"])
        scores = query @ key.transpose(-1, -2) * attention.scaling
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        return scores.masked_fill(later, -torch.inf).log_softmax(-1)

    @torch.no_grad()
    def recall(self) -> None:
        """Let the watched heads look at the token before, whatever it is.

        By their biases, which turn with the place as queries and keys do (rotary embedding).
        """
        attention, rates = self._attention, self._rates
        ahead = torch.cat([rates.cos(), -rates.sin()])  # a query turned back by one place
        here = torch.cat([torch.ones_like(rates), torch.zeros_like(rates)])
        watched = slice(None, None, attention.num_key_value_groups)
        for made, bias, heads in (
            (attention.q_proj, ahead, watched),
            (attention.k_proj, here, slice(None)),
        ):
            made.weight.unflatten(0, (-1, attention.head_dim))[heads] = 0
            made.bias.unflatten(0, (-1, attention.head_dim))[heads] = SHARP * bias

    @property
    def read(self) -> int:
        """How many directions the values of the block have."""
        return int(self._attention.v_proj.out_features)

    @torch.no_grad()
    def echo(self, directions: Float[Tensor, "d v"]) -> None:
        """Read these orthonormal directions of what is looked at, and let the watched heads write them."""
        attention = self._attention
        attention.v_proj.bias.zero_()
        attention.v_proj.weight.copy_(directions.T / self._norm.weight)
        written = attention.o_proj.weight.unflatten(1, (-1, attention.head_dim))
        back = directions.unflatten(1, (-1, attention.head_dim))
        written[:, :: attention.num_key_value_groups] = ECHO * back

    def close(self) -> None:
        """Stop watching."""
        self._handle.remove()


def ordinary(backbone: Backbone) -> Int[Tensor, " v"]:
    """Ids of the tokens that text is made of."""
    tokenizer: Any = backbone.processor.tokenizer
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    return torch.tensor([i for i in range(len(tokenizer)) if i not in special])


@torch.no_grad()
def spread(backbone: Backbone, every: Int[Tensor, " v"]) -> int:
    """Bring back to the scale of the others the embeddings that say next to nothing; how many there were.

    A tied embedding that is never a response is pushed the same way by every update. In nano that is nine
    tenths of the length of most of them, and attention cannot tell such tokens apart. Those lose
    the direction that all share.
    """
    words = backbone.embedding_matrix
    own = words[every]
    common = F.normalize(own.mean(0), dim=0)
    along = own @ common
    lost = along / own.norm(dim=1) > DRIFTED
    length = own[~lost].norm(dim=1).median() if bool((~lost).any()) else own.norm(dim=1).median()
    rest = F.normalize(own - along[:, None] * common, dim=1) * length
    words[every[lost]] = rest[lost]
    return int(lost.sum())


@torch.no_grad()
def calm(backbone: Backbone) -> None:
    """Let every block write less, so that a token can still be told by its embedding further up."""
    language_model: Any = backbone.family.language_model(backbone.model)
    for block in language_model.layers:
        for written in (block.self_attn.o_proj, block.mlp.down_proj):
            written.weight.mul_(CALM)


def echo(gazes: Sequence[Gaze], width: int, draw: torch.Generator) -> None:
    """Share the directions of the residual stream out to blocks whose watched heads say what they see.

    Raises:
        UsageError: there are more values than directions.
    """
    sizes = [gaze.read for gaze in gazes]
    if sum(sizes) > width:
        raise UsageError(
            f"behind has {len(gazes)} blocks of {sizes[0]} values, {sum(sizes)} in all, and the language "
            f"model has {width} directions: name fewer blocks."
        )
    basis, _ = torch.linalg.qr(torch.randn(width, width, generator=draw))
    for gaze, directions in zip(gazes, basis[:, : sum(sizes)].split(sizes, dim=1), strict=True):
        gaze.echo(directions)
