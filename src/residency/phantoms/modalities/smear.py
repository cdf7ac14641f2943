"""Blood smears: one white cell (or platelet) among red cells, with the eight classes of BloodMNIST.

The eleven morphological traits follow the attribute list of WBCAtt (Tsutsui et al., 2023).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import UInt8

from residency.phantoms.brush import (
    Outline,
    Plane,
    Scanner,
    cloud,
    cover,
    dots,
    fill,
    to_bytes,
    wavy,
)
from residency.phantoms.case import Case, pick

NAME = "blood smear micrograph"
LABELS = (
    "basophil",
    "eosinophil",
    "erythroblast",
    "immature granulocyte",
    "lymphocyte",
    "monocyte",
    "neutrophil",
    "platelet",
)
TRAITS: Mapping[str, tuple[str, ...]] = {
    "cell size": ("small", "medium", "large"),
    "cell shape": ("round", "irregular"),
    "nucleus shape": ("absent", "round", "indented", "bilobed", "multilobed"),
    "nuclear-cytoplasmic ratio": ("none", "low", "high"),
    "chromatin": ("none", "dense", "loose"),
    "cytoplasm colour": ("light blue", "blue", "grey pink", "pink", "purple"),
    "granules": ("none", "fine", "coarse"),
    "granule colour": ("none", "pink", "red", "purple"),
    "vacuoles": ("absent", "present"),
    "red cell density": ("sparse", "normal", "crowded"),
    "neighbouring platelet": ("absent", "present"),
}
WORDS: Mapping[str, str] = {
    NAME: "血涂片显微图像",
    "basophil": "嗜碱性粒细胞",
    "eosinophil": "嗜酸性粒细胞",
    "erythroblast": "有核红细胞",
    "immature granulocyte": "未成熟粒细胞",
    "lymphocyte": "淋巴细胞",
    "monocyte": "单核细胞",
    "neutrophil": "中性粒细胞",
    "platelet": "血小板",
    "cell size": "细胞大小",
    "cell shape": "细胞形状",
    "nucleus shape": "细胞核形状",
    "nuclear-cytoplasmic ratio": "核质比",
    "chromatin": "染色质",
    "cytoplasm colour": "细胞质颜色",
    "granules": "颗粒",
    "granule colour": "颗粒颜色",
    "vacuoles": "空泡",
    "red cell density": "红细胞密度",
    "neighbouring platelet": "邻近血小板",
    "small": "小",
    "medium": "中等",
    "large": "大",
    "round": "圆形",
    "irregular": "不规则",
    "absent": "无",
    "present": "有",
    "indented": "凹陷",
    "bilobed": "双叶",
    "multilobed": "多叶",
    "none": "没有",
    "low": "低",
    "high": "高",
    "dense": "致密",
    "loose": "疏松",
    "light blue": "淡蓝色",
    "blue": "蓝色",
    "grey pink": "灰粉色",
    "pink": "粉色",
    "purple": "紫色",
    "fine": "细小",
    "coarse": "粗大",
    "red": "红色",
    "sparse": "稀疏",
    "normal": "正常",
    "crowded": "拥挤",
    "cell": "细胞",
    "nucleus": "细胞核",
    "cell centre": "细胞中心",
    "nucleus centre": "细胞核中心",
    "cell top": "细胞上缘",
    "cell bottom": "细胞下缘",
    "A {cell size}, {cell shape} cell with {cytoplasm colour} cytoplasm.": (
        "细胞大小{cell size},形状{cell shape},细胞质呈{cytoplasm colour}。"
    ),
    "The nucleus is {nucleus shape} with {chromatin} chromatin.": (
        "细胞核{nucleus shape},染色质{chromatin}。"
    ),
    "No nucleus is seen.": "未见细胞核。",
    "The granules are {granules} and {granule colour}.": "颗粒{granules},呈{granule colour}。",
    "No granules are seen.": "未见颗粒。",
    "Vacuoles are {vacuoles}.": "空泡:{vacuoles}。",
    "The red cells are {red cell density}.": "红细胞密度{red cell density}。",
    "{label}.": "{label}。",
    "A blood smear showing one {label} among red cells.": "血涂片,红细胞之间可见一个{label}。",
}
SCANNER = Scanner(cast=(0.86, 0.94, 1.1), contrast=0.68, noise=0.045, blur=0.009, vignette=0.45)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """What the cells of one class look like; ranges are uniform, shares are of all cells."""

    radius: tuple[float, float]
    nuclei: Mapping[str, float]  # nucleus shape to its share
    fill: tuple[float, float]  # nucleus radius over cell radius
    dense: float  # share with dense chromatin
    cytoplasm: Mapping[str, float]
    granules: Mapping[tuple[str, str], float]  # (size, colour) to its share
    vacuoles: float = 0.05
    irregular: float = 0.15


NONE = ("none", "none")
KINDS: Mapping[str, Kind] = {
    "basophil": Kind(
        radius=(0.25, 0.31), nuclei={"bilobed": 0.6, "indented": 0.4}, fill=(0.64, 0.76), dense=0.5,
        cytoplasm={"purple": 0.6, "pink": 0.4}, granules={("coarse", "purple"): 1.0},
    ),
    "eosinophil": Kind(
        radius=(0.26, 0.33), nuclei={"bilobed": 0.8, "multilobed": 0.2}, fill=(0.6, 0.72),
        dense=0.7, cytoplasm={"pink": 0.8, "grey pink": 0.2},
        granules={("coarse", "red"): 0.8, ("coarse", "pink"): 0.2},
    ),
    "erythroblast": Kind(
        radius=(0.18, 0.25), nuclei={"round": 1.0}, fill=(0.52, 0.7), dense=0.95,
        cytoplasm={"grey pink": 0.6, "blue": 0.25, "light blue": 0.15}, granules={NONE: 1.0},
    ),
    "immature granulocyte": Kind(
        radius=(0.29, 0.38), nuclei={"round": 0.45, "indented": 0.55}, fill=(0.64, 0.8), dense=0.2,
        cytoplasm={"pink": 0.4, "blue": 0.3, "light blue": 0.3},
        granules={("fine", "pink"): 0.35, ("fine", "purple"): 0.55, NONE: 0.1}, vacuoles=0.1,
    ),
    "lymphocyte": Kind(
        radius=(0.19, 0.28), nuclei={"round": 0.85, "indented": 0.15}, fill=(0.74, 0.9), dense=0.8,
        cytoplasm={"light blue": 0.55, "blue": 0.45},
        granules={NONE: 0.93, ("fine", "purple"): 0.07},
    ),
    "monocyte": Kind(
        radius=(0.29, 0.38), nuclei={"indented": 0.85, "round": 0.15}, fill=(0.62, 0.78), dense=0.1,
        cytoplasm={"light blue": 0.5, "blue": 0.3, "grey pink": 0.2},
        granules={NONE: 0.8, ("fine", "pink"): 0.2}, vacuoles=0.65, irregular=0.6,
    ),
    "neutrophil": Kind(
        radius=(0.26, 0.33), nuclei={"multilobed": 0.8, "bilobed": 0.14, "indented": 0.06},
        fill=(0.58, 0.72), dense=0.7,
        cytoplasm={"pink": 0.6, "grey pink": 0.25, "light blue": 0.15},
        granules={("fine", "pink"): 0.75, ("fine", "purple"): 0.15, NONE: 0.1},
    ),
    "platelet": Kind(
        radius=(0.09, 0.17), nuclei={"absent": 1.0}, fill=(0.0, 0.0), dense=0.0,
        cytoplasm={"purple": 0.6, "light blue": 0.4},
        granules={("fine", "purple"): 0.7, ("coarse", "purple"): 0.3}, irregular=0.6,
    ),
}  # fmt: skip
CYTOPLASM = {
    "light blue": (0.73, 0.77, 0.87),
    "blue": (0.56, 0.61, 0.81),
    "grey pink": (0.76, 0.69, 0.73),
    "pink": (0.88, 0.74, 0.78),
    "purple": (0.71, 0.58, 0.76),
}
GRANULES = {"pink": (0.80, 0.52, 0.62), "red": (0.85, 0.38, 0.33), "purple": (0.36, 0.16, 0.46)}
RED_CELLS = {"sparse": 3, "normal": 7, "crowded": 11}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """Where everything is, as fractions of the image side."""

    body: Outline
    nucleus: tuple[Outline, ...]
    granules: np.ndarray  # [n, 2]
    vacuoles: tuple[Outline, ...]
    red: tuple[Outline, ...]
    platelet: Outline | None
    stain: tuple[float, float]  # strength, hue: shared by all fields of a patient


def draw(label: str, rng: np.random.Generator, patient: np.random.Generator) -> Case:
    """A field of view with one cell of that class in the middle."""
    kind = KINDS[label]
    radius = rng.uniform(*kind.radius)
    granules = pick(rng, kind.granules)
    density = str(patient.choice(list(RED_CELLS)))
    irregular = rng.random() < kind.irregular
    shape = pick(rng, kind.nuclei)
    ratio = rng.uniform(*kind.fill)
    x, y = rng.uniform(0.44, 0.56, 2)
    body = Outline(
        x, y, radius, radius * rng.uniform(0.84, 1.0),
        rng.uniform(0, np.pi), wavy(rng, 0.2 if irregular else 0.04),
    )  # fmt: skip
    nucleus = _nucleus(rng, shape, body, radius * ratio)
    vacuoles = _vacuoles(rng, body) if rng.random() < kind.vacuoles else ()
    red = _red_cells(rng, body, RED_CELLS[density] + int(rng.integers(-1, 2)))
    platelet = _platelet(rng, (body, *red)) if rng.random() < 0.25 else None
    facts = {
        "cell size": "small" if radius < 0.22 else "medium" if radius < 0.3 else "large",
        "cell shape": "irregular" if irregular else "round",
        "nucleus shape": shape,
        "nuclear-cytoplasmic ratio": "none" if not nucleus else "high" if ratio > 0.72 else "low",
        "chromatin": "none" if not nucleus else "dense" if rng.random() < kind.dense else "loose",
        "cytoplasm colour": pick(rng, kind.cytoplasm),
        "granules": granules[0],
        "granule colour": granules[1],
        "vacuoles": "present" if vacuoles else "absent",
        "red cell density": density,
        "neighbouring platelet": "present" if platelet else "absent",
    }
    cell = Cell(
        body=body,
        nucleus=nucleus,
        granules=_granules(rng, body, granules[0], label),
        vacuoles=vacuoles,
        red=red,
        platelet=platelet,
        stain=(float(patient.uniform(0.8, 1.2)), float(patient.uniform(-1, 1))),
    )
    return _case(label, facts, cell)


def _case(label: str, facts: dict[str, str], cell: Cell) -> Case:
    """The case with its boxes, landmarks and sentences."""
    box = cell.body.box()
    boxes = [("cell", box)]
    curve = cell.body.curve()
    points = [
        ("cell centre", ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)),
        ("cell top", tuple(curve[curve[:, 1].argmin()])),
        ("cell bottom", tuple(curve[curve[:, 1].argmax()])),
    ]
    if cell.nucleus:
        lobes = np.array([lobe.box() for lobe in cell.nucleus])
        nucleus = (*lobes[:, :2].min(axis=0), *lobes[:, 2:].max(axis=0))
        boxes.append(("nucleus", nucleus))
        middle = ((nucleus[0] + nucleus[2]) / 2, (nucleus[1] + nucleus[3]) / 2)
        points.append(("nucleus centre", middle))
    return Case(
        label=label,
        facts=facts,
        boxes=tuple(boxes),
        points=tuple(points),
        findings=(
            "A {cell size}, {cell shape} cell with {cytoplasm colour} cytoplasm.",
            "The nucleus is {nucleus shape} with {chromatin} chromatin."
            if cell.nucleus
            else "No nucleus is seen.",
            "No granules are seen."
            if facts["granules"] == "none"
            else "The granules are {granules} and {granule colour}.",
            "Vacuoles are {vacuoles}.",
            "The red cells are {red cell density}.",
        ),
        impression="{label}.",
        caption="A blood smear showing one {label} among red cells.",
        geometry=cell,
    )


def _nucleus(
    rng: np.random.Generator, shape: str, body: Outline, radius: float
) -> tuple[Outline, ...]:
    """The lobes of the nucleus, all within `radius` of a point near the cell's centre."""
    if shape == "absent":
        return ()
    slack = max(min(body.width, body.height) * 0.92 - radius, 0.0) * rng.uniform(0, 0.9)
    way = rng.uniform(0, 2 * np.pi)
    x, y = body.x + slack * np.cos(way), body.y + slack * np.sin(way)
    if shape in ("round", "indented"):
        notch = (rng.uniform(0.3, 0.62), way, rng.uniform(0.45, 0.8))
        stretch = rng.uniform(0.86, 1.0) if shape == "round" else rng.uniform(0.72, 0.9)
        return (
            Outline(
                x, y, radius * stretch, radius * rng.uniform(0.92, 1.0), rng.uniform(0, np.pi),
                wavy(rng, 0.05), notch if shape == "indented" else (0.0, 0.0, 1.0),
            ),
        )  # fmt: skip
    count = 2 if shape == "bilobed" else int(rng.integers(3, 6))
    lobe = radius * {2: 0.52, 3: 0.43, 4: 0.37, 5: 0.33}[count]
    step = (np.pi if count == 2 else 1.9 * np.pi / (count + 0.6)) * rng.uniform(0.85, 1.0)
    angles = way + step * np.arange(count)
    ring = radius - lobe
    lobes = [
        Outline(
            x + ring * np.cos(a), y + ring * np.sin(a), lobe * rng.uniform(0.85, 1.15),
            lobe * rng.uniform(0.85, 1.15), rng.uniform(0, np.pi), wavy(rng, 0.1),
        )
        for a in angles
    ]  # fmt: skip
    for first, second in pairwise(lobes[:]):  # the thin bridge between them
        dx, dy = second.x - first.x, second.y - first.y
        middle = ((first.x + second.x) / 2, (first.y + second.y) / 2)
        lobes.append(Outline(*middle, np.hypot(dx, dy) / 2, lobe * 0.3, float(np.arctan2(dy, dx))))
    return tuple(lobes)


def _granules(rng: np.random.Generator, body: Outline, size: str, label: str) -> np.ndarray:
    count = {"none": 0, "fine": 160, "coarse": 95}[size] * (body.width / 0.29) ** 2
    places = rng.uniform(-1, 1, (int(count * rng.uniform(0.75, 1.25)), 2))
    places = places[np.hypot(*places.T) < 0.93] * (body.width, body.height)
    cos, sin = np.cos(body.angle), np.sin(body.angle)
    return np.asarray(places @ np.array([[cos, sin], [-sin, cos]]) + (body.x, body.y))


def _vacuoles(rng: np.random.Generator, body: Outline) -> tuple[Outline, ...]:
    found = []
    for _ in range(int(rng.integers(3, 7))):
        way, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 0.85) * body.height
        size = rng.uniform(0.012, 0.024)
        x, y = body.x + far * np.cos(way), body.y + far * np.sin(way)
        found.append(Outline(x, y, size, size * rng.uniform(0.8, 1.0)))
    return tuple(found)


def _red_cells(rng: np.random.Generator, body: Outline, count: int) -> tuple[Outline, ...]:
    """Red cells that leave the cell in the middle free and hardly overlap each other."""
    tries = count * 8
    places = rng.uniform(-0.05, 1.05, (tries, 2))
    radii = rng.uniform(0.115, 0.15, tries)
    far = np.hypot(places[:, 0] - body.x, places[:, 1] - body.y)
    kept: list[int] = []
    for i in np.flatnonzero(far > radii + body.width * 1.1):
        gaps = np.hypot(*(places[kept] - places[i]).T)
        if np.all(gaps > radii[i] + 0.7 * radii[kept]):
            kept.append(int(i))
        if len(kept) == count:
            break
    return tuple(
        Outline(
            places[i, 0], places[i, 1],
            radii[i], radii[i] * rng.uniform(0.85, 1.0), rng.uniform(0, np.pi),
            wavy(rng, 0.06),
        )
        for i in kept
    )  # fmt: skip


def _platelet(rng: np.random.Generator, taken: tuple[Outline, ...]) -> Outline | None:
    for _ in range(12):
        x, y = rng.uniform(0.06, 0.94, 2)
        if all(np.hypot(x - o.x, y - o.y) > o.width * 1.15 + 0.05 for o in taken):
            return Outline(x, y, 0.04, 0.033, rng.uniform(0, np.pi), wavy(rng, 0.15))
    return None


def paint(
    case: Case, size: int, shift: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """The stained field of view."""
    cell: Cell = case.geometry
    strength, hue = cell.stain
    cover_image = np.array([0.95, 0.90, 0.87]) + rng.normal(0, 0.012, 3)
    image = np.broadcast_to(cover_image.astype(np.float32), (size, size, 3)).copy()
    image += cloud(rng, size, 4)[..., None] * np.float32(0.012)
    for red in cell.red:
        _paint_red(image, red, rng)
    if cell.platelet:
        fill(image, cell.platelet, (0.62, 0.48, 0.70), soft=0.012, alpha=0.8)
    _paint_cell(image, case, cell, size, rng)
    image = 1 - (1 - image) * np.float32(strength)
    image += np.array([0.02, 0.0, -0.025], np.float32) * np.float32(hue)
    image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(0.012)
    return to_bytes(SCANNER.see(image, shift, rng))


def _paint_red(image: np.ndarray, red: Outline, rng: np.random.Generator) -> None:
    pale = Outline(red.x, red.y, red.width * 0.5, red.height * 0.5, red.angle)
    fill(image, red, np.array([0.86, 0.62, 0.58]) + rng.normal(0, 0.012))
    fill(image, pale, (0.93, 0.80, 0.77), soft=0.03, alpha=rng.uniform(0.4, 0.8))


def _paint_cell(
    image: np.ndarray, case: Case, cell: Cell, size: int, rng: np.random.Generator
) -> None:
    facts = case.facts
    body = cell.body.mask(size, 0.01)
    tint = np.array(CYTOPLASM[facts["cytoplasm colour"]]) + rng.normal(0, 0.022, 3)
    cover(image, tint, body * np.float32(0.92))
    image += (body * cloud(rng, size, 18))[..., None] * np.float32(0.018)
    for vacuole in cell.vacuoles:
        fill(image, vacuole, (0.95, 0.93, 0.95), alpha=0.85)
    nucleus = np.zeros((size, size), np.float32)
    for lobe in cell.nucleus:
        np.maximum(nucleus, lobe.mask(size, 0.008), out=nucleus)
    nucleus *= body
    dense = facts["chromatin"] == "dense"
    ink = np.array([0.38, 0.20, 0.50] if dense else [0.53, 0.33, 0.62]) + rng.normal(0, 0.03, 3)
    cover(image, ink, nucleus)
    texture = cloud(rng, size, 12 if dense else 22) * np.float32(0.022 if dense else 0.055)
    image += (nucleus * texture)[..., None]
    if len(cell.granules):
        _paint_granules(image, facts, cell, size, nucleus, body)


def _paint_granules(
    image: np.ndarray,
    facts: Mapping[str, str],
    cell: Cell,
    size: int,
    nucleus: Plane,
    body: Plane,
) -> None:
    coarse = facts["granules"] == "coarse"
    mask = dots(cell.granules, size, 0.011 if coarse else 0.006) * body
    colour = facts["granule colour"]
    over_nucleus = 0.75 if coarse and colour == "purple" else 0.15
    mask *= np.float32(0.85 if coarse else 0.45) * (1 - nucleus * np.float32(1 - over_nucleus))
    cover(image, GRANULES[colour], mask)
