"""Frontal chest radiographs with six everyday findings; the patient's right is at the left."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from residency.phantoms.brush import (
    Outline,
    Plane,
    Scanner,
    cloud,
    edge,
    grid,
    strokes,
    to_bytes,
    wander,
    wavy,
)
from residency.phantoms.case import Case, Rectangle, pick

NAME = "chest radiograph"
LABELS = (
    "no finding",
    "pneumonia",
    "pleural effusion",
    "pneumothorax",
    "cardiomegaly",
    "lung nodule",
)
TRAITS: Mapping[str, tuple[str, ...]] = {
    "side": ("none", "right", "left", "both"),
    "zone": ("none", "upper", "middle", "lower"),
    "opacity": ("none", "patchy", "homogeneous", "round"),
    "extent": ("none", "small", "moderate", "large"),
    "heart size": ("normal", "enlarged"),
    "costophrenic angles": ("sharp", "blunted"),
    "pleural line": ("absent", "visible"),
    "vascular markings": ("normal", "prominent"),
    "inspiration": ("full", "shallow"),
    "device": ("none", "pacemaker", "central line"),
    "exposure": ("dark", "balanced", "bright"),
}
WORDS: Mapping[str, str] = {
    NAME: "胸部X线片",
    "no finding": "未见异常",
    "pneumonia": "肺炎",
    "pleural effusion": "胸腔积液",
    "pneumothorax": "气胸",
    "cardiomegaly": "心脏增大",
    "lung nodule": "肺结节",
    "side": "侧别",
    "zone": "肺野",
    "opacity": "阴影",
    "extent": "范围",
    "heart size": "心脏大小",
    "costophrenic angles": "肋膈角",
    "pleural line": "胸膜线",
    "vascular markings": "肺纹理",
    "inspiration": "吸气程度",
    "device": "植入装置",
    "exposure": "曝光",
    "none": "无",
    "right": "右侧",
    "left": "左侧",
    "both": "双侧",
    "upper": "上",
    "middle": "中",
    "lower": "下",
    "patchy": "斑片状",
    "homogeneous": "均匀",
    "round": "圆形",
    "small": "小",
    "moderate": "中等",
    "large": "大",
    "normal": "正常",
    "enlarged": "增大",
    "sharp": "锐利",
    "blunted": "变钝",
    "absent": "未见",
    "visible": "可见",
    "prominent": "增多",
    "full": "充分",
    "shallow": "不足",
    "pacemaker": "起搏器",
    "central line": "中心静脉导管",
    "dark": "偏暗",
    "balanced": "适中",
    "bright": "偏亮",
    "heart": "心脏",
    "right lung": "右肺",
    "left lung": "左肺",
    "right apex": "右肺尖",
    "left apex": "左肺尖",
    "right costophrenic angle": "右肋膈角",
    "left costophrenic angle": "左肋膈角",
    "carina": "气管隆突",
    "heart apex": "心尖",
    "The lungs are clear.": "双肺清晰。",
    "There is a {extent} {opacity} opacity in the {side} {zone} zone.": (
        "{side}{zone}肺野见{opacity}阴影,范围{extent}。"
    ),
    "There is {extent} fluid in the {side} pleural space.": "{side}胸腔内见液体,量{extent}。",
    "A pleural line is {pleural line} in the {side} {zone} zone, with {extent} air outside it.": (
        "{side}{zone}肺野{pleural line}胸膜线,其外积气量{extent}。"
    ),
    "The heart is {heart size} and the costophrenic angles are {costophrenic angles}.": (
        "心脏{heart size},肋膈角{costophrenic angles}。"
    ),
    "Vascular markings are {vascular markings}; inspiration is {inspiration}.": (
        "肺纹理{vascular markings};吸气{inspiration}。"
    ),
    "Device: {device}.": "植入装置:{device}。",
    "{label}.": "{label}。",
    "{label} on the {side} side.": "{side}{label}。",
    "A frontal chest radiograph: {label}.": "正位胸片:{label}。",
}
SCANNER = Scanner(cast=(0.97, 0.97, 0.97), contrast=0.6, noise=0.05, blur=0.011, vignette=0.55)


@dataclass(frozen=True, kw_only=True, slots=True)
class Thorax:
    """Where everything is, as fractions of the image side."""

    right: Outline  # the lungs, by the patient's side
    left: Outline
    domes: tuple[float, float]  # height of the right and the left diaphragm
    heart: Outline
    lesion: Outline | None  # consolidation or nodule
    level: float  # top of the fluid; 1 without
    gap: float  # width of the air outside a collapsed lung; 0 without
    side: str
    device: tuple[tuple[np.ndarray, float], ...]
    ribs: tuple[float, float]  # spacing and phase
    vessels: tuple[tuple[np.ndarray, float], ...]


def draw(label: str, rng: np.random.Generator, patient: np.random.Generator) -> Case:
    """A film of the patient with that finding."""
    inspiration = pick(rng, {"full": 0.75, "shallow": 0.25})
    right, left, domes = _lungs(patient, rng, inspiration == "shallow")
    side = pick(rng, {"right": 0.5, "left": 0.5})
    local = label in ("pneumonia", "lung nodule")
    zone = {"pleural effusion": "lower", "pneumothorax": "upper"}.get(label, "none")
    zone = pick(rng, {"upper": 0.3, "middle": 0.35, "lower": 0.35}) if local else zone
    severity = rng.random()
    lung, dome = (right, domes[0]) if side == "right" else (left, domes[1])
    lesion = _lesion(rng, lung, dome, zone, label, severity) if local else None
    ratio = rng.uniform(0.565, 0.68) if label == "cardiomegaly" else rng.uniform(0.43, 0.555)
    heart = _heart(rng, right, left, ratio, min(domes))
    fluid, air = label == "pleural effusion", label == "pneumothorax"
    markings = pick(rng, {"normal": 0.7, "prominent": 0.3})
    marked = local or fluid or air
    facts = {
        "side": side if marked else "none",
        "zone": zone,
        "opacity": {"pneumonia": "patchy", "pleural effusion": "homogeneous",
                    "lung nodule": "round"}.get(label, "none"),
        "extent": ("small", "moderate", "large")[int(severity * 3)] if marked else "none",
        "heart size": "enlarged" if label == "cardiomegaly" else "normal",
        "costophrenic angles": "blunted" if fluid else "sharp",
        "pleural line": "visible" if air else "absent",
        "vascular markings": markings,
        "inspiration": inspiration,
        "device": pick(rng, {"none": 0.72, "pacemaker": 0.14, "central line": 0.14}),
        "exposure": pick(rng, {"dark": 0.25, "balanced": 0.5, "bright": 0.25}),
    }  # fmt: skip
    thorax = Thorax(
        right=right, left=left, domes=domes, heart=heart, lesion=lesion, side=side,
        level=dome - (0.03 + 0.22 * severity) if fluid else 1.0,
        gap=0.045 + 0.075 * severity if air else 0.0,
        device=_device(rng, facts["device"]),
        ribs=(float(patient.uniform(0.068, 0.078)), float(patient.uniform(0, 1))),
        vessels=_vessels(rng, right, left, markings == "prominent"),
    )  # fmt: skip
    return _case(label, facts, thorax)


def _lungs(
    patient: np.random.Generator, rng: np.random.Generator, shallow: bool
) -> tuple[Outline, Outline, tuple[float, float]]:
    """The lung fields as ellipses, and how low the two domes of the diaphragm reach."""
    wide, tall = patient.uniform(0.155, 0.18), patient.uniform(0.40, 0.44)
    x, tilt = 0.5 + rng.uniform(-0.02, 0.02), patient.uniform(0.05, 0.12)
    top = rng.uniform(0.46, 0.49)
    right = Outline(x - wide - 0.055, top, wide, tall, tilt, ((2, 0.05, 0.0),))
    left = Outline(x + wide + 0.06, top, wide * 0.96, tall, -tilt, ((2, 0.05, 0.0),))
    floor = (0.685 if shallow else 0.755) + rng.uniform(-0.02, 0.02)
    return right, left, (floor, floor + rng.uniform(0.01, 0.03))


def _heart(
    rng: np.random.Generator, right: Outline, left: Outline, ratio: float, dome: float
) -> Outline:
    """The heart shadow; `ratio` is its width over that of the thorax."""
    thorax = (left.x + left.width) - (right.x - right.width)
    half = ratio * thorax / 2 * 1.02
    x = (right.x + left.x) / 2 + half * rng.uniform(0.2, 0.32)
    return Outline(x, dome - half * 0.62, half, half * 0.88, 0.45, ((3, 0.04, 0.5),))


def _lesion(
    rng: np.random.Generator, lung: Outline, dome: float, zone: str, label: str, severity: float
) -> Outline:
    top = lung.y - lung.height * 0.62
    share = {"upper": 0.14, "middle": 0.46, "lower": 0.8}[zone] + rng.uniform(-0.06, 0.06)
    y = top + share * (dome - 0.04 - top)
    outward = 1 if lung.x > 0.5 else -1
    x = lung.x + outward * rng.uniform(-0.15, 0.4) * lung.width
    if label == "lung nodule":
        size = 0.034 + 0.026 * severity
        return Outline(x, y, size, size * rng.uniform(0.85, 1.0), 0.0, wavy(rng, 0.08))
    size = 0.07 + 0.05 * severity
    return Outline(x, y, size, size * rng.uniform(0.7, 1.0), rng.uniform(0, 3), wavy(rng, 0.25))


def _device(rng: np.random.Generator, kind: str) -> tuple[tuple[np.ndarray, float], ...]:
    if kind == "pacemaker":
        x, y = 0.79 + rng.uniform(-0.03, 0.03), 0.23 + rng.uniform(-0.03, 0.03)
        box = np.array([[x - 0.035, y], [x + 0.035, y]])
        lead = np.array([[x, y], [0.62, 0.27], [0.50, 0.36], [0.49, 0.5], [0.55, 0.66]])
        return ((box, 0.06), (lead, 0.01))
    if kind == "central line":
        x = rng.uniform(0.26, 0.34)
        return ((np.array([[x, 0.03], [0.38, 0.16], [0.45, 0.25], [0.46, 0.46]]), 0.011),)
    return ()


def _vessels(
    rng: np.random.Generator, right: Outline, left: Outline, prominent: bool
) -> tuple[tuple[np.ndarray, float], ...]:
    """Branches that fan out from each hilum."""
    found = []
    for lung, inward in ((right, 0.0), (left, np.pi)):
        hilum = (lung.x + np.cos(inward) * lung.width * 0.72, lung.y + 0.01)
        for angle in np.linspace(-1.25, 1.25, 9 if prominent else 6):
            way = inward + np.pi + angle + rng.normal(0, 0.12)
            reach = rng.uniform(0.16, 0.26)
            found.append((wander(rng, hilum, way, reach, turn=0.16), 0.013 if prominent else 0.009))
    return tuple(found)


def _case(label: str, facts: dict[str, str], thorax: Thorax) -> Case:
    lungs = {
        "right lung": (thorax.right, thorax.domes[0]),
        "left lung": (thorax.left, thorax.domes[1]),
    }
    boxes: list[tuple[str, Rectangle]] = []
    points = [("carina", ((thorax.right.x + thorax.left.x) / 2, thorax.right.y - 0.11))]
    for name, (lung, dome) in lungs.items():
        x1, y1, x2, y2 = lung.box()
        boxes.append((name, (x1, y1, x2, min(y2, dome + 0.09))))
        curve = lung.curve()
        side, outward = name.split()[0], 1 if lung.x > 0.5 else -1
        points.append((f"{side} apex", tuple(curve[curve[:, 1].argmin()])))
        corner = curve[(curve[:, 0] - lung.x) * outward > 0]
        corner = corner[np.abs(corner[:, 1] - (dome + 0.07)).argmin()]
        points.append((f"{side} costophrenic angle", (float(corner[0]), float(corner[1]))))
    boxes.append(("heart", thorax.heart.box()))
    curve = thorax.heart.curve()
    points.append(("heart apex", tuple(curve[(curve[:, 0] + curve[:, 1]).argmax()])))
    finding = _finding(thorax)
    if finding:
        boxes.append((label, finding))
    return Case(
        label=label,
        facts=facts,
        boxes=tuple(boxes),
        points=tuple((name, (float(x), float(y))) for name, (x, y) in points),
        findings=_findings(label),
        impression="{label}." if facts["side"] == "none" else "{label} on the {side} side.",
        caption="A frontal chest radiograph: {label}.",
        geometry=thorax,
    )


def _finding(thorax: Thorax) -> Rectangle | None:
    """The box of the finding inside its lung."""
    if thorax.lesion:
        return thorax.lesion.box()
    lung, dome = (
        (thorax.right, thorax.domes[0])
        if thorax.side == "right"
        else (thorax.left, thorax.domes[1])
    )
    x1, y1, x2, _ = lung.box()
    if thorax.level < 1:
        return x1, thorax.level - 0.06, x2, dome + 0.09
    if thorax.gap:
        return x1, y1, x2, lung.y
    return None


def _findings(label: str) -> tuple[str, ...]:
    first = {
        "pneumonia": "There is a {extent} {opacity} opacity in the {side} {zone} zone.",
        "lung nodule": "There is a {extent} {opacity} opacity in the {side} {zone} zone.",
        "pleural effusion": "There is {extent} fluid in the {side} pleural space.",
        "pneumothorax": (
            "A pleural line is {pleural line} in the {side} {zone} zone, "
            "with {extent} air outside it."
        ),
    }.get(label, "The lungs are clear.")
    return (
        first,
        "The heart is {heart size} and the costophrenic angles are {costophrenic angles}.",
        "Vascular markings are {vascular markings}; inspiration is {inspiration}.",
        "Device: {device}.",
    )


def paint(
    case: Case, size: int, shift: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """The film, brighter where less radiation came through."""
    thorax: Thorax = case.geometry
    x, y = grid(size)
    middle = np.float32((thorax.right.x + thorax.left.x) / 2)
    away = np.abs(x - middle)
    torso = edge(0.455 + 0.03 * np.sin(6 * y) - away - 0.9 * np.clip(0.12 - y, 0, 1) ** 0.9, 0.03)
    film = 0.04 + torso * (0.66 + 0.05 * cloud(rng, size, 4))
    ribs = _ribs(thorax, x, y, away)
    lungs = _air(thorax, x, y) * (1 - 0.9 * _fluid(thorax, x, y))
    film -= lungs * (0.46 + 0.03 * cloud(rng, size, 6))
    film += lungs * strokes(thorax.vessels, size) * np.float32(0.13)
    film += ribs * torso * (0.045 + 0.055 * lungs)
    film += 0.13 * edge(0.05 - away, 0.02) * torso * np.clip(y * 3, 0, 1)
    film -= 0.16 * edge(0.016 - away, 0.01) * edge(thorax.right.y - 0.11 - y, 0.01)
    film += thorax.heart.mask(size, 0.022) * (0.77 - film) * np.float32(0.85)
    film = _paint_finding(film, case, lungs, size, rng)
    film += (0.97 - film) * strokes(thorax.device, size) * np.float32(0.85)
    gamma = {"dark": 1.25, "balanced": 1.0, "bright": 0.8}[case.facts["exposure"]]
    film = np.clip(film, 0, 1) ** np.float32(gamma)
    film += rng.standard_normal(film.shape, dtype=np.float32) * np.float32(0.014)
    image = np.repeat(film.astype(np.float32)[..., None], 3, axis=2)
    return to_bytes(_grey(SCANNER.see(image, shift, rng)))


def _grey(image: np.ndarray) -> np.ndarray:
    """A film has no colour, whatever the scanner's noise says."""
    return np.asarray(np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2))


def _air(thorax: Thorax, x: np.ndarray, y: np.ndarray) -> Plane:
    """Where the lungs are, down to the domes of the diaphragm."""
    air = np.zeros_like(x)
    for lung, dome in ((thorax.right, thorax.domes[0]), (thorax.left, thorax.domes[1])):
        inward = 1 if lung.x < 0.5 else -1
        bulge = (x - np.float32(lung.x + inward * 0.03)) / np.float32(lung.width)
        floor = np.float32(dome) + np.float32(0.075) * bulge**2
        inside = edge(lung.depth(x, y), 0.012) * edge(floor - y, 0.008)
        np.maximum(air, inside, out=air)
    return air


def _ribs(thorax: Thorax, x: np.ndarray, y: np.ndarray, away: np.ndarray) -> Plane:
    """Posterior ribs that slope outwards, and the clavicles."""
    spacing, phase = thorax.ribs
    course = y - 0.25 * away - 1.1 * np.clip(away - 0.22, 0, 1) ** 2 * 4
    nearness = np.abs(((course / spacing + phase) % 1) - 0.5) * 2
    ribs = np.clip(1.25 - nearness * 2.1, 0, 1) * (y > 0.08) * (y < 0.86)
    clavicle = y - (0.155 - 0.13 * (away - 0.05) + 0.25 * (away - 0.2) ** 2)
    return np.asarray(ribs + 1.5 * edge(0.014 - np.abs(clavicle), 0.008) * (away > 0.04))


def _paint_finding(
    film: Plane, case: Case, lungs: Plane, size: int, rng: np.random.Generator
) -> Plane:
    thorax: Thorax = case.geometry
    x, y = grid(size)
    if thorax.lesion and case.label == "lung nodule":
        film = film + 0.27 * thorax.lesion.mask(size, 0.012) * lungs
    elif thorax.lesion:
        patchy = np.clip(0.75 + 0.45 * cloud(rng, size, 11), 0.1, 1.3)
        film = film + 0.30 * thorax.lesion.mask(size, 0.045) * patchy * lungs
    if thorax.gap:
        outside, line = _loose(thorax, x, y)
        film = film - lungs * outside * (film - 0.14) * np.float32(0.6) + 0.15 * lungs * line
    return film


def _fluid(thorax: Thorax, x: np.ndarray, y: np.ndarray) -> Plane:
    """Fluid at the base, higher at the chest wall than in the middle."""
    lung = thorax.right if thorax.side == "right" else thorax.left
    outward = (x - np.float32(lung.x)) * np.float32(1 if lung.x > 0.5 else -1)
    rise = 0.07 * np.clip(outward / np.float32(lung.width), -0.5, 1.2)
    half = edge(outward + np.float32(lung.width * 1.1), 0.02)
    return np.asarray(edge(y - np.float32(thorax.level) + rise, 0.025) * half)


def _loose(thorax: Thorax, x: np.ndarray, y: np.ndarray) -> tuple[Plane, Plane]:
    """The air outside a lung that shrank towards its root, and the edge of that lung."""
    lung = thorax.right if thorax.side == "right" else thorax.left
    inward = thorax.gap * (1 if lung.x < 0.5 else -1)
    shrunk = Outline(
        lung.x + inward, lung.y + 0.5 * thorax.gap + 0.06, lung.width, lung.height, lung.angle,
        lung.waves,
    )  # fmt: skip
    depth = shrunk.depth(x, y)
    lateral = edge((np.float32(lung.x) - x) * np.float32(np.sign(inward)) + 0.07, 0.05)
    fade = edge(0.62 - y, 0.1) * lateral
    return edge(-depth, 0.006) * fade, np.exp(-((depth / 0.009) ** 2)) * fade
