"""Configuration files of several processes: what accelerate reads, and what the tests run."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DeepSpeedPlugin
from accelerate.utils.launch import prepare_multi_gpu_env

import ranks
import residency
from residency import recipe
from residency.errors import UsageError

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


def test_the_tests_of_two_processes_run_under_the_file():
    made = prepare_multi_gpu_env(launched("fsdp2"))
    assert {key: made[key] for key in ranks.FSDP2} == ranks.FSDP2
    assert "FSDP_TRANSFORMER_CLS_TO_WRAP" not in made


def test_deepspeed_is_told_what_accelerate_understands(monkeypatch):
    """Only parsed: DeepSpeed is not installed where the tests run."""
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
