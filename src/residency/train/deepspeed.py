"""What DeepSpeed wants otherwise: its engine clips, steps and forgets gradients inside the backward pass."""

from accelerate import Accelerator
from accelerate.utils import DistributedType

from residency.train.values import Schedule


def is_deepspeed(accelerator: Accelerator) -> bool:
    """Whether DeepSpeed's engine trains, as a launch with configs/zero2.yaml has it."""
    return bool(accelerator.distributed_type == DistributedType.DEEPSPEED)


def configure(accelerator: Accelerator, schedule: Schedule) -> None:
    """Tell the engine what it cannot see: the size of a microbatch, and where gradients are clipped.

    Accumulation stays ours (one step of the engine is one update), so its own is 1.
    """
    config = accelerator.state.deepspeed_plugin.deepspeed_config
    config["train_micro_batch_size_per_gpu"] = schedule.microbatch_size
    config["gradient_accumulation_steps"] = 1
    config["gradient_clipping"] = schedule.clip
