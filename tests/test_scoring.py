"""Predictions made by anyone: columns, answers, faults that are counted, files that are written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from residency import cli
from residency.errors import DataError, UsageError
from residency.evaluate.details import rows_used
from residency.evaluate.foreign import Foreign, read_foreign
from residency.evaluate.results import read_results
from residency.evaluate.scoring import score
from residency.evaluate.sources import is_ours, read_any
from residency.evaluate.subgroups import largest_gap, subgroup_table, subgroups
from residency.metric import metric
from residency.types import Box, Box3D, Point


def write(path: Path, *rows: Any) -> Path:
    """JSON lines; text is written as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def row(number: int, said: Any = "yes", true: Any = "yes", **more: Any) -> dict[str, Any]:
    return {"id": number, "prediction": said, "reference": true, **more}


def read(path: Path, **how: Any) -> Foreign:
    return read_foreign(path, dataset="set", **how)


def counted(found: Foreign) -> dict[str, int]:
    return {name: len(where) for name, where in found.findings.places.items()}


def test_every_fault_is_counted_by_name_and_nothing_crashes(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    good = [row(1), row(2, "", "no"), row(3, None), {"id": 4, "reference": "no"}, row(5, {"a": 1})]
    bad = [
        row(6, "yes", None), row(7, "yes", {"a": 1}), row(1), row(2, "other", "no"),
        "[1, 2]", '{"id": 8, "prediction": "ye', '{"id": 9, "prediction": NaN, "reference": "no"}',
        '{"id": 10, "prediction": "a", "reference": "a", "scores": {"a": 1e999}}',
        '{"id": 13, "prediction": "a", "prediction": "b", "reference": "a"}',
        {"id": 14, "prediction": "a", "reference": "a", "options": ["a", "b"], "scores": {"a": -1.0}},
    ]  # fmt: skip
    write(path, *good, *bad)
    with path.open("ab") as file:
        file.write(b'{"id": 11, "prediction": "\xff"}\n{"id": 12, "predic')
    found = read(path)
    assert counted(found) == {
        "not_an_object": 1, "not_json": 1, "not_utf8": 1, "truncated": 1, "not_a_number": 2,
        "empty_prediction": 1, "no_prediction": 3, "bad_prediction": 1, "no_reference": 1,
        "bad_reference": 1, "repeated_row": 1, "repeated_id": 1, "bad_scores": 2, "repeated_key": 1,
    }  # fmt: skip
    assert [p.sample for p in found.predictions] == ["1", "2", "3", "4", "5", "9", "10", "14"]
    assert found.rows == 17 and found.left_out == 9
    assert sum(p.answer is None for p in found.predictions) == 5
    assert "line 16" in str(found.findings) and "cut off" in str(found.findings)


def test_scores_are_named_by_option_or_letter(tmp_path: Path) -> None:
    lettered = row(1, "B", "B", options=["lung", "heart"], scores={"A": -2, "B": -1})
    found = read(write(tmp_path / "p.jsonl", lettered))
    assert found.predictions[0].scores == {"lung": -2.0, "heart": -1.0}
    bad = [{"lung": True, "heart": 0}, {"lung": 1, "heart": 2, "spleen": 3}, {}, [1, 2]]
    for scores in bad:
        found = read(write(tmp_path / "p.jsonl", {**lettered, "scores": scores}))
        assert counted(found) == {"bad_scores": 1} and not found.predictions[0].scores
    path = tmp_path / "p.json"
    path.write_text('[{"id": 1, "id": 2, "prediction": "a"}, ' + json.dumps(row(1)) + "]")
    assert counted(read(path)) == {"repeated_key": 1}


@pytest.mark.parametrize("end", ["", ',\n{"id": 3, "pred', ",", '\n{"id": 3}]'])
def test_an_array_keeps_the_entries_before_a_fault(tmp_path: Path, end: str) -> None:
    path = tmp_path / "p.json"
    path.write_text("[\n" + json.dumps(row(1)) + ",\n " + json.dumps(row(2)) + end)
    found = read(path)
    assert [p.sample for p in found.predictions] == ["1", "2"]
    assert counted(found) == {"truncated": 1} and found.left_out == 1
    path.write_text(json.dumps([row(1), row(2)], indent=2))
    assert counted(read(path)) == {}


def test_what_cannot_be_read_at_all_says_why(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", {"answer_pred": "yes", "reference": "yes"})
    with pytest.raises(DataError, match=r"no column 'prediction'.*'answer_pred'.*map=prediction="):
        read(path)
    assert len(read(path, renamed={"prediction": "answer_pred"}).predictions) == 1
    with pytest.raises(UsageError, match=r"no field 'predicton'. Did you mean 'prediction'"):
        read(path, renamed={"predicton": "answer_pred"})
    with pytest.raises(DataError, match="no rows that are JSON objects"):
        read(write(path, "not json"))
    with pytest.raises(DataError, match="no row that can be scored"):
        read(write(path, row(1, "yes", None)))
    with pytest.raises(DataError, match="Cannot read"):
        read(tmp_path / "absent.jsonl")
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DataError, match="Git LFS pointer"):
        read(path)


def test_answers_are_read_by_stated_rules(tmp_path: Path) -> None:
    lettered = {"options": ["A: lung", "B: heart"]}
    rows = [
        row(1, "The answer is B.", "B", **lettered),
        row(2, "heart", "B. heart", options={"A": "lung", "B": "heart"}),
        row(3, "No, it is not", "yes", options='["yes", "no"]'),
        row(4, "a", "B", options=["A", "B"]),  # options that are letters are not numbered by them
        row(5, "mass, edema", ["edema", "mass"]),
        row(6, 5, 5.0),
        row(7, [[1, 2, 3, 4]], [1, 2, 3, 4]),
        row(8, [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]),
        row(9, [1, 2], [1, 2]),
        row(10, "somewhere", [1, 2]),
        row(11, "lung", "spleen", options=["lung", "heart"]),
        row(12, "lung", "lung", options=["lung"]),
        row(13, "Right lung.", "right lung"),
    ]
    found = read(write(tmp_path / "p.jsonl", *rows))
    said = [(p.answer, p.reference) for p in found.predictions]
    box, solid = (
        Box(name="", x1=1.0, y1=2.0, x2=3.0, y2=4.0),
        Box3D(name="", x1=1.0, y1=2.0, z1=3.0, x2=4.0, y2=5.0, z2=6.0),
    )
    assert said == [
        ("heart", "heart"), ("heart", "heart"), ("no", "yes"), ("A", "B"),
        (("edema", "mass"), ("edema", "mass")), ("5", "5"), ((box,), (box,)), ((solid,), (solid,)),
        ((Point(name="", x=1.0, y=2.0),),) * 2, (None, (Point(name="", x=1.0, y=2.0),)), ("lung", "spleen"),
        ("lung", "lung"), ("Right lung.", "right lung"),
    ]  # fmt: skip
    assert counted(found) == {"text_for_shapes": 1, "reference_outside": 1, "bad_options": 1}
    assert found.predictions[0].facts["options"] == ["lung", "heart"]
    closed = read(
        write(tmp_path / "q.jsonl", row(1, "I see a mass.", "mass")), labels=("mass", "cyst")
    )
    assert closed.predictions[0].answer == "mass"


def test_languages_are_scored_apart(tmp_path: Path) -> None:
    rows = [row(1, language="en"), row(2, language="English"), row(3, "是", "是", language="zh-CN")]
    found = read(write(tmp_path / "p.jsonl", *rows))
    assert [p.dataset for p in found.predictions] == ["set (en)", "set (en)", "set (zh)"]
    assert counted(found) == {"mixed_languages": 1}
    found = read(write(tmp_path / "p.jsonl", row(1), row(2, "是", "是")))
    assert {p.dataset for p in found.predictions} == {"set"}
    assert counted(found) == {"mixed_scripts": 1}


def test_patients_are_resampled_whole_and_not_named(tmp_path: Path) -> None:
    rows = [row(1, group="Jane Doe"), row(2, group="Jane Doe"), row(3)]
    found = read(write(tmp_path / "p.jsonl", *rows))
    units = [p.unit for p in found.predictions]
    assert units[0] == units[1] != units[2] and "Jane" not in str(found.predictions)
    assert counted(found) == {"no_group": 1} and found.grouped
    assert counted(read(write(tmp_path / "p.jsonl", row(1), row(2)))) == {}


def test_rows_used_by_answer_type_are_said(tmp_path: Path) -> None:
    rows = [
        row(1, answer_type="CLOSED"), row(2, "left", "left", answer_type="CLOSED"),
        row(3, "lung", "lung", answer_type="OPEN"), row(4), row(5, "lung", "lung"),
    ]  # fmt: skip
    found = read(write(tmp_path / "p.jsonl", *rows)).predictions
    closed, opened, every = (
        rows_used(name, found, metric(name).prepare(found, ()))
        for name in ("closed_accuracy", "open_recall@llava-med", "accuracy")
    )
    assert closed["n"] == 3 and opened["n"] == 2
    assert closed["by_answer_type"] == {"CLOSED": [2, 2], "OPEN": [0, 1], "absent": [1, 2]}
    assert opened["by_answer_type"] == {"CLOSED": [0, 2], "OPEN": [1, 1], "absent": [1, 2]}
    assert "yes or no" in closed["rule"]
    assert every == {"n": 5}


def test_the_command_writes_what_the_others_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        row(i, "yes" if i % 3 else "no", "yes", group=f"p{i // 2}", sex="FM"[i % 2])
        for i in range(80)
    ]
    path, out = write(tmp_path / "p.jsonl", *rows), tmp_path / "out"
    words = ["score", str(path), "--metrics", "accuracy,macro_f1", "--by", "sex", "--out", str(out)]
    words += ["--map", "id=id", "--map", "group=group"]
    assert cli.main(words) == 0
    shown = capsys.readouterr().out
    assert "80 rows, 80 scored, 0 left out" in shown and "40 units (group, else row)" in shown
    assert "macro_f1 not computed" in shown and "accuracy by sex" in shown
    (result,) = read_results(out / "summary.json")
    assert result.metrics["accuracy"].estimate == pytest.approx(53 / 80) and result.n == 80
    content = json.loads((out / "summary.json").read_text())
    assert content["details"][0]["resampling"]["units"] == 40
    assert content["versions"]["numpy"] and content["source"]["left_out"] == 0
    assert {line["group"] for line in content["subgroups"]} == {"F", "M"}
    assert is_ours(out / "predictions.jsonl") and not is_ours(path)
    plain, spelled = read_results(out / "summary.json"), tmp_path / "spelled"
    keys = [f"out={spelled}", "metrics=accuracy,macro_f1", "by=sex", "map=id=id,group=group"]
    assert cli.main(["score", str(path), *keys]) == 0
    assert read_results(spelled / "summary.json") == plain
    again = tmp_path / "again"
    assert (
        cli.main(["score", str(out / "predictions.jsonl"), "metrics=accuracy", f"out={again}"]) == 0
    )
    assert read_results(again / "summary.json")[0].metrics == {
        "accuracy": result.metrics["accuracy"]
    }
    assert cli.main(words) == 0  # a result of the same command may be replaced


def test_wrong_words_and_folders_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "p.jsonl", row(1), row(2))
    out = f"out={tmp_path / 'out'}"
    for words, message in (
        (["metrics=acuracy", out], "Did you mean 'accuracy'"),
        (["metrics=", out], "at least one metric"),
        (["metrics=accuracy", out, "map=prediction"], "map=field=column"),
        (["metrics=accuracy", f"out={tmp_path}"], "Choose a new folder"),
        (["metrics=auroc", out], "None of auroc can be computed"),
    ):
        assert cli.main(["score", str(path), *words]) == 2
        assert message in capsys.readouterr().err
    assert cli.main(["score", "metrics=accuracy"]) == 2
    assert cli.main(["score", str(tmp_path), "metrics=accuracy", out]) == 2
    assert "is a folder" in capsys.readouterr().err
    with pytest.raises(UsageError, match="leave out map="):
        score(str(path), metrics=("accuracy",), out=str(tmp_path / "o"))
        read_any(tmp_path / "o" / "predictions.jsonl", renamed={"id": "x"})


@pytest.mark.slow
def test_ten_thousand_predictions_are_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    rows = [
        row(i, *("yes" if flip else "no" for flip in rng.random(2) < 0.5), group=f"p{i // 4}")
        for i in range(10_000)
    ]
    path = write(tmp_path / "p.jsonl", *rows)
    score(
        str(path),
        metrics=("accuracy", "closed_accuracy", "open_recall@llava-med", "token_f1", "exact_match"),
        out=str(tmp_path / "out"),
    )
    assert "10000 scored" in capsys.readouterr().out


def test_small_groups_are_marked_and_have_no_gap(tmp_path: Path) -> None:
    rows = [
        row(i, "yes" if i < 30 else "no", "yes", site="a" if i < 40 else "b") for i in range(80)
    ]
    rows += [row(100 + i, "yes", "yes", site="c") for i in range(5)] + [row(200, "no", "yes")]
    found = read(write(tmp_path / "p.jsonl", *rows), keep=("site",)).predictions
    table = subgroups(found, (), ["accuracy"], "site", seed=0)
    assert [(g.group, g.n, g.small, g.value.estimate) for g in table] == [
        ("a", 40, False, 0.75), ("b", 40, False, 0.0), ("c", 5, True, 1.0), ("(not given)", 1, True, 0.0),
    ]  # fmt: skip
    gap = largest_gap(table)
    assert gap is not None and (gap[0].group, gap[1].group) == ("b", "a")
    assert largest_gap(table[2:]) is None
    assert "n=5  (fewer than 30)" in subgroup_table(table)
    assert table[3].as_json()["value"] == {"estimate": 0.0, "low": None, "high": None}
    with pytest.raises(UsageError, match="no subgroups"):
        subgroups(found, (), ["accuracy"], "sex", seed=0)
