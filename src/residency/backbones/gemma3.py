"""Gemma 3 and MedGemma (Google, 2025): image tokens that see each other, layers with a window.

`\n\n<start_of_image><image_soft_token> x 256<end_of_image>\n\n` per image of 896 x 896 pixels; pan and scan,
off by default, is refused. The tokens of an image attend to each other in both directions, and five of six
layers see the last `sliding_window` positions. Both are written into the masks, by positions, so that
trees and padded rows are exact. Boxes: MedGemma 1.5's `box_2d` (y first, 0-1000); Gemma 3 documents none.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from PIL.Image import Image
from torch import Tensor, nn
from transformers import PreTrainedModel, ProcessorMixin

from residency.backbone import ImageLayout, bypassed, sequential_positions, slot_ids
from residency.codec_json import JsonCodec
from residency.errors import UsageError
from residency.types import Area, Prompt, Tree

model_types = ("gemma3",)
codec = JsonCodec(box="box_2d", rows_first=True)
replaces_image, in_row, untrained, chat, clips = True, True, "", "", None


def prefixes(model_config: Any) -> Mapping[str, tuple[str, ...]]:
    """Vision tower, projector and decoder are separate modules."""
    del model_config
    return {
        "vision_encoder": ("model.vision_tower.",),
        "connector": ("model.multi_modal_projector.",),
        "language_model": ("model.language_model.", "lm_head."),
    }


def separate(model_config: Any) -> str:
    """Never: its masks say what trees need."""
    del model_config
    return ""


def merges(model_config: Any) -> float:
    """The projector pools the patches to `mm_tokens_per_image`."""
    vision = model_config.vision_config
    return float((vision.image_size // vision.patch_size) ** 2 / model_config.mm_tokens_per_image)


def slots(model_config: Any, tokenizer: Any) -> tuple[int, int]:
    """`<unused0>` and `<unused1>`."""
    return slot_ids(model_config, tokenizer, ("<unused0>", "<unused1>"))


def pixels(
    processor: ProcessorMixin, images: Sequence[Image], area: Area
) -> tuple[dict[str, Tensor], list[ImageLayout]]:
    """Images `[n, 3, h, w]`; every one takes the same number of tokens, so nothing can be capped."""
    del area
    made = processor.image_processor(images=list(images), return_tensors="pt")
    if torch.as_tensor(made["num_crops"]).any():
        raise UsageError(
            "Pan and scan cuts images into crops with words of their own between them, which is not "
            "read here. Set do_pan_and_scan to false in the processor's configuration."
        )
    tokens: int = processor.image_seq_length  # type: ignore[attr-defined]
    side = round(tokens**0.5)
    return {"pixel_values": made["pixel_values"]}, [ImageLayout(tokens, (side, side))] * len(images)


def image_token(processor: ProcessorMixin) -> int:
    """`<image_soft_token>`."""
    token: int = processor.tokenizer.image_token_id
    return token


def template(processor: ProcessorMixin, text: str) -> str:
    """The template writes `<start_of_image>`; the processor puts the rest and blank lines around it."""
    words: Any = processor.tokenizer
    whole = f"\n\n{words.boi_token}{words.image_token}{words.eoi_token}\n\n"
    return text.replace(words.boi_token, whole)


def span(processor: ProcessorMixin, tokens: int, slot: Sequence[int]) -> list[int]:
    """`template` already writes start and end around the placeholder."""
    return [image_token(processor)] * tokens + list(slot)


def positions(length: int, spans: Sequence[tuple[int, ImageLayout]]) -> Int[Tensor, "1 t"]:
    """One-dimensional."""
    del spans  # images take ordinary positions
    return sequential_positions(length)


def features(model: PreTrainedModel, pixels: Mapping[str, Tensor]) -> list[Float[Tensor, "_ d"]]:
    """One pass through tower and projector for all distinct images."""
    inner: Any = model.model
    return list(inner.get_image_features(pixels["pixel_values"]).pooler_output)


def each(pixels: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """`[1, 3, h, w]` of every image."""
    return [{"pixel_values": own} for own in pixels["pixel_values"].split(1)]


def encode(model: PreTrainedModel, pixels: Mapping[str, Tensor]) -> list[Tensor]:
    """The tower: a state per patch `[patches, width]`."""
    inner: Any = model.model
    with bypassed(inner.multi_modal_projector):
        return list(inner.get_image_features(pixels["pixel_values"]).pooler_output)


def connect(model: PreTrainedModel, encoded: Sequence[Tensor]) -> list[Float[Tensor, "_ d"]]:
    """Pooling, norm and projection."""
    inner: Any = model.model
    return list(inner.multi_modal_projector(torch.stack(list(encoded))))


def language_model(model: PreTrainedModel) -> nn.Module:
    """The text decoder, which takes a mask per kind of layer."""
    inner: Any = model.model
    decoder: nn.Module = inner.language_model
    return decoder


def inputs(
    model: PreTrainedModel, prompt: Prompt | Tree, images: Sequence[Float[Tensor, "_ d"]]
) -> dict[str, Any]:
    """Masks: the path or what came before, and all of the own image; in a window where layers have one."""
    del images
    places = prompt.positions[0]
    if isinstance(prompt, Tree):
        before = prompt.mask[:, 0]
    else:
        before = prompt.attention[:, None] & (places[:, :, None] >= places[:, None])
    image = prompt.tokens == model.config.image_token_id
    begins = image & ~nn.functional.pad(image, (1, 0))[:, :-1]
    number = begins.cumsum(1)
    own = image[:, :, None] & image[:, None] & (number[:, :, None] == number[:, None])
    return _masks(model, before | own, places, places)


def onward(
    model: PreTrainedModel, given: Mapping[str, Any], attention: Bool[Tensor, "b t"]
) -> dict[str, Any]:
    """Rows are padded on the right, so what a row sees also counts its positions."""
    del given
    places = attention.cumsum(1) - 1
    return _masks(model, attention[:, None], places[:, -1:], places)


def _masks(
    model: PreTrainedModel,
    sees: Bool[Tensor, "b q t"],
    of: Int[Tensor, "b q"],
    places: Int[Tensor, "b t"],
) -> dict[str, Any]:
    window = model.config.get_text_config().sliding_window
    near = of[:, :, None] - places[:, None] < window
    return {
        "attention_mask": {
            "full_attention": sees[:, None],
            "sliding_attention": (sees & near)[:, None],
        }
    }
