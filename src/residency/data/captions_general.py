"""Captions of the general world: what a picture shows and what it cannot show, said in many forms (ours).

A caption states facts as people do: several values in a sentence, plurals, "with", something missing,
a colon, a concluding line. Values stand before their thing as well ("a large, round kidney").
Half of the things and values that no picture shows are words that nobody knows, which can only be copied.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from residency.data import common_words
from residency.data.wordings_general import article
from residency.phantoms import general as world
from residency.phantoms.general import Scene
from residency.text import capital

SIZES = ("small", "medium", "large", "tiny", "big", "enlarged", "narrow", "wide")
SHAPES = (
    *world.SHAPES, "round", "oval", "irregular", "flat", "long", "curved", "pointed", "folded",
)  # fmt: skip
COLOURS = (*world.COLOURS, "grey", "brown")
TINTS = ("light", "dark", "pale", "deep", "grey", "red", "blue")
STATES = ("normal", "smooth", "rough", "regular", "fine", "coarse", "uniform", "even")
PRESENCE = ("absent", "present")
VALUES = (*common_words.CODES, "normal", "absent", "present", "regular", "mild", "two", "three")
POOLS: Sequence[Sequence[str]] = (SIZES, SHAPES, COLOURS, STATES)
_NOUNS = tuple(word for word in common_words.CODES if len(word) > 6 and not word.endswith("s"))
_TRAITS = (
    "size",
    "shape",
    "colour",
    "border",
    "texture",
    "side",
    "type",
    "stage",
    "margin",
    "density",
)
_HEADS = (*"bcdfghklmnprstv", "br", "cl", "cr", "gr", "pl", "st", "tr")
_HEARTS = (*"aeiou", "ea", "oi")
_ENDS = (*"nmlrstx", "nd", "st", "ll")
_OPENINGS = ("", "", "", "A picture of {kind}. ", "Description: ", "This is {kind}. ", "Notes: ")
_CLOSINGS = ("\nSummary: {end}.", "\nConclusion: {end}.", " In short: {end}.", "\nIn all, {end}.")
_NAMED = (
    "The {t} is {v}.", "The {t} is {v}.", "{T}: {v}.", "{T} is {v}.", "A {v} {t} is seen.",
    "There is a {v} {t}.", "It has a {v} {t}.", "The {t} appears {v}.",
)  # fmt: skip
_NAMED_TWO = (
    "The {t} is {v} and the {u} is {w}.",
    "{T}: {v}; {u}: {w}.",
    "A {v} {t} with a {w} {u}.",
)
_MISSING = ("No {n} {be} seen.", "There {be} no {n}.", "The {n} {be} absent.", "{N} {be} absent.")
_FOUND = ("{N} {be} present.", "The {n} {be} present.", "There {be} {A} present.")
_HOW = (
    "The {n} {be} {v}.", "The {n} {be} {v}.", "{N} {be} {v}.", "{N}: {v}.", "{P}.", "{P} {be} seen.",
    "{P} can be seen.",
)  # fmt: skip
_HOW_WITH = ("The {n} {be} {v} with {with}.", "{P} with {with}.", "{P} with {with}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """A trait, or a thing, and how it is; `be` is the verb between them."""

    trait: str
    value: str
    be: str = "is"


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """A caption and the facts that it states, each in its words: what the picture shows, and the rest."""

    caption: str
    shown: tuple[Fact, ...]
    unseen: tuple[Fact, ...]

    @property
    def facts(self) -> tuple[Fact, ...]:
        """All of them."""
        return self.shown + self.unseen


def tell(rng: Random, scene: Scene) -> Told:
    """A caption of a scene: its own facts, and those of two to four things that it does not show."""
    pairs, things = _shown(rng, scene)
    shown = [*pairs, *(thing.trait for thing in things)]
    for _ in range(rng.randint(2, 4)):
        if rng.random() < 0.3:
            noun = rng.choice(_NOUNS)
            trait = f"{noun} {rng.choice(_TRAITS)}" if rng.random() < 0.5 else noun
            pairs[trait] = rng.choice(VALUES)
        else:
            things.append(_thing(rng))
    facts = {trait: Fact(trait=trait, value=value) for trait, value in pairs.items()}
    facts |= {thing.trait: thing for thing in things}
    sentences = [*_named(rng, list(pairs.items())), *_told(rng, things)]
    rng.shuffle(sentences)
    caption = rng.choice(_OPENINGS).format(kind=scene.kind) + " ".join(sentences)
    if rng.random() < 0.3:
        caption += rng.choice(_CLOSINGS).format(end=_word(rng))
    return Told(
        caption=caption,
        shown=tuple(facts[trait] for trait in shown),
        unseen=tuple(fact for trait, fact in facts.items() if trait not in shown),
    )


def _shown(rng: Random, scene: Scene) -> tuple[dict[str, str], list[Fact]]:
    """What the picture shows, as named traits or as a thing."""
    if scene.kind == "objects":
        thing = scene.things[0]
        own = {"size": thing.size, "colour": thing.colour}
        if rng.random() < 0.5:
            return {}, [Fact(trait=thing.shape, value=_joined(rng, list(own.values())))]
        return own | {"shape": thing.shape}, []
    if scene.kind == "lines":
        lines = {name: scene.facts[name] for name in ("orientation", "thickness")}
        if rng.random() < 0.5:
            values = [*lines.values(), scene.facts["hue"]]
            return {}, [Fact(trait="lines", value=_joined(rng, values), be="are")]
        return lines | {"line colour": scene.facts["hue"]}, []
    if scene.kind == "halves":
        return {"brighter half": scene.facts["half"]}, []
    if scene.kind == "pattern":
        return {"pattern": scene.facts["pattern"], "brightness": scene.facts["brightness"]}, []
    if scene.kind == "spots":
        return {"spot tone": scene.facts["tone"], "spot place": scene.facts["place"]}, []
    return {"dot colour": scene.things[0].colour, "number of dots": str(len(scene.things))}, []


def _thing(rng: Random) -> Fact:
    """Something that no picture shows: one or many of it, missing or with one or two values."""
    noun = invented(rng) if rng.random() < 0.6 else rng.choice(_NOUNS)
    if rng.random() < 0.25:
        noun = f"{rng.choice((*COLOURS, *_NOUNS))} {noun}"
    many = rng.random() < 0.4 and not noun.endswith("s")
    trait, be = (f"{noun}s", "are") if many else (noun, "is")
    if rng.random() < 0.1:
        return Fact(trait=trait, value=rng.choice(PRESENCE), be=be)
    values = []
    for pool in rng.sample([*POOLS, VALUES], rng.choice((1, 1, 2))):
        values.append(invented(rng) if pool is VALUES and rng.random() < 0.5 else rng.choice(pool))
        if pool is COLOURS and rng.random() < 0.4:
            values[-1] = f"{rng.choice(TINTS)} {values[-1]}"
    return Fact(trait=trait, value=_joined(rng, values), be=be)


def _joined(rng: Random, values: list[str]) -> str:
    """Values side by side, in any order: "large, round", "fine and pink"."""
    *first, last = rng.sample(values, len(values))
    return rng.choice((", ", " ", " and ")).join((", ".join(first), last)) if first else last


def _word(rng: Random) -> str:
    return invented(rng) if rng.random() < 0.5 else rng.choice(VALUES)


def invented(rng: Random) -> str:
    """A word that nobody knows, of two to four syllables."""
    syllables = (rng.choice(_HEADS) + rng.choice(_HEARTS) for _ in range(rng.choice((2, 2, 3, 4))))
    return "".join(syllables) + rng.choice(_ENDS)


def _named(rng: Random, pairs: list[tuple[str, str]]) -> list[str]:
    """Sentences that name a trait and its value, or two of them."""
    rng.shuffle(pairs)
    sentences = []
    while pairs:
        trait, value = pairs.pop()
        words = {"t": trait, "T": capital(trait), "v": value}
        if pairs and rng.random() < 0.3:
            other, second = pairs.pop()
            sentences.append(rng.choice(_NAMED_TWO).format(u=other, w=second, **words))
        else:
            sentences.append(rng.choice(_NAMED).format(**words))
    return sentences


def _told(rng: Random, things: list[Fact]) -> list[str]:
    """Sentences about things, two of them in one where the second can follow "with"."""
    left = list(things)
    rng.shuffle(left)
    sentences = []
    while left:
        thing = left.pop()
        words = {"n": thing.trait, "N": capital(thing.trait), "be": thing.be, "v": thing.value}
        words["A"] = thing.trait if thing.be == "are" else article(thing.trait)
        words["P"] = capital(_phrase(rng, thing))
        forms = {"absent": _MISSING, "present": _FOUND}.get(thing.value, _HOW)
        if left and forms is _HOW and left[-1].value not in PRESENCE and rng.random() < 0.5:
            words["with"], forms = _phrase(rng, left.pop()), _HOW_WITH
        sentences.append(rng.choice(forms).format(**words))
    return sentences


def _phrase(rng: Random, thing: Fact) -> str:
    """ "A large, round kidney", "fine pink kidneys"; some things have no article, as in "loose soil"."""
    words = f"{thing.value} {thing.trait}"
    return words if thing.be == "are" or rng.random() < 0.4 else article(words)
