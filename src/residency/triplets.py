"""A task triplet as plain text: instruction, precise and informative response, told by their names."""

import hashlib
import re
from typing import NamedTuple


class Triplet(NamedTuple):
    """What AdaMLLM's synthesizer writes about an image."""

    instruction: str
    precise: str
    informative: str


NAMES = {field: f"{field.capitalize()}:" for field in Triplet._fields}
_PLACE = re.compile(
    r"^[ \t>*#_-]*(instruction|precise|informative)(?:[ \t]+response)?[ \t*_]*:[*_]*",
    re.IGNORECASE | re.MULTILINE,
)


def write(triplet: Triplet, *, seed: str) -> str:
    """The three parts, a line or more each; which response comes first is drawn with `seed`."""
    order = ["precise", "informative"]
    if hashlib.sha256(seed.encode()).digest()[0] % 2:
        order.reverse()
    return "\n".join(f"{NAMES[f]} {getattr(triplet, f)}" for f in ("instruction", *order))


def read(text: str) -> Triplet | str:
    """The triplet of a text, or why there is none: the part it lacks, repeats or leaves empty.

    Names may be marked up ("**Precise response:**"); what stands before the first name is ignored.
    """
    places = list(_PLACE.finditer(text))
    ends = [place.start() for place in places[1:]] + [len(text)]
    parts: dict[str, str] = {}
    for place, end in zip(places, ends, strict=False):  # without any name there is one end too many
        name = place[1].lower()
        if name in parts:
            return f"repeated_{name}"
        parts[name] = text[place.end() : end].strip()
    for name in Triplet._fields:
        if name not in parts:
            return f"no_{name}"
        if not parts[name]:
            return f"empty_{name}"
    return Triplet(**parts)
