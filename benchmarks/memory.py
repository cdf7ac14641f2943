"""Peak memory of an update: what is shared read once, and what frozen parts need not save.

python benchmarks/memory.py --json memory.json

On a CPU: MiB that autograd holds at once for the backward pass of a small InternVL with real token counts,
weights not included. With `--device cuda`: peak MiB of the allocator during an update at the shape of
InternVL2-2B in bfloat16, weights included. Naive: a row per view or question, each with its own image
pass and all its logits. Trees: the product's `read`. Warm: the same with image features at hand, which
only a frozen vision encoder allows.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import figures
import torch
from cpu_time import loss_of, naively
from flops import PUBLISHED, TINY, internvl, pairs, questions, with_expert
from torch import Tensor

from residency.model.huggingface import Backbone, to_device
from residency.objective import Objective
from residency.objectives.likelihood import Likelihood
from residency.objectives.vitask import VITask
from residency.types import Reading

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Row:
    """One case under one choice of what trains: MiB in each form, None where a form is impossible."""

    case: str
    trained: str
    naive: float
    trees: float
    warm: float | None


def saved(loss_of_update: Callable[[], Tensor], parameters: Sequence[Tensor]) -> float:
    """MiB of distinct storages held for the backward pass when it begins, parameters left out."""
    held: dict[int, int] = {}
    own = {p.untyped_storage().data_ptr() for p in parameters}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = loss_of_update()  # keeps the graph, and with it the storages, alive
    del loss
    return sum(held.values()) / MIB


def allocated(loss_of_update: Callable[[], Tensor], parameters: Sequence[Tensor]) -> float:
    """Peak MiB of the allocator during forward and backward."""
    for parameter in parameters:
        parameter.grad = None
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    loss_of_update().backward()  # type: ignore[no-untyped-call]
    return torch.cuda.max_memory_allocated() / MIB


def case(
    name: str, trained: str, backbone: Backbone, objective: Objective, some: Sequence[Reading]
) -> Row:
    """The three forms of one batch."""
    device = backbone.device
    rows, trees = (
        to_device(backbone.collate(some, objective.views, form), device)
        for form in ("rows", "trees")  # type: ignore[arg-type]
    )
    parameters = list(backbone.parameters())
    peak = allocated if device.type == "cuda" else saved
    see = backbone.see
    naive = peak(lambda: naively(backbone, objective, rows), parameters)
    cold = peak(lambda: loss_of(objective, backbone.read(trees), trees), parameters)
    warm = None
    if not any(p.requires_grad for p in backbone.parts()["vision_encoder"].values()):
        with torch.no_grad():
            stored = see(trees)
        backbone.see = lambda batch: stored  # type: ignore[method-assign]
        warm = peak(lambda: loss_of(objective, backbone.read(trees), trees), parameters)
        backbone.see = see  # type: ignore[method-assign]
    return Row(name, trained, naive, cold, warm)


def freed(backbone: Backbone, *names: str) -> None:
    """Train these parts in full and nothing else."""
    backbone.requires_grad_(False)
    for name in names:
        for parameter in backbone.parts()[name].values():
            parameter.requires_grad_(True)


def measure(device: str, batch: int) -> list[Row]:
    """VITask's second stage and eight questions an image, with more and more of the model frozen."""
    sizes: Any = PUBLISHED if device == "cuda" else TINY
    backbone = internvl(sizes, device)
    if device == "cuda":
        backbone.model.bfloat16()
    asked, stage = questions(2, 8), VITask(align=1.0, contrast=1.0)
    rows = []
    for trained, parts in (
        ("all parts", ("vision_encoder", "connector", "language_model")),
        ("all but the vision encoder", ("connector", "language_model")),
    ):
        freed(backbone, *parts)
        rows.append(case("8 questions an image", trained, backbone, Likelihood(), asked))
    with_expert(backbone)
    backbone.attach(backbone.expert)  # type: ignore[arg-type]
    for name, objective, some in (
        ("8 questions an image", Likelihood(), asked),
        ("VITask stage 2", stage, pairs(batch)),
    ):
        rows.append(case(name, "adapters", backbone, objective, some))
    return rows


def table(rows: list[Row]) -> str:
    """MiB, and how much more the naive form holds."""
    lines = [
        f"{'case':<22}{'trained':<28}{'naive':>9}{'trees':>9}{'warm':>9}"
        f"{'naive/trees':>13}{'naive/warm':>12}"
    ]
    for row in rows:
        line = f"{row.case:<22}{row.trained:<28}{row.naive:>9.0f}{row.trees:>9.0f}"
        line += f"{'-':>9}" if row.warm is None else f"{row.warm:>9.0f}"
        line += f"{row.naive / row.trees:>13.2f}"
        line += f"{'-':>12}" if row.warm is None else f"{row.naive / row.warm:>12.2f}"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(options.device, options.batch)
    what = "peak of the allocator" if options.device == "cuda" else "held for the backward pass"
    print(f"MiB, {what}, batch of {options.batch} (2 images for questions).")
    print(table(rows))
    figures.write(rows, options.json)


if __name__ == "__main__":
    main()
