"""Does it look at the image, does it like a letter, has it seen the test: what `controls=true` shows."""

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from residency.codec import Qwen2VLCodec
from residency.dataset import Dataset
from residency.errors import UsageError
from residency.evaluate import steps
from residency.evaluate.chosen import Method, of_tasks, permuted, with_shuffled_options
from residency.evaluate.controls import fixed, flip_rate, option_positions
from residency.evaluate.details import told
from residency.evaluate.fingerprints import Hashes, look, pixel_hash
from residency.evaluate.overlap import overlap
from residency.evaluate.results import FLIPS, read_details, read_results, table
from residency.evaluate.store import read_predictions
from residency.step import Workspace
from residency.task import Codec
from residency.types import BLANK, PLAIN, SHUFFLED, Part, Picture, Reading, Sample, View


def scene(seed: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Smooth blobs: what a resize or a JPEG leaves recognisable."""
    noise = np.random.default_rng(seed).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def picture(seed: int, **how: Any) -> Picture:
    return Picture(key=f"{seed}/{how}", load=lambda: scene(seed, **how))


def sample(number: int, *, image: int | None = None, **fields: Any) -> Sample:
    plain: dict[str, Any] = {
        "task": "mcq",
        "answer": "lung" if number % 2 else "heart",
        "question": "Which organ?",
        "options": ("heart", "lung", "liver"),
        "images": (picture(number if image is None else image),),
    }
    return Sample(id=f"s{number}", dataset="toy", **{**plain, **fields})


def dataset(test: Sequence[Sample], train: Sequence[Sample] = (), **fields: Any) -> Dataset:
    splits = {"train": list(train), "test": list(test)}
    return Dataset(name="toy", splits=splits, digest="d", **fields)


def test_answers_that_change_with_the_image_are_counted() -> None:
    samples = [sample(n, group=f"p{n // 2}") for n in range(8)]
    own = [fixed(s, s.answer) for s in samples]
    other = [fixed(s, "Heart." if n < 4 else None) for n, s in enumerate(samples)]
    rate = flip_rate(own, other, seed=0)
    assert rate is not None and rate.estimate == 6 / 8 and rate.low < rate.estimate <= rate.high
    same = flip_rate(own, own, seed=0)
    assert same is not None and (same.estimate, same.high) == (0, 0)
    unread = [fixed(s, None) for s in samples]
    assert flip_rate(unread, unread, seed=0) == same
    assert flip_rate(own, [fixed(sample(99), "lung")], seed=0) is None


def test_letters_are_counted_where_options_differ() -> None:
    options = [("heart", "lung"), ("lung", "heart"), ("heart", "lung")]
    rows = [fixed(sample(n, options=options[n], answer="heart"), options[n][0]) for n in range(3)]
    rows.append(fixed(sample(3, options=("a", "b", "c"), answer="c"), None))
    assert option_positions(rows) == {
        "letters": {"A": [3, 2], "B": [0, 1], "C": [0, 1]},
        "unparsed": 1,
    }
    assert option_positions(rows[:1]) == {}, "one order is the label set, not a choice of letters"


def test_a_stored_permutation_leads_back_to_the_options() -> None:
    orders = set()
    for number in range(40):
        s = sample(number)
        asked = permuted(s, 7)
        assert asked == permuted(s, 7) and asked.answer == s.answer
        order = [int(place) for place in asked.attributes["option_order"].split(",")]
        assert tuple(s.options[place] for place in order) == asked.options
        orders.add(tuple(order))
    assert len(orders) == 6
    many = sample(1, answer=("heart", "lung"))
    assert permuted(many, 7) is many and permuted(sample(1, options=()), 7).options == ()
    shuffled = with_shuffled_options(dataset([sample(1)]), "test", 7)
    assert shuffled.digest != "d" and shuffled.split("test")[0].attributes["option_order"]


def test_tasks_are_picked_and_named_where_absent() -> None:
    mixed = dataset([sample(1), sample(2, task="vqa")], [sample(3, task="vqa")])
    only = of_tasks(mixed, ("vqa",), "test")
    assert [s.id for s in only.split("test")] == ["s2"] and len(only.split("train")) == 1
    assert only.digest != mixed.digest and of_tasks(mixed, (), "test") is mixed
    with pytest.raises(UsageError, match=r"has none of it in 'test'\. It has: mcq, vqa"):
        of_tasks(mixed, ("report",), "test")


def test_looks_survive_a_resize_and_a_jpeg_and_pixels_do_not() -> None:
    image, file = scene(1), io.BytesIO()
    image.save(file, "JPEG", quality=60)
    copies = [image.resize((200, 150)), Image.open(file)]
    for copy in copies:
        assert pixel_hash(copy) != pixel_hash(image)
        assert np.bitwise_count(look(copy) ^ look(image)).sum() <= 10
    others = [np.bitwise_count(look(scene(n)) ^ look(image)).sum() for n in range(2, 40)]
    assert min(others) > 40
    assert pixel_hash(image) == pixel_hash(image.copy()) and len(pixel_hash(image)) == 16
    loads = []
    one = Picture(key="k", load=lambda: loads.append(1) or image)  # type: ignore[func-returns-value]
    hashes = Hashes(kept=1)
    assert hashes(one) == hashes(one) == pixel_hash(image) and len(loads) == 1


def test_overlap_by_pixels_look_patient_and_question() -> None:
    train = [sample(n, group=f"p{n}") for n in range(6)]
    copy = Picture(key="other file", load=lambda: scene(1))
    resized = Picture(key="resized", load=lambda: scene(2).resize((150, 100)))
    flat = Picture(key="flat", load=lambda: Image.new("RGB", (64, 48)))
    test = [
        sample(10, images=(copy,), group="q"),
        sample(11, images=(copy,), question="Which side?", group="q"),
        sample(12, images=(resized,), group="p3"),
        sample(13, image=77),
        sample(14, images=(flat,)),
    ]
    found = overlap(dataset(test, train), test, split="test")
    assert found is not None
    assert (found.exact, found.near, found.patients, found.questions) == (2, 1, 1, 1)
    assert found.examples == (("s10", "s1"), ("s11", "s1"), ("s12", "s2"))
    assert "of 5 test samples 2 show a training image, 1 one that looks like it" in str(found)
    assert overlap(dataset(test), test, split="test") is None
    bare = [replace(s, question="", group="") for s in train]
    unknown = overlap(dataset(bare, bare), bare, split="test")
    assert unknown is not None and unknown.patients is None and unknown.questions is None


class Fond:
    """Sees the image, except that it says A about a blank one; its answers are letters."""

    codec: Codec = Qwen2VLCodec()

    def __init__(self, backbone: Any) -> None:
        pass

    def generate(
        self, readings: Sequence[Reading], view: View, *, max_tokens: int
    ) -> list[tuple[str, Literal["stop", "length"]]]:
        said: list[tuple[str, Literal["stop", "length"]]] = []
        for reading in readings:
            shown = reading.shuffled if view.image == "shuffled" else reading.sample
            assert shown is not None
            place = 0
            if view.image != "blank":
                place = reading.sample.options.index(str(shown.answer))
            said.append((f"<think>hm, A?</think> {'ABC'[place]}", "stop"))
        return said

    def score(
        self, readings: Sequence[Reading], view: View, options: Sequence[tuple[Part, ...]]
    ) -> Float[Tensor, "n k"]:
        return torch.zeros(len(readings), len(options))

    def lengths(self, options: Sequence[tuple[Part, ...]]) -> list[int]:
        return [1] * len(options)


def test_one_flag_shows_every_control(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(steps, "Speaker", Fond)
    monkeypatch.setattr(steps, "label_tokens", lambda *_: 0)
    samples = [sample(n, group=f"p{n // 2}") for n in range(20)]
    workspace = Workspace(out=tmp_path, base="nano", seed=0, limit=None, command="test")
    workspace._open["toy"] = dataset(samples, samples[:6])
    asked = steps.Evaluate(
        name="test", of="base", data=("toy",), method="model", views=(PLAIN, BLANK, SHUFFLED),
        mode="generate", shuffle_options=True,
    )  # fmt: skip
    asked.run(workspace)
    steps.Controls(name="controls", data=("toy",)).run(workspace)
    plain, blank, shuffled = read_results(tmp_path / "test" / "summary.json")
    assert plain.metrics["accuracy"].estimate == plain.metrics["parse_rate"].estimate == 1
    assert FLIPS not in plain.metrics and blank.metrics[FLIPS].estimate > 0.3
    assert shuffled.metrics["accuracy"].estimate == 0 and shuffled.metrics[FLIPS].estimate == 1
    entries = read_details(tmp_path / "test" / "summary.json")
    said = [letters[0] for letters in entries[1]["option_positions"]["letters"].values()]
    assert said == [20, 0, 0] and entries[0]["images"] == {
        "read": 20,
        "distinct": 20,
        "samples_without": 0,
    }
    assert "choice_accuracy@likelihood" in entries[0]["not_computed"]
    assert entries[0]["resampling"]["units"] == 10
    methods = [row.method for row in read_results(tmp_path / "controls" / "summary.json")]
    assert methods == ["majority", "chance"]
    assert "of 20 test samples 6 show a training image" in capsys.readouterr().out
    (shared,) = json.loads((tmp_path / "controls" / "summary.json").read_text())["overlap"]
    assert (shared["exact"], shared["patients"]) == (6, 6)
    stored = read_predictions(tmp_path / "test" / "toy" / "plain" / "predictions.jsonl").predictions
    assert stored[3].text in "ABC" and stored[3].facts["thought"] == "<think>hm, A?</think>"
    assert stored[3].images == (pixel_hash(scene(3)),) and len({p.prompt for p in stored}) > 3
    assert stored[0].facts["option_order"]


def test_a_split_without_images_is_an_error(tmp_path: Path) -> None:
    from residency.evaluate.predict import predict
    from residency.task import PAPER

    bare = dataset([sample(n, images=()) for n in range(3)])
    with pytest.raises(
        UsageError, match="has an image, so this would measure a model that sees noth"
    ):
        predict(
            Fond(None),
            bare,
            "test",
            model="m",
            view=PLAIN,
            mode="generate",
            wording=PAPER,
            out=tmp_path,
        )


def test_metrics_that_do_not_apply_are_told_and_named_ones_must() -> None:
    samples = [sample(n) for n in range(4)]
    said = [fixed(s, s.answer, view="plain") for s in samples]
    ((row, entry),) = Method(method="m", seed=0).rows(said, dataset(samples))
    assert "choice_accuracy@likelihood" in entry["not_computed"] and row.n_length == 0
    assert "choice_accuracy@likelihood not computed" in told([entry])
    with pytest.raises(UsageError, match="None of auroc can be computed"):
        Method(method="m", seed=0, metrics=("auroc",)).rows(said, dataset(samples))
    cut = [replace(p, finish="length") for p in said[:3]] + [replace(said[3], finish="error")]
    ((row, entry),) = Method(method="m", seed=0).rows(cut, dataset(samples))
    assert (row.n_length, row.n_error) == (3, 1)
    assert "| cut off |" in table([row]).replace("cut off ", "cut off ") and "errors" in table(
        [row]
    )
    assert entry["rows_used"]["accuracy"] == {"n": 4}
