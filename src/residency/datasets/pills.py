"""Painted pills: a look that the embedded generalist has never seen, in words that it knows (ours).

Instruction-free tuning asks whether a model that can answer a kind of question still does so after
learning another look from reports. Nano knows no word of a blood smear; it knows shapes, colours,
textures and places. A pill has one of each, drawn from the eight products of a fictional pharmacy,
and is photographed through a poor lens under a tinted lamp (`shift`). Nothing is read from disk.

`pills` or `pills:key=value:key=value`. `loyal` is how often a pill has the shape, the colour and the
texture of its product, each by itself, so that earlier words of a report foretell later ones.
"""

from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from residency.data.facts_general import QUADRANTS
from residency.data.retelling import SEPARATORS
from residency.data.rows import Rows
from residency.dataset import Dataset, read_options
from residency.errors import UsageError
from residency.phantoms.brush import Scanner, to_bytes
from residency.phantoms.general import COLOURS, SHAPES, SIDE, TEXTURES, Scene, Thing, mask
from residency.phantoms.general_paint import render
from residency.types import Picture, Sample

VERSION = 1  # raise it with every change of what is drawn or painted
SCANNER = Scanner(cast=(1.12, 0.9, 0.72), contrast=0.6, noise=0.05, blur=0.014, vignette=0.5)
VALUES = {"shape": SHAPES, "colour": COLOURS, "texture": TEXTURES, "place": QUADRANTS}


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What a variant may set; the field names are the keys."""

    train: int = 800
    val: int = 100
    test: int = 300
    seed: int = 0
    shift: float = 1.0
    loyal: float = 0.5


def recognises(path: Path) -> bool:
    """Never: these have no files."""
    return False


def load(where: str) -> Dataset:
    """Open a variant.

    Raises:
        UsageError: an unknown key, or a value that the key cannot take.
    """
    options = parse(where)
    changed = [f"{k}={v}" for k, v in asdict(options).items() if v != getattr(Options(), k)]
    name = ":".join(["pills", *changed])
    return Dataset(
        name=name,
        splits={
            split: Rows(
                getattr(options, split), partial(sample_at, split, options, name), f"{name}/{split}"
            )
            for split in ("train", "val", "test")
        },
        modality={"en": "photograph of a pill", "zh": "药片照片"},
        digest=f"{VERSION} {options}",
        source="painted by residency.phantoms",
        licence="Apache-2.0",
        notes=(f"Painted images, version {VERSION}; no real pills.",),
        synthetic=True,
    )


def parse(text: str) -> Options:
    """The options of a variant; shares and `shift` lie in [0, 1], the others are whole numbers.

    Raises:
        UsageError: an unknown or repeated key, or a value that the key cannot take.
    """
    kinds = {
        field.name: float if field.type in ("float", float) else int for field in fields(Options)
    }
    values: dict[str, Any] = {}
    for key, value in read_options(text, list(kinds), "pills").items():
        most = 1 if kinds[key] is float else 10**7
        try:
            number = kinds[key](value)
        except ValueError:
            number = -1
        if not 0 <= number <= most:
            raise UsageError(f"pills option {key}={value!r}: give a number from 0 to {most}.")
        values[key] = number
    return Options(**values)


def sample_at(split: str, options: Options, dataset: str, index: int) -> Sample:
    """The sample of that number; its picture is painted when it is loaded."""
    rng = Random(f"{VERSION}/{options.seed}/{split}/{index}")
    facts = draw(rng, options.loyal)
    load = partial(photograph, place(rng, facts), options.shift)
    return Sample(
        id=f"pills-{split}-{index:06d}",
        dataset=dataset,
        task="caption",
        question="Describe the picture.",
        answer=SEPARATORS["en"].join(f"{value} {name}" for name, value in facts.items()),
        images=(
            Picture(key=f"pills/{VERSION}/{options}/{split}/{index}", load=load, size=(SIDE, SIDE)),
        ),
        modality="photograph of a pill",
        attributes=facts,
    )


def draw(rng: Random, loyal: float) -> dict[str, str]:
    """What is true of a pill, name to value in the order of a report."""
    product = rng.randrange(8)
    facts = {}
    for name, values in VALUES.items():
        own = name != "place" and rng.random() < loyal
        facts[name] = values[product % len(values)] if own else rng.choice(values)
    return facts


def place(rng: Random, facts: dict[str, str]) -> Scene:
    """The scene: one large thing, clear of the middle lines."""
    radii = rng.randint(14, 18), rng.randint(14, 18)
    height, width = mask(facts["shape"], *radii).shape
    x, y = (rng.randint(21, 37) for _ in range(2))
    x, y = (
        SIDE - x if "right" in facts["place"] else x,
        SIDE - y if "bottom" in facts["place"] else y,
    )
    left, top = x - width // 2, y - height // 2
    thing = Thing(
        shape=facts["shape"], colour=facts["colour"], texture=facts["texture"], size="large",
        radii=radii, box=(left, top, left + width, top + height),
    )  # fmt: skip
    known = {"palette": "colour", "hue": facts["colour"]}
    return Scene(kind="objects", grain=rng.getrandbits(32), things=(thing,), facts=known)


def photograph(scene: Scene, shift: float) -> Image.Image:
    """The scene as a 96 x 96 RGB image; `shift` moves the appearance, never the facts."""
    plain = np.asarray(render(scene), dtype=np.float32) / 255
    return Image.fromarray(to_bytes(SCANNER.see(plain, shift, np.random.default_rng(scene.grain))))
