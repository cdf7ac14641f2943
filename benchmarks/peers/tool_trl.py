"""TRL's SFTTrainer on prompts and completions; run inside its own environment.

default: gradient checkpointing, which TRL switches on. best: without it. bf16 autocast, TRL's other
default, is off in both, since all tools compare in float32. Its fused output head is on in both.
"""

import json
import sys
from pathlib import Path

import probe
from datasets import Dataset, Image, Sequence
from peft import LoraConfig
from tool_hf import parts
from trl import SFTConfig, SFTTrainer


def main(folder: Path, setting: str, out: Path) -> None:
    """Train."""
    settings = json.loads((folder / "settings.json").read_text())
    probe.install(out, ("trl", "transformers", "peft", "torch"))
    rows = [json.loads(line) for line in (folder / "data" / "train.jsonl").read_text().splitlines()]
    data = Dataset.from_list(
        [
            {
                "prompt": [clean(m) for m in row["messages"][:-1]],
                "completion": [clean(row["messages"][-1])],
                "images": row["images"],
            }
            for row in rows
        ]
    ).cast_column("images", Sequence(Image()))
    given = {} if setting == "default" else {"gradient_checkpointing": False}
    SFTTrainer(
        model=str(folder / "model"),
        args=SFTConfig(
            output_dir=str(out.with_suffix("")),
            model_init_kwargs={"dtype": "float32"},
            max_length=None,
            **settings["trainer"],
            **given,
        ),
        train_dataset=data,
        peft_config=LoraConfig(**settings["lora"], target_modules=settings["regex"]),
    ).train()


def clean(message: dict[str, str]) -> dict[str, str]:
    """TRL puts the image before the text of the first user turn by itself."""
    (made,) = parts([message])
    return {"role": message["role"], "content": made["content"][-1]["text"]}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
