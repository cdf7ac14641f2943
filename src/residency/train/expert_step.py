"""The step that fits VITask's expert: one classifier over all data sets of a run."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from residency.data.mixture import Share
from residency.data.strata import stratified
from residency.dataset import Dataset
from residency.errors import UsageError
from residency.model.expert import Expert, layout, open_trunk
from residency.step import Workspace
from residency.train import checkpoint
from residency.train.expert import fit
from residency.train.journal import Journal
from residency.types import Sample

SPLITS = ("train", "val")
FROM_SCRATCH, OF_TRUNK = 1e-3, 5e-5  # learning rates of `small` and of other trunks; both are ours


@dataclass(frozen=True, kw_only=True)
class FitExpert:
    """Fit a joint classifier (VITask, A.2: 30 epochs, best on validation) and save it.

    `source` is `small` (ours), `timm:NAME` or a Hugging Face folder or id. `lr` defaults to 1e-3
    for `small` and 5e-5 for other sources. `start` names an earlier fitting step whose weights it
    starts from. It leaves `<run>/<name>/expert`, and a row per epoch in `journal.jsonl`.
    """

    name: str
    data: tuple[str, ...]
    source: str = "small"
    epochs: int = 30
    lr: float | None = None
    batch_size: int = 64
    start: str | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """The expert it starts from, if any."""
        return (self.start,) if self.start else ()

    @property
    def rate(self) -> float:
        """The highest learning rate of the schedule."""
        if self.lr is not None:
            return self.lr
        return FROM_SCRATCH if self.source == "small" else OF_TRUNK

    def check(self, workspace: Workspace) -> None:
        """Refuse what cannot work, before anything trains and without the network.

        Raises:
            UsageError: a source that is not here, data without train, val or closed labels.
        """
        if self.epochs < 1 or self.batch_size < 1:
            raise UsageError(
                f"epochs={self.epochs}, batch_size={self.batch_size}: both must be at least 1."
            )
        datasets = workspace.datasets(self.data)
        layout(datasets)
        for dataset in datasets:
            for split in SPLITS:
                if not len(dataset.split(split)):
                    raise UsageError(f"The split {split!r} of data set {dataset.name!r} is empty.")
        described(self.source)

    def plan(self, workspace: Workspace) -> list[str]:
        """Samples, trunk, outputs and learning rate."""
        self.check(workspace)
        datasets = workspace.datasets(self.data)
        _, shares = limited(datasets, workspace.limit, workspace.seed)
        return [
            *(f"{s.dataset}/{s.split}: {s.used} of {s.available} samples" for s in shares),
            f"{described(self.source)}, {layout(datasets).outputs} outputs, {self.epochs} epochs "
            f"of batches of {self.batch_size}, lr {self.rate:g}",
        ]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Fit and commit."""
        datasets, shares = limited(workspace.datasets(self.data), workspace.limit, workspace.seed)
        expert = Expert.create(self.source, datasets, seed=workspace.seed)
        folder = workspace.folder(self.name)
        with Epochs(folder, self.name, self.epochs) as epochs:
            report = fit(
                expert,
                datasets,
                epochs=self.epochs,
                lr=self.rate,
                batch_size=self.batch_size,
                seed=workspace.seed,
                start=workspace.expert(self.start) if self.start else None,
                log=epochs.show,
            )
        facts = {"step": self.name, "recipe": workspace.command}
        checkpoint.commit(folder / "expert", expert.save, facts)
        return {
            "report": report.as_json(),
            "width": expert.width,
            "lr": self.rate,
            "samples": [share._asdict() for share in shares],
        }


class Epochs:
    """One line per epoch on stderr, and one row in the journal."""

    def __init__(self, folder: Path, label: str, total: int) -> None:
        self._journal = Journal(folder)
        self._label, self._total = label, total
        self._began = time.perf_counter()

    def show(self, row: Mapping[str, Any]) -> None:
        """Tell of a finished epoch; `row` is what `fit` logs."""
        seconds = time.perf_counter() - self._began
        done = row["epoch"]
        left = seconds / done * (self._total - done)
        self._journal.update(done, {**row, "seconds": seconds})
        print(
            f"{self._label} {done}/{self._total}  loss {row['loss']:.3f}  "
            f"validation {row['val_accuracy']:.1%}  {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )

    def __enter__(self) -> "Epochs":
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()


def limited(
    datasets: Sequence[Dataset], limit: int | None, seed: int
) -> tuple[list[Dataset], list[Share]]:
    """The data sets with at most `limit` samples in train and in val, and what that leaves.

    The same subset as the one that a stage trains on, so an expert never saw more than the model.

    Raises:
        UsageError: limit < 1, or a data set without one of the splits.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit={limit} leaves nothing; give a positive number or none.")
    cut, shares = [], []
    for dataset in datasets:
        splits: dict[str, Sequence[Sample]] = {}
        for split in SPLITS:
            samples = splits[split] = dataset.split(split)
            if limit is not None and limit < len(samples):
                picks = stratified(samples, limit, seed)
                splits[split] = tuple(samples[int(index)] for index in picks)
            shares.append(Share(dataset.name, split, len(splits[split]), len(samples)))
        cut.append(replace(dataset, splits=splits, admitted=None))
    return cut, shares


def described(source: str) -> str:
    """The trunk of `source` in a few words, opened without weights from outside.

    Raises:
        UsageError: no such trunk on this machine.
    """
    if source == "small":
        return "small"
    if source.startswith("timm:"):
        with torch.random.fork_rng(devices=[]):
            spec = open_trunk(source.removesuffix(",pretrained"), None)[1]
        return f"{source} at {spec.image_size} pixels"
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"No expert {source!r} on this machine. Give 'small', 'timm:NAME', a Hugging Face "
            f"folder, or an id after `hf download {source}`."
        ) from error
    return f"{source} ({config.model_type})"
