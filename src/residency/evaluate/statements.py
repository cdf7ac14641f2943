"""What a run can say about itself in words: the drafts of checklist items and of the model card."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from residency.dataset import Dataset
from residency.evaluate.charts import is_control, titled
from residency.evaluate.results import Row, metric_names, with_interval
from residency.evaluate.retention import SUITE
from residency.evaluate.runs import Answered, Run
from residency.evaluate.statistics import detectable

DISCORDANT = 0.2  # assumed where nothing was compared
_TAGS = {"blank": "blank image", "shuffled": "another sample's image"}


def statements(
    run: Run, datasets: Mapping[str, Dataset], groups: Sequence[str] = ()
) -> dict[str, str]:
    """The facts that `checklists` and the model card fill in; what is unknown is left out.

    `datasets` are those of the run that could be opened, `groups` the attributes with a table.
    """
    rows = [row for row in run.rows if row.task != SUITE and row.dataset != "mean"]
    settings, main = run.settings, main_row(run.rows)
    said = {
        "method": _method(settings),
        "base": _base(run),
        "limit": _limit(settings),
        "software": ", ".join(f"{name} {one}" for name, one in run.versions.items()),
        "command": run.command,
        "metrics": ", ".join(metric_names(rows)),
        "statistics": "95 % percentile bootstrap over patients where they are named, else images "
        "(1,000 draws), Wilson where all are right or all wrong; exact McNemar, Holm, paired bootstrap "
        "for differences",
        "counts": "; ".join(_counts(rows)),
        "controls": "; ".join(_controls(rows)),
        "power": _power(rows),
        "training": "; ".join(_training(run)),
        "model": "; ".join(_parts(run)),
        "external": ", ".join(_listed(settings.get("external"))),
        "subgroups": f"tables by {', '.join(groups)}" if groups else "",
        "failures": "gallery of samples, wrong answers first; confusion matrix" if rows else "",
        "missing": _missing(rows),
        "disjoint": "; ".join(_shared(run.extra.get("overlap", ()))),
    }
    if main:
        numbers = [f"{name} {with_interval(name, value)}" for name, value in main.metrics.items()]
        said["performance"] = f"{titled(main)} on {main.dataset}: {', '.join(numbers)}"
    if run.model:
        said["selection"] = "the last update of the last stage; nothing was chosen by test results"
        said["ensemble"] = "none"
        said["internal"] = "held-out splits of the data sets trained on"
        said["availability"] = (
            f"trained weights: {run.model.relative_to(run.folder)} in the run's folder"
        )
    said |= _of_data(datasets, rows)
    said |= _of_answers(run.answered)
    return {key: value for key, value in said.items() if value}


def main_row(rows: Sequence[Row]) -> Row | None:
    """The row that a run is about: the last that is no control, no mean and not about retention."""
    own = [r for r in rows if not is_control(r) and r.task != SUITE and r.dataset != "mean"]
    return own[-1] if own else None


def _listed(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else [str(v) for v in value]


def _method(settings: Mapping[str, Any]) -> str:
    name = settings.get("recipe")
    return f"vision-language model, Residency recipe {name}" if name else ""


def _base(run: Run) -> str:
    base = run.settings.get("base")
    return f"pretrained weights {base}" if base else ""


def _limit(settings: Mapping[str, Any]) -> str:
    if "limit" not in settings:
        return ""
    limit = settings["limit"]
    return (
        "all samples" if limit is None else f"{limit} of each split, drawn by answer with the seed"
    )


def _counts(rows: Sequence[Row]) -> Iterator[str]:
    seen = set()
    for row in rows:
        if (row.dataset, row.task) not in seen:
            seen.add((row.dataset, row.task))
            yield f"{row.dataset} ({row.task}): {row.n:,} samples"


def _missing(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    unparsed = sum(row.n_unparsed for row in rows if row.view)
    return f"answers that could not be understood: {unparsed:,}, counted as wrong, none imputed"


def _controls(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if is_control(row) and row.metrics:
            name, value = next(iter(row.metrics.items()))
            what = _TAGS.get(row.view or "", row.method)
            yield f"{what} on {row.dataset}: {name} {with_interval(name, value)}"


def _shared(overlaps: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What test and training splits share, where controls looked."""
    for one in overlaps:
        patients = one["patients"]
        yield (
            f"{one['dataset']}: of {one['n']:,} {one['split']} samples {one['exact']} show a training "
            f"image, {one['near']} one that looks like it, "
            + ("patients unknown" if patients is None else f"{patients} share a patient")
        )


def _power(rows: Sequence[Row]) -> str:
    sizes = {row.dataset: row.n for row in rows if row.n}
    lines = []
    for name, n in sizes.items():
        unseen = detectable(n, DISCORDANT)
        if unseen == unseen:
            lines.append(
                f"{name}: n={n:,}, a difference below {100 * unseen:.1f} points is not seen"
            )
    if not lines:
        return ""
    return f"{'; '.join(lines)} (power 80 %, models that disagree on {DISCORDANT:.0%} of samples)"


def _training(run: Run) -> Iterator[str]:
    for name, facts in run.steps.items():
        if "updates" in facts:
            used = sum(one.get("used", 0) for one in facts.get("samples", ()))
            yield f"{name}: {facts['updates']:,} updates, {used:,} training samples"


def _parts(run: Run) -> Iterator[str]:
    for name, facts in run.steps.items():
        trained = [part for part in facts.get("parts", ()) if part.get("trainable")]
        if trained:
            listed = ", ".join(
                f"{p['part']} {p['how']} ({p['trainable']:,} of {p['parameters']:,} parameters)"
                for p in trained
            )
            yield f"{name} trains {listed}"


def _of_data(datasets: Mapping[str, Dataset], rows: Sequence[Row]) -> dict[str, str]:
    """What the opened data sets declare."""
    used = [datasets[name] for name in dict.fromkeys(r.dataset for r in rows) if name in datasets]
    if not used:
        return {}
    sources = (
        f"{d.name}: {d.source or 'source not declared'}, licence {d.licence or 'not declared'}, "
        f"digest {d.digest}"
        for d in used
    )
    splits = (
        f"{d.name}: " + ", ".join(f"{name} {len(some):,}" for name, some in d.splits.items())
        for d in used
    )
    gone = [f"{d.name}: {kind} {n:,}" for d in used for kind, n in d.defects.items()]
    names = {name for d in used for name in d.modality.values() if name.isascii()}
    return {
        "sources": "; ".join(sources),
        "partitions": "splits that the data set declares. " + "; ".join(splits),
        "modality": ", ".join(sorted(names)),
        "left_out": f"left out or mended by the reader: {', '.join(gone)}" if gone else "",
    }


def _of_answers(answered: Sequence[Answered]) -> dict[str, str]:
    """What the predictions say about how they were made, and how the classes are spread."""
    own = [one for one in answered if not one.control and one.row.task != SUITE]
    if not own:
        return {}
    last = own[-1]
    classes = {line.label: line.support for line in last.row.classes}
    facts = {
        "outcome": f"{last.row.task}: {', '.join(last.labels)}" if last.labels else last.row.task,
        "balance": ", ".join(f"{name} {n:,}" for name, n in classes.items()),
    }
    if last.identity:
        wording = last.identity.get("wording", {})
        how = {"likelihood": "the likeliest of the listed options", "generate": "greedy generation"}
        facts["inference"] = (
            f"{how.get(str(last.identity.get('mode')), 'as stored')}, wording "
            f"{wording.get('template', '?')}, options "
            f"{'listed' if wording.get('list_options') else 'not listed'}"
        )
        facts["preprocessing"] = "images decoded to 8-bit RGB, resized by the model's own processor"
    return facts
