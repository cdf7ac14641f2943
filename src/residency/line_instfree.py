"""Rows of InstFree's tables as steps: warm-up, main stage, tests, and the evidence over all of them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from residency.backbone import family_of
from residency.data.retelling import Retelling, Split
from residency.dataset import find_reader
from residency.errors import UsageError
from residency.evaluate.attributes import Attributes
from residency.evaluate.habits import Habits
from residency.evaluate.loaded import Loaded
from residency.evaluate.probes import Probes
from residency.evaluate.steps import Evaluate
from residency.instructions import FIXED, POOL
from residency.line import is_nano
from residency.line_instfree_rows import LETTERS, OPTIONS, Row, row, untuned
from residency.model import store
from residency.model.huggingface import Limits
from residency.objectives.likelihood import Likelihood
from residency.step import BASE, Step
from residency.task import Wording
from residency.train.stage import Stage
from residency.train.values import Full, LoRA, Schedule, Train
from residency.types import PLAIN, PROXY

PAPER_RATE = 2e-5  # torchtune's default for full tuning, as the authors' code has it
# Nano is three thousand times smaller and needs more; not chosen on a validation split (ours).
NANO_RATE, NANO_PROXY_RATE, NANO_LORA_RATE = 1e-4, 1e-2, 2e-3
ANSWER_TOKENS = 50  # the authors' `eval.py`
# Sets whose samples become reports and questions; any other brings both itself.
MADE_INTO = ("phantoms", "pills", "wbcatt", "skincon", "cbis_ddsm", "rocov2")


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What all rows of a comparison share, so that they differ by method alone."""

    base: str
    data: tuple[str, ...]
    epochs: float
    warmup_epochs: float
    batch_size: int
    microbatch_size: int | None
    lr: float | None
    proxy_lr: float | None
    vectors: int
    momentum: float
    shuffle: Split
    separator: str | None
    rank: int
    limits: Limits

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Tuning":
        """What a recipe's parameters say; data sets with attributes become benchmarks."""
        names = (
            "base", "epochs", "warmup_epochs", "batch_size", "microbatch_size", "lr", "proxy_lr",
            "vectors", "momentum", "shuffle", "separator", "rank",
        )  # fmt: skip
        limits = Limits(max_tokens=settings["max_tokens"], too_long=settings["too_long"])
        data = tuple(map(as_benchmark, settings["data"]))
        return cls(**{name: settings[name] for name in names}, data=data, limits=limits)

    @property
    def rate(self) -> float:
        """Of the vision encoder, the connector and cross-attention."""
        return self.lr or (NANO_RATE if is_nano(self.base) else PAPER_RATE)

    @property
    def proxy_rate(self) -> float:
        """Of the proxy instruction: the paper has one rate for all."""
        return self.proxy_lr or (NANO_PROXY_RATE if is_nano(self.base) else self.rate)

    def schedule(self, epochs: float) -> Schedule:
        """A constant rate without warm-up, as the authors' configuration has it."""
        micro = self.microbatch_size or max(n for n in range(1, 17) if self.batch_size % n == 0)
        return Schedule(
            epochs=epochs, batch_size=self.batch_size, microbatch_size=micro, warmup=0.0,
            decay="constant",
        )  # fmt: skip

    def vision(self) -> dict[str, Train]:
        """The parts that every row trains: what turns pixels into what the language model reads.

        Where images enter by cross-attention (Mllama) its layers belong to them (ADR 6, I1).
        """
        parts = ["vision_encoder", "connector"]
        config = store.config_of(store.root(self.base))
        family = family_of(config.model_type)[1]
        parts += [part for part in family.prefixes(config) if part == "cross_attention"]
        train: dict[str, Train] = {part: Full(lr=self.rate) for part in parts}
        if self.rank:
            train["language_model"] = self.language_model(self.rank)
        return train

    def language_model(self, rank: int = 16) -> LoRA:
        """Low-rank training of the language model, which the paper freezes."""
        rate = self.lr or (NANO_LORA_RATE if is_nano(self.base) else PAPER_RATE)
        return LoRA(lr=rate, rank=rank, alpha=2 * rank)

    def told(self, one: Row) -> Retelling:
        """What each draw changes under a row."""
        instructions = {"fixed": FIXED, "pool": POOL, "proxy": {}}[one.instruction]
        split: Split = self.shuffle if one.shuffle == "yes" else "none"
        separator = self.separator
        if one.shuffle == "wrong":
            split, separator = "separator", " "
        return Retelling(
            instructions=instructions, shuffle=split, separator=separator,
            draw="rare_words" if one.rare else "uniform",
        )  # fmt: skip


def as_benchmark(spec: str) -> str:
    """A set of attributes or captions as a benchmark; a set that brings questions itself as it is."""
    return f"benchmark:{spec}" if find_reader(spec)[0] in MADE_INTO else spec


def steps(
    tuning: Tuning, names: tuple[str, ...], *, probes: int, others: tuple[str, ...] = ()
) -> tuple[Step, ...]:
    """Tests of `others` as they are, training and tests of the rows, what rows have in common done once.

    Raises:
        UsageError: an unknown row, or the same one twice.
    """
    if len(set(names)) < len(names):
        raise UsageError(f"A row is named twice: {', '.join(names)}.")
    made: list[Step] = []
    warmed: dict[tuple[Any, ...], str] = {}
    labels: list[tuple[str, str]] = []
    beside: list[tuple[str, str]] = []
    for other, one in untuned(others).items():
        place = "_".join(re.findall(r"\w+", one.variant))
        source = Loaded(model=other, limits=tuning.limits)
        made += [replace(step, served=source) for step in asked(tuning, one, place, of=BASE)]
        beside.append((one.variant, place))
    for name in names:
        place = name.replace(".", "_")
        one = row(name) if name != "none" else Row(method="none", variant="", instruction="fixed")
        if name != "none":
            made += training(tuning, one, place, warmed)
        made += tests(tuning, one, place, of=BASE if name == "none" else place)
        labels.append((f"{one.method} {one.variant}".strip(), place))
    return (*made, *evidence(tuning, labels, beside, probes=probes))


def training(tuning: Tuning, one: Row, name: str, warmed: dict[tuple[Any, ...], str]) -> list[Step]:
    """The stages of a row: the warm-up, unless another row has the same, and the main stage."""
    told = tuning.told(one)
    main = Stage(
        name=name, after=BASE, data=tuning.data, objective=Likelihood(), train=tuning.vision(),
        schedule=tuning.schedule(tuning.epochs), retelling=told, limits=tuning.limits,
    )  # fmt: skip
    if one.language_model:
        return [replace(main, train={"language_model": tuning.language_model()})]
    if one.instruction != "proxy":
        return [main]
    vectors = one.vectors or tuning.vectors
    key = (repr(told), vectors)
    before: list[Step] = []
    if key not in warmed:
        warmed[key] = f"{name}_warmup"
        warm = replace(
            main, name=warmed[key], objective=Likelihood(view=PROXY), proxy=vectors,
            train={"proxy_instruction": Full(lr=tuning.proxy_rate)},
            schedule=tuning.schedule(tuning.warmup_epochs),
        )  # fmt: skip
        before.append(warm)
    train = dict(main.train)
    if one.momentum == "update":
        train["proxy_instruction"] = Full(lr=tuning.proxy_rate)
    elif one.momentum != "fix":
        alpha = tuning.momentum if one.alpha is None else one.alpha
        train["proxy_instruction"] = Full(
            lr=tuning.proxy_rate, momentum=alpha, momentum_form=one.momentum
        )
    main = replace(main, after=warmed[key], objective=Likelihood(view=PROXY), train=train)
    return [*before, main]


def asked(tuning: Tuning, one: Row, name: str, *, of: str) -> list[Evaluate]:
    """Answers generated, letters scored, option texts scored without a list."""
    said = Evaluate(
        name=f"{name}_test", of=of, data=tuning.data, method=one.method, variant=one.variant,
        views=(PLAIN,), mode="generate", max_tokens=ANSWER_TOKENS, limits=tuning.limits,
    )  # fmt: skip
    letters = replace(
        said, name=f"{name}_letters", mode="likelihood", variant=f"{one.variant}{LETTERS}".strip()
    )
    options = replace(
        letters, name=f"{name}_options", wording=Wording(list_options=False),
        variant=f"{one.variant}{OPTIONS}".strip(),
    )  # fmt: skip
    return [said, letters, options]


def tests(tuning: Tuning, one: Row, name: str, *, of: str) -> list[Step]:
    """What is asked, and the two habits."""
    questions = asked(tuning, one, name, of=of)
    split: Split = tuning.shuffle if tuning.shuffle != "none" else "separator"
    instructions = (
        FIXED if one.instruction == "fixed" else POOL if one.instruction == "pool" else {}
    )
    habits = Habits(
        name=f"{name}_habits", of=of, tested=questions[0].name, data=tuning.data, method=one.method,
        variant=one.variant, instruction={k: pool[0] for k, pool in instructions.items()},
        retelling=Retelling(shuffle=split, separator=tuning.separator), limits=tuning.limits,
    )  # fmt: skip
    return [*questions, habits]


def evidence(
    tuning: Tuning, labels: list[tuple[str, str]], beside: list[tuple[str, str]], *, probes: int
) -> tuple[Step, ...]:
    """Accuracy per attribute with its controls, models `beside` the rows too, and the probes."""
    attributes = Attributes(
        name="attributes",
        of=tuple((label, f"{name}_test") for label, name in (*beside, *labels)),
        scored=tuple((label, f"{name}_letters") for label, name in (*beside, *labels)),
        data=tuning.data,
    )
    made: list[Step] = [attributes]
    if probes:
        models = tuple((label, BASE if name == "none" else name) for label, name in labels)
        made.append(
            Probes(
                name="probes", models=models, data=tuning.data, images=probes, limits=tuning.limits
            )
        )  # fmt: skip
    return tuple(made)
