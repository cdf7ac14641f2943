"""Which samples of a data set are asked, in which order of options, and the rows that their answers make."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from residency.dataset import Dataset
from residency.errors import UsageError
from residency.evaluate.controls import flip_rate
from residency.evaluate.details import computable, detail
from residency.evaluate.results import FLIPS, Estimate, Row
from residency.evaluate.score import row_of, separate
from residency.task import task
from residency.types import Prediction, Sample

ORDER = "option_order"  # the attribute that holds a permutation


def of_tasks(dataset: Dataset, tasks: Sequence[str], split: str) -> Dataset:
    """The data set with samples of these tasks alone; all of them for ().

    Raises:
        UsageError: no sample of the split has one of the tasks; says which it has.
    """
    if not tasks:
        return dataset
    splits = {name: [s for s in some if s.task in tasks] for name, some in dataset.splits.items()}
    if not splits.get(split):
        have = sorted({sample.task for sample in dataset.split(split)})
        raise UsageError(
            f"task={','.join(tasks)}: {dataset.name!r} has none of it in {split!r}. It has: "
            f"{', '.join(have)}."
        )
    digest = f"{dataset.digest}:{','.join(tasks)}"
    return replace(
        dataset, splits=splits, digest=digest,
        admitted=lambda name: [s for s in dataset.split(name) if s.task in tasks],
    )  # fmt: skip


def permuted(sample: Sample, seed: int) -> Sample:
    """The sample with its options in an order drawn from seed and sample, which its facts then hold.

    `attributes["option_order"]` is "2,0,1" where the third of the original options comes first. Samples
    without options, or whose answer is a set, stay as they are.
    """
    if len(sample.options) < 2 or not isinstance(sample.answer, str):
        return sample
    drawn = hashlib.sha256(f"{seed}\0{sample.id}".encode("utf-8", "surrogatepass")).digest()
    generator = np.random.default_rng(int.from_bytes(drawn[:8], "big"))
    order = generator.permutation(len(sample.options)).tolist()
    return replace(
        sample,
        options=tuple(sample.options[place] for place in order),
        attributes={**sample.attributes, ORDER: ",".join(map(str, order))},
    )


def with_shuffled_options(dataset: Dataset, split: str, seed: int) -> Dataset:
    """The data set whose split asks every sample's options in an order of its own."""
    samples = [permuted(sample, seed) for sample in dataset.split(split)]
    splits = {**dataset.splits, split: samples}
    digest = f"{dataset.digest}:options{seed}"
    return replace(
        dataset, splits=splits, digest=digest,
        admitted=lambda name: samples if name == split else dataset.split(name),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """Whose answers they are: the words of a row of results, the run's seed, and what scores them."""

    method: str
    variant: str = ""
    seed: int
    metrics: tuple[str, ...] = ()  # () for those that each task declares

    def rows(
        self, predictions: Sequence[Prediction], dataset: Dataset, own: Sequence[Prediction] = ()
    ) -> list[tuple[Row, dict[str, Any]]]:
        """A row and its details for every task and view; metrics that do not apply are named in it.

        `own` are answers about the right image: rows of another image get the rate of changed answers.

        Raises:
            UsageError: metrics were named and none can be computed.
        """
        return [self._row(group, dataset, own) for group in separate(predictions)]

    def _row(
        self, group: Sequence[Prediction], dataset: Dataset, own: Sequence[Prediction]
    ) -> tuple[Row, dict[str, Any]]:
        wanted = self.metrics or task(group[0].task).metrics
        prepared, refused = computable(group, dataset.labels, wanted)
        if not prepared:
            raise UsageError(
                f"None of {', '.join(wanted)} can be computed from answers to {dataset.name!r}: "
                + "; ".join(refused.values())
            )
        named: Mapping[str, Any] = {"method": self.method, "variant": self.variant}
        row = row_of(group, dataset, prepared, seed=self.seed, **named)
        flips = flip_rate(own, group, seed=self.seed) if own else None
        if flips is not None:
            found: dict[str, Estimate] = {**row.metrics, FLIPS: flips}
            row = replace(row, metrics=found)
        return row, detail(row, group, prepared, refused)
