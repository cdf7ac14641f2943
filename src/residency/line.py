"""Pieces of lines that VITask's recipes share: how an expert, a baseline and the two stages are set up."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from residency.catalog import suggest
from residency.data.augment import Augment
from residency.data.mix import Mix
from residency.dataset import open_dataset
from residency.errors import UsageError
from residency.evaluate.steps import Evaluate, EvaluateExpert, Mode, Rank
from residency.model import store
from residency.model.huggingface import Exemplar
from residency.model.huggingface import Limits as Limits
from residency.objectives.likelihood import Likelihood
from residency.objectives.vitask import VITask
from residency.step import BASE, Step
from residency.task import PAPER, Wording
from residency.train.expert_step import FitExpert
from residency.train.stage import Stage
from residency.train.values import Full, LoRA, Schedule, Train
from residency.types import BLANK, EXEMPLAR, PLAIN, SHUFFLED

# InternVL2's official second fine-tuning script (LoRA, 1 epoch, batch 16): lr 4e-5. Nano is a
# thousand times smaller and needs more; chosen from 2e-3, 4e-3, 8e-3 on the validation split of
# phantoms:smear (ours, docs/results.md).
NANO_RATE = 4e-3
PAPER_LEARNING_RATE = 4e-5
CONNECTOR_RATE = 1e-3  # ours: the paper gives none
MICROBATCH = 16  # samples at once, at most, unless a recipe is told otherwise


def is_nano(base: str) -> bool:
    """Whether a model is nano: by name, as a copy, or tuned from it."""
    root = store.root(base)
    return root == "nano" or store.identity(root) == _packaged()


@functools.cache
def _packaged() -> str:
    """The identity of the nano inside the package, which does not change while we run."""
    return store.identity("nano")


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What all tuned models of a comparison share, so that they differ by method alone."""

    base: str
    data: tuple[str, ...]
    lr: float | None
    rank: int
    epochs: float  # of each of VITask's two stages; baselines get the sum
    batch_size: int
    connector_lr: float | None = None
    wording: Wording = PAPER
    exemplar: Exemplar = "cls"
    microbatch_size: int | None = None  # None: the largest divisor of the batch up to MICROBATCH
    microbatch_tokens: int | None = None  # None: as many as the samples have
    grouped: int = 1  # batches in a row that share their samples, sorted by length
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    mix: str = "all"  # see `residency.data.mix`
    augment: tuple[str, ...] = ()  # see `residency.data.augment`

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Tuning":
        """What a recipe's parameters say of tuning; parameters about other things are passed over.

        Every field may be a parameter of its own name. `limits` is made of `max_tokens` and
        `too_long`, `wording` of `template` where the recipe has it.
        """
        own = {field.name: settings[field.name] for field in fields(cls) if field.name in settings}
        limits = Limits(max_tokens=settings["max_tokens"], too_long=settings["too_long"])
        wording = Wording(template=settings.get("template", PAPER.template))
        return cls(**own, limits=limits, wording=wording)

    def __post_init__(self) -> None:
        for name in ("lr", "connector_lr"):
            rate = getattr(self, name)
            if rate is not None and not 0 < rate < math.inf:
                raise UsageError(f"{name}={rate} must be a positive number, or none for ours.")

    @property
    def language_model(self) -> LoRA:
        """LoRA on the language model, alpha twice the rank."""
        lr = self.lr
        if lr is None:
            lr = NANO_RATE if is_nano(self.base) else PAPER_LEARNING_RATE
        return LoRA(lr=lr, rank=self.rank, alpha=2 * self.rank)

    @property
    def connector(self) -> Full:
        """The exemplar connector."""
        lr = self.connector_lr
        if lr is None:
            lr = NANO_RATE if is_nano(self.base) else CONNECTOR_RATE
        return Full(lr=lr)

    def schedule(self, stages: int = 1) -> Schedule:
        """The pace of as many stages run as one."""
        size = self.microbatch_size
        if size is None:
            size = max(n for n in range(1, MICROBATCH + 1) if self.batch_size % n == 0)
        return Schedule(
            epochs=self.epochs * stages,
            batch_size=self.batch_size,
            microbatch_size=size,
            microbatch_tokens=self.microbatch_tokens,
            grouped=self.grouped,
        )

    def stage(
        self,
        name: str,
        *,
        after: str,
        objective: Any,
        train: Mapping[str, Train],
        stages: int = 1,
        expert: str | None = None,
    ) -> Stage:
        """A stage with the shared data, wording and pace."""
        return Stage(
            name=name,
            after=after,
            data=self.data,
            objective=objective,
            train=train,
            schedule=self.schedule(stages),
            expert=expert,
            exemplar=self.exemplar,
            wording=self.wording,
            limits=self.limits,
            mix=Mix.of(self.mix),
            augment=Augment.of(self.augment),
        )

    def vanilla(self, name: str = "vanilla", *, vision: bool = False) -> Stage:
        """Plain instruction tuning (eq. 1) for as many epochs as both of VITask's stages."""
        train: dict[str, Train] = {"language_model": self.language_model}
        if vision:
            train["vision_encoder"] = Full(lr=self.language_model.lr / 10)
        return self.stage(name, after=BASE, objective=Likelihood(), train=train, stages=2)

    def connect(self, name: str, objective: VITask, *, expert: str = "expert") -> Stage:
        """Stage 1: connector and LoRA learn together."""
        train: dict[str, Train] = {
            "language_model": self.language_model,
            "exemplar_connector": self.connector,
        }
        return self.stage(name, after=BASE, objective=objective, train=train, expert=expert)

    def refine(self, name: str, objective: VITask, *, after: str) -> Stage:
        """Stage 2: the connector is frozen."""
        train = {"language_model": self.language_model}
        return self.stage(name, after=after, objective=objective, train=train)


def fit(
    data: tuple[str, ...],
    source: str,
    epochs: int,
    *,
    name: str = "expert",
    start: str | None = None,
) -> FitExpert:
    """The joint expert over all data sets."""
    return FitExpert(name=name, data=data, source=source, epochs=epochs, start=start)


def expert_test(tuning: Tuning) -> EvaluateExpert:
    """The expert, with majority and chance."""
    return EvaluateExpert(name="expert_test", of="expert", data=tuning.data)


def plain_test(
    tuning: Tuning, of: str, method: str, *, variant: str = "", mode: Mode = "auto"
) -> Evaluate:
    """A model without exemplar."""
    name = "generalist" if of == BASE else of
    return Evaluate(
        name=f"{name}_test",
        of=of,
        data=tuning.data,
        method=method,
        variant=variant,
        mode=mode,
        wording=tuning.wording,
        limits=tuning.limits,
    )


def generalist_test(tuning: Tuning) -> Evaluate:
    """The untouched base."""
    return plain_test(tuning, BASE, "generalist")


def vanilla(tuning: Tuning, method: str, *, vision: bool, generalist: bool) -> tuple[Step, ...]:
    """Plain tuning, tested with blank and with shuffled images; `generalist` tests the base before."""
    tested = plain_test(tuning, "vanilla", method)
    return (
        *((generalist_test(tuning),) if generalist else ()),
        tuning.vanilla(vision=vision),
        replace(tested, views=(PLAIN, BLANK, SHUFFLED)),
    )


def baselines(tuning: Tuning) -> tuple[Step, ...]:
    """Generalist, vanilla tuning and the expert, with majority and chance."""
    return (
        expert_test(tuning),
        generalist_test(tuning),
        tuning.vanilla(),
        plain_test(tuning, "vanilla", "vanilla"),
    )


def two_stages(tuning: Tuning, *, align: float, contrast: float) -> tuple[Stage, Stage]:
    """The paper's two stages: connect, then contrast with the connector frozen."""
    return (
        tuning.connect("connect", VITask(align=align, contrast=0)),
        tuning.refine("contrast", VITask(align=align, contrast=contrast), after="connect"),
    )


def test(
    tuning: Tuning,
    of: str,
    *,
    name: str = "",
    method: str = "vitask",
    variant: str = "",
    controls: bool = False,
    data: tuple[str, ...] = (),
    expert: str | None = None,
) -> Evaluate:
    """A tuned model without and with exemplar; `controls` adds the blank and the shuffled image."""
    return Evaluate(
        name=name or f"{of}_test",
        of=of,
        data=data or tuning.data,
        method=method,
        variant=variant,
        views=(PLAIN, EXEMPLAR, BLANK, SHUFFLED) if controls else (PLAIN, EXEMPLAR),
        wording=tuning.wording,
        limits=tuning.limits,
        expert=expert,
        exemplar=tuning.exemplar,
    )


CELLS: Mapping[str, tuple[str, float, float, Mapping[str, Any], Exemplar]] = {
    # name: (variant in results, weight of align, weight of contrast, options, exemplar)
    "ep": ("+EP", 0, 0, {}, "cls"),
    "rda": ("+EP+RDA", 1, 0, {}, "cls"),
    "crt": ("+EP+CRT", 0, 1, {}, "cls"),
    "both": ("+EP+RDA+CRT", 1, 1, {}, "cls"),
    "ep_all": ("EP_all", 0, 0, {}, "patches"),
    "ep_rep": ("EP_rep", 0, 0, {}, "replace"),
    "rda_star": ("+EP+RDA*", 1, 0, {"detach_teacher": False}, "cls"),
}
BASELINE_CELLS = ("van", "vision")


def cells(
    tuning: Tuning,
    chosen: tuple[str, ...],
    *,
    align: float,
    contrast: float,
    options: Mapping[str, Any],
) -> tuple[Step, ...]:
    """Table 2's cells; two cells with the same first stage share it.

    Raises:
        UsageError: an unknown cell.
    """
    steps: list[Step] = []
    connected: dict[tuple[Any, ...], str] = {}
    for cell in chosen:
        if cell in BASELINE_CELLS:
            method = "vanilla" if cell == "van" else "vanilla_vision"
            steps += [
                tuning.vanilla(cell, vision=cell == "vision"),
                plain_test(tuning, cell, method),
            ]
            continue
        if cell not in CELLS:
            known = [*BASELINE_CELLS, *CELLS]
            raise UsageError(f"No cell {cell!r}.{suggest(cell, known)} Cells: {', '.join(known)}.")
        variant, alpha, beta, own, exemplar = CELLS[cell]
        shared = replace(tuning, exemplar=exemplar)
        fixed = {**options, **own}
        first = VITask(align=alpha * align, contrast=0, **fixed)
        key = (repr(first), exemplar)
        if key not in connected:
            connected[key] = f"{cell}_connect"
            steps.append(shared.connect(f"{cell}_connect", first))
        second = VITask(align=alpha * align, contrast=beta * contrast, **fixed)
        steps.append(shared.refine(cell, second, after=connected[key]))
        steps.append(test(shared, cell, variant=variant))
    return tuple(steps)


def plugged(
    tuning: Tuning, external: tuple[str, ...], *, source: str, epochs: int, vanilla: bool
) -> tuple[Step, ...]:
    """Table 3's rows on every external set, and ours for sets whose labels the old expert lacks."""
    steps: list[Step] = []
    own = {(d.labels, d.multi_label) for d in map(open_dataset, tuning.data)}
    for number, spec in enumerate(external, 1):
        dataset, place = open_dataset(spec), f"external{number}"
        same = (dataset.labels, dataset.multi_label) in own
        data = (spec,)
        if same:
            steps.append(
                EvaluateExpert(
                    name=f"{place}_expert", of="expert", data=data, variant="transferred"
                )
            )
        if vanilla:
            steps.append(
                Evaluate(
                    name=f"{place}_vanilla",
                    of="vanilla",
                    data=data,
                    method="vanilla",
                    variant="transferred",
                    wording=tuning.wording,
                    limits=tuning.limits,
                )
            )
        moved = test(tuning, "contrast", name=f"{place}_vitask", variant="transferred", data=data)
        steps.append(moved)
        starts = {"fresh": None, "started": "expert"} if same else {"fresh": None}
        for kind, start in starts.items():
            new = f"{place}_{kind}"
            steps.append(fit(data, source, epochs, name=new, start=start))
            steps.append(
                EvaluateExpert(
                    name=f"{new}_expert", of=new, data=data, variant=kind, controls=kind == "fresh"
                )
            )
            plug = test(
                tuning,
                "contrast",
                name=f"{new}_plug",
                variant=f"plug {kind}" if same else f"plug {kind} (ours)",
                data=data,
                expert=new,
            )
            steps.append(replace(plug, views=(EXEMPLAR,)))
    return tuple(steps)


def incomplete(
    tuning: Tuning, *, align: float, contrast: float, complete: bool
) -> tuple[Step, ...]:
    """Figure 4: vanilla and VITask with and without the label list in the instruction."""
    steps: list[Step] = []
    for listed in (True, False) if complete else (False,):
        variant = "label list" if listed else "no label list"
        suffix = "" if listed else "_incomplete"
        worded = replace(tuning, wording=Wording(list_options=listed))
        connect, refine = f"connect{suffix}", f"contrast{suffix}"
        steps += [
            worded.vanilla(f"vanilla{suffix}"),
            plain_test(worded, f"vanilla{suffix}", "vanilla", variant=variant, mode="generate"),
            worded.connect(connect, VITask(align=align, contrast=0)),
            worded.refine(refine, VITask(align=align, contrast=contrast), after=connect),
            plain_test(worded, refine, "vitask", variant=variant, mode="generate"),
        ]
    return tuple(steps)


def densities(tuning: Tuning, *, contrast: float, accuracy: bool) -> tuple[Step, ...]:
    """Figure 3: generalist, vanilla and CRT-tuned on the same pairs."""
    train = {"language_model": tuning.language_model}
    objective = VITask(align=0, contrast=contrast, exemplar=0)
    steps: list[Step] = [
        tuning.vanilla(),
        tuning.stage("crt", after=BASE, objective=objective, train=train, stages=2),
        rank(tuning, (("generalist", BASE), ("vanilla", "vanilla"), ("CRT", "crt"))),
    ]
    if accuracy:
        steps += [
            generalist_test(tuning),
            plain_test(tuning, "vanilla", "vanilla"),
            plain_test(tuning, "crt", "vanilla", variant="+CRT"),
        ]
    return tuple(steps)


def rank(tuning: Tuning, models: tuple[tuple[str, str], ...]) -> Rank:
    """The ranking step over (label, step) pairs."""
    return Rank(
        name="ranking",
        models=models,
        data=tuning.data,
        wording=tuning.wording,
        limits=tuning.limits,
    )
