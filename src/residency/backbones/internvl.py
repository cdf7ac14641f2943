"""InternVL in its native classes (`-hf` checkpoints of InternVL 2.5 / 3 / 3.5; Chen et al., 2024).

`<img><IMG_CONTEXT> x 256 per tile</img>`; the processor cuts large images into tiles and adds a
thumbnail. The embedding may have no unused row, so two control tokens that the chat never writes,
`<quad>` and `</quad>`, serve as slot placeholders.
"""

from collections.abc import Mapping, Sequence
from typing import Any

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
    sequential_positions,
    slot_ids,
)
from residency.codec import InternVLCodec
from residency.types import Area

model_types = ("internvl",)
codec = InternVLCodec()
replaces_image, in_row, untrained, chat, clips = True, True, "", "", None
separate, template = odd_layers, as_written
inputs, onward = masked, masked_onward


def prefixes(model_config: Any) -> Mapping[str, tuple[str, ...]]:
    """Vision tower, projector and decoder are separate modules."""
    del model_config
    return {
        "vision_encoder": ("model.vision_tower.",),
        "connector": ("model.multi_modal_projector.",),
        "language_model": ("model.language_model.", "lm_head."),
    }


def slots(model_config: Any, tokenizer: Any) -> tuple[int, int]:
    """`<quad>` and `</quad>` where the tokenizer has them, else two unused embedding rows."""
    return slot_ids(model_config, tokenizer, ("<quad>", "</quad>"))


def merges(model_config: Any) -> float:
    """The pixel shuffle halves both sides."""
    return float(model_config.downsample_ratio**-2)


def pixels(
    processor: ProcessorMixin, images: Sequence[Image], area: Area
) -> tuple[dict[str, Tensor], list[ImageLayout]]:
    """Tiles of all images `[tiles, 3, h, w]`; `area.most` caps the area of an image's tiles.

    Tiling is the processor's default, which its image processor alone does not know.
    """
    image_processor: Any = processor.image_processor
    options = {"crop_to_patches": True} | dict(getattr(processor, "images_kwargs", {}))
    if area.most is not None:
        tiles = area.most // (image_processor.size["height"] * image_processor.size["width"])
        if tiles < 3:  # an image of two tiles gets a third, its thumbnail
            options["crop_to_patches"] = False
        else:
            options["max_patches"] = min(tiles - 1, image_processor.max_patches)
    made = image_processor(images=list(images), return_tensors="pt", **options)
    per_tile: int = processor.image_seq_length  # type: ignore[attr-defined]
    counts = torch.as_tensor(made["num_patches"])
    layouts = [ImageLayout(n * per_tile, (n, per_tile)) for n in counts.tolist()]
    return {"pixel_values": made["pixel_values"], "tiles": counts}, layouts


def image_token(processor: ProcessorMixin) -> int:
    """`<IMG_CONTEXT>`."""
    token: int = processor.image_token_id  # type: ignore[attr-defined]
    return token


def span(processor: ProcessorMixin, tokens: int, slot: Sequence[int]) -> list[int]:
    """The template writes only the placeholder; the start and end tokens are the processor's."""
    start: int = processor.start_image_token_id  # type: ignore[attr-defined]
    end: int = processor.end_image_token_id  # type: ignore[attr-defined]
    return [start, *[image_token(processor)] * tokens, *slot, end]


def positions(length: int, spans: Sequence[tuple[int, ImageLayout]]) -> Int[Tensor, "1 t"]:
    """One-dimensional."""
    del spans  # images take ordinary positions
    return sequential_positions(length)


def features(model: PreTrainedModel, pixels: Mapping[str, Tensor]) -> list[Float[Tensor, "_ d"]]:
    """One pass through tower and projector for the tiles of all distinct images."""
    made = _image_features(model, pixels)
    return [tiles.flatten(0, 1) for tiles in made.split(pixels["tiles"].tolist())]


def each(pixels: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """The tiles of every image `[tiles, 3, h, w]` and their number `[1]`."""
    counts = pixels["tiles"]
    tiles = pixels["pixel_values"].split(counts.tolist())
    return [
        {"pixel_values": own, "tiles": count}
        for own, count in zip(tiles, counts.split(1), strict=True)
    ]


def encode(model: PreTrainedModel, pixels: Mapping[str, Tensor]) -> list[Tensor]:
    """The tower and its pixel shuffle, which has no weights: `[tiles, tokens, 4 width]`."""
    inner: Any = model.model
    with bypassed(inner.multi_modal_projector):
        made = _image_features(model, pixels)
    return list(made.split(pixels["tiles"].tolist()))


def connect(model: PreTrainedModel, encoded: Sequence[Tensor]) -> list[Float[Tensor, "_ d"]]:
    """The projector."""
    inner: Any = model.model
    made = inner.multi_modal_projector(torch.cat(list(encoded)))
    return [tiles.flatten(0, 1) for tiles in made.split([len(one) for one in encoded])]


def _image_features(
    model: PreTrainedModel, pixels: Mapping[str, Tensor]
) -> Float[Tensor, "tiles k d"]:
    inner: Any = model.model
    config = model.config
    made: Tensor = inner.get_image_features(
        pixels["pixel_values"],
        vision_feature_layer=config.vision_feature_layer,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
    ).pooler_output
    return made


def language_model(model: PreTrainedModel) -> nn.Module:
    """The text decoder."""
    inner: Any = model.model
    decoder: nn.Module = inner.language_model
    return decoder
