"""Recipes: steps run once, folders guarded, results gathered, the command that repeats a run."""

import json
import os
import shlex
import shutil
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import residency.step
from residency import cli
from residency.dataset import Dataset
from residency.errors import UsageError
from residency.evaluate.results import Estimate, Row, read_results, write_summary
from residency.parameters import arguments
from residency.recipe import Recipe, execute, plan
from residency.step import BASE, Step, Workspace
from residency.train.signals import Interrupted
from residency.types import Sample

RUNS: list[str] = []


@dataclass(frozen=True, kw_only=True)
class Score:
    """A step that leaves a row per data set."""

    name: str
    data: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    value: float = 0.5

    def plan(self, workspace: Workspace) -> list[str]:
        return [f"scores {len(workspace.datasets(self.data))} data sets"]

    def run(self, workspace: Workspace) -> dict[str, Any]:
        RUNS.append(self.name)
        rows = [
            row(self.name, dataset.name, self.value) for dataset in workspace.datasets(self.data)
        ]
        path = workspace.folder(self.name) / "summary.json"
        write_summary(path, rows, command=workspace.command, versions={})
        return {"rows": len(rows)}


@dataclass(frozen=True, kw_only=True)
class Make:
    """A step that leaves a model."""

    name: str
    needs: tuple[str, ...] = ()

    def plan(self, workspace: Workspace) -> list[str]:
        return []

    def run(self, workspace: Workspace) -> dict[str, Any]:
        RUNS.append(self.name)
        model = workspace.folder(self.name) / "model"
        model.mkdir()
        (model / "residency.json").write_text("{}")
        return {}


def row(method: str, dataset: str, value: float) -> Row:
    return Row(
        method=method,
        variant="",
        view="plain",
        dataset=dataset,
        task="vqa",
        seed=1,
        n=4,
        n_unparsed=0,
        metrics={"accuracy": Estimate(estimate=value, low=value - 0.1, high=value + 0.1)},
    )


@pytest.fixture(autouse=True)
def sets(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Data sets `a`, `b`, ... by name; the digest of each may be changed."""
    digests = {"a": "1", "b": "1"}

    def opened(spec: str) -> Dataset:
        sample = Sample(id="x", dataset=spec, task="vqa", answer="y")
        return Dataset(name=spec, splits={"train": (sample,)}, digest=digests[spec])

    monkeypatch.setattr(residency.step, "open_dataset", opened)
    RUNS.clear()
    return digests


def recipe(out: Path, *steps: Step, **changes: Any) -> Recipe:
    made = steps or (Make(name="make"), Score(name="score", data=("a", "b"), needs=("make",)))
    settings = {"out": str(out), "lr": 0.1, "data": ("a", "b")}
    given = {"base": "nano", "seed": 1, "settings": settings, **changes}
    return Recipe(name="tiny", out=str(out), steps=made, **given)


def test_results_are_gathered_with_means_and_the_last_model(tmp_path, capsys):
    out = tmp_path / "run"
    rows = execute(recipe(out))
    assert [(r.method, r.dataset, r.metrics["accuracy"].estimate) for r in rows] == [
        ("score", "a", 0.5),
        ("score", "b", 0.5),
        ("score", "mean", 0.5),
    ]
    assert read_results(out / "results.json") == rows
    content = json.loads((out / "results.json").read_text())
    assert content["command"] == f"residency run tiny out={out} lr=0.1 data=a,b"
    assert content["versions"]["torch"] and content["versions"]["residency"]
    run = json.loads((out / "run.json").read_text())
    assert run["model"] == "make/model" and run["command"] == content["command"]
    assert "| score" in capsys.readouterr().out


def test_what_is_done_is_not_done_again(tmp_path, capsys):
    first = execute(recipe(tmp_path / "run"))
    capsys.readouterr()
    assert execute(recipe(tmp_path / "run")) == first and RUNS == ["make", "score"]
    assert capsys.readouterr().out.count("already done") == 2


def test_a_run_may_be_moved(tmp_path):
    execute(recipe(tmp_path / "run"))
    (tmp_path / "run").rename(tmp_path / "moved")
    execute(recipe(tmp_path / "moved"))
    assert RUNS == ["make", "score"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"settings": {"lr": 0.2, "data": ("a", "b")}}, r"lr: 0\.1 -> 0\.2"),
        ({"settings": {"lr": 0.1, "data": ("a",)}}, r"data: \['a', 'b'\] -> \['a'\]"),
        ({"settings": {"lr": 0.1, "data": ("a", "b"), "new": 1}}, "new: None -> 1"),
        ({"seed": 2}, "step 'make'"),
        ({"limit": 3}, "step 'make'"),
        ({"base": "scratch"}, "step 'make'"),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path, change, says):
    execute(recipe(tmp_path / "run"))
    steps = (Make(name="make"), Score(name="score", data=("a", "b"), needs=("make",), value=0.6))
    with pytest.raises(UsageError, match=says) as caught:
        execute(recipe(tmp_path / "run", *steps, **change))
    assert "Choose another out=" in str(caught.value) and "\n" not in str(caught.value)
    assert RUNS == ["make", "score"]


def test_a_run_may_grow_and_loses_nothing(tmp_path, capsys):
    first, second = Make(name="make"), Score(name="score", data=("a",), needs=("make",))
    more = Score(name="more", data=("b",), needs=("make",), value=0.7)
    execute(recipe(tmp_path / "run", first, second))
    changed = {"out": str(tmp_path / "run"), "lr": 0.1, "data": ("a", "b")}
    rows = execute(recipe(tmp_path / "run", first, more, second, settings=changed))
    assert RUNS == ["make", "score", "more"] and [row.method for row in rows] == ["more", "score"]
    assert "goes on with new steps: more" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "run.json").read_text())["settings"]["data"] == ["a", "b"]
    with pytest.raises(UsageError, match=r"step 'more' \(its rows would be lost"):
        execute(recipe(tmp_path / "run", first, second))


def test_a_step_that_left_no_rows_may_leave(tmp_path):
    first, unused = Make(name="make"), Make(name="unused", needs=("make",))
    execute(recipe(tmp_path / "run", first, unused))
    execute(recipe(tmp_path / "run", first, Score(name="score", data=("a",), needs=("make",))))
    assert RUNS == ["make", "unused", "score"]
    assert (tmp_path / "run" / "unused" / "model").is_dir()
    steps = json.loads((tmp_path / "run" / "run.json").read_text())["steps"]
    assert steps.keys() == {BASE, "make", "score"}


def test_what_was_not_begun_may_change(tmp_path, monkeypatch):
    steps = (Make(name="make"), Score(name="score", data=("a",), needs=("make",)))
    with monkeypatch.context() as broken:
        broken.setattr(Score, "run", lambda self, workspace: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            execute(recipe(tmp_path / "run", *steps))
    steps = (steps[0], replace(steps[1], value=0.9))
    (row,) = execute(recipe(tmp_path / "run", *steps))
    assert RUNS == ["make", "score"] and row.metrics["accuracy"].estimate == 0.9


def test_changed_data_and_changed_steps_are_refused(tmp_path, sets):
    execute(recipe(tmp_path / "run"))
    sets["a"] = "2"
    with pytest.raises(UsageError, match="step 'score'") as caught:
        execute(recipe(tmp_path / "run"))
    assert "'make'" not in str(caught.value)
    sets["a"] = "1"
    other = (Make(name="make"), Score(name="score", data=("a", "b"), needs=("make",), value=0.6))
    with pytest.raises(UsageError, match="step 'score'"):
        execute(recipe(tmp_path / "run", *other))


def test_a_step_depends_on_what_it_needs(tmp_path, sets):
    """Changed data of an earlier step changes the identity of every step after it."""
    steps = (Score(name="one", data=("a",)), Score(name="two", needs=("one",)), Score(name="free"))
    execute(recipe(tmp_path / "run", *steps))
    sets["a"] = "2"
    with pytest.raises(UsageError, match=r"step 'one'.*step 'two'") as caught:
        execute(recipe(tmp_path / "run", *steps))
    assert "'free'" not in str(caught.value)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match="is not empty and is no run"):
        execute(recipe(tmp_path))
    with pytest.raises(UsageError, match="is no run"):
        execute(recipe(tmp_path / "photo.png"))
    with pytest.raises(UsageError, match="Cannot write to"):
        execute(recipe(tmp_path / "photo.png" / "inside"))
    assert RUNS == [] and (tmp_path / "photo.png").read_bytes() == b"mine"
    (tmp_path / "empty").mkdir()
    execute(recipe(tmp_path / "empty"))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"settings": 3, "steps": {}}', "\x00\xff"])
def test_a_damaged_run_json_is_refused(tmp_path, text):
    execute(recipe(tmp_path / "run"))
    (tmp_path / "run" / "run.json").write_text(text)
    with pytest.raises(UsageError, match=r"run\.json is damaged"):
        execute(recipe(tmp_path / "run"))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"identity": "x", "facts": {}}'])
def test_a_damaged_done_json_means_to_run_again(tmp_path, text, capsys):
    first = execute(recipe(tmp_path / "run"))
    (tmp_path / "run" / "score" / "done.json").write_text(text)
    assert execute(recipe(tmp_path / "run")) == first
    assert RUNS == ["make", "score", "score"]
    assert "runs again" in capsys.readouterr().out


@pytest.mark.parametrize("text", [None, "", "{", '{"rows": []}', '{"rows": [], "classes": []}'])
def test_a_lost_or_edited_summary_means_to_run_again(tmp_path, text, capsys):
    first = execute(recipe(tmp_path / "run"))
    path = tmp_path / "run" / "score" / "summary.json"
    path.unlink() if text is None else path.write_text(text)
    assert execute(recipe(tmp_path / "run")) == first
    assert RUNS == ["make", "score", "score"]
    assert "has another summary.json than it left" in capsys.readouterr().out


def test_a_failed_step_leaves_no_result_and_is_taken_up_again(tmp_path, monkeypatch):
    run = Score.run
    monkeypatch.setattr(Score, "run", lambda *a: (_ for _ in ()).throw(RuntimeError("power cut")))
    with pytest.raises(RuntimeError):
        execute(recipe(tmp_path / "run"))
    assert not (tmp_path / "run" / "results.json").exists()
    assert not (tmp_path / "run" / "score" / "done.json").exists()
    monkeypatch.setattr(Score, "run", run)
    assert len(execute(recipe(tmp_path / "run"))) == 3 and RUNS == ["make", "score"]


def test_what_needs_a_step_that_runs_again_runs_again(tmp_path):
    """Its predictions and checkpoints were made of weights that are about to change."""
    steps = (
        Make(name="make"),
        Score(name="score", data=("a",), needs=("make",)),
        Score(name="page", needs=("score",)),
        Score(name="free"),
    )
    execute(recipe(tmp_path / "run", *steps))
    old = tmp_path / "run" / "score"
    for path in (old / "a" / "plain" / "predictions.jsonl", old / "checkpoints" / "update-1" / "x"):
        path.parent.mkdir(parents=True)
        path.write_text("old")
    (tmp_path / "run" / "make" / "done.json").unlink()
    shutil.rmtree(tmp_path / "run" / "make" / "model")
    execute(recipe(tmp_path / "run", *steps))
    assert RUNS == ["make", "score", "page", "free", "make", "score", "page"]
    assert not list(old.rglob("predictions.jsonl")) and not (old / "checkpoints").exists()


def test_an_edited_card_is_another_run(tmp_path, monkeypatch):
    """Labels and modality stand beside the samples, outside the digest."""
    execute(recipe(tmp_path / "run"))
    opened = residency.step.open_dataset
    monkeypatch.setattr(
        residency.step, "open_dataset", lambda spec: replace(opened(spec), labels=("y", "z"))
    )
    with pytest.raises(UsageError, match="step 'score'"):
        execute(recipe(tmp_path / "run"))


def test_what_cannot_work_is_refused_before_anything_runs(tmp_path, monkeypatch):
    def check(self: Score, workspace: Workspace) -> None:
        raise UsageError("no such split")

    monkeypatch.setattr(Score, "check", check, raising=False)
    with pytest.raises(UsageError, match="no such split"):
        execute(recipe(tmp_path / "run"))
    assert RUNS == [] and not (tmp_path / "run").exists()


def test_impossible_lines_are_refused(tmp_path):
    with pytest.raises(UsageError, match="two steps 'x'"):
        recipe(tmp_path, Make(name="x"), Make(name="x"))
    with pytest.raises(UsageError, match="two steps 'base'"):
        recipe(tmp_path, Make(name=BASE))
    with pytest.raises(UsageError, match=r"'x' needs \['y'\]"):
        recipe(tmp_path, Make(name="x", needs=("y",)), Make(name="y"))
    with pytest.raises(UsageError, match="same name"):
        plan(recipe(tmp_path, Score(name="x", data=("a", "a"))))


@pytest.mark.parametrize("name", ["", "..", "a/b", "/tmp", "results.json", "a\\b", ".hidden"])
def test_a_step_stays_inside_its_run(tmp_path, name):
    with pytest.raises(UsageError, match="cannot be the name of a step"):
        recipe(tmp_path, Make(name=name))


def test_plan_numbers_the_steps_and_writes_nothing(tmp_path):
    said = plan(recipe(tmp_path / "run"))
    assert "[1/2] make: Make" in said and "[2/2] score: Score\n    scores 2 data sets" in said
    assert not (tmp_path / "run").exists()


def test_the_command_gives_the_settings_back(tmp_path):
    def function(
        *,
        out: str = "x",
        data: tuple[str, ...] = (),
        lr: float | None = 0.5,
        flag: bool = True,
        limit: int | None = None,
    ) -> None: ...

    settings = {
        "out": f"{tmp_path}/it's a run; $HOME",
        "data": ("a b", "c"),
        "lr": 1e-05,
        "flag": False,
        "limit": None,
    }
    command = replace(recipe(tmp_path), settings=settings).command()
    words = shlex.split(command)
    assert words[:3] == ["residency", "run", "tiny"]
    assert arguments(function, words[3:], owner="test") == settings
    evaluated = replace(recipe(tmp_path), name="evaluate my model", settings={"seed": 1})
    assert shlex.split(evaluated.command()) == ["residency", "evaluate", "my model", "seed=1"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interrupted_step_ends_the_command_with_its_code(
    tmp_path, monkeypatch, capsys, number, code
):
    def stopped(self: Score, workspace: Workspace) -> Any:
        raise Interrupted(number, workspace.folder(self.name), 7)

    monkeypatch.setattr(Score, "run", stopped)
    monkeypatch.setattr(cli, "_recipe", lambda options: recipe(tmp_path / "run"))
    assert cli.main(["run", "tiny"]) == code
    error = capsys.readouterr().err
    assert error.startswith(f"error: Stopped by {signal.Signals(number).name}")
    assert "update 7" in error and "Traceback" not in error


def test_other_processes_wait_and_write_nothing(tmp_path, monkeypatch):
    execute(recipe(tmp_path / "run"))
    shutil.copytree(tmp_path / "run", tmp_path / "seen")
    monkeypatch.setitem(os.environ, "RANK", "1")
    assert execute(recipe(tmp_path / "run")) == [] and RUNS == ["make", "score"]
    for path in (tmp_path / "seen").rglob("*.json"):
        same = tmp_path / "run" / path.relative_to(tmp_path / "seen")
        assert same.read_bytes() == path.read_bytes()
