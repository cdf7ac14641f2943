"""Metrics on a small fixed slice of the validation split while a model trains; the test is never asked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from residency.dataset import Dataset
from residency.errors import UsageError
from residency.evaluate.predict import heard, reading, select
from residency.evaluate.score import separate
from residency.metric import metric
from residency.model.answerer import Speaker
from residency.model.huggingface import Backbone
from residency.task import PAPER, Wording, task
from residency.types import PLAIN, Prediction

SPLIT = "val"


@dataclass(frozen=True, kw_only=True)
class ValidationSlice:
    """Generate answers to `samples` of each validation split every `every` updates.

    `metric` names what is compared; empty, it is the first metric of every task. Data sets without a
    validation split are left out, and `describe` says which.
    """

    every: int
    samples: int = 16
    metric: str = ""
    keep_best: bool = True
    wording: Wording = PAPER
    max_tokens: int = 64
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.every < 1 or self.samples < 1:
            raise UsageError(
                f"every={self.every} updates, samples={self.samples}: give at least 1 of each."
            )

    def refuse(self, datasets: Sequence[Dataset]) -> None:
        """A metric that does not exist or is better when it is lower; no validation split at all.

        Raises:
            UsageError: one of these.
        """
        if self.metric and not metric(self.metric).higher_is_better:
            raise UsageError(
                f"{self.metric} is better when it is lower; the best look has the highest mean."
            )
        if not any(dataset.splits.get(SPLIT) for dataset in datasets):
            names = ", ".join(dataset.name for dataset in datasets)
            raise UsageError(
                f"None of {names} has a validation split to look at. Leave watch out; the test split "
                "may not choose a model."
            )

    def look(
        self, backbone: Backbone, datasets: Sequence[Dataset], seed: int
    ) -> Mapping[str, float]:
        """The metric of every data set and task that has it, and their mean, of those with a value.

        Raises:
            UsageError: no task has the metric.
        """
        speaker, found, had = Speaker(backbone), dict[str, float](), False
        for dataset in datasets:
            if not dataset.splits.get(SPLIT):
                continue
            samples = select(dataset, SPLIT, limit=self.samples, seed=seed)
            asked = [reading(sample, self.wording, speaker.codec) for sample in samples]
            predictions: list[Prediction] = []
            for start in range(0, len(asked), self.batch_size):
                some = asked[start : start + self.batch_size]
                said = speaker.generate(some, PLAIN, max_tokens=self.max_tokens)
                predictions += [
                    heard(one, *answer, view=PLAIN, codec=speaker.codec)
                    for one, answer in zip(some, said, strict=True)
                ]
            groups = separate(predictions)
            for group in groups:
                of = task(group[0].task)
                name = self.metric or of.metrics[0]
                if name not in of.metrics:
                    continue
                value, had = _value(group, dataset, name), True
                if math.isfinite(value):
                    kind = f"{group[0].task} " * (len(groups) > 1)
                    found[f"{dataset.name} {kind}{name}"] = value
        if not had:
            raise UsageError(f"No task of these data sets has the metric {self.metric!r}.")
        return found and found | {"mean": sum(found.values()) / len(found)}

    def describe(self, datasets: Sequence[Dataset]) -> str:
        """What is looked at, and what has no validation split."""
        absent = [dataset.name for dataset in datasets if not dataset.splits.get(SPLIT)]
        left = f"; not looked at, without validation split: {', '.join(absent)}" if absent else ""
        best = ", the best is kept" if self.keep_best else ""
        what = self.metric or "the first metric of each task"
        return f"{what} on {self.samples} validation samples every {self.every} updates{best}{left}"


def _value(group: Sequence[Prediction], dataset: Dataset, name: str) -> float:
    one = metric(name)
    statistics = one.prepare(group, dataset.labels)
    return float(one.value(statistics, np.ones((1, len(group))))[0])
