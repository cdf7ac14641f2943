"""The general world as a data set: seven skills asked about procedural pictures.

Every sample follows from its split's seed and its index. `attributes` name the skill, the kind of
fact, the fact that the answer turns on (`fact`; none for boxes, points, captions) and the accuracy that
uniform guessing reaches (`chance`; 0 for boxes, points, captions).
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import overload

import numpy as np

from residency.data import common_words
from residency.data import wordings_general as wordings
from residency.data.facts_general import OPPOSITE, Fact, draw_fact, fact_of, name
from residency.data.rows import Rows
from residency.data.wordings_general import say
from residency.dataset import Dataset
from residency.errors import UsageError
from residency.phantoms import general as world
from residency.phantoms.general import Scene
from residency.phantoms.general_paint import render
from residency.types import Answer, Box, Language, Picture, Point, Sample

SKILLS = ("open", "yes_no", "mcq", "choose", "describe", "box", "point")
SIZES = {"train": 400_000, "val": 1_000, "test": 4_000}
_SEEDS = {"train": 1, "val": 2, "test": 3}
_TRAIN_WEIGHTS = {
    "open": 18, "yes_no": 20, "mcq": 17, "choose": 15, "describe": 6, "box": 13, "point": 11,
}  # fmt: skip
_TASKS = {"open": "vqa", "yes_no": "vqa", "choose": "vqa", "describe": "caption"} | {
    "mcq": "mcq", "box": "detection", "point": "landmark",
}  # fmt: skip
_CHINESE_SHARE = 0.15


class Draws(Rows):
    """The samples of one split, made when indexed; `skills` in turn, or by weight in training."""

    def __init__(self, split: str, skills: tuple[str, ...], rounds: int = 1) -> None:
        super().__init__(SIZES[split], self._drawn, f"general/{split}")
        self.split = split
        self.skills = skills
        self.rounds = rounds

    def _drawn(self, index: int) -> Sample:
        seed = _SEEDS[self.split]
        rng = Random(seed * 1_000_003 + index * 7_919_117)
        if self.split == "train":
            skill = rng.choices(self.skills, [_TRAIN_WEIGHTS[name] for name in self.skills])[0]
        else:
            skill = self.skills[index % len(self.skills)]
        language: Language = "zh" if rng.random() < _CHINESE_SHARE else "en"
        first = draw(rng, f"general/{seed}/{index}", skill, language)
        return _with_rounds(rng, first, self.skills, self.rounds) if self.rounds > 1 else first


def recognises(path: Path) -> bool:
    """No file holds this world."""
    return False


def load(where: str) -> Dataset:
    """Open the world; `where` names skills joined by `+`, '' means all of them.

    `SKILLS:N`, or `:N` for all skills, asks about each training picture up to N times, each time in
    a conversation of its own.

    Raises:
        UsageError: a skill that does not exist, or a number of rounds that is none.
    """
    named, _, rounds = where.partition(":")
    if rounds and not (rounds.isdecimal() and int(rounds)):
        raise UsageError(f"general:{where}: {rounds!r} is no number of rounds, such as 6.")
    skills = tuple(named.split("+")) if named else SKILLS
    if unknown := [name for name in skills if name not in SKILLS]:
        raise UsageError(
            f"Data set 'general' has no skills {unknown}; it has: {', '.join(SKILLS)}."
        )
    asked = {"train": int(rounds or 1), "val": 1, "test": 1}
    splits = {split: Draws(split, skills, asked[split]) for split in SIZES}
    content = hashlib.sha256()
    for split in splits.values():
        for sample in split[:6]:
            for one in (sample, *sample.also):
                content.update(repr((one.id, one.question, one.answer)).encode())
            content.update(sample.images[0].load().tobytes())
    return Dataset(
        name="general",
        splits=splits,
        modality={"en": "picture", "zh": "图片"},
        digest=content.hexdigest(),
        source="procedural: residency.phantoms.general",
        licence="Apache-2.0",
        synthetic=True,
    )


# What a cell of a picture can be said to show, for training a vision encoder by itself.
WORDS = (
    *world.SHAPES, *world.COLOURS, *world.TEXTURES, *world.SIZES, *world.KINDS,
    *(f"count {n}" for n in range(1, 9)),
    *(f"{fact} {value}" for fact, values in world.FACTS.items() for value in values),
)  # fmt: skip
_WORD = {word: place for place, word in enumerate(WORDS)}


def cells(sample: Sample, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """What each cell of the picture shows: `WORDS` as 0 and 1 `[cells, words]`, and a box `[cells, 4]`.

    Facts of the whole picture hold in every cell; a thing is shown by the cells whose area its box
    covers by a fifth or more. The box is that thing's x1, y1, x2, y2 as a share of the side, NaN
    where the cell shows none.
    """
    scene: Scene = sample.images[0].load.args[0]  # type: ignore[attr-defined]
    said = np.zeros((rows * columns, len(WORDS)), dtype=np.float32)
    boxes = np.full((rows * columns, 4), np.nan, dtype=np.float32)
    whole = [scene.kind, *(f"{fact} {value}" for fact, value in scene.facts.items())]
    whole += [f"count {len(scene.things)}"] if scene.things else []
    said[:, [_WORD[word] for word in whole if word in _WORD]] = 1
    height, width = world.SIDE / rows, world.SIDE / columns
    for thing in scene.things:
        x1, y1, x2, y2 = thing.box
        for cell in range(rows * columns):
            top, left = cell // columns * height, cell % columns * width
            across = min(x2, left + width) - max(x1, left)
            down = min(y2, top + height) - max(y1, top)
            if min(across, down) > 0 and across * down >= 0.2 * min(
                height * width, (x2 - x1) * (y2 - y1)
            ):
                shown = (thing.shape, thing.colour, thing.texture, thing.size)
                said[cell, [_WORD[word] for word in shown if word in _WORD]] = 1
                boxes[cell] = np.array(thing.box) / world.SIDE
    return said, boxes


def chance(sample: Sample) -> float:
    """The accuracy of guessing uniformly among what the question leaves possible."""
    return float(sample.attributes["chance"])


def texts(count: int) -> Iterator[str]:
    """What a tokenizer learns from: common words, then the texts of `count` training samples."""
    yield from common_words.texts()
    for sample in Draws("train", SKILLS)[:count]:
        yield sample.question
        yield from (sample.answer,) if isinstance(sample.answer, str) else ()
        yield from sample.options


def _with_rounds(rng: Random, first: Sample, skills: tuple[str, ...], rounds: int) -> Sample:
    """The sample with more questions about its picture; claims and letters come with a twin."""
    render_scene = first.images[0].load
    scene: Scene = render_scene.args[0]  # type: ignore[attr-defined]
    asked = [first]
    for number in range(2, rounds + 1):
        skill = rng.choices(skills, [_TRAIN_WEIGHTS[name] for name in skills])[0]
        seed = rng.getrandbits(64)
        for flip in (False, True) if skill in _TWINS else (False,):
            key = f"{first.id}/{number}" + "/twin" * flip
            more = draw(Random(seed), key, skill, first.language, scene, flip)
            said = {(sample.question, sample.options) for sample in asked}
            if more and (more.question, more.options) not in said:
                asked.append(replace(more, images=first.images))
    return replace(first, also=tuple(asked[1:]))


@overload
def draw(rng: Random, key: str, skill: str, language: Language) -> Sample: ...
@overload
def draw(
    rng: Random, key: str, skill: str, language: Language, scene: Scene, flip: bool = False
) -> Sample | None: ...
def draw(
    rng: Random,
    key: str,
    skill: str,
    language: Language,
    scene: Scene | None = None,
    flip: bool = False,
) -> Sample | None:
    """A sample of a skill, about a given scene or one drawn for it; None where the scene has none."""
    answer: Answer
    options: tuple[str, ...] = ()
    likely = 0.0
    known: dict[str, str] = {}
    if skill in ("box", "point"):
        if scene is not None and scene.kind not in ("objects", "spots"):
            return None
        scene, kind, question, answer = _grounding(rng, skill, language, scene)
    elif skill == "describe":
        scene = scene or world.draw(rng, rng.choices(world.KINDS, (10, 1, 1, 1, 1, 2))[0])
        kind, question = scene.kind, rng.choice(wordings.DESCRIBE[language])
        answer = _caption(scene, language)
    else:
        fact = fact_of(rng, scene, skill) if scene else None
        if scene is None:
            scene, fact = draw_fact(rng, skill)
        if fact is None:
            return None
        kind = fact.kind
        ask = partial(_TWINS[skill], flip=flip) if skill in _TWINS else _ASK[skill]
        question, answer, options = ask(rng, fact, language)
        likely = 1 / len(options or fact.pool)
        known = {"fact": say(fact.answer, language)}
    return Sample(
        id=key,
        dataset="general",
        task=_TASKS[skill],
        answer=answer,
        images=(Picture(key=key, load=partial(render, scene)),),
        question=question,
        options=options,
        modality=say("picture", language) if language == "en" else "图片",
        attributes={"skill": skill, "kind": kind, "chance": f"{likely:.6f}", **known},
        language=language,
    )


def _said(rng: Random, fact: Fact, language: Language) -> str:
    template = rng.choice(wordings.QUESTIONS[fact.kind][language])
    return template.format(it=say(fact.it, language), other=say(fact.other, language))


def _open(rng: Random, fact: Fact, language: Language) -> tuple[str, str, tuple[str, ...]]:
    return _said(rng, fact, language), say(fact.answer, language), ()


def _yes_no(
    rng: Random, fact: Fact, language: Language, flip: bool = False
) -> tuple[str, str, tuple[str, ...]]:
    """A claim that is true half of the time; a direction is only swapped for the opposite one.

    `flip` turns the verdict round: the same draws give the same claim with the other value.
    """
    wrong = (
        OPPOSITE[fact.answer]
        if fact.kind in ("relation", "half")
        else rng.choice([other for other in fact.pool if other != fact.answer])
    )
    template = rng.choice(wordings.CLAIMS[fact.kind][language])
    true = (rng.random() < 0.5) != flip
    value = fact.answer if true else wrong
    said = say(value, language)
    if fact.kind == "relation" and language == "en" and value in ("left", "right"):
        said = f"{value} of"
    if fact.kind == "which" and language == "en":
        said = wordings.article(value)
    question = template.format(
        it=say(fact.it, language), other=say(fact.other, language), value=said
    )
    yes, no = say("yes", language), say("no", language)
    return question, yes if true else no, (yes, no)


def _options(rng: Random, fact: Fact, most: int) -> list[str]:
    """The answer and at least one other member of the pool, in random order."""
    wrong = [other for other in fact.pool if other != fact.answer]
    chosen = rng.sample(wrong, rng.randint(1, min(most - 1, len(wrong))))
    return rng.sample([fact.answer, *chosen], len(chosen) + 1)


def _mcq(
    rng: Random, fact: Fact, language: Language, flip: bool = False
) -> tuple[str, str, tuple[str, ...]]:
    """Two to five options; `flip` moves each one letter on, so that the same answer has another."""
    options = tuple(say(option, language) for option in _options(rng, fact, 5))
    options = options[flip:] + options[:flip]
    return _said(rng, fact, language), say(fact.answer, language), options


def _choose(rng: Random, fact: Fact, language: Language) -> tuple[str, str, tuple[str, ...]]:
    """A list inside the question; now and then the answers stand behind arbitrary code words."""
    if rng.random() < 0.1:
        return _coded(rng, fact, language)
    items = _options(rng, fact, 12)
    if rng.random() < 0.5:
        items.sort(key=fact.pool.index)
    options = tuple(say(item, language) for item in items)
    forms = wordings.ANALYSES if fact.evident and rng.random() < 0.5 else wordings.CHOICES
    question = rng.choice(forms[language]).format(
        question=_said(rng, fact, language), list=wordings.COMMA[language].join(options)
    )
    return question, say(fact.answer, language), options


def _coded(rng: Random, fact: Fact, language: Language) -> tuple[str, str, tuple[str, ...]]:
    wrong = rng.choice([other for other in fact.pool if other != fact.answer])
    values = rng.sample([fact.answer, wrong], 2)
    codes = tuple(rng.sample(common_words.CODES, 2))
    question = wordings.CODES[language].format(
        question=_said(rng, fact, language),
        first=say(values[0], language),
        second=say(values[1], language),
        code=codes[0],
        other=codes[1],
    )
    return question, codes[values.index(fact.answer)], codes


_ASK: Mapping[str, Callable[[Random, Fact, Language], tuple[str, str, tuple[str, ...]]]] = {
    "open": _open,
    "choose": _choose,
}
# Skills whose answer is a verdict. The twin of a question is the same one with another verdict.
_TWINS: Mapping[str, Callable[..., tuple[str, str, tuple[str, ...]]]] = {
    "yes_no": _yes_no,
    "mcq": _mcq,
}


def _caption(scene: Scene, language: Language) -> str:
    """One sentence that names every object from left to right, or what the whole picture shows."""
    if scene.kind == "objects":
        things = sorted(scene.things, key=lambda thing: thing.box)
        phrases = [f"{t.size} {t.colour} {t.texture} {t.shape}" for t in things]
        return wordings.enumerate_phrases([p.replace(" plain", "") for p in phrases], language)
    kind = scene.kind[:-1] if len(scene.things) == 1 else scene.kind
    known = {key: say(value, language) for key, value in scene.facts.items()}
    return wordings.CAPTIONS[kind][language].format(count=len(scene.things), **known)


def _grounding(
    rng: Random, skill: str, language: Language, scene: Scene | None = None
) -> tuple[Scene, str, str, tuple[Box, ...] | tuple[Point, ...]]:
    """A phrase and what it denotes: one thing, or now and then every object, from left to right."""
    if scene is None:
        about = "spots" if rng.random() < 0.2 else "objects"
        scene = world.draw(rng, about, 1 if about == "spots" else rng.choice((1, 1, 1, 2, 2, 3)))
    about, number = scene.kind, len(scene.things)
    things = [rng.choice(scene.things)]
    kind = about
    phrase = say(name(rng, things[0], scene), language)
    if number == 2 and rng.random() < 0.3:
        things, kind = sorted(scene.things, key=lambda thing: thing.box), "all objects"
        phrase = say("object", language)
    if skill == "point":
        points = tuple(Point(name=phrase, x=t.centre[0], y=t.centre[1]) for t in things)
        return scene, kind, phrase, points
    boxes = [map(float, t.box) for t in things]
    named = tuple(Box(name=phrase, x1=a, y1=b, x2=c, y2=d) for a, b, c, d in boxes)
    return scene, kind, phrase, named
