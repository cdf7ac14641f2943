"""LLaMA-Factory's `run_exp` on ShareGPT messages; run inside its own environment.

default: gradient checkpointing, which it switches on. best: without it, and PyTorch's attention by name.
It pins transformers to 5.6. It imports torchaudio whatever the model, and the newest torchaudio refuses the
CUDA libraries of the torch that all tools share here; no image needs it, so an empty module stands in.
"""

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import probe

sys.modules["torchaudio"] = ModuleType("torchaudio")
sys.modules["torchaudio"].__spec__ = ModuleSpec("torchaudio", None)

from llamafactory.train.tuner import run_exp  # noqa: E402

TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}


def main(folder: Path, setting: str, out: Path) -> None:
    """Train."""
    settings = json.loads((folder / "settings.json").read_text())
    probe.install(out, ("llamafactory", "transformers", "peft", "torch"))
    data = out.with_suffix(".data")
    data.mkdir()
    described = {
        "file_name": str(folder / "data" / "train.jsonl"),
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"},
        "tags": TAGS,
    }
    (data / "dataset_info.json").write_text(json.dumps({"bench": described}))
    lora = settings["lora"]
    given = {"disable_gradient_checkpointing": True, "flash_attn": "sdpa"}
    run_exp(
        {
            "model_name_or_path": str(folder / "model"),
            "stage": "sft",
            "do_train": True,
            "finetuning_type": "lora",
            "lora_target": "all",
            "lora_rank": lora["r"],
            "lora_alpha": lora["lora_alpha"],
            "lora_dropout": lora["lora_dropout"],
            "dataset": "bench",
            "dataset_dir": str(data),
            "media_dir": str(folder / "data"),
            "template": "qwen2_vl",
            "cutoff_len": 2048,
            "overwrite_cache": True,
            "output_dir": str(out.with_suffix("")),
            **settings["trainer"],
            **({} if setting == "default" else given),
        }
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
