"""Configuration files of several processes: what accelerate reads, and what the tests run."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DeepSpeedPlugin
from accelerate.utils.launch import prepare_multi_gpu_env

import models
import ranks
import residency
from residency import recipe
from residency.errors import UsageError
from residency.model import store
from residency.train.journal import read_journal

CONFIGS = Path(residency.__file__).parent / "configs"


def launched(name: str):
    """The arguments of `accelerate launch` as a file leaves them."""
    words = ["--config_file", str(CONFIGS / f"{name}.yaml"), "-m", "residency", "run", "vanilla"]
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    return args


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_a_file_is_read_and_leaves_precision_to_the_stage(name, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    args = launched(name)
    assert args.mixed_precision == "no" and args.num_processes == (2 if "cpu" in name else 8)
    assert (args.use_fsdp, args.use_deepspeed, args.multi_gpu) == (
        name.startswith("fsdp2"), name.startswith("zero2"), name.startswith("ddp"),
    )  # fmt: skip


def test_processes_that_did_not_join_are_refused(monkeypatch):
    """Else each trains alone, and all write the same folder."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setattr("accelerate.PartialState", lambda cpu: SimpleNamespace(num_processes=1))
    with pytest.raises(UsageError, match="2 processes were launched and 1 joined"):
        recipe._join()
    monkeypatch.setattr(
        "accelerate.PartialState", lambda cpu: SimpleNamespace(num_processes=1 + cpu)
    )
    recipe._join()
    # Told that a CPU is meant, accelerate forgets DeepSpeed: it is joined on one without being told.
    monkeypatch.delenv("ACCELERATE_USE_CPU")
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    recipe._join()
    assert "ACCELERATE_USE_CPU" not in os.environ


def test_the_tests_of_two_processes_run_under_the_file():
    made = prepare_multi_gpu_env(launched("fsdp2"))
    assert {key: made[key] for key in ranks.FSDP2} == ranks.FSDP2
    assert "FSDP_TRANSFORMER_CLS_TO_WRAP" not in made


@pytest.mark.slow
def test_two_processes_with_deepspeed_take_the_same_updates_as_one(tmp_path):
    """ZeRO-2 over gloo, launched with the file: losses and gradient norms, which are all it shows."""
    pytest.importorskip("deepspeed", reason="`pip install deepspeed` takes a compiler on a CPU")
    words = ["--config_file", str(CONFIGS / "zero2.yaml"), "--num_processes", "2"]
    script = [str(Path(ranks.__file__)), str(tmp_path), str(models.folder("qwen2_vl"))]
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        *words,
        "--main_process_port",
        "0",
    ]
    env = {**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launch, *script], env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    for kind in ranks.ENGINE:
        outcome = kind(tmp_path / f"alone-{kind.__name__}")()
        theirs, ours = (
            read_journal(tmp_path / name / "journal.jsonl")[0]
            for name in (kind.__name__, f"alone-{kind.__name__}")
        )
        assert len(theirs) == len(ours) == outcome.updates
        near = 2e-2 if kind is ranks.cast else 1e-3
        for row, other in zip(theirs, ours, strict=True):
            assert (row["tokens"], row["dropped"]) == (other["tokens"], other["dropped"])
            assert row["loss"] == pytest.approx(other["loss"], rel=near)
            assert row["grad_norm"] == pytest.approx(other["grad_norm"], rel=near)
    assert "tune: done" in done.stdout  # a recipe, whose model is saved whole
    assert store.load(str(tmp_path / "recipe"), device=torch.device("cpu")).peft
    assert (tmp_path / "blinded-0.txt").read_text() == "DataError: nothing to see after update 1"
    assert "failed in the first process" in (tmp_path / "blinded-1.txt").read_text()


def test_deepspeed_is_told_what_accelerate_understands(monkeypatch):
    """Parsed even where DeepSpeed is not installed."""
    monkeypatch.setattr(
        "accelerate.utils.dataclasses.is_deepspeed_available", lambda: True, raising=False
    )
    args = launched("zero2")
    plugin = DeepSpeedPlugin(
        zero_stage=args.zero_stage,
        gradient_accumulation_steps=args.gradient_accumulation_steps,
        gradient_clipping=args.gradient_clipping,
        offload_optimizer_device=args.offload_optimizer_device,
        offload_param_device=args.offload_param_device,
    )
    config = plugin.deepspeed_config
    assert config["zero_optimization"]["stage"] == 2 and config["gradient_accumulation_steps"] == 1
