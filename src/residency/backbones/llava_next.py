"""LLaVA-NeXT (Liu et al., 2024; open-llava-next and AdaMLLM on Llama 3): tiles of any resolution.

An image is read whole and as a grid of tiles (1x2 to 3x1 of 336 x 336); padding is cut off the grid, and each
of its rows ends with the learned `image_newline`, a part of the connector. Any language model is served
whose chat template closes a response with a control token, as Llama 3's does. Boxes are fractions of the
padded square.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from PIL.Image import Image
from torch import Tensor, nn
from transformers import PreTrainedModel, ProcessorMixin
from transformers.image_processing_utils import select_best_resolution

from residency.backbone import (
    ImageLayout,
    as_written,
    bypassed,
    masked,
    masked_onward,
    odd_layers,
    replaced,
    sequential_positions,
    slot_ids,
)
from residency.codec_fractions import FractionCodec
from residency.types import Area

model_types = ("llava_next",)
codec = FractionCodec()
replaces_image, in_row, untrained, chat, clips = True, True, "", "", None
separate, template = odd_layers, as_written
inputs, onward = masked, masked_onward


def prefixes(model_config: Any) -> Mapping[str, tuple[str, ...]]:
    """Vision tower, projector with the newline, decoder."""
    del model_config
    return {
        "vision_encoder": ("model.vision_tower.",),
        "connector": ("model.multi_modal_projector.", "model.image_newline"),
        "language_model": ("model.language_model.", "lm_head."),
    }


def merges(model_config: Any) -> float:
    """A vector per patch."""
    del model_config
    return 1.0


def slots(model_config: Any, tokenizer: Any) -> tuple[int, int]:
    """Two of Llama 3's reserved tokens; with other language models the last rows of the embedding."""
    names = ("<|reserved_special_token_100|>", "<|reserved_special_token_101|>")
    return slot_ids(model_config, tokenizer, names)


def pixels(
    processor: ProcessorMixin, images: Sequence[Image], area: Area
) -> tuple[dict[str, Tensor], list[ImageLayout]]:
    """Tiles of all images `[tiles, 3, h, w]`, how many each has, and its size (height, width).

    `area.most` caps the area of the tiles, the whole image's included, by making the image smaller:
    the model derives the grid from its size. There are at least three.
    """
    image_processor: Any = processor.image_processor
    if area.most is not None:
        images = [_fitted(image, image_processor, area.most) for image in images]
    made = image_processor(images=list(images), return_tensors="pt")
    edge = made["pixel_values"].shape[-1]
    grids = image_processor.image_grid_pinpoints
    tiles = [
        1 + h * w // edge**2
        for h, w in (select_best_resolution(size, grids) for size in made["image_sizes"].tolist())
    ]
    word: str = processor.image_token  # type: ignore[attr-defined]
    layouts = []
    for n in range(len(images)):
        tokens = processor.replace_image_token(made, n).count(word)
        layouts.append(ImageLayout(tokens, (1, tokens)))
    return {
        "pixel_values": torch.cat(
            [own[:count] for own, count in zip(made["pixel_values"], tiles, strict=True)]
        ),
        "tiles": torch.tensor(tiles),
        "image_sizes": made["image_sizes"],
    }, layouts


def _fitted(image: Image, image_processor: Any, most: int) -> Image:
    """The image, smaller where its grid and the tile of the whole would take more than `most` pixels."""
    edge = image_processor.crop_size["height"]
    grids = sorted(image_processor.image_grid_pinpoints, key=lambda grid: -grid[0] * grid[1])
    size = fits = (image.height, image.width)
    for height, width in grids:
        h, w = select_best_resolution(fits, grids)
        if h * w + edge**2 <= most:
            break
        scale = min(height / size[0], width / size[1], 1.0)
        fits = (max(1, int(size[0] * scale)), max(1, int(size[1] * scale)))
    return image if fits == size else image.resize((fits[1], fits[0]))


def image_token(processor: ProcessorMixin) -> int:
    """`<image>`; in open-llava-next a reserved token of Llama 3."""
    token: int = processor.image_token_id  # type: ignore[attr-defined]
    return token


def span(processor: ProcessorMixin, tokens: int, slot: Sequence[int]) -> list[int]:
    """The template writes the one placeholder."""
    return [image_token(processor)] * tokens + list(slot)


def positions(length: int, spans: Sequence[tuple[int, ImageLayout]]) -> Int[Tensor, "1 t"]:
    """One-dimensional."""
    del spans  # images take ordinary positions
    return sequential_positions(length)


def features(model: PreTrainedModel, pixels: Mapping[str, Tensor]) -> list[Float[Tensor, "_ d"]]:
    """One pass through tower and projector for the tiles of all distinct images."""
    return connect(model, encode(model, pixels))


def each(pixels: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """The tiles of every image `[tiles, 3, h, w]`, their number `[1]` and its size `[1, 2]`."""
    counts = pixels["tiles"]
    rows = zip(
        pixels["pixel_values"].split(counts.tolist()),
        counts.split(1),
        pixels["image_sizes"].split(1),
        strict=True,
    )
    return [{"pixel_values": own, "tiles": n, "image_sizes": size} for own, n, size in rows]


def encode(model: PreTrainedModel, pixels: Mapping[str, Tensor]) -> list[Tensor]:
    """The tower's states in the order of tokens, without padding; a row of infinity per newline.

    What the projector reads is put in order before it, which is the same, for it reads each alone.
    """
    inner: Any = model.model
    pack = inner.pack_image_features
    width = model.config.vision_config.hidden_size
    layers = model.config.vision_feature_layer
    breaks = pixels["pixel_values"].new_full(
        (width * (1 if isinstance(layers, int) else len(layers)),), torch.inf
    )

    def packed(states: Any, sizes: Any, **options: Any) -> Any:
        return pack(states, sizes, **options | {"image_newline": breaks})

    with (
        bypassed(inner.multi_modal_projector),
        replaced(inner, "pack_image_features", packed),
    ):
        made = inner.get_image_features(
            pixels["pixel_values"],
            pixels["image_sizes"],
            vision_feature_layer=layers,
            vision_feature_select_strategy=model.config.vision_feature_select_strategy,
        )
    return list(made.pooler_output)


def connect(model: PreTrainedModel, encoded: Sequence[Tensor]) -> list[Float[Tensor, "_ d"]]:
    """The projector, and the newline where it belongs."""
    inner: Any = model.model
    states = torch.cat(list(encoded))
    newline = states[:, 0].isinf()
    projected = inner.multi_modal_projector(states[~newline])
    made = inner.image_newline.to(projected).repeat(len(states), 1)
    made = made.masked_scatter(~newline[:, None], projected)
    return list(made.split([len(one) for one in encoded]))


def language_model(model: PreTrainedModel) -> nn.Module:
    """The text decoder."""
    inner: Any = model.model
    decoder: nn.Module = inner.language_model
    return decoder
