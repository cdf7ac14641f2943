"""UMIT's line: every part aligned, then all tasks, each task again, and each alone for as long."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

import models
from residency.codec_pixels import ResizedCodec
from residency.errors import UsageError
from residency.evaluate.by_task import laid_out
from residency.evaluate.results import Estimate, Row
from residency.evaluate.steps import Evaluate
from residency.model import store
from residency.recipe import execute
from residency.recipes import umit_grid
from residency.recipes.umit import recipe
from residency.sharing import LINES
from residency.step import Workspace
from residency.synthesis.comparing import Compare
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
        "controls", "all", "all_test", "task1", "task1_test", "task2", "task2_test",
    ]  # fmt: skip
    assert not any(isinstance(step, Compare) for step in made)
    assert isinstance(made[1], Stage) and made[1].after == "base"
    bare = recipe(data=TASKS, pairs=None, baselines=False, tune_updates=0, retention=False).steps
    assert [step.name for step in bare] == ["controls", "all", "all_test"]


def test_stage_1_reads_captions_and_comparisons_in_every_wording() -> None:
    made = recipe(data=TASKS, pairs=PAIRS, align_updates=5).steps
    compare = next(step for step in made if isinstance(step, Compare))
    align = next(step for step in made if step.name == "align")
    assert isinstance(align, Stage) and align.made == (compare,) and compare.data == PAIRS
    assert align.wording.template == "*" and align.schedule.total(1000) == 5
    without = recipe(data=TASKS, pairs=PAIRS, compare=None).steps
    assert not any(isinstance(step, Compare) for step in without)


def test_data_sets_joined_by_a_plus_are_one_task() -> None:
    both = "+".join(TASKS)
    made = {s.name: s for s in recipe(data=(both, TASKS[0])[:1]).steps if isinstance(s, Stage)}
    assert set(made) == {"align", "all", "task1", "alone1"} and made["alone1"].data == TASKS


def test_training_draws_wordings_and_tests_ask_in_canonical_ones() -> None:
    made = recipe(data=TASKS, watch=10, best="accuracy").steps
    assert {s.wording.template for s in made if isinstance(s, Evaluate)} == {"umit"}
    stages = [s for s in made if isinstance(s, Stage) and s.name != "align"]
    assert {s.wording.template for s in stages} == {"umit*"}
    looks = [s.watch for s in stages]
    assert all(w and w.every == 10 and w.wording.template == "umit" for w in looks)
    assert {w.metric for w in looks if w} == {"accuracy"}


def test_the_grid_repeats_the_recipe_and_lays_tables_out(tmp_path: Path) -> None:
    made = umit_grid.recipe(seeds=2, seed=5, updates=7)
    assert [step.name for step in made.steps] == ["seed_5", "seed_6", "tables"]
    rows = [
        Row(
            method="umit", variant=variant, view=view, dataset="d", task="vqa", seed=seed, n=9,
            n_unparsed=0, metrics={"accuracy": Estimate(estimate=value, low=0.0, high=1.0)},
        )
        for variant, view, seed, value in (
            ("UMIT-B", "plain", 5, 0.5), ("UMIT-B", "plain", 6, 0.7), ("UMIT-B", "blank", 5, 0.1),
        )
    ]  # fmt: skip
    lines = laid_out("vqa", "accuracy", rows, LINES).split("\n")
    assert lines[0] == "| vqa, accuracy, seeds: 2 | d (n 9) |"
    assert lines[2].startswith("| UMIT-B | 60.0 ± 14.1 [0.0, 100.0]")
    assert lines[3].startswith("| UMIT-B, blank image | 10.0 [") and len(lines) == 4


def test_every_model_is_asked_about_blank_images_too() -> None:
    tests = [step for step in recipe(data=TASKS).steps if isinstance(step, Evaluate)]
    assert len(tests) == 6 and all(test.views == (PLAIN, BLANK) for test in tests)
    dropped = [s for s in recipe(data=TASKS, too_long="drop").steps if isinstance(s, Evaluate)]
    assert {test.limits.too_long for test in dropped} == {"fail"}


def test_landmarks_are_written_as_the_paper_does_where_that_is_asked_for(tmp_path: Path) -> None:
    made = stages(points="umit")
    assert {name: one.codec for name, one in made.items()} == {
        **dict.fromkeys(made, ResizedCodec()), "align": None,
    }  # fmt: skip
    assert all(one.codec is None for one in stages().values())
    stage = made["all"]
    for family, fits in (("qwen2_vl", True), ("internvl", False)):
        base = str(models.folder(family))
        space = Workspace(out=tmp_path, base=base, seed=0, limit=None, command="residency run umit")
        with nullcontext() if fits else pytest.raises(UsageError, match="points=family"):
            stage.check(space)


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
