"""BLIP-2 with OPT (Li et al., 2023), for evaluation only: 32 queries of a Q-Former per image, no chat.

It was never taught a conversation, so its prompt is written in the form that its authors evaluate it with,
`Question: ... Answer:`, all images first. The Q-Former, its queries and the projection are the connector.
With Flan-T5, an encoder-decoder, it is refused. No box convention is documented: JSON of 0-1000 is ours.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from PIL.Image import Image
from torch import Tensor, nn
from transformers import PreTrainedModel, ProcessorMixin
from transformers.modeling_outputs import BaseModelOutputWithPooling

from residency.backbone import (
    ImageLayout,
    as_written,
    masked,
    masked_onward,
    odd_layers,
    replaced,
    sequential_positions,
    slot_ids,
)
from residency.codec_json import JsonCodec
from residency.errors import UsageError
from residency.types import Area

model_types = ("blip-2",)
codec = JsonCodec()
replaces_image, in_row, clips = False, True, None
untrained = "BLIP-2 is served for evaluation only. Train one of the other families."
chat = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% endif %}{% endfor %}{% endfor %}</s>"
    "{% for message in messages %}"
    "{{ {'user': 'Question: ', 'assistant': ' Answer: '}.get(message['role'], '') }}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{{ '</s>' if message['role'] == 'assistant' else '' }}"
    "{{ '\n' if message['role'] == 'system' else '' }}{% endfor %}"
)
separate, template = odd_layers, as_written
inputs, onward = masked, masked_onward


def prefixes(model_config: Any) -> Mapping[str, tuple[str, ...]]:
    """Modules of the model itself: there is no inner one."""
    del model_config
    return {
        "vision_encoder": ("vision_model.",),
        "connector": ("query_tokens", "qformer.", "language_projection."),
        "language_model": ("language_model.",),
    }


def merges(model_config: Any) -> float:
    """The Q-Former reads every patch, with the few weights of its cross-attention."""
    vision = model_config.vision_config
    return float((vision.image_size // vision.patch_size) ** 2 / model_config.num_query_tokens)


def slots(model_config: Any, tokenizer: Any) -> tuple[int, int]:
    """The last two rows of the embedding.

    Raises:
        UsageError: the language model is an encoder-decoder.
    """
    if not model_config.use_decoder_only_language_model:
        raise UsageError(
            f"BLIP-2 with {model_config.text_config.model_type} is an encoder-decoder, which is not "
            "served. Use Salesforce/blip2-opt-2.7b or -6.7b."
        )
    return slot_ids(model_config, tokenizer)


def pixels(
    processor: ProcessorMixin, images: Sequence[Image], area: Area
) -> tuple[dict[str, Tensor], list[ImageLayout]]:
    """Images `[n, 3, h, w]`, all of one size, so nothing can be capped."""
    del area
    made = processor.image_processor(images=list(images), return_tensors="pt")
    queries: int = processor.num_query_tokens  # type: ignore[attr-defined]
    return {"pixel_values": made["pixel_values"]}, [ImageLayout(queries, (1, queries))] * len(
        images
    )


def image_token(processor: ProcessorMixin) -> int:
    """`<image>`."""
    words: Any = processor.tokenizer
    token: int = words.convert_tokens_to_ids("<image>")
    return token


def span(processor: ProcessorMixin, tokens: int, slot: Sequence[int]) -> list[int]:
    """`chat` writes the one placeholder."""
    return [image_token(processor)] * tokens + list(slot)


def positions(length: int, spans: Sequence[tuple[int, ImageLayout]]) -> Int[Tensor, "1 t"]:
    """One-dimensional, and learned."""
    del spans
    return sequential_positions(length)


def features(model: PreTrainedModel, pixels: Mapping[str, Tensor]) -> list[Float[Tensor, "_ d"]]:
    """One pass through tower, Q-Former and projection for all distinct images."""
    whole: Any = model
    return list(whole.get_image_features(pixels["pixel_values"]).pooler_output)


def each(pixels: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """`[1, 3, h, w]` of every image."""
    return [{"pixel_values": own} for own in pixels["pixel_values"].split(1)]


def encode(model: PreTrainedModel, pixels: Mapping[str, Tensor]) -> list[Tensor]:
    """The tower: a state per patch and one for all `[1 + patches, width]`."""
    whole: Any = model
    return list(whole.vision_model(pixel_values=pixels["pixel_values"]).last_hidden_state)


def connect(model: PreTrainedModel, encoded: Sequence[Tensor]) -> list[Float[Tensor, "_ d"]]:
    """Q-Former and projection, given what the tower made."""
    whole: Any = model
    states = torch.stack(list(encoded))
    seen = BaseModelOutputWithPooling(last_hidden_state=states, pooler_output=states[:, 0])
    with replaced(whole.vision_model, "forward", lambda **_: seen):
        return list(whole.get_image_features(states).pooler_output)


def language_model(model: PreTrainedModel) -> nn.Module:
    """OPT's decoder."""
    whole: Any = model
    decoder: nn.Module = whole.language_model.model.decoder
    return decoder
