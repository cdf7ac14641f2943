"""What a recipe is: a line of steps in one run folder, skipped when done, refused when changed."""

import hashlib
import json
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from residency.errors import UsageError
from residency.evaluate.results import Row, mean_rows, read_results, table, write_summary
from residency.evaluate.store import write_whole
from residency.step import BASE, Step, Workspace

LIBRARIES = ("torch", "torchvision", "transformers", "peft", "accelerate", "timm", "numpy")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Steps to run in order. `settings` are the parameters that the recipe was called with."""

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
            if step.name in seen:
                raise UsageError(f"Recipe {self.name!r} has two steps {step.name!r}.")
            missing = [need for need in step.needs if need not in seen]
            if missing:
                raise UsageError(
                    f"Step {step.name!r} needs {missing}, which no step before it makes."
                )
            seen.add(step.name)

    def command(self) -> str:
        """The command line that repeats the run."""
        words = [f"{key}={_word(value)}" for key, value in self.settings.items()]
        return " ".join(["residency", "run", self.name, *words])

    def workspace(self) -> Workspace:
        """The run's folder and shared state; nothing is written yet."""
        return Workspace(
            out=Path(self.out),
            base=self.base,
            seed=self.seed,
            limit=self.limit,
            command=self.command(),
        )


def execute(recipe: Recipe) -> list[Row]:
    """Run every step that is not done, write `results.json`, print the table.

    A step is done when its folder holds a `done.json` with the same identity: settings, data, base
    and the steps it needs. A folder made with other settings is refused, not overwritten.

    Raises:
        UsageError: the run folder belongs to other settings.
    """
    workspace = recipe.workspace()
    identities = _identities(recipe, workspace)
    _claim(recipe, workspace, identities)
    rows: list[Row] = []
    model = None
    for number, step in enumerate(recipe.steps, 1):
        folder = workspace.folder(step.name)
        facts = _done(folder, identities[step.name])
        label = f"[{number}/{len(recipe.steps)}] {step.name}"
        if facts is None:
            print(f"{label}: {type(step).__name__}", flush=True)
            began = time.perf_counter()
            folder.mkdir(parents=True, exist_ok=True)
            facts = dict(step.run(workspace)) | {"seconds": time.perf_counter() - began}
            done = {"identity": identities[step.name], "facts": facts}
            write_whole(folder / "done.json", json.dumps(done, indent=1, ensure_ascii=False) + "\n")
            print(f"{label}: done in {facts['seconds']:.0f} s", flush=True)
        else:
            print(f"{label}: already done", flush=True)
        if (folder / "summary.json").is_file():
            rows += read_results(folder / "summary.json")
        if (folder / "model" / "residency.json").is_file():
            model = f"{step.name}/model"
    rows += mean_rows(rows)
    if rows:
        write_summary(
            workspace.out / "results.json", rows, command=recipe.command(), versions=versions()
        )
    _note(workspace.out, recipe, identities, model)
    if rows:
        print(f"\n{table(rows)}\nResults: {workspace.out / 'results.json'}")
    return rows


def plan(recipe: Recipe) -> str:
    """What `execute` would do, step by step, without loading weights or writing anything."""
    workspace = recipe.workspace()
    lines = [f"{recipe.command()}", f"base {recipe.base}, seed {recipe.seed}, folder {recipe.out}"]
    for number, step in enumerate(recipe.steps, 1):
        lines.append(f"[{number}/{len(recipe.steps)}] {step.name}: {type(step).__name__}")
        lines += [f"    {line}" for line in step.plan(workspace)]
    return "\n".join(lines)


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide a result."""
    found = {"python": platform.python_version()}
    for name in ("residency", *LIBRARIES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


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
        digests = [d.digest for d in workspace.datasets(getattr(step, "data", ()))]
        needs = [made[need] for need in step.needs]
        text = repr((step, digests, needs, base, recipe.seed, recipe.limit))
        made[step.name] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return made


def _claim(recipe: Recipe, workspace: Workspace, identities: Mapping[str, str]) -> None:
    """Refuse a folder that another run made; else write what this run is."""
    path = workspace.out / "run.json"
    if path.is_file():
        saved = json.loads(path.read_text())
        own = _settings(recipe)
        keys = sorted(set(saved["settings"]) | set(own))
        changed = [
            f"{key}: {saved['settings'].get(key)!r} -> {own.get(key)!r}"
            for key in keys
            if saved["settings"].get(key) != own.get(key)
        ]
        changed += [
            f"step {name!r} (its data, its base or the recipe changed)"
            for name, identity in identities.items()
            if not changed and saved["steps"].get(name, identity) != identity
        ]
        if changed:
            raise UsageError(
                f"{workspace.out} holds another run: {'; '.join(changed)}. Choose another out=, or "
                "delete the folder."
            )
        return
    if workspace.out.exists() and any(workspace.out.iterdir()):
        raise UsageError(f"{workspace.out} is not empty and is no run. Choose another out=.")
    workspace.out.mkdir(parents=True, exist_ok=True)
    _note(workspace.out, recipe, identities, None)


def _settings(recipe: Recipe) -> dict[str, Any]:
    plain = json.dumps({"recipe": recipe.name} | dict(recipe.settings), default=str)
    settings: dict[str, Any] = json.loads(plain)
    return settings


def _note(out: Path, recipe: Recipe, identities: Mapping[str, str], model: str | None) -> None:
    content = {
        "settings": _settings(recipe),
        "command": recipe.command(),
        "steps": dict(identities),
        "model": model,
        "versions": versions(),
    }
    write_whole(out / "run.json", json.dumps(content, indent=1, default=str) + "\n")


def _done(folder: Path, identity: str) -> dict[str, Any] | None:
    """The facts of a finished step; None where it must run."""
    path = folder / "done.json"
    if not path.is_file():
        return None
    saved = json.loads(path.read_text())
    facts: dict[str, Any] = saved["facts"]
    return facts if saved["identity"] == identity else None
