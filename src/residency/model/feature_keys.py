"""What the features of an image depend on, as keys: its pixels, and the vision encoder that reads them."""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from residency.model.huggingface import Backbone

FORMAT = 1  # of keys and features; count up when what families encode changes


def obstacle(backbone: "Backbone", trained: bool) -> str:
    """Why its features cannot be kept while it trains; empty where they can."""
    if trained:
        return "the vision encoder is trained"
    config: Any = getattr(backbone.model.config, "vision_config", None)
    drops = {k: v for k, v in config.to_dict().items() if "drop" in k} if config else {}
    adapted = any(".lora_" in name for name in backbone.parts()["vision_encoder"])
    if adapted and backbone.peft:
        drops["lora_dropout"] = backbone.peft[0].peft_config["default"].lora_dropout
    random = sorted(name for name, share in drops.items() if share)
    return f"the vision encoder is random: {', '.join(random)}" if random else ""


def tower_key(backbone: "Backbone", autocast: str) -> str:
    """What a feature depends on beside its image: weights, their dtype, settings, versions."""
    tower = backbone.parts()["vision_encoder"]
    config = backbone.model.config
    adapted = backbone.peft and any(".lora_" in name for name in tower)
    adapter = backbone.peft[0].peft_config["default"] if adapted else None
    facts = {
        "format": FORMAT,
        "versions": [version("transformers"), torch.__version__],
        "family": backbone.name,
        "config": {k: v for k, v in config.to_dict().items() if k.startswith(("vision", "down"))},
        "attention": config._attn_implementation,
        "device": backbone.device.type,
        "precision": [autocast, torch.get_float32_matmul_precision()],
        "adapter": adapter and [adapter.r, adapter.lora_alpha, adapter.use_rslora],
    }
    made = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    _add(made, tower)
    return made.hexdigest()


def content_key(pixels: Mapping[str, Tensor]) -> str:
    """A hash of the preprocessed pixels of an image and of how they are laid out."""
    made = hashlib.sha256()
    _add(made, pixels)
    return made.hexdigest()


def _add(made: Any, tensors: Mapping[str, Tensor]) -> None:
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        made.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        made.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
