"""Locate things in a volume by cuboids; `question` is a noun phrase, empty for everything.

A cuboid is written as UMIT writes it (sec. 4, its figures): `[(x1,y1,z1),(x2,y2,z2)]`, whole voxels
of the volume with x along its width, y along its height and z along its depth, the upper corner
exclusive.
"""

import re

from residency.errors import DataError, UsageError
from residency.task import PAPER, Codec, Wording
from residency.text import normalise
from residency.types import Answer, Box3D, Part, Sample

metrics = ("iou3d", "iou3d_acc25", "iou3d_acc50", "iou3d_precision50", "iou3d@m3d")
templates = ("paper", "where", "umit", "umit_series", "umit_detect", "umit_extent")

_ASK = {
    "en": {
        "paper": "Locate {what} in the volume by a 3D bounding box.",
        "where": "Where is {what}? Answer with the two opposite corners of a 3D box.",
        "umit": "Find {what}, please respond with a 3D bounding box.",
        "umit_series": "In this series of slices, find {what} and give its 3D box.",
        "umit_detect": "Detect {what} in the volume; answer with two corners in voxels.",
        "umit_extent": "How far does {what} reach in this volume? Give a 3D box.",
    },
    "zh": {
        "paper": "用三维边界框在体数据中定位{what}。",
        "where": "{what}在哪里？请用三维框的两个对角点回答。",
        "umit": "找到{what}，用三维边界框回答。",
        "umit_series": "在这一系列切面中找到{what}，给出其三维框。",
        "umit_detect": "检测容积图像中的{what}，用两个体素角点回答。",
        "umit_extent": "{what}在该容积图像中的范围有多大？给出三维框。",
    },
}
_EVERYTHING = {"en": "every structure", "zh": "每个结构"}
_NONE = {"en": "None.", "zh": "无。"}
_NONE_READ = {"none", "nothing", "no", "not present", "无", "没有", "不存在"}
_CORNER = r"\(\s*(\d+(?:\.\d+)?)\s*,\s*(\d+(?:\.\d+)?)\s*,\s*(\d+(?:\.\d+)?)\s*\)"
_CUBOID = re.compile(rf"(?:([^\[\]();]+?)\s*:\s*)?\[?\s*{_CORNER}\s*,\s*{_CORNER}\s*\]?")


def ask(sample: Sample, wording: Wording) -> str:
    """Ask for the cuboids of what `question` names.

    Raises:
        UsageError: no such template.
    """
    if wording.template not in templates:
        raise UsageError(
            f"detection3d has no wording {wording.template!r}. It has: {', '.join(templates)}."
        )
    what = sample.question.strip() or _EVERYTHING[sample.language]
    return _ASK[sample.language][wording.template].format(what=what)


def write(sample: Sample, codec: Codec, wording: Wording = PAPER) -> tuple[Part, ...]:
    """The cuboids joined by "; ", "None." for none; `name: ` before each that `question` does not name.

    Raises:
        DataError: an answer that is not made of cuboids.
    """
    boxes = tuple(box for box in sample.answer if isinstance(box, Box3D))
    if isinstance(sample.answer, str) or len(boxes) != len(sample.answer):
        raise DataError(
            f"Sample {sample.id!r} asks for 3D detection but its answer is not a tuple of 3D boxes."
        )
    if not boxes:
        return (_NONE[sample.language],)
    bare = all(box.name in {"", sample.question} for box in boxes)
    return ("; ".join(("" if bare else f"{box.name}: ") + _cuboid(box) for box in boxes),)


def read(text: str, sample: Sample, codec: Codec) -> Answer | None:
    """The cuboids with a volume, () for an explicit "None", else None.

    Equal to what was written where the corners are whole voxels.
    """
    if normalise(text) in _NONE_READ:
        return ()
    found = []
    for match in _CUBOID.finditer(text):
        x1, y1, z1, x2, y2, z2 = (float(number) for number in match.groups()[1:])
        if x1 < x2 and y1 < y2 and z1 < z2:
            name = (match.group(1) or "").strip() or sample.question
            found.append(Box3D(name=name, x1=x1, y1=y1, z1=z1, x2=x2, y2=y2, z2=z2))
    return tuple(found) or None


def _cuboid(box: Box3D) -> str:
    low, high = (box.x1, box.y1, box.z1), (box.x2, box.y2, box.z2)
    corners = (",".join(str(round(value)) for value in corner) for corner in (low, high))
    return "[" + ",".join(f"({corner})" for corner in corners) + "]"
