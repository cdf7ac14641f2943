"""Pieces of lines that AdaMLLM's recipes share: rates, synthesizer, judge, Table 6."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from residency import line
from residency.backbone import family_of
from residency.errors import UsageError
from residency.evaluate.retention import Retention
from residency.model import store
from residency.model.huggingface import Limits
from residency.objectives.likelihood import Likelihood
from residency.step import BASE, Maker, Step
from residency.synthesis.combining import Combine
from residency.synthesis.criteria import Sizes
from residency.synthesis.engine import Sampling, kind_of
from residency.synthesis.judge import Agreements, JudgeTest
from residency.synthesis.pairs import Source
from residency.synthesis.quality import Quality
from residency.synthesis.seed import Form, Seed, Sees
from residency.synthesis.synthesizer import HELD_OUT, Synthesize
from residency.train.copying import Copying
from residency.train.stage import Stage
from residency.train.values import Full, Schedule

Variant = Literal["untuned", "image", "caption", "both", "both_blank"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """How a family is trained: learning rates by part, weight decay, warm-up, batch."""

    language: float
    vision: float
    weight_decay: float
    warmup: float
    batch_size: int = 128
    connector_alone: float | None = None  # of a first stage in which the connector alone trains


# Tables 9 and 10 of the paper. Llama-3.2 is 5e-6 there and 1e-5 in the released script (A4): the paper's.
PAPER_RATES: Mapping[str, Rates] = {
    "llava_next": Rates(
        language=2e-5, vision=2e-6, weight_decay=0.0, warmup=0.03, connector_alone=2e-3
    ),
    "qwen2_vl": Rates(language=1e-5, vision=1e-5, weight_decay=0.1, warmup=0.1),
    "mllama": Rates(language=5e-6, vision=5e-6, weight_decay=0.1, warmup=0.1),
}
NANO_RATES = Rates(
    language=1e-3, vision=1e-4, weight_decay=0.01, warmup=0.05, batch_size=16
)  # ours
NANO_COPYING = 500  # updates (ours), after which nano repeats random tokens (docs/results.md)
COPYING = "copying"  # the step
JUDGED = 32  # cases of an update at least (ours): of fewer nano learned to say no (docs/results.md)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What all models of a run share: the base, how it is trained, how prompts are bounded."""

    base: str
    lr: float | None = None
    vision_lr: float | None = None
    batch_size: int | None = None
    microbatch_size: int | None = None
    copying: int | None = None
    limits: Limits = Limits()  # noqa: RUF009 - frozen

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Plan":
        """From the parameters of a recipe, which have the same names."""
        names = ("base", "lr", "vision_lr", "batch_size", "microbatch_size", "copying")
        limits = Limits(max_tokens=settings["max_tokens"], too_long=settings["too_long"])
        return cls(**{name: settings[name] for name in names}, limits=limits)

    @property
    def kind(self) -> str:
        """The base's model type."""
        return str(self.config.model_type)

    @property
    def config(self) -> Any:
        """The base's configuration."""
        return store.config_of(store.root(self.base))

    @property
    def rates(self) -> Rates:
        """Of the base: the paper's for its three families, Qwen2-VL's for others, ours for nano."""
        if line.is_nano(self.base):
            return NANO_RATES
        return PAPER_RATES.get(self.kind, PAPER_RATES["qwen2_vl"])

    def copier(self) -> tuple[Copying, ...]:
        """What comes before synthesizer and judge where the base does not copy; nano alone does not."""
        updates = self.copying
        if updates is None:
            updates = NANO_COPYING if line.is_nano(self.base) else 0
        return (Copying(name=COPYING, updates=updates),) if updates else ()

    @property
    def writer(self) -> str:
        """The step that synthesizer and judge start from."""
        return COPYING if self.copier() else BASE

    def stage(
        self, name: str, made: tuple[Maker, ...], *, epochs: float, continued: bool = False
    ) -> Stage:
        """Every part of the base trains on what steps made, in conversations of several turns."""
        language = self.lr or self.rates.language
        vision = self.vision_lr or (self.rates.vision if self.lr is None else self.lr / 10)
        parts = family_of(self.kind)[1].prefixes(self.config)
        train = {part: Full(lr=vision if part == "vision_encoder" else language) for part in parts}
        return self._stage(name, made, train, epochs, continued)

    def reader(
        self, name: str, made: tuple[Maker, ...], *, epochs: float, continued: bool = False
    ) -> Stage:
        """The language model alone, on text without images, from where the synthesizer starts."""
        train = {"language_model": Full(lr=self.lr or self.rates.language)}
        stage = self._stage(name, made, train, epochs, continued)
        return replace(stage, after=self.writer)

    def connect(self, name: str, made: tuple[Maker, ...], *, epochs: float) -> Stage:
        """The first of two stages as the paper runs it: LLaVA's connector alone, else the whole model."""
        if self.rates.connector_alone is None:
            return self.stage(name, made, epochs=epochs)
        train = {"connector": Full(lr=self.rates.connector_alone)}
        return self._stage(name, made, train, epochs, False)

    def _stage(
        self,
        name: str,
        made: tuple[Maker, ...],
        train: Mapping[str, Full],
        epochs: float,
        continued: bool,
    ) -> Stage:
        batch = self.batch_size or self.rates.batch_size
        largest = max(n for n in range(1, line.MICROBATCH + 1) if batch % n == 0)
        return Stage(
            name=name,
            after=BASE,
            data=(),
            made=made,
            turns="continued" if continued else "joined",
            objective=Likelihood(),
            train=train,
            schedule=Schedule(
                epochs=epochs,
                batch_size=batch,
                microbatch_size=self.microbatch_size or largest,
                warmup=self.rates.warmup,
                weight_decay=self.rates.weight_decay,
            ),
            limits=self.limits,
        )


def seed_step(
    data: tuple[str, ...], form: Form, variant: str, blank: float, exclude: tuple[str, ...]
) -> Seed:
    """The seed of one of Table 6's variants."""
    sees: Sees = "image" if variant == "image" else "caption" if variant == "caption" else "both"
    share = blank if variant == "both_blank" else 0.0
    name = "seed" if variant == "both_blank" else f"seed_{variant}"
    return Seed(name=name, data=data, form=form, sees=sees, blank=share, exclude=exclude)


def synthesizer(plan: Plan, seed: Seed, *, name: str, epochs: float) -> Stage:
    """The synthesizer tuned on a seed, over all parts; without images, over the language model."""
    continued = seed.form == "header"
    if seed.sees == "caption":
        return plan.reader(name, (seed,), epochs=epochs, continued=continued)
    stage = plan.stage(name, (seed,), epochs=epochs, continued=continued)
    return replace(stage, after=plan.writer)


@dataclass(frozen=True, kw_only=True)
class Judging:
    """How much of what was written a model judges (0: nothing), by which engine, over which types."""

    count: int
    engine: str = "local"
    types: Sizes = "table8"

    def steps(self, name: str, of: Combine, *, domains: bool = False) -> tuple[Quality, ...]:
        """The quality analysis, and the sheet for people.

        The base judges where the engine serves no model of its own, or sees no images.
        """
        if not self.count:
            return ()
        engine = self.engine if kind_of(self.engine).sees else "local"
        return (
            Quality(
                name=name, of=of, engine=engine, count=self.count, types=self.types,
                domains=domains,
            ),
        )  # fmt: skip


def table6(
    plan: Plan, settings: Mapping[str, Any], chosen: tuple[str, ...], judging: Judging
) -> tuple[Step, ...]:
    """Every variant tuned, asked about the held-out pairs of the seed, and judged by their facts.

    With `judging` the tasks of each are judged by a model as well, and so are those of the seed, with
    the domains of its images (Figure 5).

    Raises:
        UsageError: no variant, or one that does not exist.
    """
    known = get_args(Variant)
    if not chosen or set(chosen) - set(known):
        raise UsageError(f"variants={','.join(chosen)}: choose from {', '.join(known)}.")
    get = settings.__getitem__
    steps: list[Step] = [Retention(name="generalist_retention", of=BASE, method="generalist")]
    for variant in dict.fromkeys(chosen):
        seed = seed_step(get("data"), get("form"), variant, get("blank"), get("exclude"))
        model = BASE if variant == "untuned" else f"synthesizer_{variant}"
        steps.append(seed)
        if model != BASE:
            steps += [one for one in plan.copier() if one not in steps]
            steps.append(synthesizer(plan, seed, name=model, epochs=get("epochs")))
            steps.append(Retention(name=f"{model}_retention", of=model, method=model))
        written = Synthesize(
            name=f"{HELD_OUT}{variant}",
            of=model,
            held_out=seed,
            form=get("form"),
            sees=seed.sees,
            sampling=Sampling(max_tokens=get("reply_tokens")),
        )
        steps += [written, *_judged(judging, written, f"quality_{variant}")]
    return (*steps, *_judged(judging, seed, "quality_seed", domains=True))


def _judged(judging: Judging, of: Source, name: str, *, domains: bool = False) -> tuple[Step, ...]:
    tasks = Combine(name=f"{name}_tasks", triplets=of, caption=False, needed=False)
    made = judging.steps(name, tasks, domains=domains)
    return (tasks, *made) if made else ()


def judge_steps(plan: Plan, seed: Seed, *, epochs: float) -> tuple[Step, ...]:
    """A judge tuned from the base on triplets of known agreement, and its own accuracy."""
    cases = Agreements(name="agreements", seed=seed)
    batch = plan.batch_size or plan.rates.batch_size
    plan = replace(plan, batch_size=batch * -(-JUDGED // batch))
    return (
        cases,
        plan.reader("judge", (cases,), epochs=epochs),
        JudgeTest(name="judge_test", judge="judge", of=cases),
    )
