"""Plain `transformers.Trainer` with PEFT, as its documentation shows; run inside its own environment.

default: the processor runs in the collator. best: every row is processed once, before training.
"""

import json
import sys
from pathlib import Path
from typing import Any

import probe
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    Trainer,
    TrainingArguments,
)


def main(folder: Path, setting: str, out: Path) -> None:
    """Train."""
    settings = json.loads((folder / "settings.json").read_text())
    probe.install(out, ("transformers", "peft", "torch"))
    processor = AutoProcessor.from_pretrained(folder / "model")
    model = AutoModelForImageTextToText.from_pretrained(folder / "model", dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(**settings["lora"], target_modules=settings["regex"]))
    rows = [json.loads(line) for line in (folder / "data" / "train.jsonl").read_text().splitlines()]

    def collate(some: list[Any]) -> Any:
        texts = [processor.apply_chat_template(parts(r["messages"]), tokenize=False) for r in some]
        images = [Image.open(row["images"][0]).convert("RGB") for row in some]
        made = processor(text=texts, images=images, padding=True, return_tensors="pt")
        labels = made["input_ids"].masked_fill(made["attention_mask"] == 0, -100)
        opening = processor.tokenizer("<|im_start|>assistant\n")["input_ids"]
        for row, tokens in zip(labels, made["input_ids"].tolist(), strict=True):
            at = max(k for k in range(len(tokens)) if tokens[k : k + len(opening)] == opening)
            row[: at + len(opening)] = -100
        return dict(made) | {"labels": labels}

    def join(some: list[Any]) -> Any:
        made = {k: torch.cat([one[k] for one in some]) for k in ("pixel_values", "image_grid_thw")}
        for key, value in (("input_ids", 0), ("attention_mask", 0), ("labels", -100)):
            made[key] = torch.nn.utils.rnn.pad_sequence([one[key][0] for one in some], True, value)
        if "mm_token_type_ids" in some[0]:
            kinds = [one["mm_token_type_ids"][0] for one in some]
            made["mm_token_type_ids"] = torch.nn.utils.rnn.pad_sequence(kinds, True, 0)
        return made

    best = setting == "best"
    Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(out.with_suffix("")),
            remove_unused_columns=False,
            **settings["trainer"],
        ),
        train_dataset=[collate([row]) for row in rows] if best else rows,
        data_collator=join if best else collate,
    ).train()


def parts(messages: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Content lists instead of `<image>` in the text."""
    made = []
    for message in messages:
        image, text = "<image>" in message["content"], message["content"].replace("<image>", "")
        content: list[dict[str, str]] = [{"type": "image"}] if image else []
        content.append({"type": "text", "text": text})
        made.append({"role": message["role"], "content": content})
    return made


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
