"""Configurations of published sizes, beside the tiny tokenizer and processor, without any weights."""

import json
import shutil
from pathlib import Path
from typing import Any

import transformers as hf

import models

GRIDS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
VISION: dict[str, dict[str, Any]] = {
    "qwen2_5_vl": {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16}
    | {"out_hidden_size": 3584, "fullatt_block_indexes": [7, 15, 23, 31]},
    "qwen3_vl": {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16}
    | {"out_hidden_size": 4096, "deepstack_visual_indexes": [8, 16, 24]},
    "llava_next": {"model_type": "clip_vision_model", "hidden_size": 1024, "patch_size": 14}
    | {"intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    | {"image_size": 336},
    "mllama": {"image_size": 560},
    "gemma3": {"model_type": "siglip_vision_model", "hidden_size": 1152, "patch_size": 14}
    | {"intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}
    | {"image_size": 896},
    "blip2": {},
}
MROPE = {"rope_type": "default", "rope_theta": 1e6}
TEXT: dict[str, dict[str, Any]] = {
    "qwen2_5_vl": {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28}
    | {"num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152_064}
    | {"rope_parameters": MROPE | {"mrope_section": [16, 24, 24]}},
    "qwen3_vl": {"hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36}
    | {"num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 151_936, "head_dim": 128}
    | {"rope_parameters": MROPE | {"mrope_section": [24, 20, 20], "mrope_interleaved": True}},
    "llava_next": {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14_336}
    | {"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8}
    | {"vocab_size": 128_320},
    "mllama": {},
    "gemma3": {"hidden_size": 2560, "intermediate_size": 10_240, "num_hidden_layers": 34}
    | {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256}
    | {"sliding_window": 1024, "vocab_size": 262_208},
    "blip2": {"model_type": "opt", "hidden_size": 2560, "ffn_dim": 10_240, "vocab_size": 50_304}
    | {"num_hidden_layers": 32, "num_attention_heads": 32, "word_embed_proj_dim": 2560},
}
UNTIED = {"tie_word_embeddings": False}
CONFIGS: dict[str, tuple[Any, dict[str, Any]]] = {
    "qwen2_5_vl": (hf.Qwen2_5_VLConfig, UNTIED),
    "qwen3_vl": (hf.Qwen3VLConfig, UNTIED),
    "llava_next": (hf.LlavaNextConfig, UNTIED | {"image_grid_pinpoints": GRIDS}),
    "mllama": (hf.MllamaConfig, {}),
    "gemma3": (hf.Gemma3Config, {"mm_tokens_per_image": 256}),
    "blip2": (hf.Blip2Config, {}),
}
PROCESSORS: dict[str, dict[str, Any]] = {
    "qwen2_5_vl": {
        "image_processor": {
            "patch_size": 14,
            "size": {"shortest_edge": 3136, "longest_edge": 12_845_056},
        }
    },
    "qwen3_vl": {
        "image_processor": {
            "patch_size": 16,
            "size": {"shortest_edge": 65_536, "longest_edge": 16_777_216},
        }
    },
    "llava_next": {
        "patch_size": 14,
        "image_processor": {
            "size": {"shortest_edge": 336},
            "crop_size": {"height": 336, "width": 336},
            "image_grid_pinpoints": GRIDS,
        },
    },
    "mllama": {"image_processor": {"size": {"height": 560, "width": 560}}},
    "gemma3": {"image_seq_length": 256, "image_processor": {"size": {"height": 896, "width": 896}}},
    "blip2": {"num_query_tokens": 32, "image_processor": {"size": {"height": 224, "width": 224}}},
}
# Millions of parameters of the published checkpoints: Qwen2.5-VL-7B, Qwen3-VL-8B, llama3-llava-next-8b,
# Llama-3.2-11B-Vision, gemma-3-4b and medgemma-4b, blip2-opt-2.7b.
PUBLISHED = {
    "qwen2_5_vl": 8292,
    "qwen3_vl": 8767,
    "llava_next": 8355,
    "mllama": 10_670,
    "gemma3": 4300,
    "blip2": 3745,
}


def folder(family: str, path: Path) -> Path:
    """The published `config.json` and image processor, the tiny tokenizer, no weights."""
    shutil.copytree(models.folder(family), path)
    (path / "model.safetensors").unlink()
    tiny = json.loads((path / "config.json").read_text())
    tokens = {key: tiny[key] for key in tiny if "token" in key and isinstance(tiny[key], int)}
    kind, more = CONFIGS[family]
    made = kind(text_config=TEXT[family], vision_config=VISION[family], **{**tokens, **more})
    made.save_pretrained(path)
    processor = json.loads((path / "processor_config.json").read_text())
    changes = PROCESSORS[family]
    image_processor = processor["image_processor"] | changes["image_processor"]
    processor |= changes | {"image_processor": image_processor}
    (path / "processor_config.json").write_text(json.dumps(processor))
    return path
