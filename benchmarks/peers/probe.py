"""What a Hugging Face trainer was given and the CPU time of its updates, from inside a peer's process.

Every peer trains through `transformers.Trainer`, so its first inputs and the end of each update are
seen there, whatever the peer puts around it. Needs torch and transformers only.
"""

import json
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import turns
from transformers import Trainer
from transformers.trainer_callback import CallbackHandler


def facts_of_model(model: torch.nn.Module) -> dict[str, Any]:
    """What trains, in which precision, and what is checkpointed."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    names = {name.partition(".lora_")[0].rpartition(".")[2] for name in trained}
    return {
        "trained": sum(p.numel() for p in trained.values()),
        "targets": sorted(names),
        "in_vision": sum("visual" in name for name in trained),
        "dtypes": sorted({str(p.dtype) for p in model.parameters()}),
        "checkpointed": sum(
            bool(getattr(m, "gradient_checkpointing", False)) for m in model.modules()
        ),
        "training": model.training,
        "threads": torch.get_num_threads(),
        "attention": sorted(
            {str(m.config._attn_implementation) for m in model.modules() if hasattr(m, "config")}
        ),
    }


def facts_of_inputs(inputs: Mapping[str, Any], image: int) -> dict[str, Any]:
    """Tokens, image tokens and labels of each row, and the shape of the pixels."""
    tokens, labels = inputs["input_ids"], inputs["labels"]
    mask = inputs.get("attention_mask", torch.ones_like(tokens)).bool()
    return {
        "rows": [row[seen].tolist() for row, seen in zip(tokens, mask, strict=True)],
        "image_tokens": (tokens == image).sum(1).tolist(),
        "labels": (labels != -100).sum(1).tolist(),
        "pixels": list(inputs["pixel_values"].shape),
        "grids": inputs["image_grid_thw"].tolist(),
    }


def install(out: Path, tools: tuple[str, ...]) -> None:
    """Watch the one training run of this process and write what was seen to `out` when it ends."""
    image = json.loads((out.parent / "settings.json").read_text())["image_token"]
    seen: dict[str, Any] = {"versions": {tool: version(tool) for tool in tools}, "clock": []}
    step, end, finish = (
        Trainer.training_step,
        CallbackHandler.on_step_end,
        CallbackHandler.on_train_end,
    )

    def training_step(self: Any, model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
        if "rows" not in seen:
            seen.update(facts_of_inputs(inputs, image) | facts_of_model(model))
        return step(self, model, inputs, *rest, **named)

    def on_step_end(self: Any, *given: Any) -> Any:
        seen["clock"].append(time.process_time())
        turns.wait()
        return end(self, *given)

    def on_train_end(self: Any, args: Any, state: Any, control: Any) -> Any:
        seen["losses"] = [entry["loss"] for entry in state.log_history if "loss" in entry]
        out.write_text(json.dumps(seen))
        return finish(self, args, state, control)

    Trainer.training_step = training_step
    CallbackHandler.on_step_end = on_step_end
    CallbackHandler.on_train_end = on_train_end
