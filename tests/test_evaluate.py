import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pytest
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from residency.codec import Qwen2VLCodec
from residency.dataset import Dataset
from residency.errors import DataError, ResidencyError, UsageError
from residency.evaluate.controls import chance, chance_row, fixed, majority, shuffled_partners
from residency.evaluate.predict import _distinct, predict, select
from residency.evaluate.predict import reading as worded
from residency.evaluate.ranking import GRID, figure, ranking
from residency.evaluate.results import MEAN, Estimate, Row, read_results, table, write_summary
from residency.evaluate.score import class_scores, estimates, mean_rows, score, separate
from residency.evaluate.statistics import wilson
from residency.evaluate.store import FILE, decode, encode, read_predictions, unit_hash
from residency.task import Codec, Wording, text_of
from residency.types import (
    BLANK,
    NEGATIVE,
    PLAIN,
    SHUFFLED,
    Box,
    Box3D,
    Part,
    Picture,
    Point,
    Prediction,
    Reading,
    Sample,
    View,
    Volume,
)

LABELS = ("cat", "dog", "eel")


def make_sample(i: int, answer: Any = "", group: str = "") -> Sample:
    key = f"toy/{i}"
    return Sample(
        id=f"s{i}",
        dataset="toy",
        task="classification",
        answer=answer or LABELS[i % 3],
        images=(Picture(key=key, load=lambda: Image.new("RGB", (8, 8))),),
        options=LABELS,
        group=group or f"patient {i // 2}",
        modality="toy",
    )


def make_dataset(n: int = 12, digest: str = "d1", **fields: Any) -> Dataset:
    samples = [make_sample(i) for i in range(n)]
    splits = {"train": samples[:5], "test": samples}
    return Dataset(name="toy", splits=splits, labels=LABELS, digest=digest, **fields)


class Table:
    """Answers from the name of the image that it is shown; counts what it was asked."""

    codec: Codec = Qwen2VLCodec()

    def __init__(self, stop_after: int | None = None) -> None:
        self.asked: list[str] = []
        self.stop_after = stop_after

    def _seen(self, reading: Reading, view: View) -> str:
        if self.stop_after is not None and len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked.append(reading.sample.id)
        if view.image == "blank":
            return "cat"
        shown = reading.shuffled if view.image == "shuffled" else reading.sample
        assert shown is not None
        return str(shown.answer)

    def generate(
        self, readings: Sequence[Reading], view: View, *, max_tokens: int
    ) -> list[tuple[str, Literal["stop", "length"]]]:
        said: list[tuple[str, Literal["stop", "length"]]] = []
        for reading in readings:
            mumbles = reading.sample.id == "s4"
            label = self._seen(reading, view)
            said.append(("hm hm", "length") if mumbles else (f"{label}.", "stop"))
        return said

    def score(
        self, readings: Sequence[Reading], view: View, options: Sequence[tuple[Part, ...]]
    ) -> Float[Tensor, "n k"]:
        texts = [text_of(option).rstrip(".") for option in options]
        rows = [[0.0 if t == self._seen(r, view) else -3.5 for t in texts] for r in readings]
        return torch.tensor(rows)

    def lengths(self, options: Sequence[tuple[Part, ...]]) -> list[int]:
        return [len(text_of(option)) for option in options]


def run(out: Path, answerer: Any = None, dataset: Dataset | None = None, **changes: Any) -> Any:
    arguments: dict[str, Any] = {
        "model": "nano@1",
        "view": PLAIN,
        "mode": "generate",
        "wording": Wording(),
        "out": out,
        "batch_size": 5,
        "limit": None,
        "seed": 0,
        "progress": None,
    }
    dataset = dataset or make_dataset()
    return predict(answerer or Table(), dataset, "test", **{**arguments, **changes})


def test_generate_parses_counts_and_stores(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = run(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert [p.sample for p in found] == [f"s{i}" for i in range(12)]
    assert found[4].answer is None and found[4].finish == "length" and found[4].text == "hm hm"
    assert all(p.answer == p.reference for p in found if p.sample != "s4")
    assert seen == [(5, 12), (10, 12), (12, 12)]
    lines = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert lines[0]["identity"]["model"] == "nano@1" and lines[0]["identity"]["digest"] == "d1"
    assert lines[-1] == {
        "end": {"n": 12, "n_unparsed": 1, "n_length": 1, "n_error": 0, "dropped_lines": 0}
    }
    assert len(lines) == 14
    stored = read_predictions(tmp_path / FILE)
    assert stored.complete and list(stored.predictions) == found


def test_units_are_hashed_and_stay_equal(tmp_path: Path) -> None:
    found = run(tmp_path)
    assert "patient" not in (tmp_path / FILE).read_text()
    assert found[0].unit == found[1].unit != found[2].unit
    assert found[0].unit == unit_hash(make_sample(0)) and len(found[0].unit) == 16


def test_questions_about_one_image_are_one_unit_where_no_patient_is_known() -> None:
    one = replace(make_sample(0), group="")
    assert unit_hash(one) == unit_hash(replace(one, id="another question"))
    assert unit_hash(one) != unit_hash(replace(make_sample(1), group=""))
    assert unit_hash(replace(one, images=())) != unit_hash(replace(one, images=(), id="other"))


def test_readings_put_the_image_first_and_learn_the_reference(tmp_path: Path) -> None:
    readings: list[Reading] = []

    class Spy(Table):
        def generate(self, asked: Any, view: View, *, max_tokens: int) -> Any:
            readings.extend(asked)
            return super().generate(asked, view, max_tokens=max_tokens)

    run(tmp_path, Spy(), wording=Wording(list_options=False))
    user, reference = readings[0].conversation
    assert user.role == "user" and not user.learn and len(user.parts) == 2
    assert "cat" not in str(user.parts[1])
    assert reference.learn and text_of(reference.parts) == "cat."


def test_likelihood_scores_every_label(tmp_path: Path) -> None:
    found = run(tmp_path, mode="likelihood")
    assert all(p.answer == p.reference and p.finish == "scored" for p in found)
    assert found[1].scores == {"cat": -3.5, "dog": 0.0, "eel": -3.5}
    assert found[1].text == "dog."
    assert list(read_predictions(tmp_path / FILE).predictions) == found


def test_likelihood_groups_readings_by_their_options(tmp_path: Path) -> None:
    samples = [replace(make_sample(i), options=LABELS[: 2 + i % 2]) for i in (0, 1, 3, 4)]
    dataset = Dataset(name="toy", splits={"test": samples}, digest="d")
    found = run(tmp_path, dataset=dataset, mode="likelihood")
    assert [p.sample for p in found] == ["s0", "s1", "s3", "s4"]
    assert [len(p.scores) for p in found] == [2, 3, 3, 2]
    for p in found:  # what turns a sum into a mean per token
        assert p.facts["option_tokens"] == [len(f"{label}.") for label in p.scores]
    assert all(p.answer == p.reference for p in found)


def test_likelihood_of_a_diverged_model_is_unparsed(tmp_path: Path) -> None:
    class Diverged(Table):
        def score(self, readings: Any, view: View, options: Any) -> Any:
            return super().score(readings, view, options) * float("nan")

    found = run(tmp_path, Diverged(), mode="likelihood")
    assert all(p.answer is None and not p.scores for p in found)


def test_likelihood_refuses_open_and_multi_label(tmp_path: Path) -> None:
    sample = replace(make_sample(0), answer=("cat", "dog"))
    many = Dataset(name="toy", splits={"test": [sample]}, labels=LABELS, digest="d")
    with pytest.raises(UsageError, match="Use mode 'generate'"):
        run(tmp_path, dataset=many, mode="likelihood")
    assert not (tmp_path / FILE).exists()


def test_interrupted_run_resumes_in_the_same_groups(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", Table(stop_after=7))
    assert not read_predictions(tmp_path / "cut" / FILE).complete
    answerer = Table()
    assert run(tmp_path / "cut", answerer) == whole
    assert answerer.asked == [f"s{i}" for i in range(5, 12)]
    events = [json.loads(line) for line in (tmp_path / "cut" / FILE).read_text().splitlines()]
    assert {"resumed": {"kept": 5, "dropped": 0}} in events


def test_complete_run_asks_nothing_and_leaves_the_file_alone(tmp_path: Path) -> None:
    whole = run(tmp_path)
    before = (tmp_path / FILE).read_bytes()
    answerer = Table()
    assert run(tmp_path, answerer) == whole
    assert answerer.asked == [] and (tmp_path / FILE).read_bytes() == before


def test_every_truncation_resumes_to_the_same_predictions(tmp_path: Path) -> None:
    whole = run(tmp_path)
    data = (tmp_path / FILE).read_bytes()
    for cut in [*range(0, len(data), 97), len(data) - 1]:
        (tmp_path / FILE).write_bytes(data[:cut])
        broken = cut != data.rfind(b"\n", 0, cut) + 1
        assert run(tmp_path) == whole
        stored = read_predictions(tmp_path / FILE)
        assert stored.complete and stored.dropped == int(broken)
        assert list(stored.predictions) == whole


def test_killed_process_loses_nothing_it_was_told(tmp_path: Path) -> None:
    child = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[1])\n"
        "import test_evaluate as t\n"
        "class Dies(t.Table):\n"
        "    def generate(self, readings, view, *, max_tokens):\n"
        "        if len(self.asked) >= 5: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return super().generate(readings, view, max_tokens=max_tokens)\n"
        "from pathlib import Path\n"
        "t.run(Path(sys.argv[2]), Dies())\n"
    )
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ended = subprocess.run(
        [sys.executable, "-c", child, str(here), str(tmp_path)], env=environment, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert len(read_predictions(tmp_path / FILE).predictions) == 5
    answerer = Table()
    assert len(run(tmp_path, answerer)) == 12 and len(answerer.asked) == 7


def test_damage_inside_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    lines = (tmp_path / FILE).read_text().splitlines()
    lines[3] = lines[3][:20]
    (tmp_path / FILE).write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match="line 4, is damaged"):
        run(tmp_path)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model": "nano@2"}, "model was 'nano@1', now 'nano@2'"),
        ({"dataset": make_dataset(digest="d2")}, "digest was 'd1', now 'd2'"),
        ({"view": BLANK}, "view was 'plain', now 'blank'"),
        ({"mode": "likelihood"}, "mode was 'generate', now 'likelihood'"),
        ({"limit": 6}, "limit was None, now 6"),
        ({"wording": Wording(list_options=False)}, "wording was"),
    ],
)
def test_other_identity_is_refused(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    run(tmp_path)
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(UsageError, match="another run") as caught:
        run(tmp_path, **changes)
    assert named in str(caught.value) and "\n" not in str(caught.value)
    assert (tmp_path / FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"limit": 0}, "limit=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"view": NEGATIVE}, "is for training"),
        ({"dataset": Dataset(name="e", splits={"test": []}, digest="")}, "is empty"),
        (
            {"dataset": Dataset(name="e", splits={"test": [make_sample(0)] * 2}, digest="")},
            "two samples 's0'",
        ),
    ],
)
def test_wrong_use_is_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ResidencyError, match=message):
        run(tmp_path, **changes)
    assert not (tmp_path / FILE).exists()


def test_limit_keeps_every_answer_and_the_order(tmp_path: Path) -> None:
    chosen = select(make_dataset(60), "test", limit=9, seed=3)
    places = [int(s.id[1:]) for s in chosen]
    assert places == sorted(set(places)) and len(places) == 9
    assert Counter(s.answer for s in chosen) == {"cat": 3, "dog": 3, "eel": 3}
    again = select(make_dataset(60), "test", limit=9, seed=3)
    assert [s.id for s in again] == [s.id for s in chosen]


@pytest.mark.parametrize("answer", ["文", ("cat", "dog"), (), "lone \ud800 surrogate\u2028"])
def test_answers_survive_the_file(tmp_path: Path, answer: Any) -> None:
    prediction = Prediction(
        sample="s",
        dataset="d",
        task="t",
        view="plain",
        text="x",
        answer=answer,
        reference=answer,
        unit="u",
    )
    assert decode(json.loads(json.dumps(encode(prediction)))) == prediction


def test_boxes_and_points_survive_the_file() -> None:
    box = Box(name="a", x1=0.0, y1=1.5, x2=2.0, y2=3.0)
    cube = Box3D(name="b", x1=0.0, y1=1.0, z1=2.0, x2=3.0, y2=4.0, z2=5.0)
    for answer in ((box,), (cube, cube), (Point(name="c", x=1.0, y=2.0),)):
        prediction = fixed(replace(make_sample(0), answer=answer), answer)
        assert decode(json.loads(json.dumps(encode(prediction)))) == prediction


# Controls


@pytest.mark.parametrize("counts", [(5, 5, 5), (9, 2, 1), (2, 2, 0), (7, 7, 0), (30, 1, 1)])
def test_shuffled_images_are_a_derangement(counts: tuple[int, ...]) -> None:
    answers = [label for label, k in zip(LABELS, counts, strict=True) for _ in range(k)]
    samples = [make_sample(i, answer) for i, answer in enumerate(answers)]
    partners = shuffled_partners(samples, seed=1)
    assert sorted(p.id for p in partners) == sorted(s.id for s in samples)
    assert all(p.id != s.id for s, p in zip(samples, partners, strict=True))
    same = sum(p.answer == s.answer for s, p in zip(samples, partners, strict=True))
    assert same == max(0, 2 * max(counts) - sum(counts))
    assert partners == shuffled_partners(samples, seed=1)


def test_shuffling_depends_on_the_seed_and_parts_questions_about_one_image() -> None:
    samples = [make_sample(i) for i in range(30)]
    first = [p.id for p in shuffled_partners(samples, seed=1)]
    assert first != [p.id for p in shuffled_partners(samples, seed=2)]
    twins = [replace(s, images=samples[i // 3].images) for i, s in enumerate(samples)]
    partners = shuffled_partners(twins, seed=1)
    assert all(p.images != s.images for s, p in zip(twins, partners, strict=True))


def test_shuffling_keeps_the_number_of_images() -> None:
    samples = [make_sample(i) for i in range(12)]
    samples[:4] = [replace(s, images=s.images * 2) for s in samples[:4]]
    partners = shuffled_partners(samples, seed=0)
    assert all(len(p.images) == len(s.images) for s, p in zip(samples, partners, strict=True))
    with pytest.raises(UsageError, match="no other to swap images with"):
        shuffled_partners(samples[3:], seed=0)
    with pytest.raises(UsageError, match="0 images"):
        shuffled_partners([replace(s, images=()) for s in samples], seed=0)


def test_blank_and_shuffled_views_expose_a_model_that_looks(tmp_path: Path) -> None:
    shuffled = run(tmp_path / "s", view=SHUFFLED, mode="likelihood")
    assert all(p.answer != p.reference for p in shuffled) and shuffled[0].view == "shuffled"
    blank = run(tmp_path / "b", view=BLANK)
    assert {p.answer for p in blank} == {"cat", None}


@pytest.mark.parametrize(("mode", "calls"), [("generate", 1), ("likelihood", len(LABELS))])
def test_blank_images_of_one_size_under_the_same_words_are_asked_once_a_group(
    tmp_path: Path, mode: str, calls: int
) -> None:
    sized = [
        replace(s, images=tuple(replace(p, size=(8, 8 + i // 10)) for p in s.images))
        for i, s in enumerate(make_sample(i) for i in range(12))
    ]
    dataset = Dataset(name="toy", splits={"test": sized}, labels=LABELS, digest="d1")
    table = Table()
    blank = run(tmp_path / "b", table, dataset, view=BLANK, mode=mode)
    assert [p.sample for p in blank] == [s.id for s in sized]
    assert {p.answer for p in blank} == {"cat"}
    # Groups of five; the last holds two of the other size.
    assert table.asked == [s for s in ("s0", "s5", "s10") for _ in range(calls)]
    apart = Table()
    run(tmp_path / "p", apart, dataset, view=PLAIN, mode=mode)
    assert len(set(apart.asked)) == 12


def test_blank_slices_of_a_volume_are_not_the_blank_image_of_their_size() -> None:
    sized = replace(make_sample(0), images=(replace(make_sample(0).images[0], size=(8, 8)),))
    solid = replace(
        sized, volume=Volume(key="v", load=lambda: np.zeros(1), spacing_mm=(1.0, 1.0, 1.0))
    )
    few, of = _distinct(
        [worded(one, Wording(), Qwen2VLCodec()) for one in (sized, solid, sized, solid)]
    )
    assert len(few) == 2 and of == [0, 1, 0, 1]


def test_majority_and_chance() -> None:
    samples = [make_sample(i) for i in range(6)]
    said = majority(samples, [make_sample(9, "eel"), *(make_sample(i, "dog") for i in (1, 2))])
    assert {p.answer for p in said} == {"dog"} and said[0].reference == "cat"
    assert chance(samples) == pytest.approx(1 / 3)
    assert chance([replace(s, options=()) for s in samples]) is None
    assert chance([replace(s, options=()) for s in samples], ("a", "b")) == 0.5
    row = chance_row(samples, seed=0)
    assert row is not None and row.metrics["accuracy"].low == pytest.approx(1 / 3)
    assert row.as_json()["view"] is None
    with pytest.raises(UsageError, match="training split"):
        majority(samples, [])


# Scores


def test_row_has_exactly_the_schema(tmp_path: Path) -> None:
    found = run(tmp_path)
    dataset = make_dataset()
    row = score(found, dataset, ("accuracy", "macro_f1"), method="vitask", variant="+RDA", seed=3)
    line = row.as_json()
    assert list(line) == [
        "method",
        "variant",
        "view",
        "dataset",
        "task",
        "seed",
        "n",
        "n_unparsed",
        "n_length",
        "n_error",
        "metrics",
    ]
    assert (line["method"], line["variant"], line["view"]) == ("vitask", "+RDA", "plain")
    assert (line["n"], line["n_unparsed"], line["seed"]) == (12, 1, 3)
    accuracy = line["metrics"]["accuracy"]
    assert accuracy["estimate"] == pytest.approx(11 / 12)
    assert accuracy["low"] < 11 / 12 <= accuracy["high"] <= 1
    mean_f1 = np.mean([line.f1 for line in row.classes])
    assert line["metrics"]["macro_f1"]["estimate"] == pytest.approx(float(mean_f1))


def test_a_share_of_one_or_none_is_not_certain() -> None:
    ones, units = np.ones((6, 1)), ["a", "a", "b", "c", "d", "d"]
    mixed = np.array([[1.0, 1], [0, 1], [1, 1], [0, 0], [1, 1], [1, 1]])
    prepared = {
        "accuracy": ones,
        "parse_rate": np.repeat(ones, 2, 1) * [0, 1],
        "closed_accuracy": mixed,
        "response_words": np.repeat(ones, 2, 1),
    }
    found = estimates(prepared, units, seed=0)
    low, high = wilson(4, 4).low, wilson(0, 4).high
    assert found["accuracy"] == Estimate(estimate=1.0, low=low, high=1.0)
    assert found["parse_rate"] == Estimate(estimate=0.0, low=0.0, high=high)
    assert found["closed_accuracy"].low < found["closed_accuracy"].high
    assert found["response_words"] == Estimate(estimate=1.0, low=1.0, high=1.0)  # no share
    lone = estimates({"accuracy": ones}, ["a"] * 6, seed=0)["accuracy"]
    assert lone.estimate == 1 and np.isnan(lone.low)


def test_class_table_counts_unparsed_as_missed_only(tmp_path: Path) -> None:
    cat, dog, _ = class_scores(run(tmp_path), LABELS)
    assert (cat.support, cat.recall, cat.precision) == (4, 1.0, 1.0)
    assert (dog.recall, dog.precision) == (0.75, 1.0) and dog.f1 == pytest.approx(6 / 7)
    never = class_scores(run(tmp_path), (*LABELS, "fox"))[-1]
    assert (never.support, never.recall, never.precision, never.f1) == (0, None, None, 0.0)
    assert class_scores(run(tmp_path), ("other",)) == ()
    many = [fixed(replace(make_sample(0), answer=("cat", "dog")), ("dog", "eel"))]
    assert [line.recall for line in class_scores(many, LABELS)] == [0.0, 1.0, None]


def test_a_row_is_one_task_and_view(tmp_path: Path) -> None:
    mixed = run(tmp_path / "a") + run(tmp_path / "b", view=BLANK)
    with pytest.raises(UsageError, match="Score each apart"):
        score(mixed, make_dataset(), ("accuracy",), method="m", seed=0)
    assert [len(group) for group in separate(mixed)] == [12, 12]
    with pytest.raises(UsageError, match="no predictions"):
        score([], make_dataset(), ("accuracy",), method="m", seed=0)


def make_row(dataset: str = "a", estimate: float = 0.5, half: float = 0.1, **fields: Any) -> Row:
    value = Estimate(estimate=estimate, low=estimate - half, high=estimate + half)
    plain: dict[str, Any] = {
        "method": "vitask",
        "variant": "",
        "view": "plain",
        "task": "classification",
        "seed": 0,
        "n": 10,
        "n_unparsed": 1,
        "metrics": {"accuracy": value},
    }
    return Row(dataset=dataset, **{**plain, **fields})


def test_mean_over_data_sets() -> None:
    rows = [make_row("a", 0.4, 0.03), make_row("b", 0.8, 0.04), make_row("a", method="other")]
    (mean,) = mean_rows(rows)
    assert (mean.dataset, mean.n, mean.n_unparsed) == (MEAN, 20, 2)
    value = mean.metrics["accuracy"]
    assert value.estimate == pytest.approx(0.6)
    assert value.high - value.estimate == pytest.approx(0.025)
    assert len(mean_rows([*rows, mean])) == 1
    assert mean_rows([*rows, make_row("c", method="other")]) == []
    assert len(mean_rows([*rows, make_row("c", method="other", task="caption")])) == 1


def test_results_survive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    dataset = make_dataset()
    row = score(run(tmp_path), dataset, ("accuracy",), method="vitask", seed=0)
    nan = Estimate(estimate=0.5, low=float("nan"), high=float("nan"))
    write_summary(
        path, [row, make_row(metrics={"accuracy": nan})], command="run x", versions={"torch": "2"}
    )
    content = json.loads(path.read_text())
    assert content["command"] == "run x" and content["versions"] == {"torch": "2"}
    assert content["rows"][1]["metrics"]["accuracy"] == {"estimate": 0.5, "low": None, "high": None}
    first, second = read_results(path)
    assert first == row and np.isnan(second.metrics["accuracy"].low)
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".tmp")] == []


def test_a_failed_write_leaves_the_old_results(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_summary(path, [make_row()], command="first", versions={})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_summary(path, [make_row()], command=cast(str, object()), versions={})
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"rows": [{}], "classes": []}'])
def test_unreadable_results_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    with pytest.raises(DataError, match="No results at"):
        read_results(path)
    path.write_text(text)
    with pytest.raises(DataError, match="is not a results file"):
        read_results(path)


def test_table_is_aligned_and_in_percent() -> None:
    rows = [make_row(), make_row(method="expert", view=None, estimate=0.123, metrics={})]
    text = table([*rows, make_row(variant="a|b", metrics={"cider": rows[0].metrics["accuracy"]})])
    lines = text.splitlines()
    assert lines[0].replace(" ", "") == "|method|view|n|unparsed|accuracy%|cider|"
    assert "50.0 [40.0, 60.0]" in lines[2] and "0.50 [0.40, 0.60]" in lines[4]
    assert r"vitask a\|b" in lines[4] and len({len(line) for line in lines}) == 1


# Ranking


def test_a_wide_table_names_what_it_leaves_out() -> None:
    value = Estimate(estimate=0.5, low=0.4, high=0.6)
    names = ("accuracy", "macro_f1", "auroc", "recall", "brier", "nll", "answer_flip_rate")
    text = table([make_row(metrics=dict.fromkeys(names, value))])
    assert (
        "recall %" in text and "answer_flip_rate %" in text and "brier" not in text.splitlines()[0]
    )
    assert text.endswith("\nAlso in the results file: brier, nll.\n")
    whole = table([make_row(metrics=dict.fromkeys(names, value))], most=None)
    assert {"brier", "nll"} <= set(whole.split()) and "Also in" not in whole


def test_ranking_numbers() -> None:
    positive = np.array([0.9, 0.8, 0.5, 0.2])
    negative = np.array([0.1, 0.8, 0.6, 0.1])
    found = ranking("x", positive, negative)
    assert found.win_rate == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    assert found.margin == pytest.approx(0.2)
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    assert found.area == pytest.approx(np.mean(pairs))
    assert found.overlap == pytest.approx(0.25)
    for density in (found.positive, found.negative):
        assert np.trapezoid(density, GRID) == pytest.approx(1, abs=1e-3)
    assert json.loads(json.dumps(found.as_json()))["grid"][-1] == 1.0


def test_ranking_at_the_ends() -> None:
    alike = np.full(5, 1.0)
    same = ranking("same", alike, alike)
    assert (same.win_rate, same.area, same.margin, same.overlap) == (0.5, 0.5, 0.0, 1.0)
    assert np.isfinite(same.positive).all() and int(np.argmax(same.positive)) == 100
    apart = ranking("apart", alike, alike * 0)
    assert (apart.win_rate, apart.overlap) == (1.0, 0.0)
    bad = (np.zeros(0), np.array([0.5, np.nan]), np.array([1.5, 0.1]))
    for values in bad:
        with pytest.raises(DataError, match="bad"):
            ranking("bad", values, values)


def test_ranking_figure_is_well_formed() -> None:
    import xml.etree.ElementTree as ET

    one = ranking("a <b> & 'c'", np.array([0.9, 0.7]), np.array([0.2, 0.1]))
    root = ET.fromstring(figure([one, one, one]))
    assert sum(element.tag.endswith("polyline") for element in root.iter()) == 6
