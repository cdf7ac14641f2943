"""Our own training run on the same folder, with a record of the same facts.

cold: every image passes the vision encoder in every update. warm: features of the frozen vision encoder
are kept on disk; the first epoch, which writes them, is not measured, as of no tool.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import turns

from residency.data.mixture import Mixture
from residency.dataset import open_dataset
from residency.model import store
from residency.model.encoder import Space
from residency.objectives.likelihood import Likelihood
from residency.task import Wording
from residency.train.trainer import Run
from residency.train.values import LoRA, Schedule
from residency.types import Batch


def main(folder: Path, setting: str, out: Path) -> None:
    """Train."""
    settings = json.loads((folder / "settings.json").read_text())
    given, lora = settings["trainer"], settings["lora"]
    backbone = store.load(str(folder / "model"), dtype=torch.float32)
    tools = ("residency", "transformers", "peft", "torch")
    seen: dict[str, Any] = {"versions": {tool: version(tool) for tool in tools}, "clock": []}

    def watch(module: Any, args: tuple[Batch]) -> None:
        """Called as each update begins: an update lasts from one call to the next."""
        seen["clock"].append(time.process_time())
        if "rows" in seen:
            turns.wait()
        else:
            seen.update(facts(module, args[0]))

    backbone.register_forward_pre_hook(watch)
    data = open_dataset(str(folder / "data"))
    steps = given["max_steps"]
    run = Run(
        backbone=backbone,
        mixture=Mixture.of([data], "train", wording=Wording(), codec=backbone.codec),
        objective=Likelihood(),
        train={
            "language_model": LoRA(
                lr=given["learning_rate"],
                rank=lora["r"],
                alpha=lora["lora_alpha"],
                dropout=lora["lora_dropout"],
            )
        },
        schedule=Schedule(
            updates=steps + 1,  # the last call only ends the update before it
            batch_size=given["per_device_train_batch_size"],
            microbatch_size=given["per_device_train_batch_size"],
            warmup=0.0,
            decay="constant",
            weight_decay=given["weight_decay"],
            clip=given["max_grad_norm"],
        ),
        seed=given["seed"],
        folder=out.with_suffix(""),
        features=Space(out.with_suffix(".features")) if setting == "warm" else None,
        save_every=10**9,
    )
    run()
    journal = (run.folder / "journal.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in journal]
    seen["clock"] = seen["clock"][1:]  # ends of updates, as of the peers
    seen["losses"] = [row["loss"] for row in rows if "loss" in row][:steps]
    out.write_text(json.dumps(seen))


def facts(backbone: Any, batch: Batch) -> dict[str, Any]:
    """Of the first batch and of what trains, as `probe` finds them for the peers."""
    tree = batch.tree
    assert tree is not None
    trained = {name: p for name, p in backbone.named_parameters() if p.requires_grad}
    return {
        "rows": [row[: int(row.nonzero().max()) + 1].tolist() for row in tree.tokens],  # 0 pads
        "image_tokens": (tree.tokens == backbone.composer.image_id).sum(1).tolist(),
        "labels": torch.bincount(batch.targets.sample).tolist(),
        "pixels": list(batch.pixels["pixel_values"].shape),
        "grids": batch.pixels["image_grid_thw"].tolist(),
        "trained": sum(p.numel() for p in trained.values()),
        "targets": sorted({n.partition(".lora_")[0].rpartition(".")[2] for n in trained}),
        "in_vision": sum("visual" in name for name in trained),
        "dtypes": sorted({str(p.dtype) for p in backbone.parameters()}),
        "checkpointed": 0,
        "training": backbone.training,
        "threads": torch.get_num_threads(),
        "attention": [backbone.model.config._attn_implementation],
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
