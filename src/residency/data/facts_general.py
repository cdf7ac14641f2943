"""What can be asked about a scene of the general world, with everything the answer could be."""

from dataclasses import dataclass
from random import Random

from residency.phantoms import general as world
from residency.phantoms.general import Scene, Thing

PHRASES = tuple(f"{c} {s}" for c in world.COLOURS for s in world.SHAPES)
GREY_PHRASES = tuple(f"{c} {s}" for c in world.GREYS for s in world.SHAPES)
QUADRANTS = ("top left", "top right", "bottom left", "bottom right")
RELATIONS = ("left", "right", "above", "below")
TEXTURED = tuple(f"{t} {s}" for t in world.TEXTURES[1:] for s in world.SHAPES)

# How often a kind of fact is asked, and what it is asked about.
KINDS: dict[str, tuple[int, str]] = {
    "colour": (6, "objects"), "shape": (7, "objects"), "texture": (5, "objects"),
    "size": (1, "objects"), "count": (6, "objects dots spots"), "place": (6, "objects spots"),
    "relation": (4, "objects"), "which": (6, "objects"), "hue": (3, "dots lines"),
    "orientation": (3, "lines"), "thickness": (1, "lines"), "half": (4, "halves"),
    "pattern": (5, "pattern"), "sharpness": (1, "pattern"), "brightness": (1, "pattern"),
    "tone": (1, "spots"), "palette": (1, "objects dots lines"),
}  # fmt: skip
_PLAIN_POOLS = {
    "orientation": world.ORIENTATIONS, "thickness": ("thin", "thick"), "half": world.HALVES,
    "pattern": world.PATTERNS, "sharpness": ("sharp", "blurred"), "tone": ("dark", "bright"),
    "brightness": ("dark", "bright"), "palette": ("colour", "greyscale"), "place": world.PLACES,
}  # fmt: skip
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"} | {
    "top": "bottom", "bottom": "top",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """Something true about a scene: `answer` holds and no other member of `pool` does.

    `it` and `other` are the noun phrases asked about. `evident` facts need no question, a list of
    answers is enough to know what is meant.
    """

    kind: str
    answer: str
    pool: tuple[str, ...]
    it: str = ""
    other: str = ""
    evident: bool = False


def draw_fact(rng: Random, skill: str) -> tuple[Scene, Fact]:
    """A scene and something to ask about it, kind first, so that answers are balanced per kind."""
    weights = [
        # Two possible answers teach little and make guessing easy where the answer is free.
        1 if weight == 1 and skill in ("mcq", "choose") else 2 * weight
        for weight, _ in KINDS.values()
    ]
    kind = rng.choices(list(KINDS), weights)[0]
    about = rng.choice(KINDS[kind][1].split())
    while True:
        number = 0
        if about == "objects" and kind not in ("count", "palette"):
            number = (
                2 + (rng.random() < 0.2) if kind == "relation" else rng.choice((1, 1, 1, 2, 2, 3))
            )
            if kind == "which" and skill == "open":
                number = 1
        elif about == "spots" and kind != "count":
            number = 1
        grey = rng.random() < 0.5 if kind == "palette" else None
        grey = False if kind in ("colour", "hue") else grey
        scene = world.draw(rng, about, number, grey)
        fact = _about_things(rng, scene, kind) if scene.things else _about_whole(scene, kind)
        # Without a list, a textured thing could as well be named by its colour.
        if fact and not (skill == "open" and fact.pool[0] in TEXTURED):
            return scene, fact


def fact_of(rng: Random, scene: Scene, skill: str) -> Fact | None:
    """Something to ask about a given scene; None where a few draws found nothing unambiguous."""
    fitting = [
        (kind, weight) for kind, (weight, about) in KINDS.items() if scene.kind in about.split()
    ]
    for _ in range(6):
        kind = rng.choices([kind for kind, _ in fitting], [weight for _, weight in fitting])[0]
        one = len(scene.things) == 1
        if (kind == "relation" and one) or (kind == "which" and skill == "open" and not one):
            continue
        if kind == "place" and scene.kind == "spots" and not one:
            continue
        fact = _about_things(rng, scene, kind) if scene.things else _about_whole(scene, kind)
        if fact and not (skill == "open" and fact.pool[0] in TEXTURED):
            return fact
    return None


def _about_whole(scene: Scene, kind: str) -> Fact | None:
    """A fact about lines, halves or a pattern."""
    if kind == "sharpness" and scene.facts["pattern"] in ("plain", "gradient", "blobs"):
        return None
    if kind == "hue":
        return Fact(kind="hue", answer=scene.facts["hue"], pool=world.COLOURS, it="lines")
    return Fact(kind=kind, answer=scene.facts[kind], pool=_PLAIN_POOLS[kind], evident=True)


def _about_things(rng: Random, scene: Scene, kind: str) -> Fact | None:
    """A fact about objects, dots or spots; None where this scene has no unambiguous one."""
    thing = rng.choice(scene.things)
    if kind in ("palette", "tone"):
        return Fact(kind=kind, answer=scene.facts[kind], pool=_PLAIN_POOLS[kind], it="spot")
    if kind == "hue":
        return Fact(kind="hue", answer=thing.colour, pool=world.COLOURS, it="dots")
    if kind == "count":
        most = {"objects": 4, "dots": 8, "spots": 3}[scene.kind]
        pool = tuple(str(n) for n in range(1, most + 1))
        return Fact(kind=kind, answer=str(len(scene.things)), pool=pool, it=scene.kind)
    if kind == "place" and scene.kind == "spots":
        place = scene.facts["place"]
        return Fact(kind=kind, answer=place, pool=world.PLACES, it="spot", evident=True)
    if kind == "place":
        return _quadrant(rng, thing, scene)
    if kind == "relation":
        return _relation(rng, thing, rng.choice([t for t in scene.things if t is not thing]), scene)
    if kind == "which":
        return _which(rng, thing, scene)
    return _attribute(rng, thing, scene, kind)


def _attribute(rng: Random, thing: Thing, scene: Scene, kind: str) -> Fact | None:
    """Colour, shape, texture or size of one thing; small things have no visible texture."""
    if kind == "texture" and thing.size == "small":
        return None
    alone = len(scene.things) == 1
    pool = {"colour": world.COLOURS, "shape": world.SHAPES, "texture": world.TEXTURES}.get(
        kind, world.SIZES
    )
    it = name(rng, thing, scene, kind != "texture") if kind in ("texture", "size") else ""
    if kind == "colour" and sum(t.shape == thing.shape for t in scene.things) == 1:
        it = "object" if alone and rng.random() < 0.3 else thing.shape
    if kind == "shape" and sum(t.colour == thing.colour for t in scene.things) == 1:
        it = "object" if alone and rng.random() < 0.5 else f"{thing.colour} object"
    if not it:
        return None
    evident = alone and kind != "size"
    return Fact(kind=kind, answer=getattr(thing, kind), pool=pool, it=it, evident=evident)


def name(rng: Random, thing: Thing, scene: Scene, textured: bool = True) -> str:
    """A phrase that picks this thing out of the scene, maybe by its texture."""
    if scene.kind == "spots":
        return f"{scene.facts['tone']} spot"
    alike = [t for t in scene.things if t.shape == thing.shape]
    if len(alike) == 1 and rng.random() < 0.4:
        return thing.shape
    twins = [t for t in alike if t.texture == thing.texture]
    if textured and thing.texture != "plain" and len(twins) == 1 and rng.random() < 0.3:
        return f"{thing.texture} {thing.shape}"
    return f"{thing.colour} {thing.shape}"


def _quadrant(rng: Random, thing: Thing, scene: Scene) -> Fact | None:
    x, y = thing.centre
    if min(abs(x - world.SIDE / 2), abs(y - world.SIDE / 2)) < 8:
        return None
    vertical, horizontal = (
        "top" if y < world.SIDE / 2 else "bottom",
        "left" if x < world.SIDE / 2 else "right",
    )
    it = name(rng, thing, scene)
    alone = len(scene.things) == 1
    return Fact(
        kind="place", answer=f"{vertical} {horizontal}", pool=QUADRANTS, it=it, evident=alone
    )


def _relation(rng: Random, thing: Thing, other: Thing, scene: Scene) -> Fact | None:
    dx, dy = (a - b for a, b in zip(thing.centre, other.centre, strict=True))
    if max(abs(dx), abs(dy)) < 16 or max(abs(dx), abs(dy)) < 1.6 * min(abs(dx), abs(dy)):
        return None
    across = ("left", "right")[dx > 0]
    answer = across if abs(dx) > abs(dy) else ("above", "below")[dy > 0]
    it, that = name(rng, thing, scene), name(rng, other, scene)
    return Fact(kind="relation", answer=answer, pool=RELATIONS, it=it, other=that)


def _which(rng: Random, thing: Thing, scene: Scene) -> Fact:
    """A phrase that fits this thing among phrases of the same form that fit none."""
    if thing.texture != "plain" and rng.random() < 0.35:
        answer, phrases = f"{thing.texture} {thing.shape}", TEXTURED
    else:
        answer = f"{thing.colour} {thing.shape}"
        phrases = GREY_PHRASES if scene.facts["palette"] == "greyscale" else PHRASES
    true = {f"{word} {t.shape}" for t in scene.things for word in (t.colour, t.texture)} - {answer}
    pool = tuple(phrase for phrase in phrases if phrase not in true)
    return Fact(kind="which", answer=answer, pool=pool, evident=True)
