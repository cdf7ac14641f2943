"""Attribute tables as a benchmark of instruction-free tuning: reports to learn, choices to answer.

InstFree (Kang et al., sec. 4.2): training images get a text that lists their attributes; validation
and test images get multiple-choice questions "What is the {name}?", the wrong options being other
values of the same attribute. The two protocols:

    published   splits, options, their order and the random choices of the authors' scripts
    ours        the place of the right option is balanced, patients stay on one side, and what does
                not apply to an image is not asked
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal

from residency.data.framing import Frame
from residency.data.retelling import SEPARATORS, permutation
from residency.errors import DataError
from residency.types import Language, Picture, Sample

Protocol = Literal["published", "ours"]
NOT_ASKED = frozenset(("", "nil", "none", "nan", "n/a", "na", "unknown"))
YES = frozenset(("yes", "present", "true", "1", "1.0", "是", "有"))
NO = frozenset(("no", "absent", "false", "0", "0.0", "否", "无"))
QUESTION: Mapping[str, str] = {"en": "What is the {name}?", "zh": "{name}是什么？"}
PRESENT: Mapping[str, str] = {"en": "Is this present: {name}?", "zh": "有没有{name}？"}  # ours
TOLD = " | "  # between the pieces of a report that would tell each option, in the fact `told`
_NUMBER = re.compile(r"\s*[+-]?\d+(?:\.\d+)?\s*")
MOST_VALUES = 20  # an attribute with more values is free text, or a number


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One image with its attributes, before it becomes a report or a question.

    `text` is a report that the image has already; `facts` map the key of an attribute to its value.
    """

    key: str
    pictures: tuple[Picture, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    group: str = ""
    text: str = ""
    language: Language = "en"


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribute:
    """What may be told and asked of an image.

    `bare` tells the value alone ("monocyte"), else it is "{value} {name}", or the name where the value
    is yes and all options are yes or no. `options` are all values in canonical order. `sampled` offers
    the right one and others drawn from the same attribute; else all of them, as they stand. `present`
    asks whether it is there, instead of what it is.
    """

    key: str
    name: str
    options: tuple[str, ...]
    bare: bool = False
    sampled: bool = False
    asked_as: str = ""  # where the question says the name otherwise
    present: bool = False

    def told(self, value: str, language: Language) -> str:
        """A value as a piece of a report; '' where it is not told."""
        plain = value.strip().casefold()
        if plain in NOT_ASKED:
            return ""
        if binary(self.options):  # elsewhere a 1 is a number
            return self.name if plain in YES else ""
        if self.bare:
            return value
        return f"{self.name}{value}" if language == "zh" else f"{value} {self.name}"

    def question(self, language: Language) -> str:
        """What is asked."""
        form = PRESENT if self.present else QUESTION
        return form[language].format(name=self.asked_as or self.name)


def binary(options: Sequence[str]) -> bool:
    """Whether all options are ways to say yes or no."""
    return all(option.strip().casefold() in YES | NO for option in options)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How cases become samples; see the protocols above.

    `choices` is the most options that are offered (published: of sampled attributes only), `task` how
    an answer is given, `repeat` how often the training list comes per epoch, `every` whether each
    attribute of an image is asked, or one that is drawn.
    """

    attributes: tuple[Attribute, ...]
    protocol: Protocol = "ours"
    choices: int = 5
    task: Literal["choice", "mcq"] = "mcq"
    repeat: int = 1
    every: bool = False
    seed: int = 0
    frame: Frame | None = None
    modality: str = ""


def report(case: Case, attributes: Sequence[Attribute]) -> str:
    """The text to learn of a case: its own, else its attributes in order."""
    if case.text:
        return case.text
    told = (a.told(case.facts.get(a.key, ""), case.language) for a in attributes)
    return SEPARATORS[case.language].join(piece for piece in told if piece)


def build(
    dataset: str, splits: Mapping[str, Sequence[Case]], plan: Plan
) -> tuple[dict[str, list[Sample]], Counter[str]]:
    """Samples by split (train, val, test), and how much was left out, by reason.

    Raises:
        DataError: no report to learn, or no question to ask.
    """
    left: Counter[str] = Counter()
    made: dict[str, list[Sample]] = {}
    told = splits.get("train", ())
    known = {case.group for case in told if case.group}
    chance = Random(0)  # the authors' script goes on with it from val to test
    for split in ("train", "val", "test"):
        cases = splits.get(split, ())
        if split == "train":
            some = _told(dataset, cases, plan, left) * plan.repeat
        elif plan.protocol == "published":
            some = _published(dataset, split, cases, plan, chance)
        else:
            apart = [case for case in cases if case.group not in known]
            left["Images of patients who are in train (left out)"] += len(cases) - len(apart)
            some = _balanced(dataset, split, apart, plan, left)
        if some:
            made[split] = some
    if "train" not in made or len(made) < 2:
        have = ", ".join(f"{split} {len(some)}" for split, some in made.items())
        raise DataError(
            f"{dataset}: a benchmark needs reports in train and questions in val or test; made: "
            f"{have or 'nothing'}. Give a table with attributes, and a split or patients to split by."
        )
    return made, +left


def _told(dataset: str, cases: Sequence[Case], plan: Plan, left: Counter[str]) -> list[Sample]:
    texts = [report(case, plan.attributes) for case in cases]
    left["Training images without anything to tell (left out)"] += texts.count("")
    return [
        _sample(dataset, "train", case, plan, answer=text)
        for case, text in zip(cases, texts, strict=True)
        if text
    ]


def _published(
    dataset: str, split: str, cases: Sequence[Case], plan: Plan, chance: Random
) -> list[Sample]:
    """Questions as the authors' scripts draw them.

    `chance` shuffles the attributes of an image that are not "nil" and takes the first, unless each is
    asked; the options of a sampled attribute come from a stream of seed 1 of the split's own.
    """
    samples, stream = [], Random(1)
    for case in cases:
        some = [a for a in plan.attributes if case.facts.get(a.key, "nil") != "nil"]
        if not plan.every:
            chance.shuffle(some)
            some = some[:1]
        for attribute in some:
            value = case.facts[attribute.key]
            if value in attribute.options:
                options = list(attribute.options)
                if attribute.sampled:
                    options.remove(value)
                    options = [value, *stream.sample(options, min(len(options), plan.choices - 1))]
                    stream.shuffle(options)
                samples.append(_asked(dataset, split, case, plan, attribute, options))
    return samples


def _balanced(
    dataset: str, split: str, cases: Sequence[Case], plan: Plan, left: Counter[str]
) -> list[Sample]:
    """Questions with the right option in every place equally often, per attribute."""
    samples = []
    turns: Counter[tuple[str, int]] = Counter()
    for case in cases:
        chance = Random(f"{plan.seed}/{split}/{case.key}")
        some = [a for a in plan.attributes if applies(a, case)]
        left[f"Images of {split} with nothing to ask (left out)"] += not some
        for attribute in some if plan.every else [chance.choice(some)] if some else ():
            value = case.facts[attribute.key]
            others = [option for option in attribute.options if option != value]
            options = chance.sample(others, min(len(others), plan.choices - 1))
            turn = turns[attribute.key, len(options)]
            turns[attribute.key, len(options)] += 1
            number = plan.attributes.index(attribute)
            lap, place = divmod(turn, len(options) + 1)
            options.insert(permutation(len(options) + 1, plan.seed, number, lap)[place], value)
            samples.append(_asked(dataset, split, case, plan, attribute, options))
    return samples


def applies(attribute: Attribute, case: Case) -> bool:
    """Whether there is something to ask: a value that is an option beside another one."""
    value = case.facts.get(attribute.key, "")
    plain = value.strip().casefold()
    return plain not in NOT_ASKED and value in attribute.options and len(attribute.options) > 1


def _asked(
    dataset: str, split: str, case: Case, plan: Plan, attribute: Attribute, options: Sequence[str]
) -> Sample:
    """The question about one attribute; its facts say which, and how a report tells its options."""
    told = "" if case.text else TOLD.join(attribute.told(o, case.language) for o in options)
    facts = {
        **case.facts,
        "attribute": attribute.name,
        "key": attribute.key,
        "told": told,
        "report": report(case, plan.attributes),
    }
    one = _sample(dataset, split, case, plan, mark="/" + "_".join(attribute.key.split()))
    return replace(
        one, task=plan.task, question=attribute.question(case.language), options=tuple(options),
        answer=case.facts[attribute.key], attributes=facts,
    )  # fmt: skip


def _sample(
    dataset: str, split: str, case: Case, plan: Plan, *, mark: str = "", answer: str = ""
) -> Sample:
    return Sample(
        id=f"{dataset}/{split}/{case.key}{mark}",
        dataset=dataset,
        task="caption",
        answer=answer,
        images=case.pictures if plan.frame is None else tuple(map(plan.frame, case.pictures)),
        modality=plan.modality,
        group=case.group or (f"{split}/{case.key}" if mark and plan.every else ""),
        attributes=dict(case.facts),
        language=case.language,
    )


def infer(
    cases: Sequence[Case], *, bare: Sequence[str] = (), names: Mapping[str, str] | None = None
) -> tuple[tuple[Attribute, ...], tuple[str, ...]]:
    """The attributes of training cases in order of appearance, and those that are none.

    An attribute has 2 to 20 values, not all of them numbers, some with a fraction: that is a measure. Yes
    and no come as (yes, no), other values sorted. Underscores in a key become spaces in its name; the
    attributes `bare` are told by their value alone.
    """
    values: dict[str, set[str]] = {}
    for case in cases:
        for key, value in case.facts.items():
            values.setdefault(key, set()).add(value)
    found, odd = [], []
    for key, every in values.items():
        some = sorted(value for value in every if value.strip().casefold() not in NOT_ASKED)
        either = binary(some)
        if not 2 <= len(some) <= MOST_VALUES or (_measured(some) and not either):
            odd.append(key)
            continue
        if either:
            some.sort(key=lambda value: value.strip().casefold() not in YES)
        name = (names or {}).get(key, key.replace("_", " ").strip())
        found.append(
            Attribute(
                key=key, name=name, options=tuple(some), bare=key in bare, present=either
            )
        )  # fmt: skip
    return tuple(found), tuple(odd)


def _measured(values: Sequence[str]) -> bool:
    """Whether all values are numbers and some has a fraction."""
    return all(_NUMBER.fullmatch(value) for value in values) and any("." in v for v in values)
