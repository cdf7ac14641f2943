"""Two models on the same samples: pairing, discordant counts, intervals, what could not be seen."""

import json
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from residency import cli
from residency.errors import DataError, UsageError
from residency.evaluate.comparison import Comparison, compare
from residency.evaluate.pairing import pair, predictions_of
from residency.evaluate.statistics import detectable, holm


def write(path: Path, right: list[bool], **more: Any) -> Path:
    """A predictions file: sample i is answered right or wrong."""
    rows = [
        {"id": i, "prediction": "yes" if good else "no", "reference": "yes", "group": f"p{i // 2}"}
        | more
        for i, good in enumerate(right)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def sides(tmp_path: Path) -> tuple[Path, Path]:
    """40 samples: both right on 20, only A on 12, only B on 2, neither on 6."""
    first = [True] * 32 + [False] * 8
    second = [True] * 20 + [False] * 12 + [True] * 2 + [False] * 6
    return write(tmp_path / "a.jsonl", first), write(tmp_path / "b.jsonl", second)


def test_counts_p_interval_and_power(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = sides(tmp_path)
    out = tmp_path / "c.json"
    assert cli.main(["compare", str(a), str(b), f"out={out}"]) == 0
    shown = capsys.readouterr().out
    (stored,) = json.loads(out.read_text())["comparisons"]
    assert stored["test"]["only_first"] == 12 and stored["test"]["only_second"] == 2
    assert stored["test"]["p"] == pytest.approx(binomtest(2, 14).pvalue)
    assert stored["n"] == 40 and stored["units"] == 20 and stored["p_holm"] is None
    assert stored["difference"]["estimate"] == pytest.approx(0.25)
    assert stored["difference"]["low"] < 0.25 < stored["difference"]["high"]
    assert stored["detectable"] == pytest.approx(detectable(40, 14 / 40))
    assert "only A right 12, only B right 2: exact McNemar p=0.01294" in shown
    assert (
        f"with n=40 a difference below {100 * stored['detectable']:.1f} points cannot be seen"
        in shown
    )


def test_sides_swapped_give_the_opposite(tmp_path: Path) -> None:
    a, b = map(str, sides(tmp_path))
    (one,), (two,) = compare(a, b), compare(b, a)
    assert one.difference.estimate == -two.difference.estimate
    assert one.difference.low == pytest.approx(-two.difference.high)
    assert one.test and two.test and one.test.p == two.test.p


def test_what_has_no_partner_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write(tmp_path / "a.jsonl", [True] * 6), tmp_path / "b.jsonl"
    rows = [
        {"id": i, "prediction": "no", "reference": "no" if i == 3 else "yes", "group": "q"}
        for i in (2, 3, 4, 5, 9)
    ]
    b.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (found,) = compare(str(a), str(b))
    assert found.n == 3
    shown = capsys.readouterr().out
    for reason in (
        "2 samples only in A", "1 samples only in B", "1 samples with different references",
        "2 samples in another group in B",
    ):  # fmt: skip
        assert reason in shown


def test_what_is_wrong_with_a_file_is_counted_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = sides(tmp_path)
    with b.open("a") as file:
        file.write('{"id": 1, "prediction": "yes", "reference": "yes"}\n{"id": 50, "predic')
    compare(str(a), str(b), out=str(tmp_path / "c.json"))
    shown = capsys.readouterr().out
    assert "in B: 1 x the same id with other content" in shown
    assert "in B: 1 x cut off before its end" in shown and "in A: " not in shown
    assert "cut off" in str(json.loads((tmp_path / "c.json").read_text())["notes"])


def test_patients_under_other_names_are_the_same_groups(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = sides(tmp_path)
    b.write_text(b.read_text().replace('"group": "p', '"group": "other-'))
    compare(str(a), str(b))
    assert "another group" not in capsys.readouterr().out


def test_data_sets_are_adjusted_together_and_strangers_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    for name, only_first in (("x", 10), ("y", 6)):
        write(a, [True] * 20, dataset=name)
        write(b, [False] * only_first + [True] * (20 - only_first), dataset=name)
    write(a, [True] * 7, dataset="z")
    found = compare(str(a), str(b))
    assert [one.dataset for one in found] == ["x", "y"]
    tests = [one.test.p for one in found if one.test]
    assert [one.p_holm for one in found] == holm(tests)
    shown = capsys.readouterr().out
    assert "only in A: 7 predictions of z, vqa" in shown and "Holm over data sets" in shown


def test_metrics_that_are_not_right_or_wrong_have_no_test(tmp_path: Path) -> None:
    a, b = sides(tmp_path)
    found = compare(str(a), str(b), metrics=("bleu1", "closed_accuracy"))
    by_name: dict[str, Comparison] = {one.metric: one for one in found}
    assert by_name["bleu1"].test is None and by_name["bleu1"].detectable is None
    assert by_name["bleu1"].difference.estimate == pytest.approx(0.25)
    assert by_name["closed_accuracy"].test is not None


def test_each_task_is_compared_by_its_own_first_metric(tmp_path: Path) -> None:
    a, b = sides(tmp_path)
    for file, box in ((a, [0.0, 0.0, 0.5, 0.5]), (b, [0.0, 0.0, 0.5, 0.1])):
        rows = [
            {"id": f"d{i}", "prediction": [box], "reference": [[0.0, 0.0, 0.5, 0.5]]}
            | {"task": "detection", "dataset": "boxes"}
            for i in range(4)
        ]
        with file.open("a") as lines:
            lines.writelines(json.dumps(row) + "\n" for row in rows)
    found = {one.task: one for one in compare(str(a), str(b))}
    assert found["vqa"].metric == "accuracy" and found["detection"].metric == "iou25"
    assert found["detection"].first == 1.0 and found["detection"].second == 0.0


def test_equal_sides_say_that_there_is_nothing_to_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, _ = sides(tmp_path)
    (found,) = compare(str(a), str(a))
    assert found.test and found.test.p == 1 and found.detectable is None
    assert "never disagree" in capsys.readouterr().out


def test_one_group_has_no_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write(tmp_path / "a.jsonl", [True] * 2), write(tmp_path / "b.jsonl", [False] * 2)
    compare(str(a), str(b))
    said = capsys.readouterr().out
    assert "A - B +100.00 points (no interval from so few groups)" in said and "nan" not in said


def test_runs_are_paired_by_step_and_single_names_need_not_agree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = sides(tmp_path)
    for name, file in (("one", a), ("two", b)):
        assert cli.main(["score", str(file), "metrics=accuracy", f"out={tmp_path / name}"]) == 0
    capsys.readouterr()
    (found,) = compare(str(tmp_path / "one"), str(tmp_path / "two" / "summary.json"))
    assert found.n == 40
    assert "data set 'a' of A is paired with 'b' of B" in capsys.readouterr().out
    runs = tmp_path / "runs"
    for step in ("first", "second"):
        (runs / step).mkdir(parents=True)
        for name in ("summary.json", "predictions.jsonl"):
            (runs / step / name).write_bytes((tmp_path / "one" / name).read_bytes())
    both = compare(str(runs), str(runs))
    assert sorted(one.step for one in both) == ["first", "second"]


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    a, _ = sides(tmp_path)
    other = write(tmp_path / "d.jsonl", [True])
    other.write_text(other.read_text().replace('"id": 0', '"id": "else"'))
    with pytest.raises(UsageError, match=r"Nothing can be paired.*40 samples only in A"):
        compare(str(a), str(other))
    with pytest.raises(DataError, match=r"No .*absent"):
        compare(str(a), str(tmp_path / "absent"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no predictions"):
        predictions_of(tmp_path / "empty")
    with pytest.raises(UsageError, match="needs `scores`"):
        compare(str(a), str(a), metrics=("nll",))
    assert cli.main(["compare", str(a), "metrics=accuracy"]) == 2
    sets, _ = predictions_of(a)
    assert pair(sets, sets).notes == ()
