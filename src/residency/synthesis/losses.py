"""The step that measures what a model forgot: the loss of the caption task and of other tasks, each apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from residency.data.mixture import Mixture
from residency.data.rows import Rows
from residency.dataset import Dataset
from residency.errors import UsageError
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

    After each stage of a two-stage run this shows Table 14's forgetting, task by task. A set without
    validation split is read in its test split, and captions that have neither (PMC's) in the training
    split, which the name of the row then says; at most `most` samples of a set, drawn with the seed.
    """

    name: str
    of: str
    data: tuple[str, ...]
    tasks: tuple[str, ...]
    method: str
    variant: str = ""
    most: int = 1000
    batch_size: int = 16
    limits: Limits = Limits()  # noqa: RUF009 - frozen

    @property
    def needs(self) -> tuple[str, ...]:
        """The model."""
        return (self.of,)

    def plan(self, workspace: Workspace) -> list[str]:
        """What is measured, and where."""
        datasets = (workspace.datasets(self.data), workspace.datasets(self.tasks))
        captions, tasks = (
            ", ".join(f"{one.name}/{measured(one)}" for one in some) for some in datasets
        )
        return [f"loss per token: captions of {captions}; tasks of {tasks}"]

    def check(self, workspace: Workspace) -> None:
        """Refuse sets that cannot be measured before anything is trained."""
        self.plan(workspace)

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Read every reference once."""
        backbone = store.load(workspace.model(self.of)).eval()
        backbone.limits = self.limits
        limit = min(self.most, workspace.limit or self.most)
        sets = [(_captions(workspace.datasets(self.data), limit, workspace.seed), "caption")]
        sets += [(one, "task") for one in workspace.datasets(self.tasks)]
        found = [self._row(backbone, *one, limit, workspace) for one in sets]
        rows = [row for row, _ in found]
        folder = workspace.folder(self.name)
        write_summary(folder / "summary.json", rows, command=workspace.command, versions=versions())
        facts: dict[str, float] = {}
        for row, dropped in found:
            name = f"{row.task} {row.dataset}"
            said = "nothing was read"
            if "nll" in row.metrics:
                facts[name] = row.metrics["nll"].estimate
                said = f"{facts[name]:.3f} nats a token"
            facts |= {f"{name}, too long": dropped} if dropped else {}
            long = f", {dropped} too long (max_tokens)" if dropped else ""
            print(f"  {name}: {said}, n {row.n}{long}", flush=True)
        return facts

    def _row(
        self, backbone: Backbone, dataset: Dataset, kind: str, limit: int, workspace: Workspace
    ) -> tuple[Row, int]:
        mixture = Mixture.of(
            [dataset],
            measured(dataset),
            limit=limit,
            wording=PAPER,
            codec=backbone.codec,
            seed=workspace.seed,
        )
        mean, dropped = mean_loss(backbone, mixture, batch_size=self.batch_size)
        read = len(mixture) - dropped
        row = Row(
            method=self.method,
            variant=self.variant,
            view="plain",
            dataset=dataset.name,
            task=kind,
            seed=workspace.seed,
            n=read,
            n_unparsed=0,
            metrics={"nll": Estimate(estimate=mean, low=mean, high=mean)} if read else {},
        )
        return row, dropped


@torch.no_grad()
def mean_loss(backbone: Backbone, mixture: Mixture, *, batch_size: int) -> tuple[float, int]:
    """Over all response tokens of a mixture, in nats; and how many samples were too long to be read."""
    total, tokens, dropped = 0.0, 0, 0
    for start in range(0, len(mixture), batch_size):
        rows = range(start, min(start + batch_size, len(mixture)))
        readings = [mixture.readings(i)[0] for i in rows]
        batch = to_device(backbone.collate(readings, [PLAIN], backbone.form), backbone.device)
        dropped += len(batch.dropped)
        if not len(batch.targets.tokens):
            continue
        terms = nll(backbone.read(batch)[PLAIN], batch.targets.tokens)
        total, tokens = total + float(terms.sum()), tokens + len(terms)
    return total / max(1, tokens), dropped


def measured(dataset: Dataset) -> str:
    """The split in which a loss is measured: what is not learned from, where there is such a part.

    Raises:
        UsageError: no split has samples.
    """
    for split in ("val", "test", "train"):
        if len(dataset.splits.get(split, ())):
            return split
    raise UsageError(f"Data set {dataset.name!r} has no samples whose loss could be measured.")


def _captions(datasets: Sequence[Dataset], limit: int, seed: int) -> Dataset:
    every: list[Pair] = []
    for dataset in datasets:
        every += pairs([dataset], measured(dataset), limit=limit, seed=seed)[0]
    learned = any(measured(dataset) == "train" for dataset in datasets)

    def build(some: list[Pair], row: int) -> Sample:
        pair = some[row]
        return replace(
            pair.sample, task="caption", question=DESCRIBE, answer=pair.caption, options=(), also=()
        )

    return Dataset(
        name="captions of training" if learned else "captions",
        splits={"val": Rows(len(every), partial(build, every))},
        digest=content_key([pair.key for pair in every]),
    )
