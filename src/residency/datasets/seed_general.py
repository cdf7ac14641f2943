"""Seed triplets from the general world: captions that state facts, and a task about one of them (ours).

Stands in for VisionFLAN + ALLaVA where nothing can be downloaded. A caption states the facts of a
picture (colour, shape, orientation ...) and those of up to four things that no picture shows, as the
captions of an expert's images state what a generalist cannot see (`data.captions_general`). The task
asks for one fact, doubts one, offers a choice, or asks for a description. Every sample follows from its
index; `attributes` hold the caption, the kind of task and all facts. `seed_general` or `seed_general:N`
for N pictures (20,000); `seed_general:N:K` asks up to K tasks about each, which share the reading of
picture and caption when they are learned. English only.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

from residency.data import captions_general
from residency.data.captions_general import VALUES, Fact, Told
from residency.data.rows import Rows
from residency.dataset import Dataset
from residency.errors import UsageError
from residency.phantoms import general as world
from residency.phantoms.general_paint import render
from residency.text import capital
from residency.types import Picture, Sample

COUNT = 20_000
VERSION = 6
KINDS = {"value": 10, "verify": 5, "choice": 2, "describe": 2}  # how often each is asked
SHOWN = (
    0.1  # of the tasks are about what the picture shows: few traits, which are soon known by heart
)
_ASKED = (
    "What {be} the {t}?", "What {be} the {t} in the image?", "How {be} the {t}?", "How {be} the {t}?",
    "How would you describe the {t}?", "Name the {t}.",
)  # fmt: skip
_DOUBTED = (
    "{be} the {t} {v}?",
    "{be} the {t} {v} in this image?",
    "Would you say the {t} {be} {v}?",
)
_OFFERED = ("Choose the {t}: {v} or {w}.", "Which {be} the {t}, {v} or {w}?")
_DESCRIBED = (
    "Describe the image.", "Write a caption for the picture.", "What does the image show?",
    "Tell me about this picture.", "Give some background on the image.",
)  # fmt: skip
_REASONS = (
    "The {t} {be} {v}.", "The {t} {be} {v}.", "The {t} {be} {v}.", "The {t} {be} clearly {v}.",
    "The picture shows that the {t} {be} {v}.", "It can be seen that the {t} {be} {v}, as described.",
)  # fmt: skip
_POOLS: Sequence[Sequence[str]] = (
    *world.FACTS.values(), world.SHAPES, world.COLOURS, world.SIZES, captions_general.PRESENCE,
    *captions_general.POOLS,
)  # fmt: skip
_CONCLUDED = ("", "", " Therefore, the answer is {a}.", " So the answer is {a}.")


def recognises(path: Path) -> bool:
    """No file holds this world."""
    return False


def load(where: str) -> Dataset:
    """Open the seed; `where` is how many pictures it has, '' for 20,000, and how many tasks about each.

    Raises:
        UsageError: no positive whole numbers.
    """
    pictures, _, tasks = where.partition(":")
    for text in (pictures, tasks):
        if text and not (text.isdecimal() and int(text)):
            raise UsageError(
                f"seed_general:{where}: expected a number of pictures, and of tasks about each, such as "
                "2000 or 2000:4."
            )
    count, draw = int(pictures or COUNT), partial(sample_at, tasks=int(tasks or 1))
    some = [
        (one.id, one.answer, dict(one.attributes))
        for first in map(draw, range(4))
        for one in (first, *first.also)
    ]
    return Dataset(
        name="seed_general",
        splits={"train": Rows(count, draw)},
        modality={"en": "picture", "zh": "图片"},
        digest=hashlib.sha256(repr((VERSION, count, some)).encode()).hexdigest(),
        source="procedural: residency.phantoms.general",
        licence="Apache-2.0",
        notes=("Facts that no picture shows are part of every caption on purpose.",),
    )


def sample_at(index: int, tasks: int = 1) -> Sample:
    """The sample of that number; `also` holds further tasks about its picture, no two alike."""
    rng = Random(5_000_011 + index * 7_919_117)
    kind = rng.choice(
        ("objects", "objects", "objects", "lines", "halves", "pattern", "spots", "dots")
    )
    scene = world.draw(rng, kind, 1 if kind in ("objects", "spots") else 0)
    told = captions_general.tell(rng, scene)
    facts = {fact.trait: fact.value for fact in told.facts}
    about = told.shown or told.unseen
    key = f"seed_general/{index}"
    picture = Picture(key=key, load=partial(render, scene), size=(world.SIDE, world.SIDE))
    made: dict[str, Sample] = {}
    for number in range(tasks):
        asked = rng.choices(list(KINDS), list(KINDS.values()))[0]
        triplet = _ASK[asked](rng, rng.choice(about if rng.random() < SHOWN else told.unseen), told)
        sample = Sample(
            id=f"{key}/{number}" if number else key,
            dataset="seed_general",
            task="triplet",
            answer=triplet,
            images=(picture,),
            modality="picture",
            attributes={"caption": told.caption, "kind": asked, **facts},
        )
        made.setdefault(triplet[0], sample)
    first, *more = made.values()
    return replace(first, also=tuple(more))


def _value(rng: Random, fact: Fact, told: Told) -> tuple[str, ...]:
    return _named(rng, fact, _ASKED), fact.value, _reasoned(rng, fact)


def _verify(rng: Random, fact: Fact, told: Told) -> tuple[str, ...]:
    holds = rng.random() < 0.5
    claimed = fact.value if holds else _other(rng, fact, told)
    answer = "yes" if holds else "no"
    reason = _named(rng, fact, _REASONS)
    if not holds:
        reason = f"{reason[:-1]}, not {claimed}."
    question = _named(rng, fact, _DOUBTED, v=claimed)
    return question, answer, reason + rng.choice(_CONCLUDED[2:]).format(a=answer)


def _choice(rng: Random, fact: Fact, told: Told) -> tuple[str, ...]:
    first, second = rng.sample([fact.value, _other(rng, fact, told)], 2)
    return _named(rng, fact, _OFFERED, v=first, w=second), fact.value, _reasoned(rng, fact)


def _describe(rng: Random, fact: Fact, told: Told) -> tuple[str, ...]:
    return rng.choice(_DESCRIBED), f"{fact.value} {fact.trait}", told.caption


def _named(rng: Random, fact: Fact, forms: Sequence[str], **words: str) -> str:
    """One of the forms, with the names of the fact in their places."""
    whole = {"t": fact.trait, "v": fact.value, "be": fact.be}
    return capital(rng.choice(forms).format(**{**whole, **words}))


def _reasoned(rng: Random, fact: Fact) -> str:
    return _named(rng, fact, _REASONS) + rng.choice(_CONCLUDED).format(a=fact.value)


def _other(rng: Random, fact: Fact, told: Told) -> str:
    """Another value: one of the same kind where the value has one, else stated elsewhere, else any."""
    stated = tuple(one.value for one in told.facts)
    pool = next((pool for pool in _POOLS if fact.value in pool), None) or rng.choice(
        (stated, VALUES)
    )
    others = [other for other in pool if other != fact.value]
    return rng.choice(others or [other for other in VALUES if other != fact.value])


_ASK = {"value": _value, "verify": _verify, "choice": _choice, "describe": _describe}
