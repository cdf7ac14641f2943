"""Qwen2-VL (Wang et al., 2024): M-RoPE, any resolution, one token per merged 2x2 patches.

`<|vision_start|><|image_pad|> x n<|vision_end|>`; boxes as integers 0-1000 of width and height.
The merger lives inside `model.visual`; it is the connector. The embedding matrix is larger than the
tokenizer, and its unused last rows serve as slot placeholders.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL.Image import Image
from torch import Tensor, nn
from transformers import PreTrainedModel, ProcessorMixin

from residency.backbone import (
    ImageLayout,
    as_written,
    bypassed,
    masked,
    masked_onward,
    odd_layers,
    slot_ids,
)
from residency.codec import Qwen2VLCodec
from residency.types import Area

model_types = ("qwen2_vl",)
codec = Qwen2VLCodec()
replaces_image, in_row, untrained, chat = True, True, "", ""
separate, template = odd_layers, as_written
inputs, onward = masked, masked_onward


def prefixes(model_config: Any) -> Mapping[str, tuple[str, ...]]:
    """The longest matching prefix decides, so the merger belongs to the connector."""
    del model_config
    return {
        "vision_encoder": ("model.visual.",),
        "connector": ("model.visual.merger.",),
        "language_model": ("model.language_model.", "lm_head."),
    }


def slots(model_config: Any, tokenizer: Any) -> tuple[int, int]:
    """The last two rows of the embedding, which no token of the tokenizer uses."""
    return slot_ids(model_config, tokenizer)


def merges(model_config: Any) -> float:
    """2 x 2 patches."""
    return float(model_config.vision_config.spatial_merge_size**2)


def pixels(
    processor: ProcessorMixin, images: Sequence[Image], area: Area
) -> tuple[dict[str, Tensor], list[ImageLayout]]:
    """Patches of all images `[patches, channels]` and their grids (time, height, width)."""
    image_processor: Any = processor.image_processor
    size = _bounds(image_processor.size, area)
    made = image_processor(images=list(images), size=size, return_tensors="pt")
    return _patches(made["pixel_values"], made["image_grid_thw"], image_processor.merge_size)


def clips(
    processor: ProcessorMixin, clips: Sequence[Sequence[Image]], area: Area
) -> tuple[dict[str, Tensor], list[ImageLayout]]:
    """The same of volumes as videos, every slice a frame and two of them a step; `area` is a frame's."""
    video_processor: Any = processor.video_processor
    videos = [torch.from_numpy(np.stack([*map(np.asarray, c)])).movedim(3, 1) for c in clips]
    made = video_processor(
        videos=videos,
        size=_bounds(video_processor.size, area),
        do_sample_frames=False,
        cap_pixels_per_frame=False,
        return_tensors="pt",
    )
    merge = video_processor.merge_size
    return _patches(made["pixel_values_videos"], made["video_grid_thw"], merge)


def _bounds(size: Any, area: Area) -> dict[str, int]:
    """The least and the most pixels under the processor's names: its own, lowered or raised to `area`."""
    most = min(size["longest_edge"], area.most or size["longest_edge"])
    least = min(size["shortest_edge"], most) if area.least is None else area.least
    return {"shortest_edge": least, "longest_edge": max(least, most)}


def _patches(
    values: Tensor, grids: Tensor, merge: int
) -> tuple[dict[str, Tensor], list[ImageLayout]]:
    layouts = [
        ImageLayout(t * h * w // merge**2, (h // merge, w // merge), t)
        for t, h, w in grids.tolist()
    ]
    return {"pixel_values": values, "image_grid_thw": grids}, layouts


def image_token(processor: ProcessorMixin) -> int:
    """`<|image_pad|>`."""
    token: int = processor.image_token_id  # type: ignore[attr-defined]
    return token


def span(processor: ProcessorMixin, tokens: int, slot: Sequence[int]) -> list[int]:
    """The template already writes vision_start and vision_end around the placeholder."""
    return [image_token(processor)] * tokens + list(slot)


def positions(length: int, spans: Sequence[tuple[int, ImageLayout]]) -> Int[Tensor, "3 t"]:
    """M-RoPE: text advances all axes; an image spans its grid, then advances by its longest side."""
    pieces, done, position = [], 0, 0
    for start, layout in spans:
        text = torch.arange(start - done) + position
        position += start - done
        sides = (layout.times, *layout.grid)
        grid = torch.cartesian_prod(*map(torch.arange, sides)).T + position
        pieces += [text.expand(3, -1), grid]
        position += max(sides)
        done = start + layout.tokens
    pieces.append((torch.arange(length - done) + position).expand(3, -1))
    return torch.cat(pieces, dim=1)


def features(model: PreTrainedModel, pixels: Mapping[str, Tensor]) -> list[Float[Tensor, "_ d"]]:
    """One pass through the vision tower for all distinct images."""
    inner: Any = model.model
    made = inner.get_image_features(pixels["pixel_values"], pixels["image_grid_thw"])
    return list(made.pooler_output)


def each(pixels: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Patches `[t h w, channels]` and grid `[1, 3]` of every image."""
    grids = pixels["image_grid_thw"]
    patches = pixels["pixel_values"].split(grids.prod(-1).tolist())
    return [
        {"pixel_values": own, "image_grid_thw": grid}
        for own, grid in zip(patches, grids.split(1), strict=True)
    ]


def encode(model: PreTrainedModel, pixels: Mapping[str, Tensor]) -> list[Tensor]:
    """The blocks without the merger: a state per patch `[t h w, width]`."""
    visual: Any = model.model.visual
    grids = pixels["image_grid_thw"]
    with bypassed(visual.merger):
        made = visual(pixels["pixel_values"].type(visual.dtype), grid_thw=grids)
    return list(made.last_hidden_state.split(grids.prod(-1).tolist()))


def connect(model: PreTrainedModel, encoded: Sequence[Tensor]) -> list[Float[Tensor, "_ d"]]:
    """The merger, which makes a token of 2x2 patches."""
    visual: Any = model.model.visual
    merged = visual.merger(torch.cat(list(encoded)))
    return list(merged.split([len(one) // visual.spatial_merge_size**2 for one in encoded]))


def language_model(model: PreTrainedModel) -> nn.Module:
    """The text decoder."""
    inner: Any = model.model
    decoder: nn.Module = inner.language_model
    return decoder
