"""Tiny random checkpoints of real families in the hub layout, and samples to read with them."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    Qwen2Tokenizer,
)

import more_models
from residency.dataset import Dataset
from residency.model import nano, store
from residency.model.expert import Expert
from residency.model.huggingface import Backbone
from residency.types import ImagePart, Part, Picture, Reading, Sample, Turn

FAMILIES = ("qwen2_vl", "internvl")
MORE = ("qwen2_5_vl", "qwen3_vl", "llava_next", "mllama", "gemma3")
# Tests over all families: those above always, the others in `make test-all`; tests/test_families.py
# holds them to the essentials in `make test`.
ALL = [*FAMILIES, *(pytest.param(family, marks=pytest.mark.slow) for family in MORE)]
TEXTS = (
    "What is the modality of this image? Choose from: red circle, blue square.",
    "Analyze the given chest image. The possible options are: normal, pneumonia.",
    "There is one red circle, left of a blue square; nothing else.",
    "图中有多少个红色圆形？肺炎",
    "user\nassistant\nsystem\nYou are a helpful assistant.\n",
)
# Qwen2-VL's own template opens with a system turn where the conversation has none.
SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant."
    "<|im_end|>\n{% endif %}"
)
# InternVL's `-hf` checkpoints write only the placeholder; the processor adds <img> and </img>.
INTERNVL_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'}}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}{{ '<IMG_CONTEXT>\n' }}"
    "{% elif content['type'] == 'video' %}{{ '<video>\n' }}"
    "{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{'<|im_end|>\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n' }}{% endif %}"
)
TILE, PATCH = 28, 7  # 4 x 4 patches per tile, 4 tokens after the pixel shuffle


@cache
def _root() -> Path:
    root = Path(tempfile.mkdtemp(prefix="residency-models-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root


@cache
def folder(family: str) -> Path:
    """A checkpoint folder, written once per session; copy it before changing anything in it."""
    path = _root() / family
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        _WRITERS[family](path)
    return path


def backbone(family: str) -> Backbone:
    """A fresh float32 backbone."""
    return store.load(str(folder(family)), device=torch.device("cpu"))


@cache
def shared(family: str) -> Backbone:
    """A backbone for tests that change nothing in it."""
    return backbone(family)


def _livelier(model: torch.nn.Module) -> torch.nn.Module:
    """Larger weights than an initialisation has, so that images and words move the logits.

    Those between the embeddings most, else tied embeddings repeat the last word for ever.
    """
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            parameter.data *= 4 if "embed_tokens" in name or "lm_head" in name else 15
    return model


@cache
def _tokenizer() -> Qwen2Tokenizer:
    return nano.train_tokenizer(TEXTS, vocab_size=400)


def _qwen2_vl(path: Path) -> None:
    sizes = {"vision_depth": 1, "vision_width": 32, "vision_heads": 2, "vision_mlp_ratio": 2}
    model = nano.build(
        _tokenizer(), depth=2, width=32, heads=2, key_value_heads=1, mlp=48, context=512, **sizes
    )
    made = nano.processor(_tokenizer())
    made.image_processor.size = {"shortest_edge": 24 * 24, "longest_edge": 96 * 96}
    made.chat_template = SYSTEM + nano.CHAT_TEMPLATE
    _livelier(model).save_pretrained(path)
    made.save_pretrained(path)


def _internvl(path: Path) -> None:
    words = _tokenizer()
    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    words.save_pretrained(path)
    tokenizer = Qwen2Tokenizer.from_pretrained(path, extra_special_tokens=named)
    spatial = ["<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>"]
    tokenizer.add_tokens(spatial, special_tokens=True)
    size = {"height": TILE, "width": TILE}
    made = InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(size=size, max_patches=3),
        tokenizer=tokenizer,
        video_processor=InternVLVideoProcessor(size=size),
        image_seq_length=4,
        chat_template=INTERNVL_TEMPLATE,
    )
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    text = {
        "model_type": "qwen2",
        "vocab_size": len(tokenizer),  # no spare row, as in the smallest published checkpoints
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 512,
        "eos_token_id": end,
        "pad_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        "bos_token_id": None,
    }
    vision = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "image_size": (TILE, TILE),
        "patch_size": (PATCH, PATCH),
    }
    config = InternVLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        tie_word_embeddings=False,
    )
    model = _livelier(InternVLForConditionalGeneration(config))
    model.generation_config.eos_token_id = end
    model.save_pretrained(path)
    made.save_pretrained(path)


_WRITERS = {
    "qwen2_vl": _qwen2_vl,
    "internvl": _internvl,
    "qwen2_5_vl": lambda path: more_models.qwen2_5_vl(path, _livelier, _tokenizer(), SYSTEM),
    "qwen3_vl": lambda path: more_models.qwen3_vl(path, _livelier, _tokenizer()),
    "llava_next": lambda path: more_models.llava_next(path, _livelier, TEXTS),
    "mllama": lambda path: more_models.mllama(path, _livelier, TEXTS),
    "gemma3": lambda path: more_models.gemma3(path, _livelier, TEXTS),
    "blip2": lambda path: more_models.blip2(path, _livelier, TEXTS),
}


def image(seed: int, size: tuple[int, int] = (48, 48)) -> Image.Image:
    """Noise with a gradient: different seeds, different pixels."""
    noise = np.random.default_rng(seed).integers(0, 160, (size[1], size[0], 3))
    noise[..., seed % 3] += np.linspace(0, 90, size[0]).astype(int)[None]
    return Image.fromarray(noise.astype(np.uint8))


def picture(seed: int, size: tuple[int, int] = (48, 48)) -> Picture:
    """`image` as a picture of its own key."""
    return Picture(key=f"noise/{seed}/{size}", load=lambda: image(seed, size), size=size)


def sample(name: str, *pictures: Picture, answer: str = "red circle") -> Sample:
    """A sample with the given images."""
    return Sample(id=name, dataset="noise", task="vqa", answer=answer, images=pictures)


def conversation(
    question: str, *answer: Part, images: int = 1, system: str = "You are a helpful assistant."
) -> tuple[Turn, ...]:
    """System turn, images and question, and the response to learn."""
    shown = tuple(ImagePart(k) for k in range(images))
    return (
        Turn("system", (system,)),
        Turn("user", (*shown, question)),
        Turn("assistant", answer, learn=True),
    )


def reading(
    name: str,
    *pictures: Picture,
    question: str = "What is it?",
    answer: str = "red circle",
    negative: Sample | None = None,
) -> Reading:
    """A sample with its conversation."""
    return Reading(
        sample=sample(name, *pictures, answer=answer),
        conversation=conversation(question, answer, images=len(pictures)),
        negative=negative,
        negative_response=(str(negative.answer),) if negative else (),
    )


@cache
def noise_dataset() -> Dataset:
    """Two labels: what an expert needs to know about its data."""
    return Dataset(
        name="noise",
        splits={"train": (sample("a", picture(0)), sample("b", picture(1)))},
        labels=("red circle", "blue square"),
        digest="0",
    )


def expert() -> Expert:
    """A small random expert."""
    return Expert.create("small", [noise_dataset()], image_size=32, seed=0)
