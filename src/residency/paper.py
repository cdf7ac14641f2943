"""What a paper is here: its tables of printed numbers, and which run of ours stands beside each row."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from residency.catalog import suggest
from residency.errors import UsageError

_VALUE = re.compile(r"(-|\d+(?:\.\d+)?)(?:±(\d+(?:\.\d+)?))?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Needed:
    """A data set of a paper and where it lies below the data folder.

    `files` are tried in order; () stands for the folder named after the reader. `stand_in` is what
    takes its place where the user asks for stand-ins, '' for nothing. `splits` are those that must be
    there. A set with a `protocol` becomes a benchmark of attributes first (`datasets/benchmark.py`),
    whose reports come from the set named by `reports`, '' for its own. `get` says where to get it; ''
    leaves that to the reader's own facts.
    """

    reader: str
    files: tuple[str, ...] = ()
    stand_in: str = ""
    splits: tuple[str, ...] = ("train", "test")
    protocol: str = ""
    reports: str = ""
    get: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One kind of printed number: a metric of a part of a data set.

    `set` is a key of the paper's `sets`, '' where there is none. What the paper prints is `scale` times
    our `metric`, with `decimals`; '' is no metric of ours. `where` names the samples, by the facts of
    their predictions; `variant` takes rows of another variant than the line's. `mean_of` names the
    columns that the paper averages, with `weights` where they do not weigh the same. `n` is the published
    number of test samples, None where unknown. `unlike` says why our metric is not what the paper prints,
    whatever the run.
    """

    name: str
    set: str = ""
    metric: str = ""
    scale: float = 100.0
    decimals: int = 1
    where: Mapping[str, str] = field(default_factory=dict)
    variant: str | None = None
    mean_of: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    n: int | None = None
    unlike: str = ""

    @property
    def id(self) -> str:
        """The metric with the samples it is taken over; of an average, what is averaged."""
        if self.mean_of and not self.metric:
            return "mean"
        over = ", ".join(f"{key}={value}" for key, value in self.where.items())
        return f"{self.metric or 'no metric here'}{f' where {over}' if over else ''}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ours:
    """Rows of results that stand beside a printed line: those of a run with these words.

    `variant` None takes any. `view` is that of the rows, None for methods without one. `label` tells two
    apart that stand beside one line.
    """

    run: str
    method: str
    variant: str | None = ""
    view: str | None = "plain"
    label: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A printed row: a value per column, None for a dash, and the ± of each where it is printed.

    `base` names the model it starts from, '' for the paper's first. A line without `ours` is only quoted.
    """

    name: str
    values: tuple[float | None, ...]
    spreads: tuple[float | None, ...] = ()
    ours: tuple[Ours, ...] = ()
    base: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """Printed cells that may not be compared with the others, and why; () stands for all."""

    why: str
    lines: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    def covers(self, line: str, column: str) -> bool:
        """Whether a cell is meant."""
        return (not self.lines or line in self.lines) and (
            not self.columns or column in self.columns
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """A run that a table needs: a recipe, the data sets of its parameters, and what else it is told.

    `sets` maps a parameter to keys of the paper's `sets`. Those in `optional` may be absent
    altogether (`none` is then passed); where another has nothing, the run is left out. `after` names the
    run whose model is the base of this one.
    """

    name: str
    recipe: str
    sets: Mapping[str, tuple[str, ...]]
    settings: Mapping[str, object] = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    after: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table or figure. `notes` hold for the whole of it."""

    title: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    works: tuple[Work, ...] = ()
    marks: tuple[Mark, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for line in self.lines:
            if len(line.values) != len(self.columns):
                raise ValueError(
                    f"{self.title}: {line.name!r} has {len(line.values)} values for "
                    f"{len(self.columns)} columns."
                )

    def cell(self, line: str, column: str) -> float | None:
        """What is printed there."""
        place = [one.name for one in self.columns].index(column)
        return next(one for one in self.lines if one.name == line).values[place]

    def disagreements(self, tolerance: float) -> Iterator[tuple[str, str, float, float]]:
        """Printed averages that the printed cells do not give: line, column, printed, computed.

        `tolerance` allows for cells and average being rounded, in the unit of the table.
        """
        names = [one.name for one in self.columns]
        for column in self.columns:
            if not column.mean_of:
                continue
            weights = column.weights or (1.0,) * len(column.mean_of)
            for line in self.lines:
                printed = line.values[names.index(column.name)]
                parts = [line.values[names.index(one)] for one in column.mean_of]
                known = [part for part in parts if part is not None]
                if printed is None or len(known) < len(parts):
                    continue
                found = sum(w * p for w, p in zip(weights, known, strict=True)) / sum(weights)
                if abs(found - printed) > tolerance:
                    yield line.name, column.name, printed, found


@dataclass(frozen=True, kw_only=True, slots=True)
class Paper:
    """A paper's tables by the names of the command line.

    `bases` maps each model as the paper calls it to names of repositories that hold it; the first is
    the one that lines mean which name none.
    """

    title: str
    bases: Mapping[str, tuple[str, ...]]
    sets: Mapping[str, Needed]
    tables: Mapping[str, Table]

    def table(self, name: str) -> Table:
        """The table of a name.

        Raises:
            UsageError: no such table.
        """
        if name not in self.tables:
            known = list(self.tables)
            hint = "" if name.startswith(("table", "figure")) else suggest(name, known)
            raise UsageError(f"{self.title}: no {name!r}.{hint} There are: {', '.join(known)}.")
        return self.tables[name]


def lines(
    text: str, *, ours: Mapping[str, Ours | tuple[Ours, ...]] | None = None, base: str = ""
) -> tuple[Line, ...]:
    """Rows written as the paper prints them: `name | 59.4±3.85 - 63.9`, one a line, - for a dash.

    Raises:
        ValueError: a value that is neither a number nor a dash, or `ours` of a row that is not there.
    """
    made = []
    beside = dict(ours or {})
    for row in filter(None, map(str.strip, text.splitlines())):
        name, _, cells = (part.strip() for part in row.rpartition("|"))
        found = [_VALUE.fullmatch(cell) for cell in cells.split()]
        if not name or None in found:
            raise ValueError(f"Not a row of a table: {row!r}")
        read = [match for match in found if match is not None]
        values = tuple(None if match[1] == "-" else float(match[1]) for match in read)
        spreads = tuple(None if match[2] is None else float(match[2]) for match in read)
        own = beside.pop(name, ())
        made.append(
            Line(
                name=name,
                values=values,
                spreads=spreads if any(one is not None for one in spreads) else (),
                ours=(own,) if isinstance(own, Ours) else own,
                base=base,
            )
        )
    if beside:
        raise ValueError(f"No rows {', '.join(beside)}.")
    return tuple(made)


def unprinted(name: str, count: int, *ours: Ours, base: str = "") -> Line:
    """A line of ours where the paper prints no numbers, or a curve that its text does not give."""
    return Line(name=name, values=(None,) * count, ours=ours, base=base)


def headed(head: str, lines: Sequence[Line]) -> tuple[Line, ...]:
    """The lines with a heading in front of their names."""
    return tuple(replace(one, name=f"{head}, {one.name}") for one in lines)
