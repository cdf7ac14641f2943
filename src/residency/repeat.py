"""The step that runs a whole recipe with a seed of its own, so that one command covers several seeds."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from residency.catalog import find
from residency.evaluate.results import MEAN, write_summary
from residency.provenance import versions
from residency.recipe import Recipe, execute, plan
from residency.step import Workspace


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """Run `recipe` with `settings` and `seed` in the step's folder; a step that was done stays done.

    `data` are all data sets; `settings` may say how the recipe is given them.
    """

    name: str
    recipe: str
    settings: tuple[tuple[str, Any], ...]
    seed: int
    data: tuple[str, ...]
    distributed: ClassVar[bool] = True

    @property
    def needs(self) -> tuple[str, ...]:
        """No step."""
        return ()

    def _made(self, workspace: Workspace) -> Recipe:
        made: Recipe = find("recipes", self.recipe).recipe(
            **{"data": self.data, **dict(self.settings)},
            base=workspace.base,
            out=str(workspace.folder(self.name) / "run"),
            seed=self.seed,
            limit=workspace.limit,
        )
        return made

    def plan(self, workspace: Workspace) -> list[str]:
        """The plan of the recipe."""
        return plan(self._made(workspace)).splitlines()

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Run or resume it; its rows are those of this step."""
        rows = [row for row in execute(self._made(workspace)) if row.dataset != MEAN]
        if not int(os.environ.get("RANK", "0")):
            path = workspace.folder(self.name) / "summary.json"
            write_summary(path, rows, command=workspace.command, versions=versions())
        return {"rows": len(rows)}
