"""Seed triplets from the general world: captions that state facts, and a task about one of them (ours).

Stands in for VisionFLAN + ALLaVA where nothing can be downloaded. A caption states the facts of a
picture (colour, shape, orientation ...) and up to four said ones: pairs of common words that no picture
shows, as the captions of an expert's images state what a generalist cannot see. The task asks for one
fact, doubts one, offers a choice, or asks for a description. Every sample follows from its index;
`attributes` hold the caption, the kind of task and all facts. `seed_general` or `seed_general:N` for
N pictures (20,000); `seed_general:N:K` asks up to K tasks about each, which share the reading of picture
and caption when they are learned. English only.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

from residency.data import common_words
from residency.data.rows import Rows
from residency.dataset import Dataset
from residency.errors import UsageError
from residency.phantoms import general as world
from residency.phantoms.general import Scene
from residency.phantoms.general_paint import render
from residency.types import Picture, Sample

COUNT = 20_000
VERSION = 1
KINDS = {"value": 8, "verify": 5, "choice": 4, "describe": 3}  # how often each is asked
_NOUNS = tuple(word for word in common_words.CODES if len(word) > 6)
_VALUES = (
    *common_words.CODES, "normal", "absent", "present", "round", "light blue", "dark brown", "none",
    "upper left", "regular", "fine", "coarse", "grey pink", "irregular", "mild", "two", "three",
)  # fmt: skip
_TRAITS = ("shape", "size", "colour", "border", "texture", "side", "type", "stage", "margin")
_OPENINGS = ("", "", "A picture of {kind}. ", "Description: ", "This is {kind}. ")
_STATED = (
    "The {t} is {v}.", "The {t} is {v}.", "{T}: {v}.", "{T} is {v}.", "A {v} {t} is seen.",
    "There is a {v} {t}.", "It has a {v} {t}.", "The {t} appears {v}.",
)  # fmt: skip
_TWO = ("The {t} is {v} and the {u} is {w}.", "{T}: {v}; {u}: {w}.", "A {v} {t} with a {w} {u}.")
_ASKED = (
    "What is the {t}?", "What is the {t} in the image?", "Which {t} can be seen?",
    "How would you describe the {t}?", "Name the {t}.", "What {t} does the picture show?",
)  # fmt: skip
_DOUBTED = ("Is the {t} {v}?", "Does the image show a {v} {t}?", "Would you say the {t} is {v}?")
_OFFERED = ("Is the {t} {v} or {w}?", "What is the {t}: {v} or {w}?", "Choose the {t}: {v}, {w}.")
_DESCRIBED = (
    "Describe the image.", "Write a caption for the picture.", "What does the image show?",
    "Tell me about this picture.", "Give some background on the image.",
)  # fmt: skip
_REASONS = (
    "The {t} in the image is {v}.", "Looking at the image, the {t} appears {v}.",
    "The picture shows that the {t} is {v}.", "It can be seen that the {t} is {v}, as described.",
    "The {t} is clearly {v}.",
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
    facts = {**_shown(scene), **_said(rng)}
    order = rng.sample(list(facts), len(facts))
    caption = _caption(rng, scene, {trait: facts[trait] for trait in order})
    key = f"seed_general/{index}"
    picture = Picture(key=key, load=partial(render, scene), size=(world.SIDE, world.SIDE))
    made: dict[str, Sample] = {}
    for number in range(tasks):
        asked = rng.choices(list(KINDS), list(KINDS.values()))[0]
        triplet = _ASK[asked](rng, facts, rng.choice(order), caption)
        sample = Sample(
            id=f"{key}/{number}" if number else key,
            dataset="seed_general",
            task="triplet",
            answer=triplet,
            images=(picture,),
            modality="picture",
            attributes={"caption": caption, "kind": asked, **facts},
        )
        made.setdefault(triplet[0], sample)
    first, *more = made.values()
    return replace(first, also=tuple(more))


def _shown(scene: Scene) -> dict[str, str]:
    """What the picture shows, trait to value."""
    if scene.kind == "objects":
        thing = scene.things[0]
        return {"shape": thing.shape, "colour": thing.colour, "size": thing.size}
    if scene.kind == "lines":
        lines = {name: scene.facts[name] for name in ("orientation", "thickness")}
        return lines | {"line colour": scene.facts["hue"]}
    if scene.kind == "halves":
        return {"brighter half": scene.facts["half"]}
    if scene.kind == "pattern":
        return {"pattern": scene.facts["pattern"], "brightness": scene.facts["brightness"]}
    if scene.kind == "spots":
        return {"spot tone": scene.facts["tone"], "spot place": scene.facts["place"]}
    return {"dot colour": scene.things[0].colour, "number of dots": str(len(scene.things))}


def _said(rng: Random) -> dict[str, str]:
    """Up to four pairs of common words."""
    pairs = {}
    for _ in range(rng.randint(1, 4)):
        noun = rng.choice(_NOUNS)
        trait = f"{noun} {rng.choice(_TRAITS)}" if rng.random() < 0.5 else noun
        pairs[trait] = rng.choice(_VALUES)
    return pairs


def _caption(rng: Random, scene: Scene, facts: Mapping[str, str]) -> str:
    sentences, pairs = [], list(facts.items())
    while pairs:
        trait, value = pairs.pop()
        words = {"t": trait, "T": trait.capitalize(), "v": value}
        if pairs and rng.random() < 0.3:
            other, second = pairs.pop()
            sentences.append(rng.choice(_TWO).format(u=other, w=second, **words))
        else:
            sentences.append(rng.choice(_STATED).format(**words))
    return rng.choice(_OPENINGS).format(kind=scene.kind) + " ".join(sentences)


def _value(rng: Random, facts: Mapping[str, str], trait: str, caption: str) -> tuple[str, ...]:
    value = facts[trait]
    return (
        rng.choice(_ASKED).format(t=trait),
        value,
        rng.choice(_REASONS).format(t=trait, v=value) + rng.choice(_CONCLUDED).format(a=value),
    )


def _verify(rng: Random, facts: Mapping[str, str], trait: str, caption: str) -> tuple[str, ...]:
    value, holds = facts[trait], rng.random() < 0.5
    claimed = value if holds else _other(rng, value, facts)
    answer = "yes" if holds else "no"
    reason = rng.choice(_REASONS).format(t=trait, v=value)
    if not holds:
        reason = f"{reason[:-1]}, not {claimed}."
    return (
        rng.choice(_DOUBTED).format(t=trait, v=claimed),
        answer,
        reason + (rng.choice(_CONCLUDED[2:])).format(a=answer),
    )


def _choice(rng: Random, facts: Mapping[str, str], trait: str, caption: str) -> tuple[str, ...]:
    value = facts[trait]
    first, second = rng.sample([value, _other(rng, value, facts)], 2)
    return (
        rng.choice(_OFFERED).format(t=trait, v=first, w=second),
        value,
        rng.choice(_REASONS).format(t=trait, v=value) + rng.choice(_CONCLUDED).format(a=value),
    )


def _describe(rng: Random, facts: Mapping[str, str], trait: str, caption: str) -> tuple[str, ...]:
    return rng.choice(_DESCRIBED), f"{facts[trait]} {trait}", caption


def _other(rng: Random, value: str, facts: Mapping[str, str]) -> str:
    """Another value: one of the same world where it is shown, else any."""
    pools: Sequence[Sequence[str]] = (
        *world.FACTS.values(),
        world.SHAPES,
        world.COLOURS,
        world.SIZES,
    )
    pool = next((pool for pool in pools if value in pool), _VALUES)
    return rng.choice([other for other in pool if other != value])


_ASK = {"value": _value, "verify": _verify, "choice": _choice, "describe": _describe}
