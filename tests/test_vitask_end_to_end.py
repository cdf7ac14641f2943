"""VITask from the command line on phantoms with tiny models: every step, file and refusal that users meet."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import models
from residency import cli
from residency.evaluate.results import read_results
from residency.evaluate.retention import METRICS
from residency.model import store
from residency.train.journal import read_journal

DATA = "phantoms:smear:train=16:val=8:test=8"
SIZES = {"plain": 112, "paraphrased": 40, "incomplete": 24}  # of the suite of retention
SHORT = ("expert_epochs=1", "batch_size=8", "rank=4", "lr=1e-3")


def run(*words: str) -> int:
    return cli.main([*words])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("vitask") / "run"
    base = f"base={models.folder('qwen2_vl')}"
    assert run("run", "demo", base, f"data={DATA}", f"out={out}", "epochs=1", *SHORT) == 0
    return out


def test_results_have_the_schema_and_all_methods(finished: Path) -> None:
    content = json.loads((finished / "results.json").read_text())
    keys = {"method", "variant", "view", "dataset", "task", "seed", "metrics"}
    keys |= {"n", "n_unparsed", "n_length", "n_error"}
    assert all(set(row) == keys for row in content["rows"])
    seen = {(row["method"], row["view"]) for row in content["rows"]}
    assert seen == {
        ("expert", None),
        ("majority", None),
        ("chance", None),
        ("generalist", "plain"),
        ("vanilla", "plain"),
        ("vitask", "plain"),
        ("vitask", "exemplar"),
        ("vitask", "blank"),
        ("vitask", "shuffled"),
    } | {(method, view) for method in ("generalist", "vanilla", "vitask") for view in METRICS}
    for row in read_results(finished / "results.json"):
        assert row.seed == 0
        assert row.n == (8 if row.task == "classification" else SIZES[row.view or ""])
        for name, metric in row.metrics.items():
            assert 0 <= metric.estimate <= (2 if name == "brier" else 1)


def test_stage_two_freezes_the_connector_and_moves_the_adapter(finished: Path) -> None:
    first = store.load(str(finished / "connect" / "model"))
    second = store.load(str(finished / "contrast" / "model"))
    one, two = first.parts(), second.parts()
    for name, parameter in one["exemplar_connector"].items():
        assert torch.equal(parameter, two["exemplar_connector"][name])
    for name, parameter in one["expert"].items():
        assert torch.equal(parameter, two["expert"][name])
    moved = [
        not torch.equal(parameter, two["language_model"][name])
        for name, parameter in one["language_model"].items()
        if ".lora_" in name
    ]
    assert any(moved)
    assert all(
        torch.equal(parameter, two["language_model"][name])
        for name, parameter in one["language_model"].items()
        if ".lora_" not in name
    )


def test_terms_of_both_stages_are_journaled(finished: Path) -> None:
    first, bad = read_journal(finished / "connect" / "journal.jsonl")
    second, _ = read_journal(finished / "contrast" / "journal.jsonl")
    assert not bad
    assert set(first[0]["terms"]) == {"vanilla", "exemplar", "align"}
    assert set(second[0]["terms"]) == {"vanilla", "exemplar", "align", "contrast"}
    assert len(first) == len(second) == 2  # 16 samples in batches of 8, one epoch each


def test_the_run_ends_with_its_report_and_its_card(finished: Path) -> None:
    text = (finished / "report.html").read_text()
    assert "data:image/" in text and "http://" not in text
    for heading in ("Response ranking", "What tuning cost", "Calibration"):
        assert f"<h2>{heading}</h2>" in text
    assert "Not a medical device" in (finished / "contrast" / "model" / "README.md").read_text()


def test_a_second_run_repeats_nothing(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (finished / "contrast" / "model" / "manifest.json").read_bytes()
    base = f"base={models.folder('qwen2_vl')}"
    assert run("run", "demo", base, f"data={DATA}", f"out={finished}", "epochs=1", *SHORT) == 0
    assert capsys.readouterr().out.count("already done") == 12
    assert (finished / "contrast" / "model" / "manifest.json").read_bytes() == before


def test_other_settings_are_refused(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = f"base={models.folder('qwen2_vl')}"
    words = ("run", "demo", base, f"data={DATA}", f"out={finished}", "epochs=1", *SHORT)
    assert run(*words, "align=0.5") == 2
    assert "align" in capsys.readouterr().err


def test_evaluate_takes_the_finished_run_as_a_model(finished: Path, tmp_path: Path) -> None:
    words = ("evaluate", str(finished), f"data={DATA}", f"out={tmp_path / 'e'}", "view=both")
    assert run(*words, "controls=true", "limit=4", "mode=generate") == 0
    rows = read_results(tmp_path / "e" / "results.json")
    seen = {(row.method, row.view) for row in rows}
    assert {("model", "plain"), ("model", "exemplar"), ("model", "blank")} <= seen
    assert {("majority", None), ("chance", None)} <= seen
    lines = (tmp_path / "e").rglob("predictions.jsonl")
    assert sum(1 for _ in lines) == 4  # one file per view


def test_a_truncated_model_is_no_model(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "broken"
    shutil.copytree(finished / "contrast" / "model", copy)
    weights = copy / "parts.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    assert run("evaluate", str(copy), f"data={DATA}", f"out={tmp_path / 'x'}", "limit=2") != 0
    assert str(copy) in capsys.readouterr().err
    assert not (tmp_path / "x" / "results.json").exists()


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("vitask", ()),
        pytest.param("expert", (), marks=pytest.mark.slow),
        pytest.param("vanilla", (), marks=pytest.mark.slow),
        pytest.param("vanilla_vision", (), marks=pytest.mark.slow),
        pytest.param(
            "vitask_ablation",
            ("cells=van,ep,rda,crt,both,ep_all,ep_rep,rda_star,vision",),
            marks=pytest.mark.slow,
        ),
        ("vitask_plug", ("external=phantoms:smear:shift=0.5:train=8:val=4:test=4",)),
        pytest.param("vitask_incomplete", (), marks=pytest.mark.slow),
        pytest.param("vitask_ranking", (), marks=pytest.mark.slow),
        ("demo", ()),
    ],
)
def test_plan_of_every_recipe(
    recipe: str, words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "planned"
    base = f"base={models.folder('qwen2_vl')}"
    assert run("plan", recipe, base, f"data={DATA}", f"out={out}", *words) == 0
    said = capsys.readouterr().out
    assert "16 of 16 samples" in said or recipe == "expert"
    assert not out.exists()


def test_ablation_cells_share_first_stages_and_reject_unknown_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = f"base={models.folder('qwen2_vl')}"
    words = ("plan", "vitask_ablation", base, f"data={DATA}", f"out={tmp_path}/x")
    assert run(*words) == 0
    said = capsys.readouterr().out
    assert "16 of 16 samples" in said
    assert said.count("_connect: Stage") == 2  # +EP and +EP+RDA; +CRT and both start from them
    assert run(*words, "cells=van,rdaa") == 2
    assert "Did you mean 'rda'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("vitask_ablation", "cells=van,ep_all,ep_rep,rda_star"),
        ("vitask_plug", "external=phantoms:smear:shift=0.5:train=8:val=4:test=4"),
        ("vitask_incomplete",),
        ("vitask_ranking",),
        ("vanilla_vision",),
    ],
)
def test_other_recipes_run_to_the_end(words: tuple[str, ...], tmp_path: Path) -> None:
    short = [word for word in SHORT if "expert" not in word or "ranking" not in words[0]]
    short = [word for word in short if "expert" not in word or "vanilla" not in words[0]]
    base = f"base={models.folder('qwen2_vl')}"
    out = tmp_path / "run"
    assert run("run", words[0], base, f"data={DATA}", f"out={out}", *words[1:], *short) == 0
    assert read_results(out / "results.json")
