"""Accuracy per attribute beside chance, parse rate and likelihood: the numbers of InstFree's Figure 5."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from residency.dataset import Dataset
from residency.evaluate.charts import text as _text
from residency.evaluate.controls import chance, chance_row, fixed
from residency.evaluate.predict import select
from residency.evaluate.results import Estimate, Row, with_interval
from residency.evaluate.score import score
from residency.evaluate.statistics import intervals
from residency.evaluate.steps import SECTION, predictions_folder, write_rows
from residency.evaluate.store import FILE, read_predictions, write_whole
from residency.metric import metric
from residency.step import Workspace
from residency.types import PLAIN, Prediction, Sample

FACT = "attribute"
METRICS = ("accuracy", "parse_rate", "accuracy_given_parsed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One method on one attribute of a data set."""

    method: str
    dataset: str
    attribute: str
    n: int
    chance: float
    metrics: Mapping[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class Attributes:
    """The accuracy of every attribute under each method.

    `of` maps a label to the evaluation that generated answers, `scored` to the one that scored letters.
    """

    name: str
    of: tuple[tuple[str, str], ...]
    scored: tuple[tuple[str, str], ...]
    data: tuple[str, ...]
    split: str = "test"

    @property
    def needs(self) -> tuple[str, ...]:
        """The evaluations."""
        return tuple(step for _, step in (*self.of, *self.scored))

    def plan(self, workspace: Workspace) -> list[str]:
        """Which methods."""
        return [f"accuracy per attribute of {', '.join(label for label, _ in self.of)}"]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Write `attributes.json`, the table of the page and rows of the controls; print the table."""
        cells, rows, scored = [], list[Row](), dict(self.scored)
        for dataset in workspace.datasets(self.data):
            samples = select(dataset, self.split, limit=workspace.limit, seed=workspace.seed)
            rows += controls(samples, dataset, seed=workspace.seed)
            for label, step in self.of:
                paths = {
                    kind: predictions_folder(workspace, where, dataset, PLAIN) / FILE
                    for kind, where in (("said", step), ("scored", scored.get(label)))
                    if where
                }
                read = {kind: read_predictions(path).predictions for kind, path in paths.items()}
                cells += cells_of(
                    label, dataset.name, samples, read["said"], read.get("scored", ()),
                    seed=workspace.seed,
                )  # fmt: skip
        folder = workspace.folder(self.name)
        write_whole(
            folder / "attributes.json", json.dumps([asdict(c) for c in cells], indent=1) + "\n"
        )
        write_whole(folder / SECTION, section(cells))
        print(table(cells), flush=True)
        return write_rows(workspace, self.name, rows) | {"cells": len(cells)}


def controls(samples: Sequence[Sample], dataset: Dataset, *, seed: int) -> list[Row]:
    """What needs no image: the most frequent option of each attribute in the training facts, and chance.

    An attribute that no training image names is answered with the first option.
    """
    told: dict[str, Counter[str]] = {}
    for one in dataset.split("train"):
        for key, value in one.attributes.items():
            told.setdefault(key, Counter())[value] += 1
    guesses = []
    for sample in samples:
        seen = told.get(sample.attributes.get("key", ""), Counter())
        guesses.append(fixed(sample, max(sample.options, key=lambda option: seen[option])))
    line = chance_row(samples, seed=seed)
    majority = score(guesses, dataset, ("accuracy",), method="majority", seed=seed)
    return [majority, line] if line else [majority]


def cells_of(
    method: str,
    dataset: str,
    samples: Sequence[Sample],
    said: Sequence[Prediction],
    scored: Sequence[Prediction],
    *,
    seed: int,
) -> list[Cell]:
    """A cell per attribute, in order of first appearance."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.attributes.get(FACT, "all"), []).append(sample)
    by_said, by_scored = ({p.sample: p for p in some} for some in (said, scored))
    cells = []
    for attribute, members in groups.items():
        answers = [by_said[s.id] for s in members]
        statistics = {one: (metric(one).value, metric(one).prepare(answers, ())) for one in METRICS}
        if by_scored:
            likely = [by_scored[s.id] for s in members]
            accuracy = metric("accuracy")
            statistics["likelihood_accuracy"] = (accuracy.value, accuracy.prepare(likely, ()))
        bounds = intervals(statistics, [p.unit for p in answers], seed=seed)
        cells.append(
            Cell(
                method=method, dataset=dataset, attribute=attribute, n=len(members),
                chance=chance(members) or math.nan,
                metrics={name: Estimate(**bound._asdict()) for name, bound in bounds.items()},
            )
        )  # fmt: skip
    return cells


def table(cells: Sequence[Cell]) -> str:
    """Attributes down, methods across: accuracy with its interval, and chance."""
    lines = []
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        some = [cell for cell in cells if cell.dataset == dataset]
        methods = list(dict.fromkeys(cell.method for cell in some))
        lines.append(f"| {dataset} | n | chance | {' | '.join(methods)} |")
        lines.append(f"|---|--:|--:|{'--:|' * len(methods)}")
        for attribute in dict.fromkeys(cell.attribute for cell in some):
            row = {cell.method: cell for cell in some if cell.attribute == attribute}
            first = next(iter(row.values()))
            said = [with_interval("accuracy", row[m].metrics["accuracy"]) for m in methods]
            lines.append(
                f"| {attribute} | {first.n} | {100 * first.chance:.1f} | {' | '.join(said)} |"
            )
    return "\n".join(lines)


def section(cells: Sequence[Cell]) -> str:
    """How answers were read and what likelihood gives, by attribute, as HTML; the page has the chart."""
    parts = ["<h2>Read and scored, by attribute</h2>"]
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        some = [cell for cell in cells if cell.dataset == dataset]
        parts.append(f"<h3>{_text(dataset)}</h3>{_html_table(some)}")
    return "".join(parts)


def _html_table(cells: Sequence[Cell]) -> str:
    methods = list(dict.fromkeys(cell.method for cell in cells))
    head = "".join(f"<th>{_text(method)}</th>" for method in methods)
    rows = []
    for attribute in dict.fromkeys(cell.attribute for cell in cells):
        row = {cell.method: cell for cell in cells if cell.attribute == attribute}
        first = next(iter(row.values()))
        said = "".join(f"<td>{_cell(row[method])}</td>" for method in methods)
        rows.append(
            f"<tr><th>{_text(attribute)}</th><td>{first.n}</td><td>{100 * first.chance:.1f}</td>"
            f"{said}</tr>"
        )
    return (
        f'<div class="scroll"><table><thead><tr><th>attribute</th><th>n</th><th>chance %</th>{head}'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(cell: Cell) -> str:
    """Accuracy, and what lies behind it in small print."""
    read = cell.metrics["parse_rate"].estimate
    given = with_interval("accuracy", cell.metrics["accuracy_given_parsed"]).split(" ")[0]
    likely = cell.metrics.get("likelihood_accuracy")
    small = f"read {100 * read:.0f}, of these right {given}"
    if likely is not None:
        small += f", by likelihood {100 * likely.estimate:.1f}"
    return f"<b>{with_interval('accuracy', cell.metrics['accuracy'])}</b><small>{small}</small>"
