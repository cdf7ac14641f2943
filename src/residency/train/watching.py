"""Looking at a model while it trains: what it says about a validation slice, and its best state."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from residency.dataset import Dataset
from residency.model.huggingface import Backbone
from residency.train import checkpoint

BEST = "best"  # folder of a stage: the model at its best look


@runtime_checkable
class Watch(Protocol):
    """How to look at a model in training; a frozen dataclass whose repr says which."""

    @property
    def every(self) -> int:
        """Updates between two looks; the last update is followed by one."""
        ...

    @property
    def keep_best(self) -> bool:
        """Whether the stage leaves the model of the best look instead of the last one."""
        ...

    def describe(self, datasets: Sequence[Dataset]) -> str:
        """What will be looked at, for people."""
        ...

    def refuse(self, datasets: Sequence[Dataset]) -> None:
        """Say what makes looking impossible, before anything is trained."""
        ...

    def look(
        self, backbone: Backbone, datasets: Sequence[Dataset], seed: int
    ) -> Mapping[str, float]:
        """Figures by name; `mean` is the one by which looks are compared, larger is better.

        Empty where nothing can be computed of the answers.
        """
        ...


@dataclass(kw_only=True)
class Looks:
    """The looks of one run: when they are due, what they found, and the best of them.

    `save` writes the model as it is into a folder.
    """

    watch: Watch
    backbone: Backbone
    datasets: Sequence[Dataset]
    seed: int
    folder: Path
    save: Callable[[Path], None]
    identity: Mapping[str, object]
    best: dict[str, Any] = field(default_factory=dict)

    def due(self, update: int, total: int) -> bool:
        """Whether an update is followed by a look."""
        return not update % self.watch.every or update == total

    def after(self, update: int) -> dict[str, Any]:
        """What is seen after an update, for the journal."""
        with _answering(self.backbone):
            found = dict(self.watch.look(self.backbone, self.datasets, self.seed))
        better = bool(found) and (not self.best or found["mean"] > self.best["mean"])
        if better:
            if self.watch.keep_best:
                checkpoint.commit(self.folder / BEST, self.save, self.identity)
            self.best = {"update": update, "mean": found["mean"]}
        return {"watched": found, "best": better}

    def describe(self) -> str:
        """For people, at the end."""
        if not self.best:
            return "no look could be judged; the last model is left"
        return f"best look: {self.best['mean']:.3f} after update {self.best['update']}"


@contextmanager
def _answering(backbone: Backbone) -> Iterator[None]:
    """Inside, the model answers as in an evaluation, past the cache that training looks ahead in."""
    encoder, backbone.encoder = backbone.encoder, None
    try:
        with torch.no_grad():
            yield
    finally:
        backbone.encoder = encoder
        backbone.train()
