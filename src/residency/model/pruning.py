"""The last block of a decoder at the places that are read: elsewhere only keys and values are needed.

After the last block nothing but the head reads a state, and only where a response token is
predicted. So attention, its output and the MLP run at those places. The block's own code does it, as
when it continues a text: the keys and values of all tokens come to it as a cache.
"""

import sys
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask

from residency.model.masks import narrowed

# Attention modules whose keys are norm (where they have one) and rotation of k_proj, and whose rotation
# takes cosines and sines `[b, t, h]`; tests/test_pruning.py holds each to its unpruned form.
KNOWN = (
    "LlamaAttention",
    "MistralAttention",
    "Qwen2Attention",
    "Qwen2VLAttention",
    "Qwen3Attention",
)


class Seen:
    """What a block finds in its cache: keys and values `[b, heads, t, h]` of all tokens."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self._all = keys, values

    def update(self, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """All keys and values; those of the few places are among them already."""
        return self._all


def obstacle(decoder: nn.Module) -> str:
    """Why the last block of a decoder must run at every token; empty where it need not."""
    blocks: Any = getattr(decoder, "layers", None)
    attention = getattr(blocks[-1], "self_attn", None) if blocks else None
    name = type(attention).__name__
    return "" if name in KNOWN else f"how {name} makes its keys is not known"


def prepare(decoder: nn.Module) -> None:
    """Let a decoder without obstacle take one more keyword argument.

    `few`, places `[b, q]`: it then returns states `[b, q, d]` at these, for a mask `[b, 1, t, t]`, or
    one `[b, t]` that hides nothing.
    """
    block: Any = decoder.layers[-1]  # type: ignore[index]
    if _narrow not in block._forward_pre_hooks.values():
        block.register_forward_pre_hook(_narrow, with_kwargs=True)
        block._can_checkpoint_with_cache = True  # it only reads: transformers keeps it then


def select(states: Shaped[Tensor, "b t d"], at: Int[Tensor, "b q"]) -> Shaped[Tensor, "b q d"]:
    """The states at `at`, row by row."""
    return states[torch.arange(len(at), device=at.device)[:, None], at]


def _sight(
    mask: Tensor | BlockMask | None, at: Int[Tensor, "b q"], length: int
) -> Shaped[Tensor, "b 1 q t"] | BlockMask:
    """What the places `at` see, cut out of the mask; without one, all that stands before them."""
    if isinstance(mask, BlockMask):
        return narrowed(mask, at)
    if mask is not None:
        return select(mask[:, 0], at)[:, None]
    return (torch.arange(length, device=at.device) <= at[..., None])[:, None]


def _narrow(
    block: Any, given: tuple[Tensor], named: dict[str, Any]
) -> tuple[tuple[Tensor], Mapping[str, Any]] | None:
    """Turn a call for all tokens into one for a few that find all tokens in the cache."""
    at = named.pop("few", None)
    if at is None:
        return None
    (hidden,) = given
    cos, sin = named["position_embeddings"]
    attention = block.self_attn
    before = block.input_layernorm(hidden)
    shape = (*before.shape[:2], -1, attention.head_dim)
    keys = attention.k_proj(before).view(shape)
    if hasattr(attention, "k_norm"):
        keys = attention.k_norm(keys)
    values = attention.v_proj(before).view(shape).transpose(1, 2)
    rotate = sys.modules[type(attention).__module__].apply_rotary_pos_emb
    keys = keys.transpose(1, 2)
    keys = rotate(keys[:, :1], keys, cos, sin)[1]
    if len(cos) < len(at):  # positions that all rows share
        cos, sin = cos.expand(len(at), -1, -1), sin.expand(len(at), -1, -1)
    narrowed = {
        **named,
        "attention_mask": _sight(named["attention_mask"], at, hidden.shape[1]),
        "position_embeddings": (select(cos, at), select(sin, at)),
        "position_ids": None,  # they are in the embeddings already
        "past_key_values": Seen(keys, values),
    }
    return (select(hidden, at),), narrowed
