"""The step that asks a model: sets of labels get the tokens that they need, cut answers are told."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from residency.codec import Qwen2VLCodec
from residency.dataset import Dataset, open_dataset
from residency.errors import UsageError
from residency.evaluate import steps
from residency.evaluation import evaluate
from residency.model import store
from residency.step import Workspace
from residency.task import PAPER, Codec
from residency.types import Answer, Part, Picture, Reading, Sample, View

LABELS = tuple(f"finding of kind {number}" for number in range(30))


def _dataset(answers: Sequence[Answer], *, multi_label: bool) -> Dataset:
    samples = tuple(
        Sample(
            id=f"s{number}",
            dataset="toy",
            task="classification",
            answer=answer,
            images=(Picture(key=f"toy/{number}", load=lambda: Image.new("RGB", (28, 28))),),
            options=LABELS,
            modality="toy",
        )
        for number, answer in enumerate(answers)
    )
    return Dataset(
        name="toy", splits={"test": samples}, labels=LABELS, multi_label=multi_label, digest="d"
    )


class Mumbler:
    """Names one finding and, but for the first sample, never ends; keeps how much it was allowed."""

    codec: Codec = Qwen2VLCodec()
    allowed: ClassVar[list[int]] = []

    def __init__(self, backbone: Any) -> None:
        self.allowed.clear()

    def generate(
        self, readings: Sequence[Reading], view: View, *, max_tokens: int
    ) -> list[tuple[str, Literal["stop", "length"]]]:
        self.allowed.append(max_tokens)
        return [(f"{LABELS[0]}.", "length" if i else "stop") for i in range(len(readings))]

    def score(
        self, readings: Sequence[Reading], view: View, options: Sequence[tuple[Part, ...]]
    ) -> Float[Tensor, "n k"]:
        raise AssertionError("a set of labels is generated")

    def lengths(self, options: Sequence[tuple[Part, ...]]) -> list[int]:
        raise AssertionError("a set of labels is generated")


def test_a_set_of_labels_may_name_all_of_them() -> None:
    backbone = store.load("nano")
    several = _dataset([LABELS[:2], (), LABELS], multi_label=True)
    count = steps.label_tokens(backbone, several, several.split("test"), PAPER)
    text = ", ".join(LABELS) + "."
    assert count == len(backbone.processor.tokenizer(text)["input_ids"]) + 1 > 64
    single = _dataset(LABELS[:2], multi_label=False)
    assert steps.label_tokens(backbone, single, single.split("test"), PAPER) == 0


def test_answers_that_were_cut_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(steps, "Speaker", Mumbler)
    dataset = _dataset([LABELS[:1], LABELS[:2], LABELS[1:3]], multi_label=True)
    workspace = Workspace(out=tmp_path, base="nano", seed=0, limit=None, command="test")
    workspace._open["toy"] = dataset
    asked = steps.Evaluate(name="test", of="base", data=("toy",), method="model")
    facts = asked.run(workspace)
    assert (facts["n_length"], facts["n_unparsed"]) == (2, 0)
    assert "2 answers were cut off" in capsys.readouterr().out
    wanted = steps.label_tokens(store.load("nano"), dataset, dataset.split("test"), PAPER)
    assert Mumbler.allowed == [wanted]


def test_labels_that_name_boxes_are_generated_not_scored() -> None:
    """BCCD declares the names of its cells as labels, and its answers are boxes."""
    boxes = replace(open_dataset("phantoms:smear:task=detection:test=2"), labels=("cell",))
    closed = open_dataset("phantoms:smear:test=2")
    for dataset, mode in ((boxes, "generate"), (closed, "likelihood")):
        assert steps._mode(dataset, dataset.split("test"), "auto", PAPER) == mode


def test_the_command_says_how_long_an_answer_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr("residency.recipe.execute", lambda recipe: made.append(recipe) or [])
    for given in ({}, {"reply_tokens": 300}):
        evaluate("nano", data=("phantoms:smear",), out="nowhere", **given)  # type: ignore[arg-type]
    assert [recipe.steps[0].max_tokens for recipe in made] == [64, 300]
    with pytest.raises(UsageError, match="reply_tokens=0: an answer needs at least 1"):
        evaluate("nano", data=("phantoms:smear",), out="nowhere", reply_tokens=0)
