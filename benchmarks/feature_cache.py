"""What kept features save in an update of plain tuning, and where they would not.

python benchmarks/feature_cache.py --base nano --json feature_cache.json

CPU seconds of forward and backward of the language model's LoRA, one thread. Without: all images of the
batch pass the vision encoder. Cold: they pass it, one by one where company changes bits, and are written.
Warm: they are looked up, key included. Disk: as a new process finds them, checksum included. The figures
of the engine's own measurement follow, by which it would switch itself on or off.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import figures
import torch
from vision_passes import ours, readings, untrained

from residency.model import store
from residency.model.encoder import Space, caching
from residency.model.huggingface import Backbone
from residency.objectives.likelihood import Likelihood
from residency.train.trainable import apply
from residency.train.values import LoRA
from residency.types import Batch


@dataclass(frozen=True, slots=True)
class Row:
    """One state of the cache: images through the vision encoder, CPU seconds of an update."""

    cache: str
    encoded: int
    cpu_seconds: float


def update(backbone: Backbone, batch: Batch) -> tuple[float, float]:
    """CPU seconds of one update, and its loss."""
    began = time.process_time()
    loss = ours(backbone, Likelihood(), batch)
    loss.backward()
    taken = time.process_time() - began
    backbone.zero_grad()
    return taken, float(loss.detach())


def measure(
    backbone: Backbone, batch: Batch, folder: Path, repeats: int
) -> tuple[list[Row], list[str]]:
    """Medians of interleaved repeats, and what the engine says of its own measurement."""
    seconds: dict[str, list[float]] = {"without": [], "cold": [], "warm": [], "disk": []}
    encoded = {"without": len(backbone.see(batch))}
    losses = []
    with caching(backbone, Space(folder / "measured")) as encoder, torch.no_grad():
        assert encoder is not None
        backbone.see(batch)
        said, company = list(encoder.news), encoder.company
    for k in range(repeats + 1):
        taken, loss = update(backbone, batch)
        seconds["without"].append(taken)
        losses.append(loss)
        with caching(backbone, Space(folder / str(k))) as encoder:
            assert encoder is not None
            encoder.on, encoder.company = True, company
            for state in ("cold", "warm"):
                before = encoder.counts.misses
                taken, loss = update(backbone, batch)
                seconds[state].append(taken)
                encoded[state] = encoder.counts.misses - before
                losses.append(loss)
        with caching(backbone, Space(folder / str(k))) as encoder:
            assert encoder is not None
            encoder.on = True
            taken, loss = update(backbone, batch)
            seconds["disk"].append(taken)
            encoded["disk"] = encoder.counts.misses
            losses.append(loss)
    if max(losses) - min(losses) > 1e-4 * max(1.0, abs(losses[0])):
        raise SystemExit(f"The loss depends on the cache: {min(losses)} to {max(losses)}.")
    return [Row(s, encoded[s], statistics.median(of[1:])) for s, of in seconds.items()], said


def table(rows: list[Row]) -> str:
    """Seconds, and how many times as fast as without."""
    lines = [f"{'cache':<10}{'encoded':>9}{'CPU s':>9}{'ratio':>8}"]
    lines += [
        f"{row.cache:<10}{row.encoded:>9}{row.cpu_seconds:>9.3f}"
        f"{rows[0].cpu_seconds / row.cpu_seconds:>8.2f}"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--base", help="a base model; default: nano's shape, random weights")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=224, help="pixels of the square images")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        backbone = store.load(options.base or untrained(Path(folder)), device=torch.device("cpu"))
        apply(backbone, {"language_model": LoRA(lr=1e-4)})
        made = readings(options.batch, options.side)
        batch = backbone.collate(made, Likelihood().views, "trees")
        rows, said = measure(backbone, batch, Path(folder) / "features", options.repeats)
        kept = sum(p.stat().st_size for p in (Path(folder) / "features" / "0").rglob("*.*"))
    print(f"Batch of {options.batch}, one CPU thread, float32; median of {options.repeats}.")
    print(table(rows))
    print(f"{kept / options.batch / 2**20:.2f} MiB an image on disk")
    print(*said, sep="\n")
    figures.write(rows, options.json)


if __name__ == "__main__":
    main()
