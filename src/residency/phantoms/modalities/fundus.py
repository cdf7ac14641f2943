"""Fundus photographs with the five grades of the international diabetic retinopathy scale."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from residency.phantoms.brush import (
    Outline,
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
from residency.phantoms.case import Case, Rectangle, pick

NAME = "fundus photograph"
LABELS = (
    "no retinopathy",
    "mild retinopathy",
    "moderate retinopathy",
    "severe retinopathy",
    "proliferative retinopathy",
)
TRAITS: Mapping[str, tuple[str, ...]] = {
    "eye": ("right eye", "left eye"),
    "microaneurysms": ("none", "few", "many"),
    "haemorrhages": ("none", "few", "many"),
    "hard exudates": ("none", "few", "many"),
    "cotton wool spots": ("absent", "present"),
    "new vessels": ("absent", "present"),
    "venous beading": ("absent", "present"),
    "optic cup": ("small", "medium", "large"),
    "macula": ("spared", "involved"),
    "pigmentation": ("light", "medium", "dark"),
    "media": ("clear", "hazy"),
}
WORDS: Mapping[str, str] = {
    NAME: "眼底照片",
    "no retinopathy": "无视网膜病变",
    "mild retinopathy": "轻度视网膜病变",
    "moderate retinopathy": "中度视网膜病变",
    "severe retinopathy": "重度视网膜病变",
    "proliferative retinopathy": "增殖性视网膜病变",
    "eye": "眼别",
    "microaneurysms": "微动脉瘤",
    "haemorrhages": "出血",
    "hard exudates": "硬性渗出",
    "cotton wool spots": "棉絮斑",
    "new vessels": "新生血管",
    "venous beading": "静脉串珠",
    "optic cup": "视杯",
    "macula": "黄斑",
    "pigmentation": "色素",
    "media": "屈光介质",
    "right eye": "右眼",
    "left eye": "左眼",
    "none": "无",
    "few": "少量",
    "many": "大量",
    "absent": "未见",
    "present": "可见",
    "small": "小",
    "medium": "中等",
    "large": "大",
    "spared": "未受累",
    "involved": "受累",
    "light": "浅",
    "dark": "深",
    "clear": "清晰",
    "hazy": "混浊",
    "optic disc": "视盘",
    "haemorrhage": "出血灶",
    "exudates": "渗出灶",
    "disc centre": "视盘中心",
    "fovea": "中心凹",
    "disc top": "视盘上缘",
    "disc bottom": "视盘下缘",
    "Microaneurysms: {microaneurysms}; haemorrhages: {haemorrhages}.": (
        "微动脉瘤:{microaneurysms};出血:{haemorrhages}。"
    ),
    "Hard exudates: {hard exudates}; cotton wool spots: {cotton wool spots}.": (
        "硬性渗出:{hard exudates};棉絮斑:{cotton wool spots}。"
    ),
    "New vessels: {new vessels}; venous beading: {venous beading}.": (
        "新生血管:{new vessels};静脉串珠:{venous beading}。"
    ),
    "The macula is {macula}, the optic cup is {optic cup}.": "黄斑{macula},视杯{optic cup}。",
    "{label}, {eye}.": "{eye}{label}。",
    "A fundus photograph of the {eye} with {label}.": "{eye}眼底照片:{label}。",
}
SCANNER = Scanner(cast=(0.82, 1.08, 1.25), contrast=0.65, noise=0.035, blur=0.009, vignette=0.6)
CENTRE, RADIUS = 0.5, 0.47


@dataclass(frozen=True, kw_only=True, slots=True)
class Grade:
    """How much of each lesion an eye of that grade has (inclusive ranges and shares)."""

    aneurysms: tuple[int, int]
    haemorrhages: tuple[int, int]
    exudates: tuple[int, int]
    wool: float = 0.0
    beading: float = 0.0
    new_vessels: float = 0.0


GRADES: Mapping[str, Grade] = {
    "no retinopathy": Grade(aneurysms=(0, 0), haemorrhages=(0, 0), exudates=(0, 0)),
    "mild retinopathy": Grade(aneurysms=(4, 12), haemorrhages=(0, 0), exudates=(0, 0)),
    "moderate retinopathy": Grade(
        aneurysms=(6, 14), haemorrhages=(2, 5), exudates=(0, 16), wool=0.25
    ),
    "severe retinopathy": Grade(
        aneurysms=(12, 24), haemorrhages=(8, 15), exudates=(0, 22), wool=0.6, beading=0.6
    ),
    "proliferative retinopathy": Grade(
        aneurysms=(4, 20), haemorrhages=(2, 10), exudates=(0, 18), wool=0.4, beading=0.4,
        new_vessels=1.0,
    ),
}  # fmt: skip
GROUND = {"light": (0.86, 0.47, 0.25), "medium": (0.75, 0.36, 0.17), "dark": (0.60, 0.27, 0.13)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Eye:
    """Where everything is, as fractions of the image side."""

    disc: Outline
    cup: Outline
    fovea: tuple[float, float]
    veins: tuple[tuple[np.ndarray, float], ...]
    arteries: tuple[tuple[np.ndarray, float], ...]
    aneurysms: np.ndarray
    haemorrhages: tuple[Outline, ...]
    exudates: np.ndarray
    wool: tuple[Outline, ...]
    tuft: tuple[tuple[np.ndarray, float], ...]
    tuft_at: tuple[float, float] | None


def draw(label: str, rng: np.random.Generator, patient: np.random.Generator) -> Case:
    """One eye of that grade; the patient's two eyes share pigmentation and cup."""
    grade = GRADES[label]
    pigmentation = pick(patient, {"light": 0.3, "medium": 0.45, "dark": 0.25})
    cup = pick(patient, {"small": 0.45, "medium": 0.4, "large": 0.15})
    side = pick(rng, {"right eye": 0.5, "left eye": 0.5})
    nasal = 1 if side == "right eye" else -1
    disc_x, disc_y = 0.5 + nasal * rng.uniform(0.2, 0.25), 0.5 + rng.uniform(-0.03, 0.03)
    fovea = (disc_x - nasal * rng.uniform(0.27, 0.31), disc_y + rng.uniform(0.01, 0.04))
    beaded, tufted = (bool(rng.random() < p) for p in (grade.beading, grade.new_vessels))
    veins = _tree(rng, (disc_x, disc_y), nasal, 0.017, beaded)
    involved = bool(rng.random() < 0.4)
    counts = [int(rng.integers(low, high + 1)) for low, high in
              (grade.aneurysms, grade.haemorrhages, grade.exudates)]  # fmt: skip
    exudates = _exudates(rng, fovea, counts[2], involved)
    tuft_at = _around(rng, 1, fovea, 0.36, 0.18)[0] if tufted else None
    if tufted and rng.random() < 0.5:
        tuft_at = np.array([disc_x, disc_y])
    facts = {
        "eye": side,
        "microaneurysms": _amount(counts[0], 10),
        "haemorrhages": _amount(counts[1], 6),
        "hard exudates": _amount(len(exudates), 9),
        "cotton wool spots": "present" if rng.random() < grade.wool else "absent",
        "new vessels": "present" if tufted else "absent",
        "venous beading": "present" if beaded else "absent",
        "optic cup": cup,
        "macula": "involved" if involved and len(exudates) else "spared",
        "pigmentation": pigmentation,
        "media": pick(rng, {"clear": 0.75, "hazy": 0.25}),
    }
    height = rng.uniform(0.072, 0.086)
    inner = {"small": 0.3, "medium": 0.48, "large": 0.66}[cup] * height
    eye = Eye(
        disc=Outline(disc_x, disc_y, height * 0.88, height),
        cup=Outline(disc_x - nasal * 0.006, disc_y, inner * 0.92, inner),
        fovea=fovea,
        veins=veins,
        arteries=_tree(rng, (disc_x, disc_y), nasal, 0.011, False),
        aneurysms=_around(rng, counts[0], fovea, 0.36, 0.06),
        haemorrhages=_blots(rng, counts[1], fovea),
        exudates=exudates,
        wool=_wool(rng, fovea) if facts["cotton wool spots"] == "present" else (),
        tuft=_tuft(rng, tuft_at) if tuft_at is not None else (),
        tuft_at=None if tuft_at is None else (float(tuft_at[0]), float(tuft_at[1])),
    )
    return _case(label, facts, eye)


def _amount(count: int, many: int) -> str:
    return "none" if count == 0 else "many" if count >= many else "few"


def _tree(
    rng: np.random.Generator, disc: tuple[float, float], nasal: int, width: float, beaded: bool
) -> tuple[tuple[np.ndarray, float], ...]:
    """Four arcades from the disc, two around the macula and two nasal, with their branches."""
    found = []
    t = np.linspace(0, 1, 16)[:, None]
    for up in (-1, 1):
        for outward, reach, rise in ((-nasal, 0.62, 0.30), (nasal, 0.2, 0.30)):
            jitter = rng.normal(0, 0.018, (2, 2))
            start = np.array(disc)
            bend = start + (outward * reach * 0.22, up * rise * 1.15) + jitter[0]
            end = start + (outward * reach, up * rise * 0.75) + jitter[1]
            path = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
            found.append((path, width))
            for fork in rng.integers(4, 15, 3):
                way = np.arctan2(*(path[fork] - path[fork - 1])[::-1])
                way += rng.choice([-1, 1]) * rng.uniform(0.5, 0.9)
                place = (float(path[fork][0]), float(path[fork][1]))
                found.append(
                    (wander(rng, place, way, rng.uniform(0.1, 0.2), turn=0.15), width * 0.6)
                )
            if beaded:
                found += [(path[i : i + 2], width * 1.75) for i in range(2, 15, 3)]
    return tuple(found)


def _around(
    rng: np.random.Generator, count: int, centre: tuple[float, float], reach: float, inner: float
) -> np.ndarray:
    """Places around a centre that stay inside the field of view."""
    way, far = rng.uniform(0, 2 * np.pi, count), rng.uniform(inner, reach, count)
    places = np.stack([centre[0] + far * np.cos(way), centre[1] + far * np.sin(way)], axis=1)
    away = places - CENTRE
    distance = np.maximum(np.hypot(*away.T)[:, None], 1e-6)
    return np.asarray(CENTRE + away * np.minimum(1.0, (RADIUS - 0.06) / distance))


def _exudates(
    rng: np.random.Generator, fovea: tuple[float, float], count: int, involved: bool
) -> np.ndarray:
    """Clusters of bright specks, next to the fovea where the macula is involved."""
    if count < 3:
        return np.zeros((0, 2))
    centre = fovea if involved else tuple(_around(rng, 1, fovea, 0.3, 0.2)[0])
    return _around(rng, count, (float(centre[0]), float(centre[1])), 0.07, 0.015)


def _blots(rng: np.random.Generator, count: int, fovea: tuple[float, float]) -> tuple[Outline, ...]:
    sizes = rng.uniform(0.012, 0.026, count)
    return tuple(
        Outline(x, y, s, s * rng.uniform(0.5, 1.0), rng.uniform(0, np.pi), wavy(rng, 0.3))
        for (x, y), s in zip(_around(rng, count, fovea, 0.4, 0.08), sizes, strict=True)
    )


def _wool(rng: np.random.Generator, fovea: tuple[float, float]) -> tuple[Outline, ...]:
    places = _around(rng, int(rng.integers(2, 5)), fovea, 0.34, 0.14)
    return tuple(Outline(x, y, 0.026, 0.018, rng.uniform(0, 3), wavy(rng, 0.2)) for x, y in places)


def _tuft(rng: np.random.Generator, at: np.ndarray) -> tuple[tuple[np.ndarray, float], ...]:
    """A tangle of fine new vessels."""
    found = []
    for way in np.linspace(0, 2 * np.pi, 11)[:-1] + rng.normal(0, 0.2, 10):
        place = (float(at[0] + 0.015 * np.cos(way)), float(at[1] + 0.015 * np.sin(way)))
        found.append((wander(rng, place, way, rng.uniform(0.08, 0.13), turn=0.6), 0.006))
    return tuple(found)


def _case(label: str, facts: dict[str, str], eye: Eye) -> Case:
    disc = eye.disc
    boxes: list[tuple[str, Rectangle]] = [("optic disc", disc.box())]
    x, y = eye.fovea
    boxes.append(("macula", (x - 0.085, y - 0.085, x + 0.085, y + 0.085)))
    boxes += [("haemorrhage", blot.box(0.004)) for blot in eye.haemorrhages[:5]]
    if len(eye.exudates):
        (x1, y1), (x2, y2) = eye.exudates.min(axis=0), eye.exudates.max(axis=0)
        boxes.append(("exudates", (x1 - 0.012, y1 - 0.012, x2 + 0.012, y2 + 0.012)))
    if eye.tuft:
        ends = np.concatenate([path for path, _ in eye.tuft])
        boxes.append(("new vessels", (*ends.min(axis=0), *ends.max(axis=0))))
    return Case(
        label=label,
        facts=facts,
        boxes=tuple(boxes),
        points=(
            ("disc centre", (disc.x, disc.y)),
            ("fovea", eye.fovea),
            ("disc top", (disc.x, disc.y - disc.height)),
            ("disc bottom", (disc.x, disc.y + disc.height)),
        ),
        findings=(
            "Microaneurysms: {microaneurysms}; haemorrhages: {haemorrhages}.",
            "Hard exudates: {hard exudates}; cotton wool spots: {cotton wool spots}.",
            "New vessels: {new vessels}; venous beading: {venous beading}.",
            "The macula is {macula}, the optic cup is {optic cup}.",
        ),
        impression="{label}, {eye}.",
        caption="A fundus photograph of the {eye} with {label}.",
        geometry=eye,
    )


def paint(
    case: Case, size: int, shift: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """The round field of view on black."""
    facts, eye = case.facts, case.geometry
    x, y = grid(size)
    far = np.hypot(x - np.float32(CENTRE), y - np.float32(CENTRE))
    ground = np.array(GROUND[facts["pigmentation"]]) * rng.uniform(0.92, 1.08)
    image = np.broadcast_to(ground.astype(np.float32), (size, size, 3)).copy()
    image *= (1.06 - 0.75 * far**2 + 0.03 * cloud(rng, size, 7) + 0.02 * cloud(rng, size, 24))[
        ..., None
    ]
    near = np.hypot(x - np.float32(eye.fovea[0]), y - np.float32(eye.fovea[1]))
    cover(image, ground * (0.55, 0.42, 0.4), 0.75 * np.exp(-((near / 0.075) ** 2)))
    fill(image, eye.disc, (0.97, 0.78, 0.50), soft=0.014, alpha=0.9)
    fill(image, eye.cup, (1.0, 0.93, 0.74), soft=0.012, alpha=0.85)
    cover(image, ground * (0.62, 0.32, 0.36), strokes(eye.veins, size) * np.float32(0.85))
    cover(image, ground * (0.86, 0.46, 0.42), strokes(eye.arteries, size) * np.float32(0.75))
    _paint_lesions(image, eye, ground)
    if facts["media"] == "hazy":
        image += (0.62 * ground.astype(np.float32) + 0.12 - image) * np.float32(0.3)
    image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(0.010)
    seen = SCANNER.see(image, shift, rng)
    return to_bytes(seen * edge(np.float32(RADIUS) - far, 0.006)[..., None])


def _paint_lesions(image: np.ndarray, eye: Eye, ground: np.ndarray) -> None:
    size = image.shape[0]
    for spot in eye.wool:
        fill(image, spot, (0.95, 0.87, 0.68), soft=0.018, alpha=0.7)
    for blot in eye.haemorrhages:
        fill(image, blot, ground * (0.50, 0.16, 0.2), soft=0.008, alpha=0.9)
    cover(image, (0.98, 0.88, 0.48), dots(eye.exudates, size, 0.008) * np.float32(0.85))
    cover(image, ground * (0.55, 0.12, 0.2), dots(eye.aneurysms, size, 0.0065) * np.float32(0.85))
    if eye.tuft:
        cover(image, ground * (0.72, 0.18, 0.22), strokes(eye.tuft, size) * np.float32(0.9))
