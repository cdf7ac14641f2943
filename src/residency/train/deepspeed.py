"""What DeepSpeed wants otherwise: its engine clips, steps and forgets gradients inside the backward pass."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from accelerate import Accelerator
from accelerate.utils import DistributedType

from residency.train.values import Schedule
from residency.types import Batch


def is_deepspeed(accelerator: Accelerator) -> bool:
    """Whether DeepSpeed's engine trains, as a launch with configs/zero2.yaml has it."""
    return bool(accelerator.distributed_type == DistributedType.DEEPSPEED)


def configure(accelerator: Accelerator, schedule: Schedule, *, autocast: bool) -> None:
    """Tell the engine what it cannot see: the size of a microbatch, clipping, and bf16 where we cast to it.

    Accumulation stays ours (one step of the engine is one update), so its own is 1. The settings are those of
    the process: a stage before this one has left its own there. Without its own section the engine turns
    autocast off inside the pass; gradients are averaged in their own precision (no module is "safe").
    """
    accelerator.state.deepspeed_plugin.deepspeed_config |= {
        "train_micro_batch_size_per_gpu": schedule.microbatch_size,
        "train_batch_size": schedule.microbatch_size * accelerator.num_processes,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": schedule.clip,
        "torch_autocast": {
            "enabled": autocast,
            "dtype": "bfloat16",
            "lower_precision_safe_modules": [],
        },
    }


def kinds(batches: Sequence[Batch]) -> tuple[int, int]:
    """The least and the largest of what microbatches show (`Batch.shows`)."""
    found = [batch.shows for batch in batches]
    return min(found, default=0), max(found, default=0)


@contextmanager
def together(accelerator: Accelerator) -> Iterator[None]:
    """Gradients of all passes inside are added up over processes at the end, and the engine steps.

    ZeRO-2 sends gradients on as they are made, and adds up what arrives in the same place: processes whose
    passes make them in different orders, one without an image beside one with, would add up gradients of
    different weights. At the end they go in one order; until then each device holds them whole.
    """
    engine = accelerator.deepspeed_engine_wrapped.engine
    with engine.coalesce_grad_reduction():
        yield
    engine.set_gradient_accumulation_boundary(True)
    engine.step()
