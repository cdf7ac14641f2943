"""How a part is trained: values that recipes compose; no heavy imports."""

import math
from dataclasses import dataclass
from typing import Literal

from residency.errors import UsageError

MomentumForm = Literal["printed", "moco"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Full:
    """Train every weight of a part.

    With `momentum` alpha the part is read through slow weights t-bar (InstFree, eq. 3; see
    `residency.train.slow`), which are also what is saved: 0 is plain training, 1 keeps it as it is.
    """

    lr: float
    momentum: float | None = None
    momentum_form: MomentumForm = "printed"

    def __post_init__(self) -> None:
        _positive("lr", self.lr)
        if self.momentum is not None and not 0 <= self.momentum <= 1:
            raise UsageError(
                f"momentum={self.momentum} is the share of the slow weights that an update keeps: "
                "from 0 to 1, or none."
            )

    def describe(self) -> str:
        """For the parts table."""
        slow = "" if self.momentum is None else f", momentum {self.momentum:g} {self.momentum_form}"
        return f"full{slow}"


@dataclass(frozen=True, kw_only=True, slots=True)
class LoRA:
    """Train low-rank updates of every linear layer of a part (Hu et al., 2021).

    The defaults are those of InternVL2's official second fine-tuning script: rank 16, alpha 32.
    """

    lr: float
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _positive("lr", self.lr)
        _positive("rank", self.rank)
        _positive("alpha", self.alpha)
        if not 0 <= self.dropout < 1:
            raise UsageError(f"LoRA dropout={self.dropout} must lie in [0, 1).")

    def describe(self) -> str:
        """For the parts table."""
        return f"LoRA r={self.rank}"


Train = Full | LoRA


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """How an optimizer run is paced; learning rates belong to the parts.

    `batch_size` is global: over all processes and accumulation steps. A microbatch has at most
    `microbatch_size` samples and, where it is given, `microbatch_tokens` tokens, padding included
    (one sample may have more). `grouped` batches in a row share their samples, sorted by length, so
    that rows of like length meet; 1 leaves chance alone. `updates` ends the run early; otherwise it
    is `epochs` passes over the mixture. Warm-up is a share of all updates, after which
    the learning rate follows a cosine to zero, stays, or falls linearly.
    """

    epochs: float = 1.0
    updates: int | None = None
    batch_size: int = 16
    microbatch_size: int = 16
    microbatch_tokens: int | None = None
    grouped: int = 1
    warmup: float = 0.03
    decay: Literal["cosine", "linear", "constant"] = "cosine"
    weight_decay: float = 0.01
    clip: float = 1.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "microbatch_size", "grouped", "clip"):
            _positive(name, getattr(self, name))
        for name in ("updates", "microbatch_tokens"):
            if getattr(self, name) is not None:
                _positive(name, getattr(self, name))
        if self.batch_size > self.microbatch_size and self.batch_size % self.microbatch_size:
            raise UsageError(
                f"batch_size={self.batch_size} is not a multiple of microbatch_size="
                f"{self.microbatch_size}; choose one that divides it."
            )
        if not 0 <= self.warmup <= 1:
            raise UsageError(f"warmup={self.warmup} is a share of all updates: from 0 to 1.")
        if not 0 <= self.weight_decay < math.inf:
            raise UsageError(f"weight_decay={self.weight_decay} must be 0 or more.")

    def total(self, samples: int) -> int:
        """Updates of a run over that many samples."""
        if self.updates is not None:
            return self.updates
        per_epoch = -(-samples // self.batch_size)
        return max(1, round(self.epochs * per_epoch))

    def factor(self, update: int, total: int) -> float:
        """The learning rate of update `update` (from 0) as a share of the peak."""
        warm = round(self.warmup * total)
        if update < warm:
            return (update + 1) / warm
        progress = (update - warm) / max(1, total - warm)
        if self.decay == "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        return 1 - progress if self.decay == "linear" else 1.0


def _positive(name: str, value: float | int) -> None:
    if not 0 < value < math.inf:
        raise UsageError(f"{name}={value} must be a positive number.")
