"""UMIT's line: every part aligned, then all tasks, each task again, and each alone for as long."""

import json
from pathlib import Path

import pytest
import torch

import models
from residency.errors import UsageError
from residency.evaluate.steps import Evaluate
from residency.model import store
from residency.recipe import execute
from residency.recipes.umit import recipe
from residency.train.stage import Stage
from residency.types import BLANK, PLAIN

SMALL = ":train=3:val=2:test=3:size=32"
TASKS = (f"phantoms:smear{SMALL}", f"phantoms:fundus{SMALL}:task=landmark")
PAIRS = (f"phantoms:lesion{SMALL}:task=caption",)


def stages(**changes: object) -> dict[str, Stage]:
    made = recipe(data=TASKS, pairs=PAIRS, **changes)  # type: ignore[arg-type]
    return {step.name: step for step in made.steps if isinstance(step, Stage)}


def test_the_line_aligns_shares_continues_and_compares() -> None:
    made = stages(updates=7)
    assert list(made) == ["align", "all", "task1", "task2", "alone1", "alone2"]
    assert [made[k].after for k in made] == ["base", "align", "all", "all", "align", "align"]
    assert set(made["align"].train) == {"vision_encoder", "connector", "language_model"}
    rest = [set(made[k].train) for k in list(made)[1:]]
    assert all(parts == {"connector", "language_model"} for parts in rest)
    assert made["all"].data == TASKS and made["task2"].data == TASKS[1:]
    paces = [made[k].schedule.total(1000) for k in ("all", "alone1", "alone2")]
    assert paces == [7, 7, 7]


def test_epochs_are_those_of_the_paper_unless_updates_are_given() -> None:
    made = stages()
    assert made["align"].schedule.epochs == 1 and made["all"].schedule.epochs == 4
    assert made["all"].schedule.updates is None


def test_without_pairs_the_tasks_start_from_the_base() -> None:
    made = recipe(data=TASKS, pairs=None, baselines=False).steps
    assert [step.name for step in made if not step.name.endswith("_retention")] == [
        "all", "all_test", "task1", "task1_test", "task2", "task2_test",
    ]  # fmt: skip
    assert isinstance(made[0], Stage) and made[0].after == "base"


def test_every_model_is_asked_about_blank_images_too() -> None:
    tests = [step for step in recipe(data=TASKS).steps if isinstance(step, Evaluate)]
    assert len(tests) == 6 and all(test.views == (PLAIN, BLANK) for test in tests)
    dropped = [s for s in recipe(data=TASKS, too_long="drop").steps if isinstance(s, Evaluate)]
    assert {test.limits.too_long for test in dropped} == {"fail"}


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(UsageError, match="names no task"):
        recipe(data=())
    with pytest.raises(UsageError, match=r"lr=-1\.0"):
        recipe(lr=-1.0)


@pytest.mark.slow
def test_one_run_from_pairs_to_the_table(tmp_path: Path) -> None:
    base = str(models.folder("qwen2_vl"))
    execute(
        recipe(
            base=base,
            data=TASKS,
            pairs=PAIRS,
            out=str(tmp_path),
            limit=3,
            updates=1,
            tune_epochs=1.0,
        )
    )
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    told = {(r["variant"], r["view"], r["task"]) for r in rows if r["method"] == "umit"}
    tasks = ("classification", "landmark")
    assert {(v, PLAIN.name, t) for v in ("UMIT-B", "UMIT", "one task") for t in tasks} <= told
    assert ("UMIT-B", BLANK.name, "landmark") in told
    before, aligned, tuned = (
        store.load(model).parts()["vision_encoder"]
        for model in (base, *(str(tmp_path / step / "model") for step in ("align", "task2")))
    )
    assert not all(torch.equal(aligned[name], weight) for name, weight in before.items())
    assert all(torch.equal(tuned[name], weight) for name, weight in aligned.items())
