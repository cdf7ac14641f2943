"""The small Qwen2-VL and the data that every tool trains on, written to disk in the layouts that they read.

Images are 448 x 448 and cost 256 tokens, as in the published checkpoints; depth and width are shrunk so
that vision encoder, language model and output head keep about their shares of the cost.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

from residency.model import nano

SIDE, PATCH, MERGE = 448, 14, 2
IMAGE_TOKENS = (SIDE // PATCH // MERGE) ** 2
SYSTEM = "You are a helpful assistant."
# Qwen2-VL's own template, as that of every tool, adds a system turn where there is none.
TEMPLATE = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n" + nano.CHAT_TEMPLATE
LABELS = ("acute pneumonia", "chronic effusion", "acute fibrosis", "chronic nodule")
QUESTION = (
    "Analyze the given chest X-ray image. The possible diagnoses are: "
    + ", ".join(LABELS)
    + ". Which one fits best?"
)
VOCABULARY = 4096
LORA = {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0}
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
REGEX = rf".*language_model.*\.({'|'.join(TARGETS)})"


def write(folder: Path, *, samples: int, batch: int, steps: int) -> None:
    """Model, images, `data/train.jsonl` (messages with `<image>`, paths beside) and `settings.json`."""
    model, processor = build()
    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    data = folder / "data"
    (data / "images").mkdir(parents=True)
    rows = []
    for number in range(samples):
        path = Path("images") / f"{number}.png"  # tools run inside `data`
        picture(number).save(data / path)
        rows.append(messages(LABELS[number % len(LABELS)], path))
    (data / "train.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    trainer = {
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": 1,
        "max_steps": steps,
        "learning_rate": 1e-6,  # so small that losses stay comparable over an epoch
        "lr_scheduler_type": "constant",
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "dataloader_num_workers": 0,  # workers would hide CPU time in other processes
        "use_cpu": True,
        "bf16": False,
        "disable_tqdm": True,
        "seed": 0,
    }
    settings = {
        "trainer": trainer,
        "lora": LORA,
        "regex": REGEX,
        "samples": samples,
        "image_token": model.config.image_token_id,
        "video_token": model.config.video_token_id,
    }
    (folder / "settings.json").write_text(json.dumps(settings, indent=1))


def build() -> tuple[Qwen2VLForConditionalGeneration, Qwen2VLProcessor]:
    """10 M random float32 weights of fixed seed, a tokenizer of these texts and its processor."""
    texts = [SYSTEM, QUESTION, *LABELS, "system user assistant\n"]
    tokenizer = nano.train_tokenizer(texts, vocab_size=600)

    def token(name: str) -> Any:
        return tokenizer.convert_tokens_to_ids(name)

    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "max_position_embeddings": 2048,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e4,
            "mrope_section": [4, 6, 6],
        },
        "initializer_range": 0.06,
        "bos_token_id": None,
        "eos_token_id": token("<|im_end|>"),
        "pad_token_id": token("<|endoftext|>"),
    }
    vision = {
        "depth": 4,
        "embed_dim": 192,
        "hidden_size": 256,
        "num_heads": 3,
        "mlp_ratio": 4,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "initializer_range": 0.06,
    }
    config = Qwen2VLConfig(  # type: ignore[call-arg]
        text_config=text,
        vision_config=vision,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
        initializer_range=0.06,
    )
    torch.manual_seed(0)
    shape: dict[str, Any] = {"patch_size": PATCH, "merge_size": MERGE}
    area = {"shortest_edge": 56 * 56, "longest_edge": 1024 * 1024}
    processor = Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=area, **shape),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=area, **shape),
        chat_template=TEMPLATE,
    )
    return Qwen2VLForConditionalGeneration(config), processor


def picture(seed: int) -> Image.Image:
    """Smooth noise, which compresses about as a photograph does."""
    coarse = np.random.default_rng(seed).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def messages(answer: str, image: Path) -> dict[str, Any]:
    """One row, as LLaMA-Factory, ms-swift and we read it."""
    return {
        "messages": [
            {"role": "user", "content": "<image>" + QUESTION},
            {"role": "assistant", "content": answer},
        ],
        "images": [str(image)],
    }


def rows(folder: Path) -> list[list[int]]:
    """The token ids of each distinct row, from the checkpoint's own chat template."""
    processor = Qwen2VLProcessor.from_pretrained(folder / "model")
    made = []
    for answer in LABELS:
        text = processor.apply_chat_template(messages(answer, Path())["messages"], tokenize=False)
        run = "<|vision_start|>" + "<|image_pad|>" * IMAGE_TOKENS + "<|vision_end|>"
        made.append(processor.tokenizer(text.replace("<image>", run))["input_ids"])
    return made
