"""CPU time of plain LoRA tuning: what the causal path, lean adapters and a pruned last block save.

python benchmarks/plain_tuning.py --json plain.json

Forward and backward of one batch of the small Qwen2-VL of `peers/world.py` (448 x 448, 256 tokens an image),
one thread, float32, image features at hand (`--cold`: not). All forms run in turn, in one process, so that
they meet the same machine; a form differs from the one above it by what its name says.
"""

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))

import figures
import torch
import world
from cpu_time import loss_of
from peft.tuners.lora.layer import Linear

from residency.data.mixture import Mixture
from residency.dataset import open_dataset
from residency.model import store
from residency.model.adapters import LeanLinear, streamline
from residency.model.huggingface import Backbone
from residency.objectives.likelihood import Likelihood
from residency.task import Wording
from residency.train.trainable import apply
from residency.train.values import LoRA
from residency.types import PLAIN, Batch

FORMS = ("as PEFT and a dense mask, whole last block", "pruned", "causal path", "lean LoRA")


@dataclass(frozen=True, slots=True)
class Row:
    """One form: CPU seconds of forward and backward."""

    form: str
    median: float
    least: float


def prepared(folder: Path, batch: int) -> tuple[Backbone, Batch]:
    """The model of the peers with adapters, and a batch of its data."""
    world.write(folder, samples=batch, batch=batch, steps=1)
    backbone = store.load(str(folder / "model"), device=torch.device("cpu"), dtype=torch.float32)
    rank, alpha = world.LORA["r"], world.LORA["lora_alpha"]
    apply(backbone, {"language_model": LoRA(lr=1e-4, rank=int(rank), alpha=int(alpha))})
    data = open_dataset(str(folder / "data"))
    mixture = Mixture.of([data], "train", wording=Wording(), codec=backbone.codec)
    readings = [mixture.readings(k)[0] for k in range(batch)]
    return backbone.train(), backbone.collate(readings, [PLAIN], "trees")


def take(backbone: Backbone, form: int) -> None:
    """Let the backbone run in a form of `FORMS`."""
    backbone.whole = "" if form >= 1 else "measured whole"
    for module in backbone.model.modules():
        if form < 3 and isinstance(module, LeanLinear):
            module.__class__ = Linear
    if form >= 3:
        streamline(backbone.model)


def measure(batch: int, repeats: int, cold: bool) -> list[Row]:
    """All forms in turn, so often."""
    with tempfile.TemporaryDirectory() as folder:
        backbone, straight = prepared(Path(folder), batch)
    tree = straight.tree
    if tree is None or not tree.straight:
        raise SystemExit("The rows of the batch have branches: nothing to compare.")
    branched = replace(straight, tree=replace(tree, straight=False))
    if not cold:
        with torch.no_grad():
            stored = backbone.see(straight)
        backbone.see = lambda batch: stored  # type: ignore[method-assign]
    seconds: dict[int, list[float]] = {form: [] for form in range(len(FORMS))}
    for _ in range(repeats + 1):
        for form, taken in seconds.items():
            take(backbone, form)
            given = straight if form >= 2 else branched
            began = time.thread_time()
            loss: Any = loss_of(Likelihood(), backbone.read(given), given)
            loss.backward()
            taken.append(time.thread_time() - began)
            backbone.zero_grad(set_to_none=True)
    return [
        Row(name, statistics.median(taken[1:]), min(taken[1:]))
        for name, taken in zip(FORMS, seconds.values(), strict=True)
    ]


def main() -> None:
    """Measure, print, and write the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(options.batch, options.repeats, options.cold)
    print(f"{'form':<46}{'CPU s':>8}{'least':>8}{'of the first':>14}{'least':>8}")
    for row in rows:
        line = f"{row.form:<46}{row.median:>8.3f}{row.least:>8.3f}"
        print(f"{line}{row.median / rows[0].median:>14.2f}{row.least / rows[0].least:>8.2f}")
    figures.write(rows, options.json)


if __name__ == "__main__":
    main()
