"""Fit an expert jointly: loss on the slice of each sample's data set, best epoch kept."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from residency.dataset import Dataset
from residency.errors import ResidencyError, UsageError
from residency.model.expert import Expert
from residency.train.expert_table import Table, tabulate

Log = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Augment:
    """Random changes of a training image that no label depends on; no flips, for sides can matter.

    `shift` is the largest translation as a share of the side, `brightness` and `contrast` the
    largest relative change. The amounts are ours.
    """

    shift: float = 0.06
    brightness: float = 0.1
    contrast: float = 0.1


@dataclass(frozen=True, slots=True)
class FitReport:
    """One row per epoch, which epoch was kept, and the bytes of images held in memory meanwhile."""

    epochs: list[dict[str, Any]]
    best: int
    outputs: int
    taken_over: int
    image_bytes: int

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def slice_loss(
    logits: Float[Tensor, "n o"],
    targets: Float[Tensor, "n o"],
    inside: Bool[Tensor, "n o"],
    multi: Bool[Tensor, " n"],
) -> Float[Tensor, " n"]:
    """Softmax cross-entropy over the sample's slice, or the mean BCE of its outputs if multi-label.

    Outputs outside the slice get no gradient (VITask, A.2).
    """
    closed = logits.masked_fill(~inside, -math.inf).log_softmax(-1)
    softmax = -(closed.masked_fill(~inside, 0) * targets).sum(-1)
    each = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    bce = each.masked_fill(~inside, 0).sum(-1) / inside.sum(-1)
    return torch.where(multi, bce, softmax)


def right(
    logits: Float[Tensor, "n o"],
    targets: Float[Tensor, "n o"],
    inside: Bool[Tensor, "n o"],
    multi: Bool[Tensor, " n"],
) -> Bool[Tensor, " n"]:
    """Whether the whole answer is right: the best label, or every label at a threshold of 0.5."""
    best = logits.masked_fill(~inside, -math.inf).argmax(-1)
    single = targets.gather(1, best[:, None])[:, 0] > 0
    several = (((logits > 0) == (targets > 0)) | ~inside).all(-1)
    return torch.where(multi, several, single)


def fit(
    expert: Expert,
    datasets: Sequence[Dataset],
    *,
    epochs: int,
    lr: float,
    batch_size: int,
    seed: int,
    start: Path | None = None,
    augment: Augment = Augment(),
    log: Log | None = None,
) -> FitReport:
    """Train on the union of the training splits, uniform over samples, and keep the best epoch.

    AdamW (weight decay 0.05) with one-cycle learning rate. Best means the highest validation
    accuracy, averaged over data sets; ties go to the lower validation loss, then to the earlier
    epoch. `start` is the folder of an expert whose weights are taken over first. The same seed
    gives the same weights on the same machine.

    Raises:
        UsageError: epochs or batch size below one; ResidencyError: the loss is not finite.
    """
    if epochs < 1 or batch_size < 1:
        raise UsageError(f"epochs={epochs}, batch_size={batch_size}: both must be at least 1.")
    taken = expert.adopt(Expert.load(start)) if start else 0
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    expert.to(device).requires_grad_(True)
    train, val = tabulate(expert, datasets, "train"), tabulate(expert, datasets, "val")
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(expert.parameters(), lr=lr, weight_decay=0.05)
    per_epoch = -(-len(train.pixels) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=lr, total_steps=per_epoch * epochs, pct_start=0.2
    )
    rows: list[dict[str, Any]] = []
    best, kept = -1, copy.deepcopy(expert.state_dict())
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # dropout draws from the global generators
        for epoch in range(epochs):
            loss = _epoch(expert, train, optimizer, schedule, batch_size, generator, augment)
            row = {"epoch": epoch + 1, "loss": loss} | _validate(expert, val, datasets, batch_size)
            rows.append(row)
            if log is not None:
                log(row)
            if best < 0 or _better(row, rows[best]):
                best, kept = epoch, copy.deepcopy(expert.state_dict())
    expert.load_state_dict(kept)
    expert.requires_grad_(False).eval()
    held = train.pixels.held + val.pixels.held
    return FitReport(rows, best + 1, expert.layout.outputs, taken, held)


def _better(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    ours, theirs = row["val_accuracy"], other["val_accuracy"]
    return bool(ours > theirs or (ours == theirs and row["val_loss"] < other["val_loss"]))


def _epoch(
    expert: Expert,
    train: Table,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    batch_size: int,
    generator: torch.Generator,
    augment: Augment,
) -> float:
    expert.train()
    device = next(expert.parameters()).device
    total = 0.0
    for rows in torch.randperm(len(train.pixels), generator=generator).split(batch_size):
        if len(rows) == 1 and len(train.pixels) > 1:
            rows = rows.repeat(2)  # batch normalisation needs two
        pixels = augmented(train.pixels[rows].to(device), augment, generator)
        logits = expert(expert.normalised(pixels))
        loss = slice_loss(logits, *(fact.to(device) for fact in train.facts(rows))).mean()
        if not bool(torch.isfinite(loss)):
            raise ResidencyError("The expert's loss is not finite. Lower its learning rate.")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        total += float(loss.detach()) * len(rows)
    return total / len(train.pixels)


def augmented(
    pixels: UInt8[Tensor, "n 3 h w"], augment: Augment, generator: torch.Generator
) -> Float[Tensor, "n 3 h w"]:
    """Each image moved, brightened and stretched by its own random amounts; borders repeat."""
    n, side = len(pixels), pixels.shape[-1]
    draw = (2 * torch.rand(n, 4, generator=generator) - 1).to(pixels.device)
    moved = (draw[:, :2] * augment.shift * side).round().long()
    place = torch.arange(side, device=pixels.device)
    down = (place + moved[:, :1]).clamp(0, side - 1)
    across = (place + moved[:, 1:]).clamp(0, side - 1)
    rows = torch.arange(n, device=pixels.device)[:, None, None]
    values = pixels.float().permute(0, 2, 3, 1)[rows, down[:, :, None], across[:, None, :]]
    values = values.permute(0, 3, 1, 2)
    mean = values.mean(dim=(1, 2, 3), keepdim=True)
    contrast = 1 + augment.contrast * draw[:, 2].view(-1, 1, 1, 1)
    brightness = 255 * augment.brightness * draw[:, 3].view(-1, 1, 1, 1)
    return ((values - mean) * contrast + mean + brightness).clamp(0, 255)


@torch.no_grad()
def _validate(
    expert: Expert, val: Table, datasets: Sequence[Dataset], batch_size: int
) -> dict[str, Any]:
    expert.eval()
    device = next(expert.parameters()).device
    losses, hits = [], []
    for rows in torch.arange(len(val.pixels)).split(4 * batch_size):
        logits = expert(expert.normalised(val.pixels[rows].to(device))).cpu()
        facts = val.facts(rows)
        losses.append(slice_loss(logits, *facts))
        hits.append(right(logits, *facts))
    hit = torch.cat(hits).float()
    per = {d.name: float(hit[val.dataset == k].mean()) for k, d in enumerate(datasets)}
    return {
        "val_loss": float(torch.cat(losses).mean()),
        "val_accuracy": sum(per.values()) / len(per),
        "val_accuracies": per,
    }
