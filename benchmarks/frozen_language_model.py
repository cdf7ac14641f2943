"""What a frozen language model saves: time, work and memory of an update, beside tuning everything.

python benchmarks/frozen_language_model.py --json frozen_language_model.json

Nano reads phantom reports under the proxy instruction, forward, backward and one AdamW step, on one
thread in float32. FLOPs are those that torch counts; gradients, moments and kept activations are the
bytes that are allocated for them, each storage once. Peak is the most that torch holds at once during a
first update and its optimizer step, weights not counted. CPU time is the median of the repeats.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import figures
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from residency.data.mixture import Mixture
from residency.dataset import open_dataset
from residency.model import store
from residency.objectives.likelihood import Likelihood
from residency.task import Wording
from residency.train.trainable import apply
from residency.train.values import Full, Train
from residency.types import PROXY, Batch

DATA = "benchmark:phantoms:smear:train=64:val=4:test=4"
VISION: Mapping[str, Train] = {"vision_encoder": Full(lr=1e-6), "connector": Full(lr=1e-6)}
PROXY_ONLY: Mapping[str, Train] = {"proxy_instruction": Full(lr=1e-6)}
STAGES: Mapping[str, Mapping[str, Train]] = {
    "warm-up (proxy alone)": PROXY_ONLY,
    "main (language model frozen)": {**VISION, **PROXY_ONLY},
    "everything": {**VISION, **PROXY_ONLY, "language_model": Full(lr=1e-6)},
}


@dataclass(frozen=True, slots=True)
class Row:
    """One stage: weights that move, work and memory of an update."""

    stage: str
    trainable: int
    gflops: float
    gradients_mb: float
    moments_mb: float
    activations_mb: float
    peak_mb: float
    seconds: float


def peak(work: Callable[[], None]) -> int:
    """The most bytes that torch holds at once while `work` runs, beyond those it held before."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as seen:
        work()
    changes = [
        event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"
    ]
    held = most = 0
    for change in sorted(changes, key=lambda event: event.start_ns()):
        held += change.nbytes()
        most = max(most, held)
    return most


def measure(name: str, train: Mapping[str, Train], size: int, repeats: int) -> Row:
    """A fresh nano under a stage's settings."""
    backbone = store.load("nano", device=torch.device("cpu"))
    backbone.instruct(8)
    groups = apply(backbone, train)
    optimizer = torch.optim.AdamW(groups)
    mixture = Mixture.of([open_dataset(DATA)], "train", wording=Wording(), codec=backbone.codec)
    readings = [mixture.reading(k) for k in range(size)]
    batch = backbone.collate(readings, [PROXY], backbone.form)
    objective = Likelihood(view=PROXY)
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, torch.nn.Parameter):
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def update(batch: Batch = batch) -> None:
        terms = objective(backbone.read(batch), batch.targets)["nll"]
        terms.mean().backward()

    saved = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
    with saved, FlopCounterMode(display=False) as counter:
        update()
    weights = {p.untyped_storage().data_ptr() for p in backbone.parameters()}
    activations = sum(size for place, size in kept.items() if place not in weights)
    gradients = sum(p.grad.nbytes for p in backbone.parameters() if p.grad is not None)
    optimizer.step()
    moments = sum(
        value.nbytes
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, Tensor) and value.ndim
    )

    def step() -> None:
        update()
        optimizer.step()

    optimizer.state.clear()
    optimizer.zero_grad(set_to_none=True)
    most = peak(step)
    optimizer.zero_grad(set_to_none=True)
    times = []
    for _ in range(repeats):
        began = time.process_time()
        step()
        optimizer.zero_grad(set_to_none=True)
        times.append(time.process_time() - began)
    return Row(
        stage=name,
        trainable=sum(p.numel() for p in backbone.parameters() if p.requires_grad),
        gflops=counter.get_total_flops() / 1e9,
        gradients_mb=gradients / 1e6,
        moments_mb=moments / 1e6,
        activations_mb=activations / 1e6,
        peak_mb=most / 1e6,
        seconds=statistics.median(times),
    )


def main() -> None:
    """Measure every stage and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=8, help="samples of the microbatch")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(name, train, options.size, options.repeats) for name, train in STAGES.items()]
    print(
        "| stage | trainable | GFLOP | gradients MB | moments MB | activations MB | peak MB | CPU s |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for row in rows:
        print(
            f"| {row.stage} | {row.trainable:,} | {row.gflops:.2f} | {row.gradients_mb:.1f} | "
            f"{row.moments_mb:.1f} | {row.activations_mb:.1f} | {row.peak_mb:.1f} | "
            f"{row.seconds:.2f} |"
        )
    figures.write(rows, options.json)


if __name__ == "__main__":
    main()
