"""Our figures for the cells of a table, each with why it may not be compared with the printed one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from residency.errors import DataError
from residency.evaluate.details import computable
from residency.evaluate.results import MEAN, Estimate, Row, read_results
from residency.evaluate.runs import Answered, read_run
from residency.evaluate.statistics import intervals, over_seeds
from residency.metric import metric
from residency.paper import Column, Line, Ours, Table
from residency.reproduction.sets import Found
from residency.reproduction.works import Planned
from residency.types import Prediction

SCORED = "closed answers are scored by likelihood here, where papers let the model write them"


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A figure of ours in the unit of our metric: of one run with its interval, or the mean of several."""

    estimate: float
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    n_unparsed: int = 0
    seeds: int = 1
    deviation: float = math.nan


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """Ours at a line and column: a figure, or `absent` says why there is none.

    `why` names what keeps it from being compared with the printed figure; `remarks` do not.
    """

    line: str
    label: str
    column: str
    figure: Figure | None = None
    absent: str = ""
    why: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Results:
    """What a run left."""

    rows: Sequence[Row]
    answered: Sequence[Answered]

    @classmethod
    def of(cls, folder: Path) -> "Results | None":
        """The results of a run folder, None where it has none."""
        if not (folder / "results.json").is_file():
            return None
        try:
            return cls(
                rows=read_results(folder / "results.json"), answered=read_run(folder).answered
            )
        except DataError as error:
            print(f"{folder}: {error}", flush=True)
            return None


def chosen(table: Table, base: str) -> tuple[Line, ...]:
    """The lines beside which ours stand: of our base; where none is, of the first model that has any."""
    having = [line for line in table.lines if line.ours]
    same = [line for line in having if line.base in ("", base)]
    if same or not having:
        return tuple(same)
    return tuple(line for line in having if line.base == having[0].base)


def filled(
    table: Table,
    lines: Sequence[Line],
    runs: Mapping[str, Planned],
    found: Mapping[str, Found],
    caveats: Mapping[str, Sequence[str]],
) -> list[Cell]:
    """Every cell of ours; `caveats` are reasons by run that hold for all of its figures."""
    read = {name: Results.of(one.folder) for name, one in runs.items()}
    cells: list[Cell] = []
    for line in lines:
        for ours in line.ours:
            run, results = runs[ours.run], read[ours.run]
            own = [
                _cell(line, ours, column, run, results, found, caveats[ours.run])
                for column in table.columns
                if not _averages(column)
            ]
            by = {cell.column: cell for cell in own}
            for column in table.columns:
                cells.append(
                    by[column.name] if column.name in by else _mean(line, ours, column, by)
                )
    return cells


def _averages(column: Column) -> bool:
    return bool(column.mean_of) and not column.metric


def _cell(
    line: Line,
    ours: Ours,
    column: Column,
    run: Planned,
    results: Results | None,
    found: Mapping[str, Found],
    caveats: Sequence[str],
) -> Cell:
    place = Cell(line=line.name, label=ours.label, column=column.name)
    there = found.get(column.set)
    if not column.metric:
        return replace(place, absent="no metric of ours")
    if there is not None and there.missing:
        return replace(place, absent="missing")
    if run.blocked:
        return replace(place, absent="missing")
    if run.failed or results is None:
        return replace(place, absent="failed" if run.failed else "not run")
    got = _figure(results, ours, column, there.name if there else None)
    if got is None:
        return replace(place, absent="not reported")
    figure, scored = got
    why = list(caveats)
    if there is not None and there.stand_in and not why:
        why.append(there.why)
    if column.unlike:
        why.append(column.unlike)
    whole = run.settings.get("limit") is None and not (there and there.stand_in)
    if whole and column.n is not None and figure.n != column.n:
        why.append(f"n is {figure.n:,}, published {column.n:,}")
    return replace(place, figure=figure, why=tuple(why), remarks=(SCORED,) if scored else ())


def _figure(
    results: Results, ours: Ours, column: Column, name: str | None
) -> tuple[Figure, bool] | None:
    """The figure over all seeds, and whether its answers were scored instead of written."""
    variant = ours.variant if column.variant is None else column.variant

    def ofours(row: Row) -> bool:
        return (
            row.method == ours.method
            and row.view == ours.view
            and (variant is None or row.variant == variant)
            and row.dataset != MEAN
            and (name is None or row.dataset == name)
        )

    rows = [row for row in results.rows if ofours(row)]
    said = [one for one in results.answered if ofours(one.row)]
    scored = any(p.finish == "scored" for one in said for p in one.predictions[:1])
    if not column.where and any(column.metric in row.metrics for row in rows):
        return _over([row for row in rows if column.metric in row.metrics], column.metric), scored
    again = [row for one in said if (row := _again(one, column)) is not None]
    return (_over(again, column.metric), scored) if again else None


def _again(one: Answered, column: Column) -> Row | None:
    """The row of those predictions that the column is about, scored by its metric."""
    group = [p for p in one.predictions if _meant(p, column)]
    prepared, _ = computable(group, one.labels, [column.metric]) if group else ({}, {})
    if not prepared:
        return None
    scored = {name: (metric(name).value, values) for name, values in prepared.items()}
    bounds = intervals(scored, [p.unit for p in group], seed=one.row.seed)
    return Row(
        method=one.row.method,
        variant=one.row.variant,
        view=one.row.view,
        dataset=one.row.dataset,
        task=one.row.task,
        seed=one.row.seed,
        n=len(group),
        n_unparsed=sum(p.answer is None for p in group),
        metrics={name: Estimate(**bound._asdict()) for name, bound in bounds.items()},
    )


def _meant(prediction: Prediction, column: Column) -> bool:
    return all(str(prediction.facts.get(key, "")) == value for key, value in column.where.items())


def _over(rows: Sequence[Row], name: str) -> Figure:
    """One row with its interval, or the mean and standard deviation over seeds."""
    seeds = {row.seed: row for row in rows}
    values = [row.metrics[name] for row in seeds.values()]
    first = next(iter(seeds.values()))
    if len(values) == 1:
        one = values[0]
        return Figure(
            estimate=one.estimate,
            low=one.low,
            high=one.high,
            n=first.n,
            n_unparsed=first.n_unparsed,
        )
    spread = over_seeds([one.estimate for one in values])
    return Figure(
        estimate=spread.mean,
        n=first.n,
        n_unparsed=sum(row.n_unparsed for row in seeds.values()),
        seeds=len(values),
        deviation=spread.deviation,
    )


def _mean(line: Line, ours: Ours, column: Column, by: Mapping[str, Cell]) -> Cell:
    """The average of other cells, of all of them or of none."""
    place = Cell(line=line.name, label=ours.label, column=column.name)
    parts = [by[name] for name in column.mean_of]
    figures = [part.figure for part in parts if part.figure is not None]
    if len(figures) < len(parts):
        absent = {part.absent for part in parts} - {""}
        return replace(place, absent=absent.pop() if len(absent) == 1 else "incomplete")
    weights = column.weights or (1.0,) * len(parts)
    estimate = sum(w * f.estimate for w, f in zip(weights, figures, strict=True)) / sum(weights)
    return replace(
        place,
        figure=Figure(estimate=estimate, n=sum(one.n for one in figures)),
        why=tuple(dict.fromkeys(reason for part in parts for reason in part.why)),
        remarks=tuple(dict.fromkeys(remark for part in parts for remark in part.remarks)),
    )
