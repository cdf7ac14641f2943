"""The step that measures what a model forgot: the loss of the caption task and of other tasks, each apart."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from residency.data.mixture import Mixture
from residency.data.rows import Rows
from residency.dataset import Dataset
from residency.evaluate.results import Estimate, Row, write_summary
from residency.model import store
from residency.model.huggingface import Backbone, Limits, to_device
from residency.objective import nll
from residency.provenance import versions
from residency.step import Workspace
from residency.synthesis.engine import content_key
from residency.synthesis.pairs import Pair, pairs
from residency.synthesis.seed import DESCRIBE
from residency.task import PAPER
from residency.types import PLAIN, Sample


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Mean negative log-likelihood per response token: `data` as captions, `tasks` as they stand.

    After each stage of a two-stage run this shows Table 14's forgetting, task by task.
    """

    name: str
    of: str
    data: tuple[str, ...]
    tasks: tuple[str, ...]
    method: str
    variant: str = ""
    split: str = "val"
    batch_size: int = 16
    limits: Limits = Limits()  # noqa: RUF009 - frozen

    @property
    def needs(self) -> tuple[str, ...]:
        """The model."""
        return (self.of,)

    def plan(self, workspace: Workspace) -> list[str]:
        """What is measured."""
        return [f"loss per token on {self.split}: captions of {self.data}, tasks of {self.tasks}"]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Read every reference once."""
        backbone = store.load(workspace.model(self.of)).eval()
        backbone.limits = self.limits
        every, _ = pairs(
            workspace.datasets(self.data), self.split, limit=workspace.limit, seed=workspace.seed
        )
        sets = [(_captions(every, self.split), "caption")]
        sets += [(one, "task") for one in workspace.datasets(self.tasks)]
        rows = [self._row(backbone, dataset, kind, workspace) for dataset, kind in sets]
        folder = workspace.folder(self.name)
        write_summary(folder / "summary.json", rows, command=workspace.command, versions=versions())
        return {f"{row.task} {row.dataset}": row.metrics["nll"].estimate for row in rows}

    def _row(self, backbone: Backbone, dataset: Dataset, kind: str, workspace: Workspace) -> Row:
        mixture = Mixture.of(
            [dataset],
            self.split,
            limit=workspace.limit,
            wording=PAPER,
            codec=backbone.codec,
            seed=workspace.seed,
        )
        mean = mean_loss(backbone, mixture, batch_size=self.batch_size)
        return Row(
            method=self.method,
            variant=self.variant,
            view="plain",
            dataset=dataset.name,
            task=kind,
            seed=workspace.seed,
            n=len(mixture),
            n_unparsed=0,
            metrics={"nll": Estimate(estimate=mean, low=mean, high=mean)},
        )


@torch.no_grad()
def mean_loss(backbone: Backbone, mixture: Mixture, *, batch_size: int) -> float:
    """Over all response tokens of a mixture, in nats."""
    total, tokens = 0.0, 0
    for start in range(0, len(mixture), batch_size):
        rows = range(start, min(start + batch_size, len(mixture)))
        readings = [mixture.readings(i)[0] for i in rows]
        batch = to_device(backbone.collate(readings, [PLAIN], backbone.form), backbone.device)
        terms = nll(backbone.read(batch)[PLAIN], batch.targets.tokens)
        total, tokens = total + float(terms.sum()), tokens + len(terms)
    return total / max(1, tokens)


def _captions(every: list[Pair], split: str) -> Dataset:
    def build(some: list[Pair], row: int) -> Sample:
        pair = some[row]
        return replace(
            pair.sample, task="caption", question=DESCRIBE, answer=pair.caption, options=(), also=()
        )

    return Dataset(
        name="captions",
        splits={split: Rows(len(every), partial(build, every))},
        digest=content_key([pair.key for pair in every]),
    )
