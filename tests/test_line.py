"""Lines: learning rates by what the base is, the pace, the length policy, labels that differ."""

import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import models
from residency import catalog, line
from residency.errors import DataError, UsageError
from residency.evaluate.steps import Evaluate, Rank
from residency.model import store
from residency.recipe import Recipe
from residency.step import Workspace
from residency.task import Wording
from residency.train.stage import Stage
from residency.train.values import Full, LoRA

DATA = "phantoms:smear:train=8:val=8:test=8"
FAMILY = ("demo", "vanilla", "vanilla_vision", "vitask", "vitask_ablation")
FAMILY += ("vitask_incomplete", "vitask_plug", "vitask_ranking")


def tuning(**changes: Any) -> line.Tuning:
    given: dict[str, Any] = {
        "base": "nano",
        "data": (DATA,),
        "lr": None,
        "connector_lr": None,
        "rank": 4,
        "epochs": 1.0,
        "batch_size": 16,
    }
    return line.Tuning(**given | changes)


def test_a_copy_of_nano_learns_at_its_rate(tmp_path: Path) -> None:
    shutil.copytree(store.NANO, tmp_path / "copy")
    for base in ("nano", str(store.NANO), str(tmp_path / "copy")):
        assert tuning(base=base).language_model.lr == line.NANO_RATE
        assert tuning(base=base).connector.lr == line.NANO_RATE
    other = tuning(base=str(models.folder("qwen2_vl")))
    assert other.language_model.lr == line.PAPER_LEARNING_RATE
    assert other.connector.lr == line.CONNECTOR_RATE
    assert tuning(lr=0.5, connector_lr=0.25).language_model.lr == 0.5


def test_what_a_recipe_is_told_reaches_its_stages() -> None:
    made = catalog.find("recipes", "vitask").recipe(
        data=(DATA,), template="category", exemplar="patches", lr=0.5, connector_lr=0.25, rank=3
    )
    connect = next(step for step in made.steps if step.name == "connect")
    assert connect.wording == Wording(template="category") and connect.exemplar == "patches"
    assert connect.train["exemplar_connector"] == Full(lr=0.25)
    assert connect.train["language_model"] == LoRA(lr=0.5, rank=3, alpha=6)


@pytest.mark.parametrize("name", ["vanilla", "vanilla_vision"])
def test_plain_tuning_may_group_rows_by_length(name: str) -> None:
    recipe = catalog.find("recipes", name).recipe
    stages = [
        next(
            step for step in recipe(data=(DATA,), **given).steps if isinstance(step, Stage)
        ).schedule
        for given in ({}, {"grouped": 8, "microbatch_tokens": 500})
    ]
    assert [stage.grouped for stage in stages] == [1, 8] and stages[1].microbatch_tokens == 500


def test_vanilla_recipes_differ_in_the_vision_encoder_alone() -> None:
    plain, vision = (
        list(catalog.find("recipes", name).recipe(data=(DATA,)).steps[1:])
        for name in ("vanilla", "vanilla_vision")
    )
    rate = plain[0].train["language_model"].lr
    train = {**plain[0].train, "vision_encoder": Full(lr=rate / 10)}
    changed = [replace(plain[0], train=train), replace(plain[1], method="vanilla_vision")]
    assert vision == [*changed, plain[2], replace(plain[3], method="vanilla_vision")]


@pytest.mark.parametrize("name", ["lr", "connector_lr"])
@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_a_rate_that_is_not_positive_is_refused(name: str, rate: float) -> None:
    with pytest.raises(UsageError, match=f"^{name}=.* must be a positive number"):
        tuning(**{name: rate})


@pytest.mark.parametrize(("batch", "size"), [(16, 16), (24, 12), (17, 1), (4, 4), (40, 10)])
def test_microbatches_divide_the_batch(batch: int, size: int) -> None:
    assert tuning(batch_size=batch).schedule().microbatch_size == size
    assert tuning(batch_size=batch, microbatch_size=1).schedule().microbatch_size == 1


def _stated(recipe: Recipe) -> Iterator[Any]:
    return (step.limits for step in recipe.steps if isinstance(step, Stage | Evaluate | Rank))


@pytest.mark.parametrize("name", FAMILY)
def test_every_step_of_a_recipe_gets_the_length_policy(name: str) -> None:
    made = catalog.find("recipes", name).recipe(
        data=(DATA,), max_tokens=99, too_long="shrink", microbatch_size=2
    )
    assert set(_stated(made)) == {line.Limits(max_tokens=99, too_long="shrink")}
    stages = [step for step in made.steps if isinstance(step, Stage)]
    assert stages and all(stage.schedule.microbatch_size == 2 for stage in stages)


@pytest.mark.parametrize("policy", ["fail", "drop"])
def test_a_prompt_that_is_too_long_is_named(policy: Any, tmp_path: Path) -> None:
    base = str(models.folder("qwen2_vl"))
    workspace = Workspace(out=tmp_path, base=base, seed=0, limit=2, command="test")
    limits = line.Limits(max_tokens=5, too_long=policy)
    asked = Evaluate(name="test", of="base", data=(DATA,), method="model", limits=limits)
    with pytest.raises(DataError, match="too_long="):
        asked.run(workspace)
    ranked = Rank(name="rank", models=(("model", "base"),), data=(DATA,), limits=limits)
    with pytest.raises(DataError, match="too_long="):
        ranked.run(workspace)


def test_options_that_the_instruction_leaves_out_are_not_scored(tmp_path: Path) -> None:
    workspace = Workspace(out=tmp_path, base="nano", seed=0, limit=None, command="test")
    for listed, mode in ((True, "likelihood"), (False, "generate")):
        worded = Wording(list_options=listed)
        asked = Evaluate(name="test", of="base", data=(DATA,), method="model", wording=worded)
        assert asked.plan(workspace)[0].endswith(mode)


def test_rows_of_other_labels_are_marked_as_ours() -> None:
    same, other = DATA.replace("smear", "smear:seed=7"), DATA.replace("smear", "fundus")
    steps = line.plugged(tuning(), (same, other), source="small", epochs=1, vanilla=False)
    plugs = [s.variant for s in steps if isinstance(s, Evaluate) and s.expert]
    assert plugs == ["plug fresh", "plug started", "plug fresh (ours)"]
