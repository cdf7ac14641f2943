"""Retention: a fixed suite of what a generalist could do before it was tuned (ours, procedural).

56 pictures of the general world that no other split holds, two questions of different skills about
each. `plain` asks both in the world's own words. `paraphrased` asks the first in words that nano
was never trained on, as far as it has other words (no boxes, no points). `incomplete` leaves out
the list of answers (VITask, section 3), or all but the keywords of an open question. The same
facts are behind all three, so a drop from one to another is the wording's.

`attributes`: `skill`, `kind`, `chance`, `picture`, and `pool`, what an open answer can be.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random

from residency.data import wordings_general as wordings
from residency.data import wordings_retention as other
from residency.data.facts_general import Fact, draw_fact, fact_of
from residency.data.wordings_general import say
from residency.dataset import Dataset
from residency.datasets import general
from residency.errors import UsageError
from residency.phantoms.general import Scene
from residency.types import Language, Sample

PICTURES = 56
SPLITS = ("plain", "paraphrased", "incomplete")
POOL = "|"  # between the entries of `attributes["pool"]`
_SEED = 4  # of the general world; 1 to 3 are its train, val and test
_WITH_FACT = ("open", "yes_no", "mcq", "choose")
_ASKED = {
    "paraphrased": ("open", "yes_no", "mcq", "choose", "describe"),
    "incomplete": ("open", "mcq", "choose"),
}


def recognises(path: Path) -> bool:
    """No file holds it."""
    return False


def load(where: str) -> Dataset:
    """Open the suite; it has no variants.

    Raises:
        UsageError: a variant is named.
    """
    if where:
        raise UsageError(f"retention:{where}: the suite is fixed and has no variants.")
    splits: dict[str, list[Sample]] = {split: [] for split in SPLITS}
    for number in range(PICTURES):
        for split, sample in _picture(number):
            splits[split].append(sample)
    content = hashlib.sha256()
    for samples in splits.values():
        for one in samples:
            content.update(repr((one.id, one.question, one.answer, one.options)).encode())
        content.update(samples[0].images[0].load().tobytes())
    return Dataset(
        name="retention",
        splits=splits,
        modality={"en": "picture", "zh": "图片"},
        digest=content.hexdigest(),
        source="procedural: residency.phantoms.general",
        licence="Apache-2.0",
        synthetic=True,
    )


def _picture(number: int) -> Iterator[tuple[str, Sample]]:
    """Everything that is asked about one picture, with the split that asks it."""
    key = f"retention/{number}"
    skill = general.SKILLS[number % len(general.SKILLS)]
    language: Language = "zh" if number % 7 == number // 7 % 7 else "en"
    first, fact = next(_firsts(number, key, skill, language))
    yield "plain", _kept(first, key, fact)
    yield "plain", next(_seconds(number, key, first))
    for split, words in (("paraphrased", other.PARAPHRASES), ("incomplete", other.KEYWORDS)):
        if skill in _ASKED[split]:
            asked = replace(
                first, id=f"{key}/{split}", question=_reworded(first, fact, split, words)
            )
            yield split, _kept(asked, key, fact)


def _firsts(
    number: int, key: str, skill: str, language: Language
) -> Iterator[tuple[Sample, Fact | None]]:
    """Questions about pictures of their own, and the facts behind them; never answered in code words."""
    for attempt in count():
        seed = _SEED * 1_000_003 + number * 7_919_117 + attempt * 611_953
        sample = general.draw(Random(seed), key, skill, language)
        if skill not in _WITH_FACT:
            yield sample, None
            continue
        _, fact = draw_fact(Random(seed), skill)  # what `draw` drew before it chose any words
        if skill == "yes_no" or sample.answer == say(fact.answer, language):
            yield sample, fact


def _seconds(number: int, key: str, first: Sample) -> Iterator[Sample]:
    """Questions of other skills about the same picture, with another answer; `describe` always fits."""
    scene: Scene = first.images[0].load.args[0]  # type: ignore[attr-defined]
    own = general.SKILLS.index(first.attributes["skill"])
    for step in count(number // 7):
        skill = general.SKILLS[(own + 1 + step % 6) % 7]
        seed = number * 1_009 + step
        sample = general.draw(Random(seed), f"{key}/second", skill, first.language, scene)
        if sample and sample.answer != first.answer:
            fact = fact_of(Random(seed), scene, skill) if skill in _WITH_FACT else None
            yield _kept(replace(sample, images=first.images), key, fact)


def _reworded(
    sample: Sample, fact: Fact | None, split: str, words: Mapping[str, other.Words]
) -> str:
    """The same question in other words; without its list of answers where it is incomplete."""
    skill, language = sample.attributes["skill"], sample.language
    if skill == "describe":
        return other.DESCRIBE[language]
    if skill == "yes_no":
        return other.CLAIM[language].format(question=sample.question)
    assert fact is not None  # every other skill that is reworded has one
    it, that = say(fact.it, language), say(fact.other, language)
    if split == "incomplete" and skill in ("mcq", "choose"):
        return wordings.QUESTIONS[fact.kind][language][0].format(it=it, other=that)
    question = words[fact.kind][language].format(it=it, other=that)
    if skill == "choose":
        listed = wordings.COMMA[language].join(sample.options)
        return other.CHOICE[language].format(question=question, list=listed)
    return question


def _kept(sample: Sample, picture: str, fact: Fact | None) -> Sample:
    """The sample under the suite's name, resampled with its picture; with its pool where it is open."""
    facts = {**sample.attributes, "picture": picture}
    if fact is not None and sample.attributes["skill"] == "open":
        facts["pool"] = POOL.join(say(value, sample.language) for value in fact.pool)
    return replace(sample, dataset="retention", group=picture, attributes=facts)
