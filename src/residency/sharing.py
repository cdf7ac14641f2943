"""Pieces of lines that train one model for many tasks: aligned, shared, continued, and alone (UMIT)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from residency.data.mix import Mix
from residency.errors import UsageError
from residency.evaluate.steps import Controls, Evaluate
from residency.line import is_nano
from residency.model.huggingface import Limits
from residency.objectives.likelihood import Likelihood
from residency.step import BASE, Step
from residency.train.stage import Stage
from residency.train.values import Full, Schedule
from residency.types import BLANK, PLAIN

# AdaMLLM's for Qwen2-VL (learning rate 1e-5, warm-up 0.1, cosine); UMIT names none.
RATE, WARMUP = 1e-5, 0.1
NANO_RATE = 5e-4  # ours; a thousand times smaller models need more
ALIGNED = "align"


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """What all models of the comparison have in common.

    `data` are the tasks, one data set each, in the order of the table. `start` is the step whose
    model the tasks are learned from: the aligned one, or the base where nothing was aligned.
    """

    base: str
    data: tuple[str, ...]
    lr: float | None
    batch_size: int
    microbatch_size: int
    balance: float
    limits: Limits
    mix: Mix
    start: str

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Sharing":
        """What a recipe's parameters say.

        Raises:
            UsageError: no task, or a learning rate that is none.
        """
        if not settings["data"]:
            raise UsageError("data= names no task; give one data set per task, joined by commas.")
        lr = settings["lr"]
        if lr is not None and not 0 < lr < math.inf:
            raise UsageError(f"lr={lr} must be a positive number, or none for ours.")
        own = ("base", "data", "lr", "batch_size", "microbatch_size", "balance")
        return cls(
            **{key: settings[key] for key in own},
            limits=Limits(max_tokens=settings["max_tokens"], too_long=settings["too_long"]),
            mix=Mix.of(settings["mix"]),
            start=ALIGNED if settings["pairs"] else BASE,
        )

    @property
    def rate(self) -> float:
        """The learning rate of every part that is trained."""
        return self.lr or (NANO_RATE if is_nano(self.base) else RATE)

    def stage(
        self,
        name: str,
        *,
        after: str,
        data: tuple[str, ...],
        epochs: float,
        updates: int | None = None,
        eyes: bool = False,
    ) -> Stage:
        """Connector and language model on `data`; `eyes` trains the vision encoder as well."""
        full = Full(lr=self.rate)
        parts = ("vision_encoder",) * eyes + ("connector", "language_model")
        return Stage(
            name=name,
            after=after,
            data=data,
            objective=Likelihood(balance=self.balance),
            train=dict.fromkeys(parts, full),
            schedule=Schedule(
                epochs=epochs,
                updates=updates,
                batch_size=self.batch_size,
                microbatch_size=self.microbatch_size,
                warmup=WARMUP,
            ),
            limits=self.limits,
            mix=self.mix if data == self.data else Mix(),
        )

    def test(self, of: str, variant: str, data: tuple[str, ...] | None = None) -> Evaluate:
        """The model of a step on tasks, with its own and with blank images."""
        limits = self.limits
        if limits.too_long == "drop":  # a question of the test cannot be left out
            limits = replace(limits, too_long="fail")
        return Evaluate(
            name=f"{of}_test",
            of=of,
            data=data or self.data,
            method="generalist" if of == BASE else "umit",
            variant=variant,
            views=(PLAIN, BLANK),
            limits=limits,
        )


def untouched(plan: Sharing) -> tuple[Step, ...]:
    """The base, with the majority answer and chance of every task that has them."""
    return plan.test(BASE, ""), Controls(name="controls", data=plan.data)


def aligned(plan: Sharing, pairs: tuple[str, ...], epochs: float) -> tuple[Step, ...]:
    """Stage 1: every part on images with captions and on pairs of images."""
    if not pairs:
        return ()
    return (plan.stage(ALIGNED, after=BASE, data=pairs, epochs=epochs, eyes=True),)


def shared(plan: Sharing, epochs: float, updates: int | None) -> tuple[Step, ...]:
    """Stage 2, UMIT-B: all tasks together."""
    stage = plan.stage("all", after=plan.start, data=plan.data, epochs=epochs, updates=updates)
    return stage, plan.test("all", "UMIT-B")


def continued(plan: Sharing, epochs: float) -> tuple[Step, ...]:
    """UMIT: every task continues by itself from UMIT-B."""
    steps: list[Step] = []
    for number, task in enumerate(plan.data, 1):
        name = f"task{number}"
        steps.append(plan.stage(name, after="all", data=(task,), epochs=epochs))
        steps.append(plan.test(name, "UMIT", (task,)))
    return tuple(steps)


def alone(plan: Sharing, epochs: float, updates: int | None) -> tuple[Step, ...]:
    """A model for every task by itself, from where UMIT-B starts and for as many updates."""
    steps: list[Step] = []
    for number, task in enumerate(plan.data, 1):
        name = f"alone{number}"
        steps.append(
            plan.stage(name, after=plan.start, data=(task,), epochs=epochs, updates=updates)
        )
        steps.append(plan.test(name, "one task", (task,)))
    return tuple(steps)
