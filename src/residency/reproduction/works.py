"""The runs of a table with what this machine has: planned, blocked, or done."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from residency.catalog import find, suggest
from residency.errors import ResidencyError, UsageError
from residency.paper import Table, Work
from residency.parameters import arguments, parameters
from residency.reproduction.sets import Found, prepare

OWN = ("base", "out", "seed", "limit")  # said to `reproduce` itself, for every run


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """What the user said for all runs; `words` are parameters of their recipes."""

    base: str
    runs: Path
    seed: int
    limit: int | None
    words: tuple[str, ...] = ()
    root: str | None = None
    narrow: bool = False  # each run has the sets of the table alone
    stand_in: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A run as it would be: the recipe's arguments, the sets it gets and lacks, and why it cannot be.

    `changed` are parameters that the user gave. `failed` is what stopped it.
    """

    work: Work
    settings: Mapping[str, Any]
    given: Mapping[str, tuple[Found, ...]]
    lacking: tuple[str, ...]
    changed: tuple[str, ...]
    blocked: str = ""
    failed: str = ""

    @property
    def folder(self) -> Path:
        """Where the run lies."""
        return Path(self.settings["out"])

    @property
    def command(self) -> str:
        """The command that repeats it."""
        words = [f"{key}={_shown(value)}" for key, value in self.settings.items()]
        return shlex.join(["residency", "run", self.work.recipe, *words])

    def caveats(self) -> list[str]:
        """Why none of its figures is the paper's: other data, other settings."""
        found = []
        stood = [f.key for some in self.given.values() for f in some if f.stand_in]
        if stood:
            found.append(f"synthetic images stand in for {_few(stood)}")
        if self.lacking:
            found.append(f"run without {_few(self.lacking)}")
        if self.changed:
            found.append(f"set by hand: {', '.join(self.changed)}")
        if self.settings.get("limit") is not None:
            found.append(f"limit={self.settings['limit']}")
        return found


def caveats_of(runs: Mapping[str, Planned]) -> dict[str, list[str]]:
    """The caveats of every run, those of the run that trained its model first."""
    found: dict[str, list[str]] = {}
    for name, one in runs.items():
        found[name] = list(dict.fromkeys([*found.get(one.work.after, ()), *one.caveats()]))
    return found


def _few(keys: Sequence[str], most: int = 4) -> str:
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(keys[:most]) + more


def planned(table: Table, found: Mapping[str, Found], said: Said) -> dict[str, Planned]:
    """The runs of a table by their names, in order.

    Raises:
        UsageError: a parameter that none of their recipes has.
    """
    _refuse_unknown(table, said.words)
    made: dict[str, Planned] = {}
    for work in table.works:
        made[work.name] = _planned(work, found, said, made)
    return made


def _refuse_unknown(table: Table, words: Sequence[str]) -> None:
    taken = {key for work in table.works for key in work.sets}
    known = sorted(
        {name for work in table.works for name in parameters(_recipe(work))} - {*OWN, *taken}
    )
    for word in words:
        key, equals, _ = word.partition("=")
        if not equals or key not in known:
            what = "is decided by the table" if key in taken else "is no parameter here"
            raise UsageError(
                f"{word!r} {what}.{suggest(key, known)} Of the recipes of this table: "
                f"{', '.join(known) or 'none, it needs no run'}."
            )


def _recipe(work: Work) -> Any:
    return find("recipes", work.recipe).recipe


def _planned(
    work: Work, found: Mapping[str, Found], said: Said, before: Mapping[str, Planned]
) -> Planned:
    function = _recipe(work)
    known = parameters(function)
    mine = [word for word in said.words if word.partition("=")[0] in known]
    own = arguments(function, mine, owner=f"recipe {work.recipe!r}")
    given = {
        name: tuple(found[key] for key in keys if key in found and not found[key].missing)
        for name, keys in work.sets.items()
    }
    lacking = tuple(
        key for keys in work.sets.values() for key in keys if key in found and found[key].missing
    )
    empty = [name for name, some in given.items() if not some]
    settings: dict[str, Any] = {**work.settings, **own}
    for name, some in given.items():
        specs = tuple(one.spec for one in some)
        single = known[name].type is str
        settings[name] = (specs[0] if single else specs) if specs else None
    blocked = "".join(
        f"nothing of {_few(work.sets[name])} is here" for name in empty if name not in work.optional
    )
    base = said.base
    if work.after:
        first = before[work.after]
        base = str(first.folder)
        blocked = blocked or (f"{work.after} cannot run" if first.blocked else "")
    settings |= {
        "base": base, "out": str(said.runs / work.name), "seed": said.seed, "limit": said.limit,
    }  # fmt: skip
    changed = tuple(f"{key}={_shown(value)}" for key, value in own.items())
    changed += ("scope=table",) * said.narrow
    return Planned(
        work=work, settings=settings, given=given, lacking=lacking, changed=changed, blocked=blocked
    )


def perform(plan: Mapping[str, Planned], said: Said) -> dict[str, Planned]:
    """Execute what can be; a run that fails is noted and the others go on."""
    from residency.recipe import execute
    from residency.train.signals import Interrupted

    done: dict[str, Planned] = {}
    for name, one in plan.items():
        first = done.get(one.work.after)
        if first is not None and first.failed:
            one = replace(one, failed=f"{first.work.name} failed")
        if not (one.blocked or one.failed):
            print(f"== {name}: {one.command}", flush=True)
            try:
                execute(_recipe(one.work)(**_prepared(one, said)))
            except Interrupted:  # nobody wants the next run either
                raise
            except ResidencyError as error:
                one = replace(one, failed=" ".join(str(error).split()))
                print(f"== {name} failed: {one.failed}", flush=True)
        done[name] = one
    return done


def _prepared(one: Planned, said: Said) -> dict[str, Any]:
    """The arguments with benchmarks written where sets become one."""
    settings = dict(one.settings)
    for name, some in one.given.items():
        specs = tuple(prepare(found, said.runs / "data", said.root) for found in some)
        settings[name] = specs[0] if isinstance(settings[name], str) else specs or None
    return settings


def _shown(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
