"""Retention: the fixed suite, its metrics, and the steps that every tuned model gets."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
from residency import catalog
from residency.codec import Qwen2VLCodec
from residency.dataset import Dataset, open_dataset
from residency.errors import UsageError
from residency.evaluate.controls import fixed
from residency.evaluate.results import read_results, table
from residency.evaluate.retention import METRICS, Retention
from residency.evaluate.steps import Evaluate
from residency.metric import metric
from residency.step import BASE, Workspace
from residency.task import task, text_of
from residency.types import Prediction, Sample


@pytest.fixture(scope="module")
def suite() -> Dataset:
    return open_dataset("retention")


def estimate(name: str, predictions: list[Prediction]) -> float:
    one = metric(name)
    return float(one.value(one.prepare(predictions, ()), np.ones((1, len(predictions))))[0])


def right(samples: Any) -> list[Prediction]:
    """Every sample answered as its task writes it."""
    codec = Qwen2VLCodec()
    return [
        replace(fixed(s, s.answer, view="plain"), text=text_of(task(s.task).write(s, codec)))
        for s in samples
    ]


def test_the_suite_is_fixed_balanced_and_paired(suite: Dataset) -> None:
    assert suite.digest == open_dataset("retention").digest
    assert {name: len(some) for name, some in suite.splits.items()} == {
        "plain": 112, "paraphrased": 40, "incomplete": 24,
    }  # fmt: skip
    plain = suite.split("plain")
    assert set(Counter(s.attributes["picture"] for s in plain).values()) == {2}
    assert min(Counter(s.attributes["skill"] for s in plain).values()) >= 15
    assert {s.language for s in plain} == {"en", "zh"}
    assert all(s.unit == s.attributes["picture"] for s in plain)
    with pytest.raises(UsageError, match="no variants"):
        open_dataset("retention:more")


def test_other_words_ask_for_the_same_fact(suite: Dataset) -> None:
    by_id = {s.id: s for s in suite.split("plain")}
    for split in ("paraphrased", "incomplete"):
        for sample in suite.split(split):
            usual = by_id[sample.id.removesuffix(f"/{split}")]
            assert (sample.answer, sample.options) == (usual.answer, usual.options)
            assert "{" not in sample.question
            listed = split == "incomplete" and sample.task == "mcq"  # its list is no part of it
            assert listed or sample.question != usual.question
            if split == "incomplete" and sample.attributes["skill"] == "choose":
                assert not all(option in sample.question for option in sample.options)


def test_no_other_split_holds_its_pictures(suite: Dataset) -> None:
    from residency.datasets.general import SKILLS, Draws

    own = {s.images[0].load().tobytes() for s in suite.split("plain")}
    for split in ("train", "val", "test"):
        seen = (sample.images[0].load().tobytes() for sample in Draws(split, SKILLS)[:20])
        assert own.isdisjoint(seen)


def test_right_answers_are_right_in_format_and_heed_the_question(suite: Dataset) -> None:
    said = right(suite.split("plain"))
    assert estimate("skill_accuracy", said) == 1 == estimate("in_format", said)
    assert estimate("ignores_question", said) < 0.05


def _open(p: Prediction) -> bool:
    return isinstance(p.reference, str) and not p.facts.get("options")


def test_a_collapsed_style_is_told(suite: Dataset) -> None:
    collapsed = [
        replace(p, text="nevus", answer="nevus" if _open(p) else None)
        for p in right(suite.split("plain"))
    ]
    assert estimate("skill_accuracy", collapsed) == 0 == estimate("in_format", collapsed)
    assert estimate("ignores_question", collapsed) == 1


def test_one_of_two_equal_references_is_no_sign_of_ignoring() -> None:
    def said(number: int, reference: str, text: str, picture: str = "a") -> Prediction:
        sample = Sample(
            id=str(number),
            dataset="d",
            task="vqa",
            answer=reference,
            attributes={"picture": picture},
        )
        return replace(fixed(sample, text, view="plain"), text=text)

    pair = [said(0, "red", "red"), said(1, "red", "red")]
    assert np.isnan(estimate("ignores_question", pair))
    pair = [said(0, "red", "Red."), said(1, "3", "red"), said(2, "4", "red", "b")]
    assert estimate("ignores_question", pair) == 1
    assert metric("ignores_question").prepare(pair, ()).tolist() == [[1, 1], [1, 1], [0, 0]]
    with pytest.raises(UsageError, match="no fact 'skill'"):
        estimate("skill_accuracy", pair)


def test_two_points_are_right_only_together(suite: Dataset) -> None:
    sample = next(s for s in suite.split("plain") if s.task == "landmark" and len(s.answer) == 2)
    (p,) = right([sample])
    assert isinstance(p.answer, tuple)
    assert estimate("skill_accuracy", [p]) == 1
    assert estimate("skill_accuracy", [replace(p, answer=p.answer[:1])]) == 0  # type: ignore[arg-type]


def test_the_step_leaves_a_row_for_each_way_of_asking(tmp_path: Path) -> None:
    base = str(models.folder("internvl"))
    workspace = Workspace(out=tmp_path, base=base, seed=0, limit=7, command="test")
    step = Retention(name="kept", of=BASE, method="generalist")
    assert step.plan(workspace) == ["plain 7, paraphrased 7, incomplete 7 questions, generated"]
    step.run(workspace)
    rows = read_results(tmp_path / "kept" / "summary.json")
    assert [(row.dataset, row.task, row.view, row.n) for row in rows] == [
        ("retention", "retention", split, 7) for split in METRICS
    ]
    assert [tuple(row.metrics) for row in rows] == [*METRICS.values()]
    assert len([*tmp_path.rglob("predictions.jsonl")]) == 3
    other = replace(rows[0], task="classification", metrics={})
    assert table([other, *rows]).count("| method ") == 2


@pytest.mark.parametrize("name", catalog.names("recipes"))
def test_every_tuned_model_that_is_tested_says_what_tuning_cost(name: str) -> None:
    made = catalog.find("recipes", name).recipe()
    tested = {step.of for step in made.steps if isinstance(step, Evaluate) and not step.expert}
    kept = {step.of for step in made.steps if isinstance(step, Retention)}
    assert not tested - {BASE} or kept == tested | {BASE}
