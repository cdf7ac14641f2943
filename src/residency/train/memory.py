"""Activation checkpointing where memory asks for it: an estimate before, or an update that does not fit.

A checkpointed block keeps its input alone and runs again in the backward pass: the same gradient for
about a third more time. So nothing that fits is checkpointed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from residency.errors import ResidencyError
from residency.model.huggingface import Backbone
from residency.train.estimate import Estimate

GIB = 2**30
T = TypeVar("T")


def capacity() -> int | None:
    """Bytes of this process's accelerator; None on a CPU, which swaps instead of refusing."""
    return torch.cuda.mem_get_info()[1] if torch.cuda.is_available() else None


@dataclass
class Thrift:
    """Whether a run keeps its activations; `reason` says why it does not, empty where it does."""

    backbone: Backbone
    say: Callable[[str], None]
    alone: bool  # one process trains
    reason: str = ""

    def begin(self, cost: Callable[[], Estimate]) -> None:
        """Checkpoint from the start where an earlier session did or the estimate says so."""
        held = capacity()
        if not self.reason and held is not None and (needed := cost().bytes) > held:
            self.reason = (
                f"about {needed / GIB:.0f} GiB are needed, the device has {held / GIB:.0f}"
            )
        if self.reason:
            self._checkpoint(self.reason)

    def fit(self, attempt: Callable[[], T], undo: Callable[[], None]) -> T:
        """What `attempt` makes; where it runs out of memory, once more with checkpoints.

        Dropout is drawn as the first time; `undo` forgets what the first time left.

        Raises:
            ResidencyError: it does not fit with checkpoints either. Nor is there a second try where
                other processes wait in the middle of a pass.
        """
        cuda = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
        state = torch.get_rng_state()
        try:
            return attempt()
        except torch.OutOfMemoryError as error:
            if self.reason or not self.alone:
                raise ResidencyError(
                    f"An update does not fit the device: {error} Choose a smaller "
                    "microbatch_size or microbatch_tokens, or lower max_tokens."
                ) from error
        undo()
        torch.cuda.empty_cache()
        self._checkpoint("an update did not fit the device")
        torch.set_rng_state(state)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda)
        return self.fit(attempt, undo)

    def end(self) -> None:
        """Leave the backbone as it was found."""
        if self.reason:
            self.backbone.model.activation_checkpointing_disable()

    def _checkpoint(self, reason: str) -> None:
        self.reason = reason
        self.backbone.model.activation_checkpointing_enable()
        self.say(f"activations are computed again in the backward pass: {reason}")
