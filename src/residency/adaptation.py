"""Pieces of lines that AdaMLLM's recipes share: rates, synthesizer, judge, tasks, post-training."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from residency import line
from residency.backbone import family_of
from residency.dataset import open_dataset
from residency.errors import UsageError
from residency.evaluate.retention import Retention
from residency.evaluate.steps import Evaluate
from residency.model import store
from residency.model.huggingface import Limits
from residency.objectives.likelihood import Likelihood
from residency.step import BASE, Maker, Step
from residency.synthesis.combining import Combine, Response
from residency.synthesis.combining import Tasks as TaskKind
from residency.synthesis.cot import Pool
from residency.synthesis.engine import Sampling
from residency.synthesis.export import Export
from residency.synthesis.filtering import Filter
from residency.synthesis.judge import Agreements, JudgeTest
from residency.synthesis.losses import Losses
from residency.synthesis.pairs import Captions, Source
from residency.synthesis.quality import Quality
from residency.synthesis.seed import Form, Seed, Sees
from residency.synthesis.synthesizer import Synthesize
from residency.task import Wording
from residency.train.stage import Stage
from residency.train.values import Full, Schedule

Column = Literal[
    "ours", "no_blank", "precise_only", "informative_only", "no_task", "no_caption", "general_task",
    "general_task_caption",
]  # fmt: skip
UNFILTERED = ("precise_only", "informative_only")
ASKED_NOTHING = ("no_task", "general_task", "general_task_caption")  # of the domain's pairs
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


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What all models of a run share: the base, how it is trained, how prompts are bounded."""

    base: str
    lr: float | None = None
    vision_lr: float | None = None
    batch_size: int | None = None
    microbatch_size: int | None = None
    limits: Limits = Limits()  # noqa: RUF009 - frozen

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

    def stage(
        self, name: str, made: tuple[Maker, ...], *, epochs: float, continued: bool = False
    ) -> Stage:
        """Every part of the base trains on what steps made, in conversations of several turns."""
        language = self.lr or self.rates.language
        vision = self.vision_lr or (self.rates.vision if self.lr is None else self.lr / 10)
        parts = family_of(self.kind)[1].prefixes(self.config)
        train = {part: Full(lr=vision if part == "vision_encoder" else language) for part in parts}
        return self._stage(name, made, train, epochs, continued)

    def reader(self, name: str, made: tuple[Maker, ...], *, epochs: float) -> Stage:
        """The language model alone, on text without images."""
        train = {"language_model": Full(lr=self.lr or self.rates.language)}
        return self._stage(name, made, train, epochs, False)

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
    data: tuple[str, ...], form: Form, variant: Variant, blank: float, exclude: tuple[str, ...]
) -> Seed:
    """The seed of one of Table 6's variants."""
    sees: Sees = "image" if variant == "image" else "caption" if variant == "caption" else "both"
    share = blank if variant == "both_blank" else 0.0
    name = "seed" if variant == "both_blank" else f"seed_{variant}"
    return Seed(name=name, data=data, form=form, sees=sees, blank=share, exclude=exclude)


def synthesizer(plan: Plan, seed: Seed, *, name: str, epochs: float) -> Stage:
    """The synthesizer tuned on a seed, over all parts."""
    return plan.stage(name, (seed,), epochs=epochs, continued=seed.form == "header")


def table6(
    plan: Plan,
    data: tuple[str, ...],
    chosen: tuple[Variant, ...],
    *,
    form: Form,
    blank: float,
    exclude: tuple[str, ...],
    epochs: float,
    max_tokens: int,
) -> tuple[Step, ...]:
    """Every variant tuned, asked about the held-out pairs of the seed, and judged by their facts.

    Raises:
        UsageError: no variant, or one that does not exist.
    """
    known = ("untuned", "image", "caption", "both", "both_blank")
    if not chosen or set(chosen) - set(known):
        raise UsageError(f"variants={','.join(chosen)}: choose from {', '.join(known)}.")
    steps: list[Step] = [Retention(name="generalist_retention", of=BASE, method="generalist")]
    for variant in dict.fromkeys(chosen):
        seed = seed_step(data, form, variant, blank, exclude)
        model = BASE if variant == "untuned" else f"synthesizer_{variant}"
        steps.append(seed)
        if model != BASE:
            steps.append(synthesizer(plan, seed, name=model, epochs=epochs))
            steps.append(Retention(name=f"{model}_retention", of=model, method=model))
        steps.append(
            Synthesize(
                name=f"held_out_{variant}",
                of=model,
                held_out=seed,
                form=form,
                sees=seed.sees,
                sampling=Sampling(max_tokens=max_tokens),
            )
        )
    return tuple(steps)


def judge_steps(plan: Plan, seed: Seed, *, epochs: float) -> tuple[Step, ...]:
    """A judge tuned from the base on triplets of known agreement, and its own accuracy."""
    cases = Agreements(name="agreements", seed=seed)
    return (
        cases,
        plan.reader("judge", (cases,), epochs=epochs),
        JudgeTest(name="judge_test", judge="judge", of=cases),
    )


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """How post-training data is made of triplets: a column of Tables 4 and 5."""

    column: Column
    tasks: str  # ours, rules, or a data set
    pool: Pool
    judge: str
    judge_engine: str
    prompt: Literal["few_shot", "short"]

    def steps(
        self, source: Source, seed: Seed, *, two_stage: bool
    ) -> tuple[list[Step], tuple[tuple[Combine, ...], ...]]:
        """The steps, and what each stage of post-training learns."""
        general = self.column.startswith("general")
        made_of: Source = seed if general else source
        filtered = self.column not in ("no_task", *UNFILTERED)
        ours = self.tasks == "ours"
        steps: list[Step] = []
        kept = None
        if ours and filtered:
            sieve = Filter(
                name="filter",
                triplets=made_of,
                judge=self.judge,
                engine=self.judge_engine,
                prompt=self.prompt,
            )
            steps.append(sieve)
            kept = sieve
        response: Response = "combined"
        if self.column == "precise_only":
            response = "precise"
        elif self.column == "informative_only":
            response = "informative"
        kind: TaskKind = "none" if self.column == "no_task" else "synthetic"
        if not ours and kind != "none":
            kind = "rules" if self.tasks == "rules" else "file"
        file = self.tasks if kind == "file" else ""

        def combine(name: str, of: Source, caption: bool, tasks: TaskKind) -> Combine:
            return Combine(
                name=name,
                triplets=of,
                kept=kept if tasks == "synthetic" else None,
                response=response,
                caption=caption,
                tasks=tasks,
                pool=self.pool,
                file=file if tasks == "file" else "",
            )

        captions = combine("captions", source, True, "none")
        if general:
            alone = combine("tasks", seed, False, "synthetic")
            both = (alone, captions) if self.column == "general_task_caption" else (alone,)
            return [*steps, *both], (both,)
        if two_stage:
            alone = combine("tasks", source, False, kind)
            return [*steps, captions, alone], ((captions,), (alone,))
        one = combine("tasks", source, self.column != "no_caption", kind)
        return [*steps, one], ((one,),)


def tested(of: str, data: tuple[str, ...], method: str, variant: str, limits: Limits) -> Evaluate:
    """A model on the domain's test sets."""
    name = "generalist" if of == BASE else of
    return Evaluate(
        name=f"{name}_test", of=of, data=data, method=method, variant=variant, limits=limits
    )


def losses(
    of: str, data: tuple[str, ...], tasks: tuple[str, ...], method: str, limits: Limits
) -> Losses:
    """The loss per task after a stage."""
    return Losses(name=f"{of}_losses", of=of, data=data, tasks=tasks, method=method, limits=limits)


def post_training(settings: Mapping[str, Any]) -> tuple[Step, ...]:
    """The whole line of the recipe `adamllm`, from its parameters.

    Raises:
        UsageError: two stages of a column that has one kind of task only.
    """
    get = settings.__getitem__
    limits = Limits(max_tokens=get("max_tokens"), too_long=get("too_long"))
    names = ("base", "lr", "vision_lr", "batch_size", "microbatch_size")
    plan = Plan(**{name: get(name) for name in names}, limits=limits)
    two_stage = get("pipeline") == "two_stage"
    if two_stage and get("column") not in ("ours", "no_blank", "precise_only", "informative_only"):
        raise UsageError(f"pipeline=two_stage needs captions and tasks; column={get('column')}.")
    written = get("tasks") == "ours" and get("column") not in ASKED_NOTHING
    judged = get("tasks") == "ours" and get("column") not in ("no_task", *UNFILTERED)
    tuned = get("judge") == "tuned" or (get("judge") == "auto" and line.is_nano(plan.base))
    tuned = tuned and get("judge_engine") == "local" and judged
    seed, source = _seed(settings), _source(settings, written)
    making, learned = Tasks(
        column=get("column"),
        tasks=get("tasks"),
        pool=get("templates"),
        judge="judge" if tuned else BASE,
        judge_engine=get("judge_engine"),
        prompt="short" if tuned else "few_shot",
    ).steps(source, seed, two_stage=two_stage)
    tests: tuple[Step, ...] = (
        (tested(BASE, get("test"), "generalist", "", limits),) if get("baselines") else ()
    )
    writing: tuple[Step, ...] = ()
    if written:
        writing = (synthesizer(plan, seed, name="synthesizer", epochs=get("synthesizer_epochs")),)
    return (
        *tests,
        *((seed,) if written or tuned or get("column").startswith("general") else ()),
        *writing,
        *(judge_steps(plan, seed, epochs=get("judge_epochs")) if tuned else ()),
        source,
        *making,
        *((Export(name="export", of=learned[-1][0]),) if get("export") else ()),
        *_judged(get("quality"), learned[-1][0], get("judge_engine")),
        *_stages(plan, settings, learned),
    )


def _seed(settings: Mapping[str, Any]) -> Seed:
    return Seed(
        name="seed",
        data=settings["seeds"],
        form=settings["form"],
        blank=0.0 if settings["column"] == "no_blank" else settings["blank"],
        exclude=settings["test"] if settings["exclude"] else (),
    )


def _source(settings: Mapping[str, Any], written: bool) -> Synthesize | Captions:
    """The domain's pairs, with what the synthesizer writes about them or without."""
    if not written:
        return Captions(name="pairs", data=settings["data"])
    return Synthesize(
        name="synthesise",
        of="synthesizer",
        data=settings["data"],
        form=settings["form"],
        engine=settings["engine"],
        sampling=Sampling(max_tokens=settings["reply_tokens"]),
    )


def _judged(count: int, of: Combine, engine: str) -> tuple[Quality, ...]:
    """The quality analysis over so many samples, 0 for none; the base judges where nothing is served."""
    return (Quality(name="quality", of=of, engine=engine, count=count),) if count else ()


def _stages(
    plan: Plan, settings: Mapping[str, Any], learned: tuple[tuple[Combine, ...], ...]
) -> list[Step]:
    """Post-training in one stage or two, tested after each, with the loss of every task."""
    get = settings.__getitem__
    variant = " ".join((get("pipeline"), get("column"), get("tasks")))
    steps: list[Step] = []
    for number, made in enumerate(learned, 1):
        first = number < len(learned)
        name = "stage1" if first else "adamllm"
        stage = (
            plan.connect(name, made, epochs=get("epochs"))
            if first
            else plan.stage(name, made, epochs=get("epochs"))
        )
        if number > 1:
            stage = replace(stage, after="stage1")
        label = variant + (" after stage 1" if first else "")
        steps += [
            stage,
            losses(name, get("data"), get("test"), f"adamllm {label}", plan.limits),
            tested(name, get("test"), "adamllm", label, plan.limits),
        ]
    return steps


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """How the paper asks about a set (Tables 12 and 13) and what it reports; ours stands beside it.

    `seen` says that the set's training part is among the paper's sources.
    """

    metrics: tuple[str, ...]
    wording: Wording = Wording(list_options=False)  # noqa: RUF009 - frozen; the question alone
    max_tokens: int = 1024
    seen: bool = False


_VQA = ("open_recall@llava-med", "open_recall", "closed_accuracy@llava-med", "closed_accuracy")
PRESETS: Mapping[str, Preset] = {
    "slake": Preset(metrics=_VQA),
    "pathvqa": Preset(metrics=_VQA),
    "vqa_rad": Preset(metrics=_VQA, seen=True),
    "pmc_vqa": Preset(metrics=("choice_accuracy@mmmu", "choice_accuracy"), wording=Wording()),
    "recipe1m": Preset(metrics=("rouge_l@pypi-rouge", "rouge_l"), seen=True),
    "nutrition5k": Preset(
        metrics=("ingredient_recall@nutrition5k", "ingredient_recall"), max_tokens=256
    ),
    "food_101": Preset(
        metrics=("accuracy@food101",), wording=Wording(template="category"), max_tokens=256
    ),
    "foodseg103": Preset(
        metrics=("samples_f1@foodseg103", "samples_f1"),
        wording=Wording(template="category"),
        max_tokens=256,
    ),
}


def benchmark(data: tuple[str, ...], *, batch_size: int, limits: Limits) -> tuple[Evaluate, ...]:
    """One evaluation per data set, asked and scored by its preset; other sets as their task says."""
    steps = []
    for number, spec in enumerate(data, 1):
        name = open_dataset(spec).name
        preset = PRESETS.get(name, Preset(metrics=(), wording=Wording(), max_tokens=64))
        steps.append(
            Evaluate(
                name=f"column{number}",
                of=BASE,
                data=(spec,),
                method="model",
                variant="partially seen" if preset.seen else "",
                mode="generate",
                wording=preset.wording,
                batch_size=batch_size,
                max_tokens=preset.max_tokens,
                metrics=preset.metrics,
                limits=limits,
            )
        )
    return tuple(steps)
