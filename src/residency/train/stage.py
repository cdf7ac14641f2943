"""Steps that train: a stage of the backbone, and the fitting of an expert."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from residency.data.mixture import Mixture
from residency.errors import UsageError
from residency.model import store
from residency.model.expert import Expert
from residency.model.huggingface import Exemplar, Limits
from residency.objective import Objective
from residency.step import Workspace
from residency.task import Wording
from residency.train import checkpoint
from residency.train.estimate import Estimate, estimate
from residency.train.trainable import planned
from residency.train.trainer import Outcome, Run
from residency.train.values import Schedule, Train


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One optimizer run: mixture x objective x which parts train, from the model `after` left.

    `expert` names the fitting step whose expert feeds the exemplar slot; None keeps the one that the
    model already carries. The model it leaves is `<run>/<name>/model`.
    """

    name: str
    after: str
    data: tuple[str, ...]
    objective: Objective
    train: Mapping[str, Train]
    schedule: Schedule = Schedule()
    expert: str | None = None
    exemplar: Exemplar = "cls"
    wording: Wording = Wording()
    limits: Limits = Limits()
    precision: Literal["auto", "no", "bf16", "fp16"] = "auto"

    @property
    def needs(self) -> tuple[str, ...]:
        """The model it starts from, and the expert it attaches."""
        return (self.after, self.expert) if self.expert else (self.after,)

    def plan(self, workspace: Workspace) -> list[str]:
        """Samples, parts, updates, and an estimate of time and memory on this machine."""
        backbone = store.empty(workspace.base)
        if self.exemplar == "replace" and not backbone.family.replaces_image:
            raise UsageError(f"{backbone.name} cannot replace its image by an exemplar.")
        mixture = self._mixture(workspace, backbone.codec)
        if any(view.image == "negative" for view in self.objective.views):
            mixture.negatives.check()
        lines = [
            f"{share.dataset}/{share.split}: {share.used} of {share.available} samples"
            for share in mixture.describe()
        ]
        rows = planned(backbone, self.train)
        lines += [
            f"{row.part}: {row.how}, {row.trainable:,} of {row.parameters:,} parameters"
            for row in rows
        ]
        views = self.objective.views
        lines.append(f"{self.objective!r} reads {', '.join(view.name for view in views)}")
        total = self.schedule.total(len(mixture))
        cost: Estimate = estimate(backbone, mixture, rows, self.schedule, len(views))
        lines.append(f"{total} updates of {self.schedule.batch_size} samples; {cost.describe()}")
        return lines

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Train, or resume, and commit the model."""
        folder = workspace.folder(self.name)
        checkpoint.clean(folder)
        backbone = store.load(workspace.model(self.after))
        if self.expert is not None:
            expert = Expert.load(workspace.expert(self.expert))
            backbone.attach(expert, exemplar=self.exemplar, seed=workspace.seed)
        backbone.limits = self.limits
        run = Run(
            backbone=backbone,
            mixture=self._mixture(workspace, backbone.codec),
            objective=self.objective,
            train=self.train,
            schedule=self.schedule,
            seed=workspace.seed,
            folder=folder,
            changed=_changed(workspace.model(self.after)),
            identity={"stage": repr(self), "base": store.identity(workspace.base)},
            precision=self._precision(),
        )
        outcome = run()
        target = folder / "model"
        checkpoint.commit(
            target,
            lambda staged: store.save(backbone, staged, changed=run.changed),
            {"stage": self.name, "recipe": workspace.command},
        )
        checkpoint.prune(folder / "checkpoints", 1)
        return _facts(outcome, run.mixture)

    def _mixture(self, workspace: Workspace, codec: Any) -> Mixture:
        return Mixture.of(
            workspace.datasets(self.data),
            "train",
            limit=workspace.limit,
            wording=self.wording,
            codec=codec,
            seed=workspace.seed,
        )

    def _precision(self) -> str:
        if self.precision != "auto":
            return self.precision
        return "bf16" if torch.cuda.is_available() else "no"


def _changed(model: str) -> set[str]:
    """Parts that a checkpoint already holds in full; they stay in what is saved next."""
    folder = store.checkpoint_folder(model)
    if folder is None:
        return set()
    described = json.loads((folder / "residency.json").read_text())
    return set(described["changed"])


def _facts(outcome: Outcome, mixture: Mixture) -> dict[str, Any]:
    return {
        "updates": outcome.updates,
        "samples": [share._asdict() for share in mixture.describe()],
        "parts": [asdict(row) for row in outcome.parts],
        "audit": dict(outcome.audit),
        "last_terms": dict(outcome.last_terms),
        "dropped": outcome.dropped,
        "shrunk": outcome.shrunk,
        "train_seconds": outcome.seconds,
    }
