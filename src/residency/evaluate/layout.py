"""Tables in a paper's layout: methods down, data sets across, seeds in every cell."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from residency.evaluate.results import MEAN, Row, mean_rows, read_results
from residency.evaluate.statistics import over_seeds
from residency.evaluate.steps import SUMMARY
from residency.evaluate.store import write_whole
from residency.step import Workspace

Key = tuple[str, str]  # method and variant of a row of results
Table = tuple[str, str, tuple[tuple[str, Key], ...]]  # title, metric, rows as (label, key)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Print and write `tables.md` over the results of the steps `of`, one per seed."""

    name: str
    of: tuple[str, ...]
    tables: tuple[Table, ...]

    @property
    def needs(self) -> tuple[str, ...]:
        """The runs."""
        return self.of

    def plan(self, workspace: Workspace) -> list[str]:
        """Which tables."""
        return [title for title, _, _ in self.tables]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Gather the rows of all seeds and lay them out."""
        rows = [r for step in self.of for r in read_results(workspace.folder(step) / SUMMARY)]
        text = "\n\n".join(
            laid_out(title, metric, [*rows, *mean_rows(rows)], lines)
            for title, metric, lines in self.tables
        )
        write_whole(workspace.folder(self.name) / "tables.md", text + "\n")
        print(text, flush=True)
        return {"tables": len(self.tables)}


def laid_out(title: str, metric: str, rows: Sequence[Row], lines: Sequence[tuple[str, Key]]) -> str:
    """One table: percent, mean ± standard deviation over seeds, and the mean of their 95 % limits.

    A cell without results is a dash: nothing is filled in.
    """
    names = list(dict.fromkeys(row.dataset for row in rows if row.dataset != MEAN))
    columns = [*names, MEAN] if len(names) > 1 else names
    seeds = len({row.seed for row in rows})
    head = [f"{title}, {metric} %, seeds: {seeds}", *("Avg." if c == MEAN else c for c in columns)]
    table = [f"| {' | '.join(head)} |", f"|---|{'--:|' * len(columns)}"]
    for label, key in lines:
        cells = [
            _cell(
                [
                    row.metrics[metric]
                    for row in rows
                    if (row.method, row.variant) == key
                    and row.dataset == column
                    and metric in row.metrics
                ]
            )
            for column in columns
        ]
        table.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(table)


def _cell(found: Sequence[Any]) -> str:
    if not found:
        return "–"
    values = [100 * one.estimate for one in found]
    low, high = (
        100 * sum(getattr(one, end) for one in found) / len(found) for end in ("low", "high")
    )
    spread = over_seeds(values) if len(values) > 1 else None
    text = f"{sum(values) / len(values):.1f}"
    if spread is not None:
        text += f" ± {spread.deviation:.1f}"
    return f"{text} [{low:.1f}, {high:.1f}]" if math.isfinite(low + high) else text
