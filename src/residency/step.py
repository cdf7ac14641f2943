"""What a step of a recipe is, and the workspace that the steps of a run share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from residency.dataset import Dataset, open_dataset
from residency.errors import UsageError

BASE = "base"  # names the untouched generalist where a step names the step it starts from


def _as_it_is(dataset: Dataset) -> Dataset:
    return dataset


@dataclass(kw_only=True)
class Workspace:
    """Where the steps of one run read and write; data sets are opened once.

    `prepare` is done to a data set when it is opened: a run leaves out, or refuses, bad rows. `looks`
    says how often the steps of the run read an image of (data, split) with the vision encoder of the base.
    """

    out: Path
    base: str
    seed: int
    limit: int | None
    command: str
    prepare: Callable[[Dataset], Dataset] = _as_it_is
    looks: Mapping[tuple[str, str], float] = field(default_factory=dict)
    _open: dict[str, Dataset] = field(default_factory=dict)

    def folder(self, step: str) -> Path:
        """The folder of a step."""
        return self.out / step

    def datasets(self, specs: tuple[str, ...]) -> list[Dataset]:
        """The named data sets.

        Raises:
            UsageError: two of them have the same name, so their results could not be told apart.
        """
        for spec in specs:
            if spec not in self._open:
                self._open[spec] = self.prepare(open_dataset(spec))
        opened = [self._open[spec] for spec in specs]
        names = [dataset.name for dataset in opened]
        if len(set(names)) < len(names):
            raise UsageError(f"Two data sets have the same name: {', '.join(names)}. Rename one.")
        return opened

    def uses(self, specs: tuple[str, ...], split: str) -> float:
        """How often the run reads the least read image of a split, at least twice: runs are repeated."""
        return max(2.0, min((self.looks.get((spec, split), 0.0) for spec in specs), default=0.0))

    def model(self, step: str) -> str:
        """What `store.load` takes for the model that a step left, or the base."""
        return self.base if step == BASE else str(self.folder(step) / "model")

    def is_done(self, step: str) -> bool:
        """Whether a step has run, with these or with other settings."""
        return (self.folder(step) / "done.json").is_file()

    def expert(self, step: str) -> Path:
        """The expert that a fitting step left."""
        return self.folder(step) / "expert"


@runtime_checkable
class Maker(Protocol):
    """A step whose result is data for steps after it."""

    @property
    def name(self) -> str:
        """Its name as a step."""
        ...

    def dataset(self, workspace: Workspace) -> Dataset:
        """What it made, once it has run; images are those of the data that it read."""
        ...


@runtime_checkable
class Step(Protocol):
    """One piece of work of a recipe: a frozen dataclass whose repr is its identity.

    What the repr leaves out and yet decides the result stands in a property `identity`, where there is any.
    Where several processes were launched, the first runs it alone, unless its class says
    `distributed = True`.
    """

    @property
    def name(self) -> str:
        """Its folder in the run; unique in the recipe."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the steps whose output it reads."""
        ...

    def plan(self, workspace: Workspace) -> list[str]:
        """What it would do, a line each; refuses what cannot work without loading weights."""
        ...

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Do it; returns facts for `done.json`. Result rows go to `summary.json` in its folder."""
        ...
