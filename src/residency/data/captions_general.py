"""Captions of the general world: what a picture shows and what it cannot show, said in many forms (ours).

A caption states facts as people do: several values in a sentence, plurals, "with", something missing,
lists after a colon, a concluding line. Values of size, shape and colour stand without the name of their
trait ("a large, round kidney"), so whoever asks for the kidney's shape has to tell which word is one.
Half of the things and values that no picture shows are words that nobody knows, which can only be copied.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from residency.data import common_words
from residency.phantoms import general as world
from residency.phantoms.general import Scene

SIZES = ("small", "medium", "large", "tiny", "big", "enlarged", "narrow", "wide")
SHAPES = (
    *world.SHAPES, "round", "oval", "irregular", "flat", "long", "curved", "pointed", "folded",
)  # fmt: skip
COLOURS = (*world.COLOURS, "grey", "brown")
TINTS = ("light", "dark", "pale", "deep", "grey", "red", "blue")
SEEN = ("present", "absent", "normal", "smooth", "rough", "regular", "fine", "coarse", "uniform")
VALUES = (*common_words.CODES, "normal", "absent", "present", "regular", "mild", "two", "three")
ASPECTS: Mapping[str, Sequence[str]] = {"size": SIZES, "shape": SHAPES, "colour": COLOURS}
_NOUNS = tuple(word for word in common_words.CODES if len(word) > 6 and not word.endswith("s"))
_TRAITS = (*ASPECTS, "border", "texture", "side", "type", "stage", "margin", "density")
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
_FOUND = ("{N} {be} present.", "The {n} {be} present.", "There {be} {a}{n} present.")
_SEEN = (".", ".", " {be} seen.", " can be seen.", " {be} visible.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """A trait and its value; of a thing, `aspect` is what of it ("" for how it is) and `thing` its name."""

    trait: str
    value: str
    thing: str = ""
    aspect: str = ""
    be: str = "is"


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """A caption and the facts that it states, in no order."""

    caption: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Thing:
    """Something with values, by aspect; the aspect "" has one that says how it is, or that it is not."""

    noun: str
    plural: bool = False
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.noun}s" if self.plural else self.noun

    @property
    def be(self) -> str:
        return "are" if self.plural else "is"

    def facts(self) -> list[Fact]:
        return [
            Fact(
                trait=f"{self.noun} {aspect}" if aspect else self.name,
                value=value,
                thing=self.name,
                aspect=aspect,
                be="is" if aspect else self.be,
            )
            for aspect, value in self.values.items()
        ]


def tell(rng: Random, scene: Scene) -> Told:
    """A caption of a scene: its own facts, and those of one to four things that it does not show."""
    pairs, things = _shown(rng, scene)
    for _ in range(rng.randint(1, 4)):
        if rng.random() < 0.35:
            noun = rng.choice(_NOUNS)
            trait = f"{noun} {rng.choice(_TRAITS)}" if rng.random() < 0.5 else noun
            pairs[trait] = rng.choice(VALUES)
        else:
            things.append(_thing(rng))
    facts = {trait: Fact(trait=trait, value=value) for trait, value in pairs.items()}
    facts |= {one.trait: one for thing in things for one in thing.facts()}
    sentences = [*_named(rng, list(pairs.items())), *_told(rng, things)]
    rng.shuffle(sentences)
    caption = rng.choice(_OPENINGS).format(kind=scene.kind) + " ".join(sentences)
    if rng.random() < 0.3:
        caption += rng.choice(_CLOSINGS).format(end=_word(rng))
    return Told(caption=caption, facts=tuple(facts.values()))


def _shown(rng: Random, scene: Scene) -> tuple[dict[str, str], list[_Thing]]:
    """What the picture shows, as named traits or as a thing."""
    if scene.kind == "objects":
        thing = scene.things[0]
        own = {"size": thing.size, "colour": thing.colour}
        if rng.random() < 0.5:
            return {}, [_Thing(noun=thing.shape, values=own)]
        return own | {"shape": thing.shape}, []
    if scene.kind == "lines":
        lines = {name: scene.facts[name] for name in ("orientation", "thickness")}
        if rng.random() < 0.5:
            values = lines | {"colour": scene.facts["hue"]}
            return {}, [_Thing(noun="line", plural=True, values=values)]
        return lines | {"line colour": scene.facts["hue"]}, []
    if scene.kind == "halves":
        return {"brighter half": scene.facts["half"]}, []
    if scene.kind == "pattern":
        return {"pattern": scene.facts["pattern"], "brightness": scene.facts["brightness"]}, []
    if scene.kind == "spots":
        return {"spot tone": scene.facts["tone"], "spot place": scene.facts["place"]}, []
    return {"dot colour": scene.things[0].colour, "number of dots": str(len(scene.things))}, []


def _thing(rng: Random) -> _Thing:
    """Something that no picture shows."""
    noun = invented(rng) if rng.random() < 0.6 else rng.choice(_NOUNS)
    plural = rng.random() < 0.4 and not noun.endswith("s")
    if rng.random() < 0.2:
        value = "absent" if rng.random() < 0.6 else "present"
        return _Thing(noun=noun, plural=plural, values={"": value})
    aspects = rng.sample(list(ASPECTS), rng.choice((0, 1, 1, 2)))
    values = {aspect: rng.choice(ASPECTS[aspect]) for aspect in aspects}
    if "colour" in values and rng.random() < 0.4:
        values["colour"] = f"{rng.choice(TINTS)} {values['colour']}"
    if not values or rng.random() < 0.35:
        values[""] = _word(rng) if rng.random() < 0.7 else rng.choice(SEEN[2:])
    return _Thing(noun=noun, plural=plural, values=values)


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


def _told(rng: Random, things: list[_Thing]) -> list[str]:
    """Sentences about things, two of them in one where the second can follow "with"."""
    left = list(things)
    rng.shuffle(left)
    sentences = []
    while left:
        thing = left.pop()
        words = {"n": thing.name, "N": capital(thing.name), "be": thing.be}
        words["a"] = "" if thing.plural else article(thing.noun)
        seen = thing.values.get("")
        if seen in ("absent", "present"):
            forms = _MISSING if seen == "absent" else _FOUND
            sentences.append(rng.choice(forms).format(**words))
            continue
        values = rng.sample(list(thing.values.values()), len(thing.values))
        tail = ""
        if left and left[-1].values.get("") not in ("absent", "present") and rng.random() < 0.5:
            other = left.pop()
            tail = f" with {_phrase(rng, other)}"
        sentences.append(rng.choice(_ABOUT)(rng, thing, values, tail))
    return sentences


def _phrase(rng: Random, thing: _Thing) -> str:
    """ "A large, round kidney", "fine pink kidneys"; some things have no article, as in "loose soil"."""
    values = rng.sample(list(thing.values.values()), len(thing.values))
    words = f"{rng.choice((', ', ' ', ' and ')).join(values)} {thing.name}"
    return words if thing.plural or rng.random() < 0.4 else article(words) + words


def _attributive(rng: Random, thing: _Thing, values: Sequence[str], tail: str) -> str:
    end = rng.choice(_SEEN).format(be=thing.be) if not tail else "."
    return f"{capital(_phrase(rng, thing))}{tail}{end}"


def _predicative(rng: Random, thing: _Thing, values: Sequence[str], tail: str) -> str:
    return f"The {thing.name} {thing.be} {_listed(values)}{tail}."


def _labelled(rng: Random, thing: _Thing, values: Sequence[str], tail: str) -> str:
    return f"{capital(thing.name)}: {', '.join(values)}{tail}."


def _listed(values: Sequence[str]) -> str:
    *first, last = values
    return f"{', '.join(first)} and {last}" if first else last


def capital(text: str) -> str:
    """With a capital at the front, all else as it is."""
    return text[:1].upper() + text[1:]


def article(words: str) -> str:
    """ "a " or "an ", as the first letter of `words` asks for."""
    return "an " if words[0] in "aeiou" else "a "


_ABOUT: tuple[Callable[[Random, _Thing, Sequence[str], str], str], ...] = (
    _attributive, _attributive, _predicative, _predicative, _labelled,
)  # fmt: skip
