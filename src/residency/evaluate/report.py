"""The command `report`: runs as one HTML file that needs nothing else, and a model card beside the model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from residency.dataset import Dataset, open_dataset
from residency.errors import ResidencyError, UsageError
from residency.evaluate import charts, gallery, groups, radar
from residency.evaluate.charts import text
from residency.evaluate.checklists import checklists
from residency.evaluate.confusion import confusion
from residency.evaluate.differences import differences
from residency.evaluate.learning import learned
from residency.evaluate.model_card import BLANK, model_card
from residency.evaluate.page import Section, page
from residency.evaluate.reliability import curves
from residency.evaluate.results import MEAN, Row, metric_names
from residency.evaluate.retention import SUITE
from residency.evaluate.runs import Answered, Run, read_run
from residency.evaluate.script import SCRIPT
from residency.evaluate.statements import statements
from residency.evaluate.store import write_whole
from residency.evaluate.subgroups import SMALL

PAGE, CARD = "report.html", "README.md"
SEED = 0  # of the intervals that the page itself computes
Together = Mapping[tuple[str, str], list[Answered]]  # by data set and task


def report(
    runs: Sequence[str],
    *,
    out: str | None = None,
    images: int = gallery.CARDS,
    title: str | None = None,
) -> Path:
    """Write one HTML page over runs, which opens offline, and a model card for each run with a model.

    A run is the folder of a recipe, of `residency evaluate` or of `residency score`. `out` is the page,
    `report.html` in the folder of a single run. `images` bounds the samples shown of each data set; their
    images are read from the data again, and left out with a note where that is gone or has changed. The
    card, in Hugging Face form, is README.md of the run and of its model; one whose blanks somebody has
    filled in is kept.

    Raises:
        UsageError: no run, several without `out`, or fewer than 0 images.
        DataError: a folder without results.
    """
    if not runs:
        raise UsageError("Name at least one run: residency report RUN.")
    if len(runs) > 1 and out is None:
        raise UsageError("Several runs share a page: say where it goes, out=report.html.")
    if images < 0:
        raise UsageError(f"images={images}: expected 0 or more.")
    names = _names(runs) if len(runs) > 1 else [""]
    read = [read_run(Path(one), name=name) for one, name in zip(runs, names, strict=True)]
    target = Path(out) if out else read[0].folder / PAGE
    write_whole(target, report_page([*map(_named, read)], images=images, title=title))
    for run in read:
        if run.model:
            card = model_card(run, statements(run, _datasets(run)[0]))
            for place in (run.folder / CARD, run.model / CARD):
                write_card(place, card)
    return target


def write_card(place: Path, card: str) -> None:
    """Write the card, unless a person has begun to fill in its blanks."""
    if place.is_file() and place.read_text(encoding="utf-8").count(BLANK) < card.count(BLANK):
        print(f"{place} was edited and is kept", flush=True)
    else:
        write_whole(place, card)


def _names(runs: Sequence[str]) -> list[str]:
    """The shortest different names of folders."""
    parts = [Path(one).resolve().parts for one in runs]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(one[-depth:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    raise UsageError(f"The same run is named twice: {', '.join(runs)}.")


def _named(run: Run) -> Run:
    """The run with its name in front of every method, where it has one."""
    if not run.name:
        return run

    def named(row: Row) -> Row:
        return replace(row, method=f"{run.name}: {row.method}")

    answered = tuple(replace(one, row=named(one.row)) for one in run.answered)
    rankings = tuple(replace(one, name=f"{run.name}: {one.name}") for one in run.rankings)
    return replace(run, rows=tuple(map(named, run.rows)), answered=answered, rankings=rankings)


def report_page(runs: Sequence[Run], *, images: int, title: str | None = None) -> str:
    """The page as text."""
    rows = [row for run in runs for row in run.rows]
    own = [row for row in rows if row.task != SUITE]
    if not rows:
        raise UsageError("A report needs at least one row of results.")
    answered = [one for run in runs for one in run.answered]
    together = _together([one for one in answered if one.row.task != SUITE])
    datasets, notes = _opened(runs)
    facts = {name: groups.by_fact(_looking(some), seed=SEED) for name, some in together.items()}
    shown_facts = list(dict.fromkeys(t.fact for some in facts.values() for t in some))
    samples, more = _samples(together, datasets, images)
    rankings = [one for run in runs for one in run.rankings]
    sections = [
        Section(heading="Results", html=_results(own)),
        Section(heading="Is the difference real?", html=_each(together, _differences)),
        Section(heading="What tuning cost", html=_retention(rows, answered)),
        Section(heading="By class", html=_classes(own, together)),
        Section(heading="By attribute", html=_attributes(facts)),
        Section(heading="Calibration", html=_each(together, lambda some: curves(some, seed=SEED))),
        Section(heading="Response ranking", html=charts.rankings(rankings) if rankings else ""),
        *(Section(heading=heading, html=html) for run in runs for heading, html in run.sections),
        Section(heading="How it learned", html="".join(learned(run.folder) for run in runs)),
        Section(heading="Samples", html=samples),
        Section(heading="Left out", html=_notes(runs, [*notes, *more])),
        Section(
            heading="Reporting checklists",
            html="".join(_checklist(run, datasets, shown_facts) for run in runs),
        ),
        Section(heading="Run", html="".join(map(_run, runs))),
    ]
    return page(title or _title(runs), sections, lead=_lead(rows), script=SCRIPT if samples else "")


def _title(runs: Sequence[Run]) -> str:
    if len(runs) > 1:
        return f"{len(runs)} runs side by side"
    recipe = runs[0].settings.get("recipe")
    return f"Residency: {recipe}" if recipe else "Residency: scored predictions"


def _together(answered: Sequence[Answered]) -> Together:
    found: dict[tuple[str, str], list[Answered]] = {}
    for one in answered:
        found.setdefault((one.row.dataset, one.row.task), []).append(one)
    return found


def _looking(answered: Sequence[Answered]) -> list[Answered]:
    return [one for one in answered if not one.control]


def _each(together: Together, make: Callable[[Sequence[Answered]], str]) -> str:
    """A part for every data set and task, under its name where there are several."""
    made = [(name, make(some)) for name, some in together.items()]
    several = len(together) > 1
    return "".join(
        (f"<h3>{text(_heading(name, together))}</h3>" if several else "") + html
        for name, html in made
        if html
    )


def _heading(name: tuple[str, str], together: Together) -> str:
    tasks = {task for dataset, task in together if dataset == name[0]}
    return f"{name[0]}, {name[1]}" if len(tasks) > 1 else name[0]


def _differences(answered: Sequence[Answered]) -> str:
    return differences(answered, seed=SEED)


def _lead(rows: Sequence[Row]) -> str:
    unparsed = sum(row.n_unparsed for row in rows if row.view and row.dataset != MEAN)
    said = (
        f"{unparsed:,} answers could not be understood"
        if unparsed
        else "every answer was understood"
    )
    return (
        '<p class="note">Values with 95&#8239;% intervals below them; patients are resampled where '
        f"they are named, else images. Grey rows are controls. Of all rows, {said}; what is not understood "
        "counts as wrong. Not a medical device.</p>"
    )


def _results(rows: Sequence[Row]) -> str:
    parts, made = [], _row_groups(rows)
    averaged = any(row.dataset == MEAN for row in rows)
    for (name, task), group in made.items():
        heading = "Mean over data sets" if name == MEAN else name
        tasks = len({t for n, t in made if n == name}) > 1
        parts += (
            [f"<h3>{text(f'{heading}, {task}' if tasks else heading)}</h3>"]
            if len(made) > 1
            else []
        )
        parts.append(charts.headline(group))
        if averaged and name != MEAN:
            continue  # one pair of charts says enough about a dozen data sets
        figures = "".join(charts.bars(group, metric) for metric in metric_names(group)[:2])
        parts.append(f'<div class="pair">{figures}</div>')
    across = groups.by_dataset(rows)
    parts += [radar.chart(table) for table in across if radar.fits(table)]
    return "".join(parts)


def _row_groups(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """Rows by data set and task, means first."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.dataset != MEAN):
        found.setdefault((row.dataset, row.task), []).append(row)
    return found


def _retention(rows: Sequence[Row], answered: Sequence[Answered]) -> str:
    kept = [row for row in rows if row.task == SUITE]
    if not kept:
        return ""
    usual = [one for one in answered if one.row.task == SUITE and one.row.view == "plain"]
    tables = [table for table in groups.by_fact(usual, seed=SEED) if table.fact == "skill"]
    return (
        '<p class="note">The generalist’s own skills on a fixed suite of pictures that no training set '
        "holds, before and after. Paraphrased: in words it was never trained on. Incomplete: without the "
        "list of answers, or keywords alone. In format: answered in the form asked for. Ignores "
        "question: says the same whatever is asked about a picture, the collapse of style.</p>"
        + charts.headline(kept)
        + "".join(radar.chart(table) for table in tables)
        + "".join(map(groups.html, tables))
    )


def _classes(rows: Sequence[Row], together: Together) -> str:
    def of(some: Sequence[Answered]) -> str:
        matrices = confusion(some)
        spokes = [
            table for table in groups.by_class(_looking(some), seed=SEED) if radar.fits(table)
        ]
        own = (some[0].row.dataset, some[0].row.task)
        listed = charts.classes([row for row in rows if (row.dataset, row.task) == own])
        figures = "".join(radar.chart(table) for table in spokes)
        named = [("", figures), ("Confusion", matrices), ("Recall, precision and F1", listed)]
        return "".join((f"<h4>{head}</h4>" if head else "") + html for head, html in named if html)

    if together:
        return _each(together, of)
    return "".join(charts.classes(group) for group in _row_groups(rows).values())


def _attributes(facts: Mapping[tuple[str, str], Sequence[groups.Table]]) -> str:
    parts = []
    several = sum(map(bool, facts.values())) > 1
    for (dataset, task), tables in facts.items():
        if not tables:
            continue
        parts += [f"<h3>{text(dataset)}, {text(task)}</h3>"] if several else []
        first = groups.preferred([table for table in tables if radar.fits(table)])
        parts += [radar.chart(first)] if first else []
        parts += map(groups.html, tables)
    if not parts:
        return ""
    return (
        f'<p class="note">Groups with fewer than {SMALL} samples are grey: their values say '
        f"little. Attributes that might name a person are never shown.</p>{''.join(parts)}"
    )


def _samples(
    together: Together, datasets: Mapping[str, Dataset], images: int
) -> tuple[str, list[str]]:
    """The galleries, and what they could not show."""
    budget, parts, notes = gallery.Budget(), [], []
    for (dataset, task), some in together.items():
        opened = datasets.get(dataset)
        digests = {one.identity["digest"] for one in some if "digest" in one.identity}
        # Behind a colon: which tasks were asked, or in which order the options.
        if opened is not None and not all(d.startswith(opened.digest) for d in map(str, digests)):
            notes.append(f"{dataset} has changed since it was answered: its images are not shown")
            opened = None
        found = gallery.cards(some, opened, limit=images)
        lost = sum(card.sample is None for card in found)
        if lost and opened is not None:
            notes.append(f"{dataset}: {lost} samples were not found again; they have no image")
        name = f"{dataset}, {task}" if len(together) > 1 else ""
        parts.append(gallery.gallery(found, len(some[-1].predictions), budget, title=name))
    if budget.left_out:
        notes.append(f"{budget.left_out} images left out: those of a page are bounded")
    return "".join(parts), notes


def _opened(runs: Sequence[Run]) -> tuple[dict[str, Dataset], list[str]]:
    datasets: dict[str, Dataset] = {}
    notes: list[str] = []
    for run in runs:
        found, said = _datasets(run)
        datasets |= found
        notes += said
    return datasets, list(dict.fromkeys(notes))


def _datasets(run: Run) -> tuple[dict[str, Dataset], list[str]]:
    """The data sets of a run by name, and those that cannot be opened any more."""
    found, notes = {}, []
    for spec in run.data:
        try:
            opened = open_dataset(spec)
            found[opened.name] = opened
        except ResidencyError:  # its message may name files, and with them people
            notes.append(f"data set {spec} cannot be opened here: its images are not shown")
    return found, notes


def _notes(runs: Sequence[Run], notes: Sequence[str]) -> str:
    """Everything that was dropped, so that nothing is missing in silence."""
    said = [*notes]
    for run in runs:
        said += run.notes
        problems = run.extra.get("problems") or {}
        said += [f"{run.name} {kind}: {_count(value)}".strip() for kind, value in problems.items()]
        for place, one in (run.extra.get("left_out") or {}).items():
            said.append(f"{place}: {one['bad']} of {one['looked_at']} rows left out as bad")
        cut = {name: facts.get("n_length") for name, facts in run.steps.items()}
        said += [f"{name}: {n} answers cut off at max_tokens" for name, n in cut.items() if n]
    return "<ul>" + "".join(f"<li>{text(line)}</li>" for line in said) + "</ul>" if said else ""


def _count(value: Any) -> Any:
    return value.get("count", len(value)) if isinstance(value, Mapping) else value


def _checklist(run: Run, datasets: Mapping[str, Dataset], facts: Sequence[str]) -> str:
    name = f"<h3>{text(run.name)}</h3>" if run.name else ""
    return name + checklists(statements(run, datasets, facts))


def _run(run: Run) -> str:
    """Settings, versions and hashes."""
    files = {one.file: one.sha256 for one in run.answered}
    listed = {
        "command": run.command,
        **{key: value for key, value in run.settings.items() if key != "recipe"},
        "seconds": {n: f"{f['seconds']:.0f}" for n, f in run.steps.items() if "seconds" in f},
        "versions": run.versions,
        "data": {
            str(one.identity["dataset"]): str(one.identity["digest"])
            for one in run.answered
            if {"dataset", "digest"} <= one.identity.keys()
        }
        or ", ".join(run.data),
        "models": ", ".join(
            dict.fromkeys(
                str(one.identity["model"]) for one in run.answered if "model" in one.identity
            )
        ),
    }
    hashes = "".join(
        f"<dt>{text(name)}</dt><dd><code>{one}</code></dd>" for name, one in files.items()
    )
    return (
        (f"<h3>{text(run.name)}</h3>" if run.name else "")
        + charts.settings(listed)
        + (
            f'<details><summary>SHA-256 of {len(files)} predictions files</summary><dl class="settings '
            f'hashes">{hashes}</dl></details>'
            if files
            else ""
        )
    )
