"""Nano: a Qwen2-VL of a few million parameters, its tokenizer and its processor, from nothing."""

import copy
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import (
    PreTrainedTokenizerBase,
    Qwen2Tokenizer,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from residency.errors import UsageError

# Qwen2-VL's names, in Qwen2-VL's order.
SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
PATCH, MERGE, FRAMES = 12, 2, 2
IMAGE_PIXELS = 96 * 96  # every image is brought to about this area: 64 patches, 16 tokens

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """How large nano is; the defaults make 4.2 M parameters with a vocabulary of about 2,000."""

    vision_depth: int = 4
    vision_width: int = 160
    vision_heads: int = 5
    vision_mlp_ratio: int = 3
    depth: int = 6
    width: int = 192
    heads: int = 6
    key_value_heads: int = 2
    mlp: int = 448
    context: int = 2048
    initial_std: float = 0.06  # of every weight; the usual 0.02 is for widths of thousands
    spare_rows: int = 8  # rows of the embedding that no token uses: ids for slots


def train_tokenizer(texts: Iterable[str], vocab_size: int = 2048) -> Qwen2Tokenizer:
    """A byte-level BPE tokenizer of exactly `vocab_size` ids or fewer, `SPECIAL` last.

    Digits are never merged, so a coordinate costs one token per digit; every text is encodable.

    Raises:
        UsageError: no room for the bytes and the special tokens.
    """
    least = 256 + len(SPECIAL)
    if vocab_size < least:
        raise UsageError(f"vocab_size={vocab_size} is below {least}, the bytes and special tokens.")
    learner = Tokenizer(BPE())
    learner.normalizer = normalizers.NFC()
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    learner.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    learned = json.loads(learner.to_str())["model"]
    vocab: dict[str, int] = learned["vocab"]
    vocab |= {name: len(vocab) + i for i, name in enumerate(SPECIAL)}
    return Qwen2Tokenizer(
        vocab=vocab,
        merges=[tuple(pair) for pair in learned["merges"]],  # type: ignore[misc]
        additional_special_tokens=list(SPECIAL[1:]),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=Sizes().context,
    )


def build(tokenizer: PreTrainedTokenizerBase, **sizes: int) -> Qwen2VLForConditionalGeneration:
    """A randomly initialised float32 model (torch's global generator) with tied embeddings.

    `sizes` are fields of `Sizes`. The vocabulary is the tokenizer's, plus `spare_rows`, rounded up
    to a multiple of 16.

    Raises:
        UsageError: a size that does not exist, or widths that the heads do not divide.
    """
    if unknown := sizes.keys() - set(Sizes.__dataclass_fields__):
        raise UsageError(
            f"Nano has no sizes {sorted(unknown)}; it has {list(Sizes.__dataclass_fields__)}."
        )
    chosen = Sizes(**sizes)
    if chosen.width % (2 * chosen.heads) or chosen.vision_width % (4 * chosen.vision_heads):
        raise UsageError(
            f"width={chosen.width} must be a multiple of 2 x heads={chosen.heads}, and "
            f"vision_width={chosen.vision_width} of 4 x vision_heads={chosen.vision_heads}."
        )
    config = _config(tokenizer, chosen)
    config._attn_implementation = "sdpa"
    return Qwen2VLForConditionalGeneration(config)


def processor(tokenizer: PreTrainedTokenizerBase) -> Qwen2VLProcessor:
    """The processor for that tokenizer: images of about 96 x 96, ChatML with image placeholders."""
    # shortest_edge and longest_edge are the least and the most pixels, whatever their names say.
    area = {"shortest_edge": IMAGE_PIXELS, "longest_edge": IMAGE_PIXELS}
    return Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(
            size=area, patch_size=PATCH, merge_size=MERGE, temporal_patch_size=FRAMES
        ),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(
            size=area, patch_size=PATCH, merge_size=MERGE, temporal_patch_size=FRAMES
        ),
        chat_template=CHAT_TEMPLATE,
    )


def save(
    model: Qwen2VLForConditionalGeneration, processor: Qwen2VLProcessor, folder: str | Path
) -> None:
    """Write the Hugging Face layout with bfloat16 weights; the model in memory stays as it is."""
    stored = copy.deepcopy(model).bfloat16()
    stored.save_pretrained(folder)
    processor.save_pretrained(folder)


def _config(tokenizer: PreTrainedTokenizerBase, sizes: Sizes) -> Qwen2VLConfig:
    def token(name: str) -> int:
        return cast(int, tokenizer.convert_tokens_to_ids(name))

    half = sizes.width // sizes.heads // 2
    side = (3 * half) // 8  # Qwen2-VL's shares for time, height and width: 2 : 3 : 3
    text = {
        "vocab_size": -(-(len(tokenizer) + sizes.spare_rows) // 16) * 16,
        "hidden_size": sizes.width,
        "intermediate_size": sizes.mlp,
        "num_hidden_layers": sizes.depth,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.key_value_heads,
        "max_position_embeddings": sizes.context,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "mrope_section": [half - 2 * side, side, side],
        },
        "initializer_range": sizes.initial_std,
        "bos_token_id": None,
        "eos_token_id": token("<|im_end|>"),
        "pad_token_id": token("<|endoftext|>"),
    }
    vision = {
        "depth": sizes.vision_depth,
        "embed_dim": sizes.vision_width,
        "hidden_size": sizes.width,
        "num_heads": sizes.vision_heads,
        "mlp_ratio": sizes.vision_mlp_ratio,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": FRAMES,
        "initializer_range": sizes.initial_std,
    }
    return Qwen2VLConfig(  # type: ignore[call-arg]
        text_config=text,
        vision_config=vision,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
        initializer_range=sizes.initial_std,
    )
