"""What a recipe is: a line of steps in one run folder, skipped when done, refused when changed."""

import functools
import hashlib
import json
import os
import re
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from residency.data.bad import COUNTS, LIST, LeftOut, Policy, sift
from residency.dataset import Dataset
from residency.errors import ResidencyError, UsageError
from residency.evaluate.results import (
    Row,
    mean_rows,
    read_details,
    read_results,
    table,
    write_summary,
)
from residency.evaluate.store import FILE, write_whole
from residency.provenance import file_hash, versions
from residency.step import BASE, Step, Workspace

_CHANGED = "its settings, its data, its base or the recipe changed"
_GONE = "its rows would be lost, it is no step of these settings"
_NAME = re.compile(r"[A-Za-z0-9_-]+")
PACE = 1.0  # seconds between two looks of a process that waits for another one


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Steps to run in order. `settings` are the parameters that the recipe was called with.

    `name` is that of a recipe module, or `evaluate MODEL`.
    """

    name: str
    base: str
    out: str
    seed: int
    steps: tuple[Step, ...]
    limit: int | None = None
    settings: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seen = {BASE}
        for step in self.steps:
            if not _NAME.fullmatch(step.name):
                raise UsageError(
                    f"{step.name!r} cannot be the name of a step: it names a folder of the run. "
                    "Use letters, digits, - and _."
                )
            if step.name in seen:
                raise UsageError(f"Recipe {self.name!r} has two steps {step.name!r}.")
            missing = [need for need in step.needs if need not in seen]
            if missing:
                raise UsageError(
                    f"Step {step.name!r} needs {missing}, which no step before it makes."
                )
            seen.add(step.name)

    def command(self) -> str:
        """The command line that repeats the run, quoted for a shell."""
        verb, _, model = self.name.partition(" ")
        head = [verb, model] if model else ["run", verb]
        words = [f"{key}={_word(value)}" for key, value in self.settings.items()]
        return shlex.join(["residency", *head, *words])

    @property
    def policy(self) -> Policy:
        """What the parameters `on_bad` and `max_bad` say about bad rows."""
        own = {key: self.settings[key] for key in ("on_bad", "max_bad") if key in self.settings}
        return Policy(**own)  # type: ignore[arg-type]

    def workspace(self, **own: Any) -> Workspace:
        """The run's folder and shared state; nothing is written yet."""
        return Workspace(
            out=Path(self.out),
            base=self.base,
            seed=self.seed,
            limit=self.limit,
            command=self.command(),
            looks=_looks(self.steps),
            **own,
        )


def execute(recipe: Recipe) -> list[Row]:
    """Run every step that is not done, write `results.json`, print the table.

    A step is done when its folder holds a `done.json` with the same identity (its settings, data,
    base and the steps it needs) and the `summary.json` that it left then; else it runs again, and
    with it every step that needs it. A folder in which something was made that these settings would make
    otherwise, or whose rows they would not make, is refused, not overwritten: a run may grow by steps, and
    settings that change no step may change. Where several processes were launched, all of them train; the
    first alone does everything else. Steps with a method `check` first say what cannot work, before the
    folder is claimed and hours are spent.

    Raises:
        UsageError: the run folder belongs to other settings, or is no run.
    """
    _join()
    left_out = LeftOut(Path(recipe.out))
    workspace = recipe.workspace(prepare=functools.partial(_prepared, recipe, left_out))
    identities = _identities(recipe, workspace)
    if int(os.environ.get("RANK", "0")):
        _follow(recipe, workspace, identities)
        return []
    for step in recipe.steps:
        check = getattr(step, "check", None)
        if check and not _is_done(workspace.folder(step.name), identities[step.name], quiet=True):
            check(workspace)
    _claim(recipe, workspace, identities)
    for number, step in enumerate(recipe.steps, 1):
        folder = workspace.folder(step.name)
        label = f"[{number}/{len(recipe.steps)}] {step.name}"
        if _is_done(folder, identities[step.name]):
            print(f"{label}: already done", flush=True)
            continue
        print(f"{label}: {type(step).__name__}", flush=True)
        for dependent in _dependents(recipe, step.name):
            _drop(workspace.folder(dependent))
        seconds = _perform(step, workspace, identities[step.name])
        print(f"{label}: done in {seconds:.0f} s", flush=True)
    return _collect(recipe, workspace, identities, left_out)


def _join() -> None:
    """Make one group of the processes that were launched; without accelerators they join on the CPU.

    Raises:
        UsageError: they did not all join, and would each train alone in the same folder.
    """
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched < 2:
        return
    import torch
    from accelerate import PartialState

    bare, engine = not torch.cuda.is_available(), "ACCELERATE_USE_DEEPSPEED" in os.environ
    if bare and not engine:  # with it accelerate would leave DeepSpeed out without a word
        os.environ.setdefault("ACCELERATE_USE_CPU", "true")  # `accelerate launch` does not say it
    said = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("true", "1", "yes")
    alone = said or (bare and engine)
    joined = PartialState(cpu=alone).num_processes  # by itself it does not look there
    if joined != launched:
        raise UsageError(
            f"{launched} processes were launched and {joined} joined. Launch with a file of "
            "residency/configs, or set ACCELERATE_USE_CPU=true where no accelerator is to be used."
        )


def _prepared(recipe: Recipe, left_out: LeftOut, dataset: Dataset) -> Dataset:
    """A data set as the run uses it; says what its reader left out or mended."""
    if dataset.defects:
        count = sum(dataset.defects.values())
        print(
            f"{dataset.name}: {count:,} defects of the files were left out or mended; "
            "`residency data check` lists them.",
            flush=True,
        )
    return sift(dataset, recipe.policy, left_out=left_out, limit=recipe.limit, seed=recipe.seed)


def _looks(steps: Sequence[Step]) -> dict[tuple[str, str], float]:
    """How often steps read an image of (data, split) with the vision encoder of the base.

    A step that trains it, and what follows from that step, reads with another one.
    """
    other: set[str] = set()
    found: dict[tuple[str, str], float] = {}
    for step in steps:
        if "vision_encoder" in getattr(step, "train", ()) or other.intersection(step.needs):
            other.add(step.name)
            continue
        for key, times in getattr(step, "looks", dict)().items():
            found[key] = found.get(key, 0.0) + times
    return found


def _dependents(recipe: Recipe, name: str) -> list[str]:
    """The steps that need a step, directly or through others."""
    stale = {name}
    for step in recipe.steps:  # a step comes after all that it needs
        if stale.intersection(step.needs):
            stale.add(step.name)
    return sorted(stale - {name})


def _drop(folder: Path) -> None:
    """Forget what a step made of an input that is about to be made anew."""
    for path in (folder / "done.json", folder / "summary.json", *folder.glob(f"*/*/{FILE}")):
        path.unlink(missing_ok=True)
    if (folder / "checkpoints").is_dir():
        shutil.rmtree(folder / "checkpoints")


def _perform(step: Step, workspace: Workspace, identity: str) -> float:
    """Run a step and mark it done; returns the seconds it took."""
    folder = workspace.folder(step.name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "done.json").unlink(missing_ok=True)
    began = time.perf_counter()
    facts = dict(step.run(workspace))
    seconds = time.perf_counter() - began
    done = {
        "identity": identity,
        "summary": _digest(folder / "summary.json"),
        "facts": facts | {"seconds": seconds},
    }
    write_whole(folder / "done.json", json.dumps(done, indent=1, ensure_ascii=False) + "\n")
    return seconds


def _follow(recipe: Recipe, workspace: Workspace, identities: Mapping[str, str]) -> None:
    """What every process but the first does: take part in steps that train, wait for the others."""
    for step in recipe.steps:
        folder, identity = workspace.folder(step.name), identities[step.name]
        if getattr(step, "distributed", False) and not _is_done(folder, identity, quiet=True):
            step.run(workspace)
        while not _is_done(folder, identity, quiet=True):
            time.sleep(PACE)


def _collect(
    recipe: Recipe, workspace: Workspace, identities: Mapping[str, str], left_out: LeftOut
) -> list[Row]:
    """Gather the rows of all steps into `results.json`; note the last model in `run.json`."""
    rows: list[Row] = []
    details: list[Any] = []
    model = None
    for step in recipe.steps:
        folder = workspace.folder(step.name)
        if (folder / "summary.json").is_file():
            rows += read_results(folder / "summary.json")
            details += [{"step": step.name, **one} for one in read_details(folder / "summary.json")]
        if (folder / "model" / "residency.json").is_file():
            model = f"{step.name}/model"
    rows += mean_rows(rows)
    path = workspace.out / "results.json"
    if rows:
        more = {"details": details, "left_out": left_out.counts}
        write_summary(path, rows, command=recipe.command(), versions=versions(), more=more)
    _note(workspace.out, recipe, identities, model)
    if rows:
        print("\n".join(["", table(rows), *left_out.lines(), f"Results: {path}"]))
        _report(workspace.out)
    return rows


def _report(out: Path) -> None:
    """Write the page of the run; results that stand are not lost where that fails."""
    from residency.evaluate.report import report

    try:
        print(f"Report: {report([str(out)])}", flush=True)
    except ResidencyError as error:
        print(f"Report: not written ({error}). Try `residency report {out}`.", flush=True)


def plan(recipe: Recipe) -> str:
    """What `execute` would do, step by step, without loading weights or writing anything."""
    workspace = recipe.workspace()
    lines = [f"{recipe.command()}", f"base {recipe.base}, seed {recipe.seed}, folder {recipe.out}"]
    for number, step in enumerate(recipe.steps, 1):
        lines.append(f"[{number}/{len(recipe.steps)}] {step.name}: {type(step).__name__}")
        lines += [f"    {line}" for line in step.plan(workspace)]
    return "\n".join(lines)


def _word(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _identities(recipe: Recipe, workspace: Workspace) -> dict[str, str]:
    """A hash per step over its own settings, its data, the base, the seed and what it needs."""
    from residency.model.store import identity

    base = identity(recipe.base)
    made = {BASE: base}
    for step in recipe.steps:
        cards = [d.card for d in workspace.datasets(getattr(step, "data", ()))]
        needs = [made[need] for need in step.needs]
        source = str(getattr(step, "source", ""))  # a folder may change under its name
        weights = identity(source) if source and Path(source).is_dir() else None
        own = (step, getattr(step, "identity", ""))  # what its repr leaves out
        text = repr((own, cards, needs, weights, base, recipe.seed, recipe.limit, recipe.policy))
        made[step.name] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return made


def _claim(recipe: Recipe, workspace: Workspace, identities: Mapping[str, str]) -> None:
    """Refuse a folder that holds what this run would not make so; else write what this run is."""
    out = workspace.out
    if (out / "run.json").is_file():
        settings, steps = _read_run(out / "run.json")
        lost = [
            f"step {name!r} ({_CHANGED if name in identities else _GONE})"
            for name, identity in steps.items()
            if identities.get(name) != identity and _made(out / name, rows=name not in identities)
        ]
        if lost:
            own = _settings(recipe)
            changed = [
                f"{key}: {settings.get(key)!r} -> {own.get(key)!r}"
                for key in sorted({*settings, *own} - {"out"})
                if settings.get(key) != own.get(key)
            ]
            raise UsageError(
                f"{out} holds another run: {'; '.join([*changed, *lost])}. Choose another out=, or delete "
                "the folder."
            )
        if new := [step.name for step in recipe.steps if step.name not in steps]:
            print(f"{out} goes on with new steps: {', '.join(new)}.", flush=True)
        if steps != identities:
            _note(out, recipe, identities, None)
        return
    listed = (LIST, COUNTS)  # what an attempt that stopped at bad rows leaves
    if out.exists() and (not out.is_dir() or any(e.name not in listed for e in out.iterdir())):
        raise UsageError(f"{out} is not empty and is no run. Choose another out=.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        _note(out, recipe, identities, None)
    except OSError as error:
        raise UsageError(
            f"Cannot write to {out}: {error.strerror}. Choose another out=."
        ) from error


def _made(folder: Path, *, rows: bool) -> bool:
    """Whether a step left anything; with `rows` whether it left rows for the results."""
    if rows:
        return (folder / "summary.json").is_file()
    return folder.is_dir() and any(one.is_file() for one in folder.rglob("*"))


def _read_run(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings and step identities of an earlier run."""
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        return dict(saved["settings"]), dict(saved["steps"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is damaged, so what the folder holds is unknown. Choose another out=, or "
            "delete the folder."
        ) from error


def _settings(recipe: Recipe) -> dict[str, Any]:
    plain = json.dumps({"recipe": recipe.name} | dict(recipe.settings), default=str)
    settings: dict[str, Any] = json.loads(plain)
    return settings


def _note(out: Path, recipe: Recipe, identities: Mapping[str, str], model: str | None) -> None:
    content = {
        "settings": _settings(recipe),
        "command": recipe.command(),
        "data": sorted({spec for step in recipe.steps for spec in getattr(step, "data", ())}),
        "steps": dict(identities),
        "model": model,
        "versions": versions(),
    }
    write_whole(out / "run.json", json.dumps(content, indent=1, default=str) + "\n")


def _is_done(folder: Path, identity: str, *, quiet: bool = False) -> bool:
    """Whether a step left all it had to; says so where a file of it is damaged."""
    if not (folder / "done.json").is_file():
        return False
    reason = "was made with other settings"
    try:
        saved = json.loads((folder / "done.json").read_text(encoding="utf-8"))
        if saved["identity"] == identity:
            if saved["summary"] == _digest(folder / "summary.json"):
                return True
            reason = "has another summary.json than it left"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        reason = "has a damaged done.json"
    if not quiet:
        print(f"{folder} {reason}: the step runs again.", flush=True)
    return False


def _digest(path: Path) -> str | None:
    return file_hash(path) if path.is_file() else None
