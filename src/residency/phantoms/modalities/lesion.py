"""Dermatoscopic skin lesions with the seven classes of HAM10000 (Tschandl et al., 2018).

The traits are the usual dermatoscopic criteria: symmetry, border, colours, network, vessels, veil.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from residency.phantoms.brush import (
    Colour,
    Outline,
    Plane,
    Scanner,
    cloud,
    cover,
    dots,
    edge,
    fill,
    grid,
    strokes,
    to_bytes,
    wander,
    wavy,
)
from residency.phantoms.case import Case, pick

NAME = "dermatoscopic image"
LABELS = (
    "actinic keratosis",
    "basal cell carcinoma",
    "benign keratosis",
    "dermatofibroma",
    "melanoma",
    "melanocytic nevus",
    "vascular lesion",
)
TRAITS: Mapping[str, tuple[str, ...]] = {
    "size": ("small", "medium", "large"),
    "symmetry": ("symmetric", "asymmetric"),
    "border": ("sharp", "blurred", "irregular"),
    "main colour": ("light brown", "dark brown", "pink", "red"),
    "pigment network": ("absent", "typical", "atypical"),
    "vessels": ("absent", "arborizing", "dotted"),
    "blue-white veil": ("absent", "present"),
    "milia-like cysts": ("absent", "present"),
    "white scar": ("absent", "present"),
    "scale": ("absent", "present"),
    "hair": ("absent", "present"),
    "skin tone": ("fair", "medium tone", "dark"),
}
WORDS: Mapping[str, str] = {
    NAME: "皮肤镜图像",
    "actinic keratosis": "光化性角化病",
    "basal cell carcinoma": "基底细胞癌",
    "benign keratosis": "良性角化病",
    "dermatofibroma": "皮肤纤维瘤",
    "melanoma": "黑色素瘤",
    "melanocytic nevus": "黑素细胞痣",
    "vascular lesion": "血管性病变",
    "size": "大小",
    "symmetry": "对称性",
    "border": "边界",
    "main colour": "主要颜色",
    "pigment network": "色素网",
    "vessels": "血管",
    "blue-white veil": "蓝白幕",
    "milia-like cysts": "粟粒样囊肿",
    "white scar": "白色瘢痕",
    "scale": "鳞屑",
    "hair": "毛发",
    "skin tone": "肤色",
    "small": "小",
    "medium": "中等",
    "large": "大",
    "symmetric": "对称",
    "asymmetric": "不对称",
    "sharp": "清晰",
    "blurred": "模糊",
    "irregular": "不规则",
    "light brown": "浅褐色",
    "dark brown": "深褐色",
    "pink": "粉色",
    "red": "红色",
    "absent": "无",
    "present": "有",
    "typical": "典型",
    "atypical": "不典型",
    "arborizing": "树枝状",
    "dotted": "点状",
    "fair": "白皙",
    "medium tone": "适中",
    "dark": "深色",
    "lesion": "病变",
    "lesion centre": "病变中心",
    "lesion top": "病变上缘",
    "lesion bottom": "病变下缘",
    "lesion left": "病变左缘",
    "lesion right": "病变右缘",
    "A {size}, {symmetry}, {main colour} lesion with a {border} border.": (
        "病变大小{size},{symmetry},呈{main colour},边界{border}。"
    ),
    "Pigment network: {pigment network}.": "色素网:{pigment network}。",
    "Vessels: {vessels}.": "血管:{vessels}。",
    "Blue-white veil: {blue-white veil}; milia-like cysts: {milia-like cysts}.": (
        "蓝白幕:{blue-white veil};粟粒样囊肿:{milia-like cysts}。"
    ),
    "White scar: {white scar}; scale: {scale}.": "白色瘢痕:{white scar};鳞屑:{scale}。",
    "{label}.": "{label}。",
    "A dermatoscopic image of a {main colour} {label}.": "皮肤镜图像,可见{main colour}的{label}。",
}
SCANNER = Scanner(cast=(0.9, 0.98, 1.12), contrast=0.62, noise=0.04, blur=0.008, vignette=0.7)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """The share of a class's lesions that show each sign."""

    colour: Mapping[str, float]
    border: Mapping[str, float]
    network: Mapping[str, float]
    vessels: Mapping[str, float]
    asymmetric: float = 0.15
    veil: float = 0.03
    cysts: float = 0.03
    scar: float = 0.02
    scale: float = 0.05
    nests: float = 0.0  # blue-grey nests of basal cell carcinoma
    lagoons: float = 0.0  # red lagoons of vascular lesions
    follicles: float = 0.0  # pale openings in the red of actinic keratosis


BROWN = {"light brown": 0.55, "dark brown": 0.45}
KINDS: Mapping[str, Kind] = {
    "actinic keratosis": Kind(
        colour={"pink": 0.65, "red": 0.2, "light brown": 0.15},
        border={"blurred": 0.85, "sharp": 0.15},
        network={"absent": 1.0}, vessels={"absent": 0.65, "dotted": 0.35}, asymmetric=0.4,
        scale=0.75, follicles=0.93,
    ),
    "basal cell carcinoma": Kind(
        colour={"pink": 0.75, "light brown": 0.25}, border={"sharp": 0.5, "blurred": 0.5},
        network={"absent": 1.0}, vessels={"arborizing": 0.9, "absent": 0.1}, asymmetric=0.4,
        nests=0.8, scale=0.05,
    ),
    "benign keratosis": Kind(
        colour=BROWN, border={"sharp": 0.85, "irregular": 0.15},
        network={"absent": 0.94, "typical": 0.06}, vessels={"absent": 0.9, "dotted": 0.1},
        asymmetric=0.3, cysts=0.95, scale=0.25,
    ),
    "dermatofibroma": Kind(
        colour={"light brown": 0.7, "pink": 0.3}, border={"blurred": 0.85, "sharp": 0.15},
        network={"typical": 0.75, "absent": 0.25}, vessels={"absent": 0.8, "dotted": 0.2},
        scar=0.92,
    ),
    "melanoma": Kind(
        colour={"dark brown": 0.65, "light brown": 0.35}, border={"irregular": 0.8, "sharp": 0.2},
        network={"atypical": 0.75, "absent": 0.25}, vessels={"absent": 0.8, "dotted": 0.2},
        asymmetric=0.85, veil=0.65, scar=0.05,
    ),
    "melanocytic nevus": Kind(
        colour=BROWN, border={"sharp": 0.65, "blurred": 0.25, "irregular": 0.1},
        network={"typical": 0.88, "atypical": 0.06, "absent": 0.06}, vessels={"absent": 1.0},
        asymmetric=0.1, cysts=0.04,
    ),
    "vascular lesion": Kind(
        colour={"red": 0.7, "pink": 0.3}, border={"sharp": 0.9, "blurred": 0.1},
        network={"absent": 1.0}, vessels={"absent": 0.85, "dotted": 0.15}, lagoons=0.95,
    ),
}  # fmt: skip
TONES = {"fair": (0.91, 0.73, 0.66), "medium tone": (0.82, 0.62, 0.51), "dark": (0.66, 0.47, 0.37)}
COLOURS = {
    "light brown": (0.60, 0.41, 0.30),
    "dark brown": (0.39, 0.25, 0.19),
    "pink": (0.82, 0.52, 0.49),
    "red": (0.72, 0.30, 0.31),
}
SOFT = {"sharp": 0.012, "blurred": 0.05, "irregular": 0.018}


@dataclass(frozen=True, kw_only=True, slots=True)
class Lesion:
    """Where everything is, as fractions of the image side."""

    body: Outline
    vessels: tuple[tuple[np.ndarray, float], ...]
    spots: np.ndarray  # cysts, vessel dots or follicles, [n, 2]
    blobs: tuple[Outline, ...]  # nests or lagoons
    patch: Outline  # veil or scar
    hairs: tuple[tuple[np.ndarray, float], ...]
    signs: frozenset[str]  # nests, lagoons, follicles
    pitch: float  # cycles of the network along the side
    light: tuple[float, float]


def draw(label: str, rng: np.random.Generator, patient: np.random.Generator) -> Case:
    """A lesion of that class on the patient's skin."""
    kind = KINDS[label]
    tone = pick(patient, {"fair": 0.55, "medium tone": 0.3, "dark": 0.15})
    hairy = bool(patient.random() < 0.35)
    border, asymmetric = pick(rng, kind.border), bool(rng.random() < kind.asymmetric)
    body = _body(rng, border, asymmetric)
    radius = (body.width + body.height) / 2
    chance = {
        "blue-white veil": kind.veil, "milia-like cysts": kind.cysts, "white scar": kind.scar,
        "scale": kind.scale,
    }  # fmt: skip
    facts = {
        "size": "small" if radius < 0.22 else "medium" if radius < 0.29 else "large",
        "symmetry": "asymmetric" if asymmetric else "symmetric",
        "border": border,
        "main colour": pick(rng, kind.colour),
        "pigment network": pick(rng, kind.network),
        "vessels": pick(rng, kind.vessels),
        **{sign: "present" if rng.random() < p else "absent" for sign, p in chance.items()},
        "hair": "present" if hairy else "absent",
        "skin tone": tone,
    }
    hidden = {"nests": kind.nests, "lagoons": kind.lagoons, "follicles": kind.follicles}
    signs = frozenset(sign for sign, p in hidden.items() if rng.random() < p)
    lesion = Lesion(
        body=body,
        vessels=_vessels(rng, body) if facts["vessels"] == "arborizing" else (),
        spots=_inside(rng, body, int(rng.integers(14, 26))),
        blobs=_blobs(rng, body, "lagoons" in signs) if signs & {"nests", "lagoons"} else (),
        patch=_patch(rng, body, facts["white scar"] == "present"),
        hairs=_hairs(rng) if hairy else (),
        signs=signs,
        pitch=rng.uniform(13, 18),
        light=(float(rng.uniform(-1, 1)), float(rng.uniform(-1, 1))),
    )
    return _case(label, facts, lesion)


def _case(label: str, facts: dict[str, str], lesion: Lesion) -> Case:
    box = lesion.body.box()
    curve = lesion.body.curve()
    left, right = curve[curve[:, 0].argmin()], curve[curve[:, 0].argmax()]
    top, bottom = curve[curve[:, 1].argmin()], curve[curve[:, 1].argmax()]
    ends = {"lesion top": top, "lesion bottom": bottom, "lesion left": left, "lesion right": right}
    return Case(
        label=label,
        facts=facts,
        boxes=(("lesion", box),),
        points=(
            ("lesion centre", ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)),
            *((name, (float(x), float(y))) for name, (x, y) in ends.items()),
        ),
        findings=(
            "A {size}, {symmetry}, {main colour} lesion with a {border} border.",
            "Pigment network: {pigment network}.",
            "Vessels: {vessels}.",
            "Blue-white veil: {blue-white veil}; milia-like cysts: {milia-like cysts}.",
            "White scar: {white scar}; scale: {scale}.",
        ),
        impression="{label}.",
        caption="A dermatoscopic image of a {main colour} {label}.",
        geometry=lesion,
    )


def _body(rng: np.random.Generator, border: str, asymmetric: bool) -> Outline:
    radius = rng.uniform(0.17, 0.34)
    orders, amplitude = (
        ((2, 3, 4, 5, 6, 7, 8, 9), 0.38) if border == "irregular" else ((2, 3, 4), 0.05)
    )
    notch = (rng.uniform(0.2, 0.4), rng.uniform(-np.pi, np.pi), rng.uniform(0.5, 0.9))
    x, y = rng.uniform(0.43, 0.57, 2)
    return Outline(
        x, y, radius, radius * rng.uniform(0.72, 1.0),
        rng.uniform(0, np.pi), wavy(rng, amplitude, orders),
        notch if asymmetric else (0.0, 0.0, 1.0),
    )  # fmt: skip


def _inside(rng: np.random.Generator, body: Outline, count: int, reach: float = 0.8) -> np.ndarray:
    """Random places within `reach` of the outline's way from its centre."""
    way, far = rng.uniform(0, 2 * np.pi, count), reach * np.sqrt(rng.random(count))
    u, v = far * np.cos(way) * body.width, far * np.sin(way) * body.height
    cos, sin = np.cos(body.angle), np.sin(body.angle)
    return np.stack([body.x + u * cos - v * sin, body.y + u * sin + v * cos], axis=1)


def _vessels(rng: np.random.Generator, body: Outline) -> tuple[tuple[np.ndarray, float], ...]:
    """A few stems that set out from the rim and branch towards the middle."""
    paths = []
    for _ in range(int(rng.integers(2, 5))):
        way = rng.uniform(0, 2 * np.pi)
        reach = 0.85 * min(body.width, body.height)
        start = (body.x + reach * np.cos(way), body.y + reach * np.sin(way))
        stem = wander(rng, start, way + np.pi, reach * rng.uniform(1.0, 1.6), turn=0.3)
        paths.append((stem, 0.013))
        for fork in rng.integers(2, 9, 3):
            branch = way + np.pi + rng.choice([-0.8, 0.8])
            place = (float(stem[fork][0]), float(stem[fork][1]))
            paths.append((wander(rng, place, branch, reach * 0.5, steps=6), 0.008))
    return tuple(paths)


def _blobs(rng: np.random.Generator, body: Outline, many: bool) -> tuple[Outline, ...]:
    radius = 0.3 if many else 0.16
    count = int(rng.integers(6, 11)) if many else int(rng.integers(2, 6))
    sizes = rng.uniform(0.5, 1.0, count) * radius * min(body.width, body.height)
    return tuple(
        Outline(x, y, s, s * rng.uniform(0.7, 1.0), rng.uniform(0, np.pi), wavy(rng, 0.08))
        for (x, y), s in zip(_inside(rng, body, count, 0.72), sizes, strict=True)
    )


def _patch(rng: np.random.Generator, body: Outline, central: bool) -> Outline:
    ((x, y),) = _inside(rng, body, 1, 0.1 if central else 0.55)
    size = rng.uniform(0.35, 0.5) * min(body.width, body.height)
    return Outline(x, y, size, size * rng.uniform(0.7, 1.0), rng.uniform(0, np.pi), wavy(rng, 0.2))


def _hairs(rng: np.random.Generator) -> tuple[tuple[np.ndarray, float], ...]:
    way = rng.uniform(0, np.pi)
    found = []
    for _ in range(int(rng.integers(3, 9))):
        x, y = rng.uniform(-0.1, 1.1, 2)
        path = wander(rng, (x, y), way + rng.normal(0, 0.5), rng.uniform(0.5, 1.1), turn=0.09)
        found.append((path, 0.009))
    return tuple(found)


def paint(
    case: Case, size: int, shift: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """The lesion under the dermatoscope, hairs on top."""
    facts, lesion = case.facts, case.geometry
    skin = np.array(TONES[facts["skin tone"]]) + rng.normal(0, 0.015, 3)
    image = np.broadcast_to(skin.astype(np.float32), (size, size, 3)).copy()
    image += (cloud(rng, size, 5) * 0.016 + cloud(rng, size, 26) * 0.014)[..., None]
    soft = SOFT[facts["border"]]
    x, y = grid(size)
    depth = lesion.body.depth(x, y)
    body = edge(depth, soft)
    _paint_body(image, facts, lesion, body, depth, rng)
    _paint_signs(image, facts, lesion, body, size, rng)
    if lesion.hairs:
        cover(image, (0.20, 0.14, 0.11), strokes(lesion.hairs, size) * np.float32(0.75))
    slope = (x - 0.5) * np.float32(lesion.light[0]) + (y - 0.5) * np.float32(lesion.light[1])
    image *= (1 + np.float32(0.14) * slope)[..., None]
    image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(0.012)
    return to_bytes(SCANNER.see(image, shift, rng))


def _paint_body(
    image: Colour,
    facts: Mapping[str, str],
    lesion: Lesion,
    body: Plane,
    depth: Plane,
    rng: np.random.Generator,
) -> None:
    """The ground colour, its mottling, and the pigment network."""
    size = image.shape[0]
    tint = np.array(COLOURS[facts["main colour"]]) + rng.normal(0, 0.03) + rng.normal(0, 0.012, 3)
    tint *= 0.4 + 0.6 * np.array(TONES[facts["skin tone"]]) / np.array(TONES["fair"])
    cover(image, tint, body * np.float32(0.8))
    mottled = 0.085 if facts["symmetry"] == "asymmetric" else 0.03
    image += (body * cloud(rng, size, 5))[..., None] * np.float32(mottled)
    network = facts["pigment network"]
    if network != "absent":
        rim = facts["white scar"] == "present"
        where = body * (1 - edge(depth - 0.11, 0.06)) if rim else body
        mesh = _mesh(lesion, network == "atypical", size, rng)
        cover(image, tint * 0.5, where * mesh * np.float32(0.7))


def _mesh(lesion: Lesion, atypical: bool, size: int, rng: np.random.Generator) -> Plane:
    """A honeycomb: even and fine when typical; warped, coarse and broken when atypical."""
    x, y = grid(size)
    bend = np.float32(2.2 if atypical else 0.7)
    pitch = 2 * np.pi * lesion.pitch * (0.62 if atypical else 1.0)
    waves = np.zeros_like(x)
    drift = cloud(rng, size, 5) * bend
    for turn in (0.0, np.pi / 3, 2 * np.pi / 3):
        way = lesion.body.angle + turn
        ahead = x * np.float32(np.cos(way) * pitch) + y * np.float32(np.sin(way) * pitch)
        waves += np.cos(ahead + drift * np.float32(np.cos(turn + 1)))
    mesh = np.clip((0.35 - waves) / 1.4, 0, 1)
    if atypical:
        mesh = mesh * np.clip(cloud(rng, size, 5) * 0.9 + 0.8, 0, 1.5)
    return np.asarray(mesh, np.float32)


def _paint_signs(
    image: Colour,
    facts: Mapping[str, str],
    lesion: Lesion,
    body: Plane,
    size: int,
    rng: np.random.Generator,
) -> None:
    """What a dermatologist looks for inside the lesion."""
    if "follicles" in lesion.signs:
        ring = dots(lesion.spots, size, 0.02) - dots(lesion.spots, size, 0.009)
        cover(image, (0.80, 0.36, 0.35), np.clip(ring, 0, 1) * body * np.float32(0.6))
        cover(image, (0.93, 0.82, 0.74), dots(lesion.spots, size, 0.009) * body * np.float32(0.8))
    for blob in lesion.blobs:
        if "lagoons" in lesion.signs:
            fill(image, blob, (0.56, 0.09, 0.16), soft=0.014, alpha=0.75)
        else:
            fill(image, blob, (0.36, 0.36, 0.46), soft=0.016, alpha=0.8)
    if facts["blue-white veil"] == "present":
        fill(image, lesion.patch, (0.46, 0.47, 0.56), soft=0.05, alpha=0.6)
    if facts["white scar"] == "present":
        fill(image, lesion.patch, (0.90, 0.80, 0.76), soft=0.045, alpha=0.8)
    if facts["milia-like cysts"] == "present":
        half = len(lesion.spots) // 2
        pale, plug = lesion.spots[:half], lesion.spots[half:]
        cover(image, (0.95, 0.90, 0.78), dots(pale, size, 0.013) * body * np.float32(0.85))
        cover(image, (0.20, 0.12, 0.10), dots(plug, size, 0.011) * body * np.float32(0.8))
    if facts["vessels"] == "dotted":
        cover(image, (0.66, 0.16, 0.20), dots(lesion.spots, size, 0.007) * body * np.float32(0.7))
    if lesion.vessels:
        cover(image, (0.70, 0.14, 0.19), strokes(lesion.vessels, size) * body * np.float32(0.8))
    if facts["scale"] == "present":
        flakes = np.clip(cloud(rng, size, 20) - 0.75, 0, 1) * body
        cover(image, (0.96, 0.92, 0.84), flakes * np.float32(0.7))
