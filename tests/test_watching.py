"""Losses by data set, looks at a validation slice, and the model of the best look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

import models
import ranks
from residency.dataset import Dataset, open_dataset
from residency.errors import UsageError
from residency.evaluate.learning import learned
from residency.evaluate.watch import ValidationSlice
from residency.model.huggingface import Backbone
from residency.objectives.likelihood import Likelihood
from residency.recipe import Recipe, execute
from residency.train.journal import read_journal
from residency.train.stage import Stage
from residency.train.values import Full, Schedule
from residency.train.watching import Looks

SMALL = "train=4:val=3:test=2:size=32"
DATA = (f"phantoms:smear:{SMALL}", f"phantoms:smear:task=report:{SMALL}")


@dataclass(frozen=True, kw_only=True)
class Counted:
    """A watch whose looks get better until the second and worse after it."""

    every: int = 1
    keep_best: bool = True

    def describe(self, datasets: Sequence[Dataset]) -> str:
        return "three looks"

    def refuse(self, datasets: Sequence[Dataset]) -> None:
        return None

    def look(
        self, backbone: Backbone, datasets: Sequence[Dataset], seed: int
    ) -> Mapping[str, float]:
        assert not torch.is_grad_enabled()
        number = len(list(Path(seen).iterdir()))
        weight = next(iter(backbone.parts()["connector"].values()))
        torch.save(weight.detach().clone(), Path(seen) / str(number))
        return {"mean": (0.2, 0.9, 0.4)[number]}


seen = ""


def stage(watch: object, updates: int = 3) -> Stage:
    return Stage(
        name="tune", after="base", data=DATA, objective=Likelihood(),
        train={"connector": Full(lr=1e-2)}, watch=watch,
        schedule=Schedule(updates=updates, batch_size=4, microbatch_size=4),
    )  # fmt: skip


def run(out: Path, watch: object) -> list[dict[str, object]]:
    made = Recipe(
        name="tiny",
        base=str(models.folder("qwen2_vl")),
        out=str(out),
        seed=3,
        steps=(stage(watch),),
    )
    execute(made)
    rows, _ = read_journal(out / "tune" / "journal.jsonl")
    return rows


def test_losses_by_data_set_add_up_to_the_loss_and_the_best_look_is_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "seen").mkdir()
    monkeypatch.setitem(globals(), "seen", str(tmp_path / "seen"))
    rows = run(tmp_path / "run", Counted())
    names = {dataset.name for dataset in map(open_dataset, DATA)}
    for row in rows:
        by = row["by_data"]
        assert set(by) <= names
        total = sum(one["loss"] * one["tokens"] for one in by.values())
        assert total / row["tokens"] == pytest.approx(row["loss"], rel=1e-4)
        assert sum(one["tokens"] for one in by.values()) == row["tokens"]
    assert [row["watched"]["mean"] for row in rows] == [0.2, 0.9, 0.4]
    assert [row["best"] for row in rows] == [True, True, False]
    from residency.model import store

    left = store.load(str(tmp_path / "run" / "tune" / "model"))
    weight = next(iter(left.parts()["connector"].values()))
    looks = [torch.load(tmp_path / "seen" / str(k), weights_only=True) for k in range(3)]
    assert torch.equal(weight, looks[1]) and not torch.equal(weight, looks[2])
    assert not (tmp_path / "run" / "tune" / "best").exists()
    page = learned(tmp_path / "run")
    assert page.count("<figure>") == 2 and page.count("<polyline") == 6
    assert all(f"{name}</td>" in page for name in names) and "<td>0.200</td>" in page
    assert learned(tmp_path / "seen") == ""


def test_a_slice_is_answered_by_the_metric_of_each_task_and_never_the_test() -> None:
    datasets = [open_dataset(spec) for spec in DATA]
    backbone = models.shared("qwen2_vl")
    watch = ValidationSlice(every=5, samples=2, max_tokens=3)
    watch.refuse(datasets)
    found = watch.look(backbone, datasets, seed=0)
    assert list(found) == [
        f"{datasets[0].name} accuracy", f"{datasets[1].name} token_f1", "mean",
    ]  # fmt: skip
    assert found == watch.look(backbone, datasets, seed=0)
    named = ValidationSlice(every=5, samples=2, max_tokens=3, metric="rouge_l")
    assert set(named.look(backbone, datasets, seed=0)) == {f"{datasets[1].name} rouge_l", "mean"}
    told = watch.describe([*datasets, ranks.dataset()])
    assert (
        "2 validation samples every 5 updates" in told and "without validation split: noise" in told
    )


def test_a_watch_that_cannot_choose_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        ValidationSlice(every=0)
    with pytest.raises(UsageError, match="better when it is lower"):
        ValidationSlice(every=1, metric="mre_mm").refuse([open_dataset(DATA[0])])
    with pytest.raises(UsageError, match="may not choose a model"):
        ValidationSlice(every=1).refuse([ranks.dataset()])


def test_looks_that_cannot_be_judged_choose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, datasets = models.shared("qwen2_vl"), [open_dataset(DATA[0])]
    monkeypatch.setattr("residency.evaluate.watch._value", lambda *_: float("nan"))
    watch = ValidationSlice(every=1, samples=1, max_tokens=1)
    looks = Looks(
        watch=watch, backbone=backbone, datasets=datasets, seed=0, folder=tmp_path,
        save=lambda folder: pytest.fail("saved"), identity={},
    )  # fmt: skip
    assert looks.after(1) == {"watched": {}, "best": False}
    assert looks.best == {} and "the last model is left" in looks.describe()
    backbone.eval()
    with pytest.raises(UsageError, match="has the metric 'iou'"):
        ValidationSlice(every=1, samples=1, max_tokens=1, metric="iou").look(backbone, datasets, 0)


def test_two_tasks_of_one_data_set_are_both_told() -> None:
    specs = (f"phantoms:smear:task={kind}:{SMALL}" for kind in ("classification", "mcq"))
    both = [open_dataset(spec).split("val")[0] for spec in specs]
    mixed = [replace(one, id=one.task, dataset="mixed") for one in both]
    dataset = Dataset(name="mixed", digest="0", splits={"val": mixed}, labels=both[0].options)
    watch = ValidationSlice(every=1, samples=2, max_tokens=1, metric="accuracy")
    found = watch.look(models.shared("qwen2_vl"), [dataset], 0)
    assert set(found) == {"mixed classification accuracy", "mixed mcq accuracy", "mean"}
