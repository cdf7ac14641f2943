"""Contrast-enhanced abdominal CT: a volume in Hounsfield units and a cut through its lesion.

Seen from the feet, as radiologists do: the liver lies at the left of the image. Six everyday
findings of liver and kidney.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

from residency.phantoms.brush import Outline, cloud, edge, grid, to_bytes, wavy
from residency.phantoms.case import Case, Rectangle, pick

NAME = "abdominal CT"
LABELS = (
    "no lesion",
    "liver cyst",
    "liver metastasis",
    "liver hemangioma",
    "renal cyst",
    "kidney stone",
)
TRAITS: Mapping[str, tuple[str, ...]] = {
    "organ": ("none", "liver", "right kidney", "left kidney"),
    "density": ("none", "water", "soft tissue", "enhancing rim", "calcified"),
    "margin": ("none", "sharp", "ill-defined"),
    "size": ("none", "small", "medium", "large"),
    "number": ("none", "single", "several"),
    "liver density": ("normal", "fatty"),
    "spleen": ("normal", "enlarged"),
    "stomach": ("empty", "filled"),
    "body fat": ("lean", "average", "obese"),
    "aortic calcification": ("absent", "present"),
    "slice level": ("upper", "middle", "lower"),
}
WORDS: Mapping[str, str] = {
    NAME: "腹部CT",
    "no lesion": "未见病灶",
    "liver cyst": "肝囊肿",
    "liver metastasis": "肝转移瘤",
    "liver hemangioma": "肝血管瘤",
    "renal cyst": "肾囊肿",
    "kidney stone": "肾结石",
    "organ": "器官",
    "density": "密度",
    "margin": "边缘",
    "size": "大小",
    "number": "数目",
    "liver density": "肝脏密度",
    "spleen": "脾脏",
    "stomach": "胃",
    "body fat": "体脂",
    "aortic calcification": "主动脉钙化",
    "slice level": "层面",
    "none": "无",
    "liver": "肝脏",
    "right kidney": "右肾",
    "left kidney": "左肾",
    "water": "水样",
    "soft tissue": "软组织",
    "enhancing rim": "边缘强化",
    "calcified": "钙化",
    "sharp": "清晰",
    "ill-defined": "不清",
    "small": "小",
    "medium": "中等",
    "large": "大",
    "single": "单发",
    "several": "多发",
    "normal": "正常",
    "fatty": "脂肪肝",
    "enlarged": "增大",
    "empty": "空虚",
    "filled": "充盈",
    "lean": "偏瘦",
    "average": "一般",
    "obese": "肥胖",
    "absent": "无",
    "present": "有",
    "upper": "上部",
    "middle": "中部",
    "lower": "下部",
    "aorta": "主动脉",
    "spine": "脊柱",
    "liver centre": "肝脏中心",
    "lesion": "病灶",
    "lesion centre": "病灶中心",
    "body front": "体表前缘",
    "No focal lesion of liver or kidneys.": "肝脏和肾脏未见局灶性病变。",
    "{number} {size} lesion of {density} density in the {organ}, margin {margin}.": (
        "{organ}见{number}{density}密度病灶,大小{size},边缘{margin}。"
    ),
    "Liver density is {liver density}; the spleen is {spleen}.": (
        "肝脏密度:{liver density};脾脏{spleen}。"
    ),
    "The stomach is {stomach}; aortic calcification is {aortic calcification}.": (
        "胃{stomach};主动脉钙化:{aortic calcification}。"
    ),
    "{label}.": "{label}。",
    "An axial abdominal CT slice: {label}.": "腹部CT轴位图像:{label}。",
    "An abdominal CT volume: {label}.": "腹部CT容积图像:{label}。",
}
OF_A_SLICE = ("slice level",)  # traits that a volume does not have
OF_A_VOLUME = "An abdominal CT volume: {label}."  # its caption
# The organs of every `Abdomen` in the order in which they are painted; lesions follow.
ORGANS = (
    "bowel", "stomach", "liver", "spleen", "right kidney", "left kidney", "right pelvis",
    "left pelvis", "cava", "aorta", "spine", "canal",
)  # fmt: skip
STRUCTURES = (
    "liver",
    "spleen",
    "right kidney",
    "left kidney",
    "lesion",
)  # what a volume's boxes name
DEPTH = 24  # slices
FIELD_MM = 380.0
STEP_MM = 6.0
WINDOW = (40.0, 400.0)  # centre and width in HU of the picture


@dataclass(frozen=True, kw_only=True, slots=True)
class Organ:
    """An ellipsoid: its widest outline, the slice it is widest on, its reach in slices, its HU."""

    outline: Outline
    z: float
    reach: float
    hu: float
    soft: float = 0.007
    rim: float = 0.0  # HU added along the edge
    texture: float = 6.0

    def cut(self, z: float) -> tuple[Outline, float] | None:
        """The outline on a slice and its scale, None where the slice misses it."""
        away = (z - self.z) / self.reach
        if abs(away) >= 0.995:
            return None
        scale = float(np.sqrt(1 - away**2))
        shape = self.outline
        return replace(shape, width=shape.width * scale, height=shape.height * scale), scale


@dataclass(frozen=True, kw_only=True, slots=True)
class Abdomen:
    """What the volume holds and the slice that the picture shows."""

    body: Outline
    fat: float  # thickness of the subcutaneous fat
    organs: tuple[Organ, ...]
    calcified: bool
    slice: int


def spacing_mm(size: int) -> tuple[float, float, float]:
    """The voxel size (z, y, x) of a volume with `size` x `size` slices."""
    return STEP_MM, FIELD_MM / size, FIELD_MM / size


def draw(label: str, rng: np.random.Generator, patient: np.random.Generator) -> Case:
    """An examination of the patient with that finding."""
    body_fat = pick(patient, {"lean": 0.3, "average": 0.45, "obese": 0.25})
    wide = patient.uniform(0.435, 0.455) + {"lean": -0.03, "average": 0.0, "obese": 0.025}[body_fat]
    body = Outline(0.5, 0.5, wide, wide * patient.uniform(0.76, 0.85), 0.0, ((4, 0.02, 0.0),))
    fat = {"lean": 0.022, "average": 0.04, "obese": 0.062}[body_fat] + patient.uniform(0, 0.008)
    fatty, large = patient.random() < 0.2, patient.random() < 0.2
    filled = bool(rng.random() < 0.5)
    inner = Outline(0.5, 0.5, body.width - fat - 0.02, body.height - fat - 0.02)
    named = _organs(rng, inner, bool(fatty), bool(large), filled)
    lesions, facts = _lesions(rng, label, named)
    level = lesions[0].z if lesions else rng.uniform(7, 17)
    at = int(np.clip(round(level), 1, DEPTH - 2))
    calcified = bool(patient.random() < 0.25)
    facts |= {
        "liver density": "fatty" if fatty else "normal",
        "spleen": "enlarged" if large else "normal",
        "stomach": "filled" if filled else "empty",
        "body fat": body_fat,
        "aortic calcification": "present" if calcified else "absent",
        "slice level": "upper" if at < 9 else "middle" if at < 15 else "lower",
    }
    organs = (*named.values(), *lesions)
    abdomen = Abdomen(body=body, fat=fat, organs=organs, calcified=calcified, slice=at)
    return _case(label, facts, abdomen, named, lesions)


def _organs(
    rng: np.random.Generator, inner: Outline, fatty: bool, large: bool, filled: bool
) -> dict[str, Organ]:
    """The organs by name, painted in this order; the patient's right is at the left."""
    w, h = inner.width, inner.height

    def at(x: float, y: float, width: float, height: float, angle: float = 0.0) -> Outline:
        jitter = rng.uniform(-0.012, 0.012, 2)
        return Outline(
            0.5 + x * w + jitter[0], 0.5 + y * h + jitter[1], width * w, height * h, angle
        )

    spleen = 1.25 if large else 1.0
    liver = replace(
        at(-0.46, -0.08, 0.49, 0.70, -0.15), waves=wavy(rng, 0.07), notch=(0.22, 0.9, 0.6)
    )
    return {
        "bowel": Organ(outline=at(0.1, -0.3, 0.6, 0.42), z=22.0, reach=10.0, hu=38.0,
                       texture=28.0),
        "stomach": Organ(outline=at(0.34, -0.48, *((0.36, 0.3) if filled else (0.2, 0.18)), 0.4),
                         z=5.0, reach=11.0, hu=22.0 if filled else 48.0, rim=35.0),
        "liver": Organ(outline=liver, z=8.0, reach=14.0,
                       hu=60.0 if fatty else rng.uniform(98, 116)),
        "spleen": Organ(outline=at(0.68, 0.14, 0.21 * spleen, 0.36 * spleen, 0.35), z=6.0,
                        reach=9.0 * spleen, hu=rng.uniform(118, 132)),
        "right kidney": Organ(outline=at(-0.42, 0.52, 0.2, 0.27, 0.5), z=16.0, reach=9.0, hu=165.0,
                              rim=30.0),
        "left kidney": Organ(outline=at(0.42, 0.50, 0.2, 0.27, -0.5), z=14.0, reach=9.0, hu=165.0,
                             rim=30.0),
        "right pelvis": Organ(outline=at(-0.36, 0.50, 0.07, 0.09, 0.5), z=16.0, reach=4.0, hu=10.0),
        "left pelvis": Organ(outline=at(0.36, 0.48, 0.07, 0.09, -0.5), z=14.0, reach=4.0, hu=10.0),
        "cava": Organ(outline=at(-0.12, 0.28, 0.075, 0.085), z=12.0, reach=90.0, hu=125.0),
        "aorta": Organ(outline=at(0.05, 0.34, 0.068, 0.09), z=12.0, reach=90.0, hu=185.0),
        "spine": Organ(outline=at(0.0, 0.62, 0.17, 0.21), z=12.0, reach=90.0, hu=210.0, rim=260.0,
                       texture=40.0),
        "canal": Organ(outline=at(0.0, 0.86, 0.065, 0.065), z=12.0, reach=90.0, hu=35.0),
    }  # fmt: skip


def _lesions(
    rng: np.random.Generator, label: str, named: Mapping[str, Organ]
) -> tuple[tuple[Organ, ...], dict[str, str]]:
    """The lesions, largest first, and what is true of them."""
    if label == "no lesion":
        return (), dict.fromkeys(("organ", "density", "margin", "size", "number"), "none")
    organ = "liver" if label.startswith("liver") else pick(
        rng, {"right kidney": 0.5, "left kidney": 0.5}
    )  # fmt: skip
    host = named[organ]
    radius = rng.uniform(0.036, 0.08) if organ == "liver" else rng.uniform(0.032, 0.058)
    size = "small" if radius < 0.042 else "medium" if radius < 0.058 else "large"
    several = label == "liver metastasis" and rng.random() < 0.6
    if label == "kidney stone":
        radius = rng.uniform(0.014, 0.024)
        size = "small" if radius < 0.019 else "medium"
    look = {
        "liver cyst": (rng.uniform(0, 14), 0.007, 0.0, 3.0),
        "liver metastasis": (rng.uniform(36, 60), 0.022, rng.uniform(0, 18), 8.0),
        "liver hemangioma": (rng.uniform(45, 70), 0.008, rng.uniform(100, 150), 6.0),
        "renal cyst": (rng.uniform(0, 16), 0.006, 0.0, 3.0),
        "kidney stone": (rng.uniform(600, 1000), 0.006, 0.0, 0.0),
    }[label]
    count = int(rng.integers(2, 5)) if several else 1
    found = tuple(
        _lesion(rng, host, radius * (1.0 if i == 0 else rng.uniform(0.5, 0.9)), look, label, i)
        for i in range(count)
    )
    facts = {
        "organ": organ,
        "density": {"liver metastasis": "soft tissue", "liver hemangioma": "enhancing rim",
                    "kidney stone": "calcified"}.get(label, "water"),
        "margin": "ill-defined" if label == "liver metastasis" else "sharp",
        "size": size,
        "number": "several" if several else "single",
    }  # fmt: skip
    return found, facts


def _lesion(
    rng: np.random.Generator,
    host: Organ,
    radius: float,
    look: tuple[float, float, float, float],
    label: str,
    index: int,
) -> Organ:
    """One lesion inside its organ; a renal cyst bulges out of it, a stone lies in the pelvis."""
    reach = {"renal cyst": (0.8, 1.0), "kidney stone": (0.0, 0.35)}.get(label, (0.1, 0.66))
    far, way = rng.uniform(*reach), rng.uniform(0, 2 * np.pi)
    shape = host.outline
    u, v = far * shape.width * np.cos(way), far * shape.height * np.sin(way)
    cos, sin = np.cos(shape.angle), np.sin(shape.angle)
    x, y = shape.x + u * cos - v * sin, shape.y + u * sin + v * cos
    z = host.z + (rng.uniform(-0.4, 0.4) * host.reach if index == 0 else rng.uniform(-2, 2))
    z = float(np.clip(z, 3, DEPTH - 4))
    hu, soft, rim, texture = look
    outline = Outline(
        float(x), float(y), radius, radius * rng.uniform(0.82, 1.0), rng.uniform(0, 3),
        wavy(rng, 0.04 if soft < 0.01 else 0.2),
    )  # fmt: skip
    reach_z = max(radius * FIELD_MM / STEP_MM, 1.0)
    return Organ(outline=outline, z=z, reach=reach_z, hu=hu, soft=soft, rim=rim, texture=texture)


def _case(
    label: str,
    facts: dict[str, str],
    abdomen: Abdomen,
    named: Mapping[str, Organ],
    lesions: tuple[Organ, ...],
) -> Case:
    """Boxes and landmarks on the slice that is shown."""
    boxes: list[tuple[str, Rectangle]] = []
    for name in ("liver", "spleen", "right kidney", "left kidney", "aorta", "spine"):
        cut = named[name].cut(float(abdomen.slice))
        if cut and cut[1] > 0.3:
            boxes.append((name, cut[0].box()))
    points = [("body front", (0.5, abdomen.body.y - abdomen.body.height))]
    for name, point in (("aorta", "aorta"), ("spine", "spine"), ("liver", "liver centre")):
        if named[name].cut(float(abdomen.slice)):
            points.append((point, (named[name].outline.x, named[name].outline.y)))
    if lesions:
        first = lesions[0].cut(float(abdomen.slice))
        boxes.append(("lesion", (first[0] if first else lesions[0].outline).box()))
        points.append(("lesion centre", (lesions[0].outline.x, lesions[0].outline.y)))
    return Case(
        label=label,
        facts=facts,
        boxes=tuple(boxes),
        points=tuple((name, (float(x), float(y))) for name, (x, y) in points),
        findings=(
            "{number} {size} lesion of {density} density in the {organ}, margin {margin}."
            if lesions
            else "No focal lesion of liver or kidneys.",
            "Liver density is {liver density}; the spleen is {spleen}.",
            "The stomach is {stomach}; aortic calcification is {aortic calcification}.",
        ),
        impression="{label}.",
        caption="An axial abdominal CT slice: {label}.",
        geometry=abdomen,
    )


def voxels(
    case: Case, size: int, shift: float, rng: np.random.Generator
) -> Float[np.ndarray, "z y x"]:
    """The volume in HU, first slice at the top of the abdomen."""
    seeds = rng.integers(0, 2**63, DEPTH + 1)
    return np.stack([_slice(case, z, size, shift, seeds) for z in range(DEPTH)])


def paint(
    case: Case, size: int, shift: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """The shown slice of `voxels` under the soft-tissue window."""
    return cut(case, case.geometry.slice, size, shift, rng)


def cut(
    case: Case, place: int, size: int, shift: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Any slice of `voxels` under the soft-tissue window."""
    seeds = rng.integers(0, 2**63, DEPTH + 1)
    return window(_slice(case, place, size, shift, seeds))


def window(hu: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """A slice in HU as 8-bit RGB under `WINDOW`."""
    grey = (hu - (WINDOW[0] - WINDOW[1] / 2)) / WINDOW[1]
    return to_bytes(np.repeat(grey.astype(np.float32)[..., None], 3, axis=2))


def _slice(
    case: Case, z: int, size: int, shift: float, seeds: np.ndarray
) -> Float[np.ndarray, "h w"]:
    """One slice in HU; its noise depends on the slice alone, so a cut equals its volume's slice."""
    abdomen: Abdomen = case.geometry
    rng = np.random.default_rng(int(seeds[z]))
    x, y = grid(size)
    depth = abdomen.body.depth(x, y)
    hu = np.full((size, size), -1000, np.float32)
    _blend(hu, -102 + 8 * cloud(rng, size, 12), edge(depth, 0.006))
    _blend(hu, 58 + 10 * cloud(rng, size, 16), edge(depth - np.float32(abdomen.fat), 0.006))
    inside = edge(depth - np.float32(abdomen.fat + 0.026), 0.008)
    _blend(hu, -88 + 30 * cloud(rng, size, 14), inside)
    grain = cloud(rng, size, 20)
    for organ in abdomen.organs:
        cut = organ.cut(float(z))
        if cut:
            _place(hu, organ, cut[0], grain)
    _bones(hu, abdomen, z, depth, x, y)
    return _scan(hu, shift, rng, np.random.default_rng(int(seeds[DEPTH])))


def _place(hu: np.ndarray, organ: Organ, outline: Outline, grain: np.ndarray) -> None:
    """Put the cut of an organ into the slice, in place."""
    size = hu.shape[0]
    view = outline.window(size, 0.01 + 2 * organ.soft)
    x, y = grid(size)
    depth = outline.depth(x[view], y[view])
    value = organ.hu + organ.texture * grain[view]
    if organ.rim:
        thick = np.float32(max(min(outline.width, outline.height) * 0.34, 0.009))
        value = value + organ.rim * np.exp(-((depth / thick - 0.6) ** 2) * 2.5)
    _blend(hu[view], value, edge(depth, organ.soft))


def _blend(hu: np.ndarray, value: np.ndarray, mask: np.ndarray) -> None:
    hu += mask * (value - hu)


def _bones(
    hu: np.ndarray, abdomen: Abdomen, z: int, depth: np.ndarray, x: np.ndarray, y: np.ndarray
) -> None:
    """Ribs in the abdominal wall, and calcium in the wall of the aorta."""
    wall = np.abs(depth - np.float32(abdomen.fat + 0.016))
    angle = np.arctan2((y - 0.5) * np.float32(1.35), x - 0.5)
    spots = np.cos(7 * angle + np.float32(0.35 * z))
    ribs = edge(0.012 - wall, 0.006) * edge(spots - 0.72, 0.12) * edge(y - 0.28, 0.05)
    _blend(hu, np.full_like(hu, 420), ribs * np.float32(max(0.0, 1 - z / 22)))
    if abdomen.calcified:
        aorta = abdomen.organs[ORGANS.index("aorta")].outline
        ring = np.abs(aorta.depth(x, y) - np.float32(0.004))
        lit = edge(np.cos(np.arctan2(y - aorta.y, x - aorta.x) - 2.2) - 0.5, 0.2)
        _blend(hu, np.full_like(hu, 650), edge(0.006 - ring, 0.004) * lit)


def _scan(
    hu: np.ndarray, shift: float, rng: np.random.Generator, device: np.random.Generator
) -> Float[np.ndarray, "h w"]:
    """Noise, and at `shift` a softer kernel, more noise, cupping and an offset, as another scanner.

    `device` varies once per volume, `rng` once per slice.
    """
    size = hu.shape[0]
    grain = rng.standard_normal(hu.shape, dtype=np.float32)
    blur, noise, offset, cup = shift * device.uniform(0.75, 1.25, 4)
    hu = ndimage.gaussian_filter(hu, 0.0045 * size * (1 + 1.5 * blur), truncate=2.5)
    x, y = grid(size)
    far = (x - 0.5) ** 2 + (y - 0.5) ** 2
    contrast = np.float32(1 - 0.25 * blur)
    hu = np.where(hu > -500, 40 + (hu - 40) * contrast, hu)
    hu = hu + np.float32(35 * offset) + np.float32(220 * cup) * (far - 0.06)
    return np.asarray(np.clip(hu + grain * np.float32(11 + 30 * noise), -1024, 3071), np.float32)
