"""Locate things in an image by boxes; `question` is a noun phrase, empty for everything."""

from dataclasses import replace

from residency.codec import size_of
from residency.errors import DataError, UsageError
from residency.task import PAPER, Codec, Wording
from residency.text import normalise
from residency.types import Answer, Box, Part, Sample

metrics = ("iou25", "iou", "iou_acc50", "iou_precision50", "iou_acc25", "iou@minigpt-med")
templates = ("paper", "where", "box", "find", "umit", "umit_box", "umit_detect", "umit_place")

_ASK = {
    "en": {
        "paper": "Locate {what} in the image.",
        "where": "Where is {what}? Answer with bounding boxes.",
        "box": "Give the bounding box of {what}.",
        "find": "Find {what} and mark it with a box.",
        "umit": "Find {what} in this image.",
        "umit_box": "Find {what} in this image and answer with boxes.",
        "umit_detect": "Detect {what} in the image.",
        "umit_place": "At which place of this image is {what}?",
    },
    "zh": {
        "paper": "在图像中定位{what}。",
        "where": "{what}在哪里？请用边界框回答。",
        "box": "给出{what}的边界框。",
        "find": "找到{what}并用框标出。",
        "umit": "在这张图像中找到{what}。",
        "umit_box": "在这张图像中找到{what}，用边界框回答。",
        "umit_detect": "检测图像中的{what}。",
        "umit_place": "{what}位于这张图像的什么位置？",
    },
}
_EVERYTHING = {"en": "every object", "zh": "每个目标"}
_NONE = {"en": "None.", "zh": "无。"}
_NONE_READ = {"none", "nothing", "no", "not present", "无", "没有", "不存在"}


def ask(sample: Sample, wording: Wording) -> str:
    """Ask for the boxes of what `question` names.

    Raises:
        UsageError: no such template.
    """
    if wording.template not in templates:
        raise UsageError(
            f"detection has no wording {wording.template!r}. It has: {', '.join(templates)}."
        )
    what = sample.question.strip() or _EVERYTHING[sample.language]
    return _ASK[sample.language][wording.template].format(what=what)


def write(sample: Sample, codec: Codec, wording: Wording = PAPER) -> tuple[Part, ...]:
    """The boxes one after the other, "None." for none; named unless `question` names them all.

    Raises:
        DataError: an answer that is not made of 2D boxes, or no image to measure them in.
    """
    boxes = _boxes(sample)
    if not boxes:
        return (_NONE[sample.language],)
    bare = all(box.name in {"", sample.question} for box in boxes)
    named = [replace(box, name="") for box in boxes] if bare else boxes
    return codec.write_boxes(named, size_of(sample))


def read(text: str, sample: Sample, codec: Codec) -> Answer | None:
    """The well-formed boxes, () for an explicit "None", else None.

    An unnamed box is named by `question`. Equal to what was written within half a quantum of the
    codec.
    """
    if normalise(text) in _NONE_READ:
        return ()
    boxes = codec.read_boxes(text, size_of(sample))
    return tuple(replace(box, name=box.name or sample.question) for box in boxes) or None


def _boxes(sample: Sample) -> tuple[Box, ...]:
    answer = sample.answer
    boxes = tuple(box for box in answer if isinstance(box, Box))
    if isinstance(answer, str) or len(boxes) != len(answer):
        raise DataError(
            f"Sample {sample.id!r} asks for detection but its answer is not a tuple of 2D boxes."
        )
    return boxes
