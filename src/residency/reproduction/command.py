"""The command: find the data, plan or run, and write the table with both kinds of figures."""

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from residency.catalog import find, names
from residency.errors import ResidencyError, UsageError
from residency.paper import Paper, Table, Work
from residency.reproduction.sets import WHERE, Found, look
from residency.reproduction.works import Planned, Said, caveats_of, perform, planned

Scope = Literal["paper", "table"]


def reproduce(
    paper: str,
    table: str,
    words: tuple[str, ...] = (),
    *,
    base: str = "nano",
    data_root: str | None = None,
    out: str | None = None,
    runs: str | None = None,
    seed: int = 0,
    limit: int | None = None,
    scope: Scope = "paper",
    stand_in: bool = False,
    plan: bool = False,
) -> Path | None:
    """Run what a published table needs on the data that is here; print our figures beside the paper's.

    `paper` is vitask, instfree, adamllm or umit; `table` one of its tables and figures, listed below.
    Data sets are found as `residency data list` finds them, in `data_root` or else $RESIDENCY_DATA; cells
    of what is not there say `missing`. `stand_in=true` puts synthetic images in their place.
    `plan=true` says what would run and where to get the rest, and runs nothing. A figure of ours whose
    model, data, number of samples or settings are not the paper's is marked ≠ with the reasons, as are
    printed figures that may not be compared with their neighbours. Rows without runs of ours are only
    quoted.

    Runs lie in `runs` (default: `out`/runs) and are taken up where they were, so tables of one paper may
    share it. `scope=table` trains on the sets of this table alone, where the paper trains one model on
    the sets of several. Every other key=value is a parameter of the recipes that run (`epochs=0.1`), all
    of them in `words`. `out` receives results.json, table.md and table.html. A run that fails is
    noted, and the command ends with 1 after the table is written. Returns the folder, None for a plan.

    Raises:
        UsageError: no such paper, table or parameter.
        ResidencyError: a run failed.
    """
    known = find_paper(paper)
    chosen = known.table(table)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            "reproduce runs in one process. Launch its runs by themselves: plan=true prints them."
        )
    chosen = _scoped(chosen, scope)
    place = Path(out or f"runs/reproduce/{paper}_{table}")
    said = Said(
        base=base,
        runs=Path(runs) if runs else place / "runs",
        seed=seed,
        limit=limit,
        words=words,
        root=data_root,
        narrow=scope == "table",
        stand_in=stand_in,
    )
    if data_root is not None and not Path(data_root).is_dir():
        raise UsageError(f"data_root={data_root}: no such folder.")
    keys = [key for work in chosen.works for some in work.sets.values() for key in some]
    found = look(keys, known.sets, data_root, stand_in=stand_in)
    works = planned(chosen, found, said)
    if plan:
        print(_described(known, chosen, found, works, said))
        return None
    done = perform(works, said)
    _write(known, chosen, done, found, said, place, f"{paper} {table}")
    failed = [f"{name}: {one.failed}" for name, one in done.items() if one.failed]
    if failed:
        raise ResidencyError(f"{len(failed)} of {len(done)} runs failed. {'; '.join(failed)}")
    return place


def find_paper(name: str) -> Paper:
    """The paper of a name.

    Raises:
        UsageError: no such paper.
    """
    found: Paper = find("papers", name).PAPER
    return found


def listing() -> str:
    """The tables of every paper, a line each."""
    lines = []
    for name in names("papers"):
        known = find_paper(name)
        lines.append(f"{name}: {known.title}")
        lines += [f"  {key:<9} {table.title}" for key, table in known.tables.items()]
    return "\n".join(lines)


def named(paper: str) -> str:
    """The names of a paper's tables, or of the papers for ''."""
    return ", ".join(find_paper(paper).tables if paper else names("papers"))


def _scoped(table: Table, scope: Scope) -> Table:
    """The table whose runs train on its own sets alone, where that was asked for."""
    if scope == "paper":
        return table
    own = {column.set for column in table.columns}

    def narrowed(work: Work) -> Work:
        kept = {
            name: tuple(key for key in keys if key in own) if own.intersection(keys) else keys
            for name, keys in work.sets.items()
        }
        return replace(work, sets=kept)

    return replace(table, works=tuple(map(narrowed, table.works)))


def _described(
    paper: Paper,
    table: Table,
    found: Mapping[str, Found],
    works: Mapping[str, Planned],
    said: Said,
) -> str:
    """What would run and what is missing."""
    lines = [f"{paper.title}. {table.title}", ""]
    if not works:
        lines.append("No run of ours stands beside this table: its figures are only quoted.")
    for name, one in works.items():
        if one.blocked:
            lines.append(f"{name}: cannot run, {one.blocked}")
            continue
        lines.append(f"{name}: {one.command}")
        lines += [f"    {caveat}" for caveat in one.caveats()]
    if not said.root and not os.environ.get(WHERE):
        lines.append(f"No data folder: give data_root=, or set ${WHERE}.")
    here = [one for one in found.values() if not one.missing and not one.stand_in]
    lines += ["", f"data sets: {len(here)} of {len(found)} found"]
    lines += [f"    {one.key}: {one.spec}" for one in here]
    lines += [f"    {one.key}: {one.why}" for one in found.values() if one not in here]
    quoted = [line.name for line in table.lines if not line.ours]
    if quoted:
        lines += ["", f"only quoted: {', '.join(quoted)}"]
    lines += [f"note: {one}" for one in table.notes]
    return "\n".join(lines)


def _same_base(paper: Paper, base: str) -> str:
    """The paper's name of a model, '' where it is none of its models."""
    given = Path(base).name.lower()
    for name, known in paper.bases.items():
        if given in (one.lower() for one in known):
            return name
    return ""


def _write(
    paper: Paper,
    table: Table,
    done: Mapping[str, Planned],
    found: Mapping[str, Found],
    said: Said,
    place: Path,
    words: str,
) -> None:
    from residency.evaluate.results import write_summary
    from residency.evaluate.store import write_whole
    from residency.provenance import versions
    from residency.reproduction import page
    from residency.reproduction.cells import Results, chosen, filled

    base = _same_base(paper, said.base)
    lines = chosen(table, base)
    caveats = caveats_of(done)
    if not base:
        for reasons in caveats.values():
            reasons.insert(0, f"the base is {said.base}, the paper's {' or '.join(paper.bases)}")
    cells = filled(table, lines, done, found, caveats)
    missing = [f"missing: {one.key}, {one.why}" for one in found.values() if one.missing]
    failed = [f"failed: {name}, {one.failed}" for name, one in done.items() if one.failed]
    who = f"base {said.base}"
    laid = page.laid_out(table, cells, who=who, missing=[*missing, *failed])
    command = shlex.join(["residency", "reproduce", *words.split(), f"out={place}", *_told(said)])
    results = [Results.of(one.folder) for one in done.values()]
    rows = [row for one in results if one is not None for row in one.rows]
    more = {
        "paper": paper.title,
        "table": table.title,
        "base": said.base,
        "cells": page.as_json(table, cells),
        "runs": {name: _run_json(one) for name, one in done.items()},
        "sets": {
            one.key: {"spec": one.spec, "stand_in": one.stand_in, "why": one.why}
            for one in found.values()
        },
        "notes": list(table.notes),
    }
    write_summary(place / "results.json", rows, command=command, versions=versions(), more=more)
    shown = page.markdown(laid)
    write_whole(place / "table.md", shown)
    lead = f"{paper.title}. Rows on a tinted ground are ours ({who}); the others are the paper's."
    write_whole(place / "table.html", page.html(laid, lead=lead))
    print(f"\n{shown}\nResults: {place / 'results.json'}\nTable: {place / 'table.html'}")


def _told(said: Said) -> list[str]:
    """What the user said, as words."""
    known = {
        "base": said.base,
        "data_root": said.root,
        "runs": said.runs,
        "seed": said.seed,
        "limit": said.limit,
        "scope": "table" if said.narrow else None,
        "stand_in": "true" if said.stand_in else None,
    }
    return [*(f"{key}={value}" for key, value in known.items() if value is not None), *said.words]


def _run_json(one: Planned) -> dict[str, object]:
    return {
        "command": one.command,
        "blocked": one.blocked,
        "failed": one.failed,
        "caveats": one.caveats(),
        "settings": json.loads(json.dumps(dict(one.settings), default=str)),
    }
