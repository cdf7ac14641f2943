"""The step that fits VITask's expert: one classifier over all data sets of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from residency.model.expert import Expert, layout
from residency.step import Workspace
from residency.train import checkpoint
from residency.train.expert import fit


@dataclass(frozen=True, kw_only=True)
class FitExpert:
    """Fit a joint classifier (VITask, A.2: 30 epochs, best on validation) and save it.

    `source` is `small` (ours), `timm:NAME` or a Hugging Face folder or id. `start` names an earlier
    fitting step whose weights it starts from. It leaves `<run>/<name>/expert`.
    """

    name: str
    data: tuple[str, ...]
    source: str = "small"
    epochs: int = 30
    lr: float = 1e-3
    batch_size: int = 64
    start: str | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """The expert it starts from, if any."""
        return (self.start,) if self.start else ()

    def plan(self, workspace: Workspace) -> list[str]:
        """Outputs and samples."""
        datasets = workspace.datasets(self.data)
        outputs = layout(datasets).outputs
        lines = [f"{d.name}/train: {len(d.split('train'))} samples" for d in datasets]
        return [*lines, f"{self.source}, {outputs} outputs, {self.epochs} epochs"]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Fit and commit."""
        datasets = workspace.datasets(self.data)
        expert = Expert.create(self.source, datasets, seed=workspace.seed)
        report = fit(
            expert,
            datasets,
            epochs=self.epochs,
            lr=self.lr,
            batch_size=self.batch_size,
            seed=workspace.seed,
            start=workspace.expert(self.start) if self.start else None,
        )
        target = workspace.folder(self.name) / "expert"
        checkpoint.commit(target, expert.save, {"step": self.name, "recipe": workspace.command})
        return {"report": report.as_json(), "width": expert.width}
