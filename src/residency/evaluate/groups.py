"""Tables by attribute: one metric of several methods in every group of a fact, small groups greyed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from residency.errors import ResidencyError
from residency.evaluate.charts import is_control, label, text, titled, unit
from residency.evaluate.results import MEAN, Estimate, Row, shown
from residency.evaluate.retention import SUITE
from residency.evaluate.runs import Answered
from residency.evaluate.subgroups import SMALL, Subgroup, facts_shown, group_of, subgroups
from residency.types import Prediction

_PREFERRED = ("attribute", "question_type", "skill", "modality", "organ", "answer_type")
MANY = 2_000  # predictions from which on only the first and the last method are resampled


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The samples that share a value of a fact; `values` are in the order of the table's methods."""

    name: str
    n: int
    chance: float | None
    values: tuple[Estimate | None, ...]

    @property
    def small(self) -> bool:
        """Whether there are too few of them to say much."""
        return self.n < SMALL


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """One metric by one fact."""

    fact: str
    metric: str
    methods: tuple[str, ...]
    groups: tuple[Group, ...]

    @property
    def gap(self) -> tuple[Group, Group] | None:
        """The lowest and the highest group of the last method, of those that are not small."""
        sized = [g for g in self.groups if not g.small and _known(g.values[-1])]
        if len(sized) < 2:
            return None
        ordered = sorted(sized, key=lambda g: _at(g.values[-1]))
        return ordered[0], ordered[-1]


def _known(value: Estimate | None) -> bool:
    return value is not None and math.isfinite(value.estimate)


def _at(value: Estimate | None) -> float:
    return math.nan if value is None else value.estimate


def by_fact(answered: Sequence[Answered], *, seed: int) -> list[Table]:
    """A table for every fact that these methods, which answered the same samples, can be divided by."""
    if not answered:
        return []
    if len(answered[-1].predictions) > MANY:
        answered = [answered[0], answered[-1]] if len(answered) > 1 else answered
    facts = facts_shown(answered[-1].predictions)
    tables = (_table(answered, fact, seed) for fact in facts)
    return [table for table in tables if table.groups]


def _table(answered: Sequence[Answered], fact: str, seed: int) -> Table:
    metric = next(iter(answered[-1].row.metrics))
    scored = [_scored(one, fact, metric, seed) for one in answered]
    groups = tuple(
        Group(
            name=name,
            n=row.n,
            chance=_chance([p for p in answered[-1].predictions if group_of(p, fact) == name]),
            values=tuple(rows[name].value if name in rows else None for rows in scored),
        )
        for name, row in scored[-1].items()
    )
    methods = tuple(one.title for one in answered)
    return Table(fact=fact, metric=metric, methods=methods, groups=groups)


def _scored(one: Answered, fact: str, metric: str, seed: int) -> Mapping[str, Subgroup]:
    try:
        rows = subgroups(one.predictions, one.labels, [metric], fact, seed=seed)
    except ResidencyError:  # a method that answers without words may lack the facts
        return {}
    return {row.group: row for row in rows}


def _chance(predictions: Sequence[Prediction]) -> float | None:
    """What a uniform guess among the options reaches; None where a sample is open."""
    likely = []
    for p in predictions:
        options = p.facts.get("options") or ()
        if not isinstance(p.reference, str) or len(options) < 2:
            return None
        likely.append(1 / len(options))
    return sum(likely) / len(likely) if likely else None


def by_class(answered: Sequence[Answered], *, seed: int) -> list[Table]:
    """The first metric in every class of the reference, where every sample has one label."""
    having = [one for one in answered if one.labels]
    if not having or not all(isinstance(p.reference, str) for p in having[-1].predictions):
        return []
    marked = [
        replace(
            one,
            predictions=tuple(
                replace(p, facts={"options": p.facts.get("options"), "class": p.reference})
                for p in one.predictions
            ),
        )
        for one in having
    ]
    return by_fact(marked, seed=seed)


def by_dataset(rows: Sequence[Row]) -> list[Table]:
    """The first metric of every method on every data set, for tasks with at least three sets."""
    found = []
    for task in dict.fromkeys(row.task for row in rows if row.task != SUITE):
        own = [r for r in rows if r.task == task and r.dataset != MEAN and r.metrics]
        names = list(dict.fromkeys(row.dataset for row in own))
        if len(names) < 3:
            continue
        metric = next(iter(own[-1].metrics))
        methods = dict.fromkeys(titled(row) for row in own if not is_control(row))
        placed = {(titled(row), row.dataset): row for row in own}
        groups = tuple(
            Group(
                name=name,
                n=next(row.n for row in own if row.dataset == name),
                chance=_at(_value(placed.get(("chance", name)), "accuracy"))
                if metric == "accuracy" and ("chance", name) in placed
                else None,
                values=tuple(_value(placed.get((method, name)), metric) for method in methods),
            )
            for name in names
        )
        found.append(Table(fact="data set", metric=metric, methods=tuple(methods), groups=groups))
    return found


def _value(row: Row | None, metric: str) -> Estimate | None:
    return row.metrics.get(metric) if row else None


def preferred(tables: Sequence[Table]) -> Table | None:
    """The table that a chart shows: by what is asked where the data say so, else the finest."""
    named = {table.fact: table for table in tables}
    finest = max(tables, key=lambda table: len(table.groups), default=None)
    return next((named[f] for f in _PREFERRED if f in named), finest)


def html(table: Table) -> str:
    """The table, folded; small groups are grey, and the largest gap is said."""
    chances = any(group.chance is not None for group in table.groups)
    heads = [text(table.fact), "n", *(["chance"] if chances else []), *map(text, table.methods)]
    head = "".join(f'<th scope="col">{one}</th>' for one in heads)
    body = "".join(_row(group, table.metric, chances) for group in table.groups)
    gap, said = table.gap, ""
    if gap:
        apart = _at(gap[1].values[-1]) - _at(gap[0].values[-1])
        said = (
            f'<p class="note">Largest gap of {text(table.methods[-1])}: {text(gap[0].name)} to '
            f"{text(gap[1].name)}, {shown(table.metric, apart)}{unit(table.metric)}.</p>"
        )
    return (
        f"<details><summary>{text(table.fact)}</summary>"
        f'<p class="note">{text(label(table.metric))}{unit(table.metric)}</p>'
        f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{said}</details>"
    )


def _row(group: Group, metric: str, chances: bool) -> str:
    cells = f"<td>{group.n:,}</td>"
    if chances:
        known = group.chance is not None
        cells += f"<td>{shown(metric, group.chance) if known and group.chance else '–'}</td>"
    cells += "".join(cell(metric, value) for value in group.values)
    quiet = f' class="few" title="fewer than {SMALL}"' if group.small else ""
    return f'<tr{quiet}><th scope="row">{text(group.name)}</th>{cells}</tr>'


def cell(metric: str, value: Estimate | None) -> str:
    """A value with its interval below it."""
    if value is None:
        return "<td>–</td>"
    interval = ""
    if value.low != value.high and value.low == value.low:
        interval = f"<small>{shown(metric, value.low)} – {shown(metric, value.high)}</small>"
    return f"<td><b>{shown(metric, value.estimate)}</b>{interval}</td>"
