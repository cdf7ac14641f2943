"""What benchmarks refuse to compare, how they sum up, and what they draw: without any peer."""

import importlib
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS / "peers"), str(BENCHMARKS), *sys.path])

    return importlib.import_module


def seen(**changes):
    row = [1, 2, *[9] * 256, 3, 4, 5]
    facts = {
        "rows": [row[:-2], row[:-2]],
        "image_tokens": [256, 256],
        "labels": [2, 2],
        "loss": 8.0,
        "pixels": [2048, 1176],
        "grids": [[1, 32, 32]] * 2,
        "trained": 100,
        "targets": ["q_proj"],
        "in_vision": 0,
        "dtypes": ["torch.float32"],
        "threads": 1,
    }
    return facts | changes, [row]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"rows": [[1, 2, *[9] * 256, 3, 4, 5]] * 2}, ""),  # with the template's newline
        ({"labels": [3, 3], "loss": 7.0}, ""),  # other tokens are learned: losses differ
        ({"image_tokens": [1, 1]}, "image tokens of the rows: [1, 1], not [256, 256]"),
        ({"trained": 99}, "trained: 99, ours 100"),
        ({"dtypes": ["torch.bfloat16"]}, "dtypes: ['torch.bfloat16'], ours ['torch.float32']"),
        ({"rows": [[1, 2, 3]] * 2}, "a row of 3 tokens that does not follow the chat template"),
        ({"loss": 8.1}, "mean loss of the first epoch: 8.1000, ours 8.0000"),
    ],
)
def test_a_run_that_differs_is_refused(load, changes, reason):
    ours, whole = seen()
    assert load("run").refused(seen(**changes)[0], ours, whole) == reason


def test_the_verdict_takes_the_fastest_peer_and_names_the_cache(load):
    run = load("run")
    rows = [
        run.Row("ours", "cold", updates=[1.0, 1.1, 0.9]),
        run.Row("ours", "warm", updates=[0.6]),
        run.Row("hf", "best", updates=[1.2, 1.0, 5.0]),
        run.Row("trl", "best", updates=[1.5]),
        run.Row("swift", "best", failure="no module named x"),
    ]
    said = run.table(rows)
    assert "HF Trainer (best): 0.83 with features cold, 0.50 with features warm" in said
    assert "no module named x" in said


def test_a_tool_that_starts_outside_its_pins_is_made_anew(load, tmp_path):
    environments = load("environments")
    for tool in load("run").PEERS:
        pins = (environments.REQUIREMENTS / f"{tool}.txt").read_text().splitlines()
        assert pins and all("==" in pin for pin in pins)
        assert not [pin for pin in pins if pin.startswith(("torch==", "nvidia-"))]
        home = tmp_path / tool
        home.mkdir()
        (home / environments.DONE).write_text("\n".join(pins) + "\n")
        assert environments.python(tool, tmp_path) == home / "bin" / "python"


def test_the_plot_has_a_panel_for_each_thing_that_grows(load):
    scaling = load("scaling")
    rows = [
        scaling.Row(axis, n, 2.0 * n) for axis in ("samples", "tokens", "labels") for n in (1, 4)
    ]
    drawn = ElementTree.fromstring(scaling.plot(rows))
    lines = drawn.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 3
    start, end = (point.split(",") for point in lines[0].get("points").split())
    assert float(start[0]) < float(end[0]) and float(start[1]) > float(end[1])


def test_without_a_gpu_it_says_so_and_ends_with_2(load, monkeypatch, capsys):
    gpu = load("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 2
    assert "nothing was measured" in capsys.readouterr().err


def test_rates_of_a_form(load):
    gpu, flops = load("gpu"), load("flops")
    tiny = {
        "text": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        | {"num_key_value_heads": 1, "intermediate_size": 32, "vocab_size": 640},
        "vision": {"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 2},
        "sections": [2, 3, 3],
    }
    backbone = flops.with_expert(gpu.qwen2_vl(tiny, "cpu"))
    backbone.attach(backbone.expert)
    rows = gpu.rows_of("tiny", backbone, batch=2, repeats=1, peak=1e12, device=torch.device("cpu"))
    assert [(row.case, row.form) for row in rows] == [
        (case, form) for case in ("plain", "VITask stage 2") for form in ("naive", "cold", "warm")
    ]
    naive, cold, warm = rows[3:]
    assert naive.tflops > cold.tflops > warm.tflops
    assert naive.tokens > 2 * cold.tokens
    for row in rows:
        assert row.tokens_per_second == pytest.approx(row.tokens / row.seconds)
        assert row.mfu == pytest.approx(row.tflops / row.seconds)
