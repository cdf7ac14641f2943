"""What tuning cost: the own skills of the generalist on a fixed suite, asked in three ways."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from residency.dataset import Dataset, open_dataset
from residency.evaluate.predict import predict, select
from residency.evaluate.progress import watched
from residency.evaluate.results import Row
from residency.evaluate.score import score
from residency.evaluate.steps import Evaluate, write_rows
from residency.model import store
from residency.model.answerer import Speaker
from residency.model.huggingface import Limits
from residency.step import BASE, Step, Workspace
from residency.task import Wording
from residency.types import PLAIN, Prediction

SUITE = "retention"  # the data set, and the task of its rows
METRICS = {
    "plain": ("skill_accuracy", "in_format", "ignores_question"),
    "paraphrased": ("skill_accuracy", "in_format"),
    "incomplete": ("skill_accuracy", "in_format"),
}
MAX_TOKENS = 48  # two boxes or a description of three things take about 40


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Ask the model that step `of` left the suite `retention`; a row for each way of asking.

    The same pictures and questions for every model, so the row of the untouched base beside that of
    a tuned model says what tuning cost. The suite is the same for any base. `limit` bounds each split.
    """

    name: str
    of: str
    method: str
    variant: str = ""
    batch_size: int = 56
    limits: Limits = Limits()  # noqa: RUF009 - frozen

    @property
    def needs(self) -> tuple[str, ...]:
        """The model."""
        return (self.of,)

    def plan(self, workspace: Workspace) -> list[str]:
        """How many questions of each kind."""
        suite = open_dataset(SUITE)
        sizes = {
            split: len(select(suite, split, limit=workspace.limit, seed=workspace.seed))
            for split in METRICS
        }
        return [", ".join(f"{split} {n}" for split, n in sizes.items()) + " questions, generated"]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Ask, score, and write `summary.json`."""
        suite = open_dataset(SUITE)
        model = workspace.model(self.of)
        backbone = store.load(model)
        backbone.limits = self.limits
        speaker, rows = Speaker(backbone), []
        for split in METRICS:
            with watched(f"{SUITE} {split}") as progress:
                predictions = predict(
                    speaker,
                    suite,
                    split,
                    model=f"{self.of}:{store.identity(model)}",
                    view=PLAIN,
                    mode="generate",
                    wording=Wording(list_options=split != "incomplete"),
                    out=workspace.folder(self.name) / SUITE / split,
                    batch_size=self.batch_size,
                    limit=workspace.limit,
                    seed=workspace.seed,
                    max_tokens=MAX_TOKENS,
                    progress=progress,
                )
            rows.append(self._row(predictions, suite, split, workspace.seed))
        return write_rows(workspace, self.name, rows)

    def _row(self, predictions: Sequence[Prediction], suite: Dataset, split: str, seed: int) -> Row:
        """One row of all skills together; its view is the way of asking."""
        together = [replace(p, task=SUITE, view=split) for p in predictions]
        return score(
            together, suite, METRICS[split], method=self.method, variant=self.variant, seed=seed
        )


def retained(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps, then `Retention` of the untouched base and of every tuned model that they test."""
    tested = {BASE: ("generalist", "", Limits())}
    for step in steps:
        if isinstance(step, Evaluate) and step.expert is None and step.served is None:
            tested.setdefault(step.of, (step.method, step.variant, step.limits))
    kept = [
        Retention(
            name=f"{'generalist' if of == BASE else of}_retention",
            of=of,
            method=method,
            variant=variant,
            limits=limits,
        )
        for of, (method, variant, limits) in tested.items()
    ]
    return (*steps, *kept)
