"""Qwen2.5-VL (Bai et al., 2025): Qwen2-VL with windows in the vision tower, boxes in pixels.

Rows and positions are those of Qwen2-VL. Most blocks of the tower attend within windows of 112 x 112
pixels, for which it reorders patches; its merger is the connector. Boxes count pixels of the resized
image. A language model with sliding windows (`use_sliding_window`, off in all published ones) is read
as separate rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from residency.backbone import replaced
from residency.backbones import qwen2_vl
from residency.codec_pixels import Qwen25VLCodec

model_types = ("qwen2_5_vl",)
codec = Qwen25VLCodec()
replaces_image, in_row, untrained, chat, clips = True, True, "", "", None
prefixes, slots, separate, merges = (
    qwen2_vl.prefixes,
    qwen2_vl.slots,
    qwen2_vl.separate,
    qwen2_vl.merges,
)
pixels, each, positions = qwen2_vl.pixels, qwen2_vl.each, qwen2_vl.positions
image_token, span, template = qwen2_vl.image_token, qwen2_vl.span, qwen2_vl.template
inputs, onward, language_model = qwen2_vl.inputs, qwen2_vl.onward, qwen2_vl.language_model


def features(model: PreTrainedModel, pixels: Mapping[str, Tensor]) -> list[Float[Tensor, "_ d"]]:
    """One pass through tower and merger for all distinct images."""
    return connect(model, encode(model, pixels))


def encode(model: PreTrainedModel, pixels: Mapping[str, Tensor]) -> list[Tensor]:
    """The blocks without the merger, in reading order again: `[t h w / 4, 4 width]`."""
    visual: Any = model.model.visual
    grids = pixels["image_grid_thw"]
    unit = visual.spatial_merge_unit
    # The tower puts what the merger returns back into order, so it must be given one row per token.
    with replaced(
        visual.merger, "forward", lambda states: states.reshape(-1, unit * states.shape[1])
    ):
        made = visual(pixels["pixel_values"].type(visual.dtype), grid_thw=grids)
    return list(made.pooler_output.split((grids.prod(-1) // unit).tolist()))


def connect(model: PreTrainedModel, encoded: Sequence[Tensor]) -> list[Float[Tensor, "_ d"]]:
    """The merger, which makes a token of 2x2 patches."""
    visual: Any = model.model.visual
    states = torch.cat(list(encoded))
    merged = visual.merger(states.reshape(len(states) * visual.spatial_merge_unit, -1))
    return list(merged.split([len(one) for one in encoded]))
