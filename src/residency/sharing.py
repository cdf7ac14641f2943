"""Pieces of lines that train one model for many tasks: aligned, shared, continued, and alone (UMIT)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from residency.codec_pixels import ResizedCodec
from residency.data.mix import Mix
from residency.errors import UsageError
from residency.evaluate.steps import Controls, Evaluate
from residency.evaluate.watch import ValidationSlice
from residency.line import is_nano
from residency.model.huggingface import Limits
from residency.objectives.likelihood import Likelihood
from residency.step import BASE, Step
from residency.synthesis.comparing import Compare
from residency.task import Codec, Wording
from residency.train.stage import Stage
from residency.train.values import Full, Schedule
from residency.types import BLANK, PLAIN

# AdaMLLM's for Qwen2-VL (learning rate 1e-5, warm-up 0.1, cosine); UMIT names none.
RATE, WARMUP = 1e-5, 0.1
NANO_RATE = 5e-4  # ours; a thousand times smaller models need more
ALIGNED = "align"
LONGEST = 256  # tokens of an answer: a report is the longest (M3D-LaMed answers with as many)
_METHODS = {
    "base": ("generalist", ""),
    "UMIT-B": ("umit", "UMIT-B"),
    "UMIT": ("umit", "UMIT"),
    "one task": ("umit", "one task"),
}
# The rows of a table over all of them: label, and method, variant and view in results.
LINES = (
    *((label, *key, PLAIN.name) for label, key in _METHODS.items()),
    *((f"{label}, blank image", *key, BLANK.name) for label, key in _METHODS.items()),
    ("majority", "majority", "", None),
    ("chance", "chance", "", None),
)


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """What all models of the comparison have in common.

    `tasks` hold the data sets of each task, in the order of the table. `start` is the step whose
    model the tasks are learned from: the aligned one, or the base where nothing was aligned.
    `wording` is what training draws from; tests ask in its canonical words.
    """

    base: str
    tasks: tuple[tuple[str, ...], ...]
    lr: float | None
    batch_size: int
    microbatch_size: int
    balance: float
    limits: Limits
    mix: Mix
    start: str
    wording: Wording
    watch: ValidationSlice | None
    codec: Codec | None  # how boxes and points are written; None: as the family does

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Sharing":
        """What a recipe's parameters say.

        Raises:
            UsageError: no task, or a learning rate that is none.
        """
        if not settings["data"]:
            raise UsageError(
                "data= names no task; give its data sets joined by +, and tasks joined by commas."
            )
        lr = settings["lr"]
        if lr is not None and not 0 < lr < math.inf:
            raise UsageError(f"lr={lr} must be a positive number, or none for ours.")
        own = ("base", "lr", "batch_size", "microbatch_size", "balance")
        wording = Wording(template=settings["template"])
        looks = {
            "every": settings["watch"],
            "samples": settings["watch_samples"],
            "metric": settings["best"] or "",
        }
        return cls(
            **{key: settings[key] for key in own},
            tasks=grouped(settings["data"]),
            limits=Limits(max_tokens=settings["max_tokens"], too_long=settings["too_long"]),
            mix=Mix.of(settings["mix"]),
            start=ALIGNED if settings["pairs"] else BASE,
            wording=wording,
            codec=ResizedCodec() if settings["points"] == "umit" else None,
            watch=ValidationSlice(**looks, wording=wording.canonical)
            if settings["watch"]
            else None,
        )

    @property
    def data(self) -> tuple[str, ...]:
        """The data sets of all tasks."""
        return tuple(spec for task in self.tasks for spec in task)

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
    ) -> Stage:
        """Connector and language model on `data`; the vision encoder is frozen."""
        return Stage(
            name=name,
            after=after,
            data=data,
            objective=Likelihood(balance=self.balance),
            train=dict.fromkeys(("connector", "language_model"), Full(lr=self.rate)),
            schedule=self.schedule(epochs, updates),
            wording=self.wording,
            limits=self.limits,
            mix=self.mix if data == self.data else Mix(),
            watch=self.watch,
            codec=self.codec,
        )

    def schedule(self, epochs: float, updates: int | None) -> Schedule:
        """The pace of a stage."""
        return Schedule(
            epochs=epochs,
            updates=updates,
            batch_size=self.batch_size,
            microbatch_size=self.microbatch_size,
            warmup=WARMUP,
        )

    def test(self, of: str, variant: str, data: tuple[str, ...] | None = None) -> Evaluate:
        """The model of a step on tasks, with its own and with blank images, in canonical words."""
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
            wording=self.wording.canonical,
            limits=limits,
            max_tokens=LONGEST,
        )


def grouped(data: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The data sets of each task: `A+B` are two of one task; a path that holds a + is one."""
    return tuple(
        (one,) if Path(one).exists() else tuple(filter(None, one.split("+"))) for one in data
    )


def controls(plan: Sharing) -> tuple[Step, ...]:
    """The majority answer and chance of every task that has them."""
    return (Controls(name="controls", data=plan.data),)


def aligned(
    plan: Sharing, pairs: tuple[str, ...], epochs: float, updates: int | None, writer: str | None
) -> tuple[Step, ...]:
    """Stage 1: every part on images with captions, and on pairs of images that `writer` compares."""
    if not pairs:
        return ()
    made = () if writer is None else (Compare(name="compare", data=pairs, writer=writer),)
    every = ("vision_encoder", "connector", "language_model")
    stage = Stage(
        name=ALIGNED,
        after=BASE,
        data=pairs,
        made=made,
        objective=Likelihood(balance=plan.balance),
        train=dict.fromkeys(every, Full(lr=plan.rate)),
        schedule=plan.schedule(epochs, updates),
        wording=Wording(template="*"),
        limits=plan.limits,
    )
    return (*made, stage)


def shared(plan: Sharing, epochs: float, updates: int | None) -> tuple[Step, ...]:
    """Stage 2, UMIT-B: all tasks together."""
    stage = plan.stage("all", after=plan.start, data=plan.data, epochs=epochs, updates=updates)
    return stage, plan.test("all", "UMIT-B")


def continued(plan: Sharing, epochs: float, updates: int | None) -> tuple[Step, ...]:
    """UMIT: every task continues by itself from UMIT-B; no updates leave it out."""
    if updates == 0:
        return ()
    steps: list[Step] = []
    for number, task in enumerate(plan.tasks, 1):
        name = f"task{number}"
        steps.append(plan.stage(name, after="all", data=task, epochs=epochs, updates=updates))
        steps.append(plan.test(name, "UMIT", task))
    return tuple(steps)


def alone(plan: Sharing, epochs: float, updates: int | None) -> tuple[Step, ...]:
    """A model for every task by itself, from where UMIT-B starts and for as many updates."""
    steps: list[Step] = []
    for number, task in enumerate(plan.tasks, 1):
        name = f"alone{number}"
        steps.append(plan.stage(name, after=plan.start, data=task, epochs=epochs, updates=updates))
        steps.append(plan.test(name, "one task", task))
    return tuple(steps)
