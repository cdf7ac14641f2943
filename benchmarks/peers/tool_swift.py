"""ms-swift's `sft_main` on messages; run inside its own environment.

default: gradient checkpointing, which it switches on. best: without it. Logits at responses only are its
default. Its template for Qwen2-VL writes image tokens by a hard-coded id, 151655. With a tokenizer where
that is not `<|image_pad|>` the image is silently left at one token, so the id is set right here.
"""

import json
import sys
from pathlib import Path

import probe
from swift.arguments import SftArguments
from swift.pipelines import sft_main
from swift.template.templates.qwen import Qwen2VLTemplate


def main(folder: Path, setting: str, out: Path) -> None:
    """Train."""
    settings = json.loads((folder / "settings.json").read_text())
    probe.install(out, ("ms-swift", "transformers", "peft", "torch"))
    Qwen2VLTemplate.image_token_id = settings["image_token"]
    Qwen2VLTemplate.video_token_id = settings["video_token"]
    lora = settings["lora"]
    given = {} if setting == "default" else {"gradient_checkpointing": False}
    sft_main(
        SftArguments(
            model=str(folder / "model"),
            model_type="qwen2_vl",
            template="qwen2_vl",
            dataset=[str(folder / "data" / "train.jsonl")],
            tuner_type="lora",
            target_modules=["all-linear"],
            lora_rank=lora["r"],
            lora_alpha=lora["lora_alpha"],
            lora_dropout=lora["lora_dropout"],
            torch_dtype="float32",
            use_hf=True,
            split_dataset_ratio=0.0,
            dataset_num_proc=1,
            output_dir=str(out.with_suffix("")),
            **settings["trainer"],
            **given,
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
