"""Stages of a recipe: planned without weights, run, and what each leaves for the next."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import models
import ranks
import residency.step
from residency.errors import DataError, UsageError
from residency.evaluate.steps import Evaluate
from residency.model import store
from residency.model.encoder import CachedEncoder
from residency.model.huggingface import Limits
from residency.objectives.likelihood import Likelihood
from residency.objectives.vitask import VITask
from residency.recipe import Recipe, execute, plan
from residency.step import BASE, Workspace
from residency.train import checkpoint
from residency.train.estimate import estimate
from residency.train.stage import Stage
from residency.train.trainable import planned
from residency.train.values import Full, LoRA, Schedule, Train
from residency.types import EXEMPLAR, PLAIN, Sample

FULL: dict[str, Train] = {
    part: Full(lr=1e-3) for part in ("vision_encoder", "connector", "language_model")
}


@pytest.fixture(autouse=True)
def noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data sets by name: `noise`, and `same`, where all answers are equal."""
    kinds = {"noise": ranks.ANSWERS, "same": ("red",)}
    monkeypatch.setattr(residency.step, "open_dataset", lambda s: ranks.dataset(6, kinds[s]))


class GiveExpert:
    """Stands in for the fitting of an expert."""

    name, needs, data = "expert", (), ("noise",)

    def __repr__(self) -> str:
        return "GiveExpert()"

    def plan(self, workspace: Workspace) -> list[str]:
        return ["an expert"]

    def run(self, workspace: Workspace) -> dict[str, Any]:
        target = workspace.folder(self.name) / "expert"
        checkpoint.commit(target, models.expert().save, {})
        return {}


def stage(name: str = "tune", **changes: Any) -> Stage:
    settings: dict[str, Any] = {
        "after": BASE,
        "data": ("noise",),
        "objective": Likelihood(),
        "train": ranks.LM,
        "schedule": Schedule(updates=2, batch_size=4, microbatch_size=4),
    }
    return Stage(name=name, **{**settings, **changes})


def recipe(out: Path, *steps: Any, family: str = "qwen2_vl", **changes: Any) -> Recipe:
    base = str(models.folder(family))
    return Recipe(name="tiny", base=base, out=str(out), seed=1, steps=steps, **changes)


def vitask(out: Path) -> Recipe:
    return recipe(
        out,
        GiveExpert(),
        stage("one", objective=ranks.STAGE_1, train=ranks.CONNECT, expert="expert"),
        stage("two", objective=ranks.STAGE_2, after="one"),
    )


def tensors(model: Path) -> dict[str, torch.Tensor]:
    backbone = store.load(str(model), device=torch.device("cpu"))
    return {name: p.detach() for name, p in backbone.named_parameters()}


def test_the_two_stages_of_vitask_continue_one_adapter_and_freeze_the_connector(tmp_path):
    execute(vitask(tmp_path))
    one, two = tensors(tmp_path / "one" / "model"), tensors(tmp_path / "two" / "model")
    assert one.keys() == two.keys()
    moved = {name for name in one if not torch.equal(one[name], two[name])}
    assert moved and all(".lora_" in name for name in moved)
    assert any(name.startswith("exemplar_connector") for name in one)
    base = tensors(models.folder("qwen2_vl"))
    assert all(torch.equal(p, one[n]) for n, p in base.items() if n in one)
    # What is left: verified, and readable with and without the exemplar.
    checkpoint.verify(tmp_path / "two" / "model")
    backbone = store.load(str(tmp_path), device=torch.device("cpu"))
    reading = ranks.mixture(backbone).reading(0)
    logits = backbone.read(backbone.collate([reading], [PLAIN, EXEMPLAR]))
    assert not torch.equal(logits[PLAIN], logits[EXEMPLAR])
    facts = json.loads((tmp_path / "two" / "done.json").read_text())["facts"]
    assert facts["updates"] == 2 and facts["dropped"] == 0
    share = {"dataset": "noise", "split": "train", "used": 6, "available": 6, "draws": 6}
    assert facts["samples"] == [share]
    assert [part["part"] for part in facts["parts"]][-1] == "expert"
    assert "exemplar_connector" in facts["audit"]["unchanged"]
    assert set(facts["last_terms"]) == {"vanilla", "exemplar", "align", "contrast"}
    assert json.loads((tmp_path / "run.json").read_text())["model"] == "two/model"


def test_a_stage_keeps_image_features_in_the_folder_of_the_run(tmp_path, monkeypatch, capsys):
    """Two updates over four images each; a later stage and an evaluation encode nothing again."""
    monkeypatch.setenv("RESIDENCY_CACHE_GIB", "1")
    monkeypatch.delenv("RESIDENCY_CACHE", raising=False)
    monkeypatch.setattr(CachedEncoder, "_measure", lambda self, _: setattr(self, "on", True))
    asked = Evaluate(
        name="test", of="two", data=("noise",), method="m", split="train", mode="generate"
    )
    whole = stage(schedule=Schedule(updates=2, batch_size=6, microbatch_size=6))
    execute(recipe(tmp_path, whole, stage("two", after="tune"), replace(asked, max_tokens=2)))
    said = [line for line in capsys.readouterr().out.splitlines() if "came from the cache" in line]
    assert ["100%" in line for line in said] == [False, True, True]
    assert len(list((tmp_path / "features").rglob("*.safetensors"))) == 6


def test_a_stage_can_start_from_another_run(tmp_path):
    execute(recipe(tmp_path / "a", stage(train={"connector": Full(lr=1e-2)})))
    later = replace(recipe(tmp_path / "b", stage()), base=str(tmp_path / "a"))
    assert "connector" in plan(later)
    execute(later)
    first, second = tensors(tmp_path / "a"), tensors(tmp_path / "b")
    name = next(n for n in first if ".merger.mlp" in n)
    assert torch.equal(first[name], second[name])
    assert not torch.equal(first[name], tensors(models.folder("qwen2_vl"))[name])
    assert any(".lora_" in n for n in second)


def test_an_adapter_of_another_shape_is_refused(tmp_path):
    other = stage("two", after="one", train={"language_model": LoRA(lr=1e-3, rank=3)})
    with pytest.raises(UsageError, match="already carries an adapter"):
        execute(recipe(tmp_path, stage("one"), other))


# --- planning -------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", models.ALL)
def test_plan_says_what_would_happen_and_loads_nothing(family, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "load", lambda *a, **k: pytest.fail("weights were loaded"))
    said = plan(replace(vitask(tmp_path / "run"), base=str(models.folder(family))))
    assert "noise/train: 6 of 6 samples" in said
    assert "exemplar_connector  full, created" in said
    assert "reads plain, exemplar, negative" in said
    assert "2 updates of 4 samples; about" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"train": {}}, UsageError, "trains nothing"),
        ({"train": {"visoin_encoder": Full(lr=1.0)}}, UsageError, "vision_encoder"),
        ({"train": {"exemplar_connector": LoRA(lr=1.0)}}, UsageError, "use Full"),
        ({"objective": Likelihood(view=EXEMPLAR)}, UsageError, "needs an expert"),
        ({"train": ranks.CONNECT}, UsageError, "needs an expert"),
        (
            {"objective": VITask(align=0, contrast=1, exemplar=0), "data": ("same",)},
            DataError,
            "has no negative",
        ),
        ({"limits": Limits(max_tokens=10)}, DataError, "the limit is 10"),
        ({"limits": Limits(max_tokens=10, too_long="drop")}, UsageError, "drops all of"),
        ({"data": ("noise", "noise")}, UsageError, "same name"),
    ],
)
def test_plan_refuses_what_cannot_work(tmp_path, changes, error, says):
    with pytest.raises(error, match=says):
        plan(recipe(tmp_path, stage(**changes)))


def test_plan_refuses_to_replace_an_image_where_the_family_cannot(tmp_path, monkeypatch):
    replacing = stage(expert="expert", exemplar="replace", objective=Likelihood(view=EXEMPLAR))
    assert "reads exemplar" in plan(recipe(tmp_path, GiveExpert(), replacing))
    monkeypatch.setattr(store.empty(str(models.folder("qwen2_vl"))).family, "replaces_image", False)
    with pytest.raises(UsageError, match="cannot replace its image"):
        plan(recipe(tmp_path, GiveExpert(), replacing))


def test_plan_refuses_an_empty_limit(tmp_path):
    with pytest.raises(UsageError, match="limit=0"):
        plan(recipe(tmp_path, stage(), limit=0))
    assert "3 of 6 samples" in plan(recipe(tmp_path, stage(), limit=3))


# --- estimates ------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", models.ALL)
@pytest.mark.parametrize(
    ("train", "objective"),
    [
        (FULL, Likelihood()),
        (ranks.LM, Likelihood()),
        ({"vision_encoder": Full(lr=1e-3)}, Likelihood()),
        (ranks.LM, VITask(align=0, contrast=1, exemplar=0)),
    ],
    ids=["full", "lora", "vision", "negatives"],
)
def test_estimated_flops_are_those_that_torch_counts(family, train, objective):
    """Within the factor that is stated; attention itself is left out of the estimate."""
    from residency.train.trainable import apply

    backbone = models.backbone(family)
    mixture = ranks.mixture(backbone)
    schedule = Schedule(epochs=1.0, batch_size=6, microbatch_size=6)
    shape = store.empty(str(models.folder(family)))
    predicted = estimate(shape, mixture, planned(shape, train), schedule, objective.views)
    apply(backbone, train)
    batch = backbone.collate(
        [mixture.reading(i, views=objective.views) for i in range(6)], objective.views
    )
    with FlopCounterMode(display=False) as counter:
        terms = objective(backbone.read(batch), batch.targets)
        sum(term.sum() for term in terms.values()).backward()
    counted = counter.get_total_flops()
    assert counted / 3 < predicted.flops < counted * 3
    tokens = float(batch.prompts[PLAIN].attention.sum()) / 6
    assert predicted.tokens == pytest.approx(tokens, rel=0.3)


def test_an_estimate_grows_with_what_trains_and_with_views():
    shape = store.empty(str(models.folder("qwen2_vl")))
    mixture = ranks.mixture(shape)
    schedule = Schedule(epochs=1.0, batch_size=6, microbatch_size=6)

    def cost(train: dict[str, Train], *views: Any) -> Any:
        return estimate(shape, mixture, planned(shape, train), schedule, views)

    lora, full = cost(ranks.LM, PLAIN), cost(FULL, PLAIN)
    assert lora.flops < full.flops and lora.bytes < full.bytes
    both = cost(ranks.LM, PLAIN, EXEMPLAR)
    assert lora.flops < both.flops < 2 * lora.flops  # the image is seen once
    assert "tokens a row" in lora.describe() and lora.seconds > 0


def test_a_sample_without_image_costs_no_vision():
    shape = store.empty(str(models.folder("qwen2_vl")))
    mixture = ranks.mixture(shape)
    bare = ranks.dataset()
    texts = tuple(replace(sample, images=()) for sample in bare.split("train"))
    assert all(isinstance(sample, Sample) for sample in texts)
    without = replace(mixture, datasets=(replace(bare, splits={"train": texts}),))
    schedule, rows = Schedule(), planned(shape, ranks.LM)
    assert (
        estimate(shape, without, rows, schedule, [PLAIN]).flops
        < estimate(shape, mixture, rows, schedule, [PLAIN]).flops
    )
