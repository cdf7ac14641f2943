"""Qwen3-VL (Bai et al., 2025): Qwen2-VL's rows, and features that enter several decoder layers (DeepStack).

32 x 32 pixels per token; boxes as JSON of 0-1000. States of some blocks of the vision tower pass
mergers of their own and are added to the image tokens behind the first decoder layers. Here they lie
side by side: the features of an image are `[tokens, (1 + layers) d]`, the first `d` stand in the row.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from residency.backbone import bypassed, masked
from residency.backbones import qwen2_vl
from residency.codec_json import JsonCodec
from residency.types import Prompt, Tree

model_types = ("qwen3_vl",)
codec = JsonCodec()
replaces_image, in_row, untrained, chat, clips = True, True, "", "", None
slots, separate, merges = qwen2_vl.slots, qwen2_vl.separate, qwen2_vl.merges
pixels, each, positions = qwen2_vl.pixels, qwen2_vl.each, qwen2_vl.positions
image_token, span, template = qwen2_vl.image_token, qwen2_vl.span, qwen2_vl.template
onward, language_model = qwen2_vl.onward, qwen2_vl.language_model


def prefixes(model_config: Any) -> Mapping[str, tuple[str, ...]]:
    """All mergers belong to the connector."""
    own = dict(qwen2_vl.prefixes(model_config))
    merger = own["connector"]
    return {**own, "connector": (*merger, "model.visual.deepstack_merger_list.")}


def features(model: PreTrainedModel, pixels: Mapping[str, Tensor]) -> list[Float[Tensor, "_ d"]]:
    """One pass through tower and mergers for all distinct images."""
    return connect(model, encode(model, pixels))


def encode(model: PreTrainedModel, pixels: Mapping[str, Tensor]) -> list[Tensor]:
    """States per patch, of the last block and of those that DeepStack takes: `[t h w, (1 + l) width]`."""
    visual: Any = model.model.visual
    grids = pixels["image_grid_thw"]
    with ExitStack() as aside:
        for merger in (visual.merger, *visual.deepstack_merger_list):
            aside.enter_context(bypassed(merger))
        made = visual(pixels["pixel_values"].type(visual.dtype), grid_thw=grids)
    states = torch.cat([made.last_hidden_state, *made.deepstack_features], dim=-1)
    return list(states.split(grids.prod(-1).tolist()))


def connect(model: PreTrainedModel, encoded: Sequence[Tensor]) -> list[Float[Tensor, "_ d"]]:
    """The mergers, each of which makes a token of 2x2 patches."""
    visual: Any = model.model.visual
    mergers = (visual.merger, *visual.deepstack_merger_list)
    states = torch.cat(list(encoded)).chunk(len(mergers), dim=-1)
    merged = torch.cat(
        [merge(own.contiguous()) for merge, own in zip(mergers, states, strict=True)], dim=-1
    )
    return list(merged.split([len(one) // visual.spatial_merge_unit for one in encoded]))


def inputs(
    model: PreTrainedModel, prompt: Prompt | Tree, images: Sequence[Float[Tensor, "_ d"]]
) -> dict[str, Any]:
    """The mask, and what is added to the image tokens behind the first layers."""
    given = masked(model, prompt, images)
    if not prompt.images:
        return given
    width = model.config.get_text_config().hidden_size
    shown = torch.cat([images[n] for n in prompt.images])
    return given | {
        "visual_pos_masks": prompt.tokens == model.config.image_token_id,
        "deepstack_visual_embeds": list(shown[:, width:].split(width, dim=-1)),
    }
