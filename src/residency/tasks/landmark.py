"""Point to named landmarks of an image; `question` is a landmark's name, empty for all of them."""

from dataclasses import replace

from residency.codec import size_of
from residency.errors import DataError, UsageError
from residency.task import PAPER, Codec, Wording
from residency.text import normalise
from residency.types import Answer, Part, Point, Sample

metrics = (
    "point_hit",
    "mre_mm",
    "sdr_2mm",
    "sdr_2_5mm",
    "sdr_3mm",
    "sdr_4mm",
    "landmarks_found",
)
templates = ("paper", "where", "mark", "umit", "umit_point", "umit_place", "umit_name")

_ASK = {
    "en": {
        "paper": "Point to {what} in the image.",
        "where": "Where is {what}? Answer with a point.",
        "mark": "Mark the position of {what}.",
        "umit": "Given the image, find {what}, the response is given as a point.",
        "umit_point": "Find {what} in the image and give its coordinates.",
        "umit_place": "At which point of the image is {what}?",
        "umit_name": "{what}: give the point in this image.",
    },
    "zh": {
        "paper": "在图像中指出{what}。",
        "where": "{what}在哪里？请用一个点回答。",
        "mark": "标出{what}的位置。",
        "umit": "根据图像，找到{what}，用一个点回答。",
        "umit_point": "在图像中找到{what}并给出坐标。",
        "umit_place": "{what}位于图像的哪一点？",
        "umit_name": "{what}：给出其在图像中的点。",
    },
}
_EVERYTHING = {"en": "every landmark", "zh": "每个标志点"}
_JOIN = {"en": ", ", "zh": "、"}
_NONE = {"en": "None.", "zh": "无。"}
_NONE_READ = {"none", "nothing", "no", "not present", "无", "没有", "不存在"}


def ask(sample: Sample, wording: Wording) -> str:
    """Ask for the landmark that `question` names, else for the listed `options`, else for all.

    Raises:
        UsageError: no such template.
    """
    if wording.template not in templates:
        raise UsageError(
            f"landmark has no wording {wording.template!r}. It has: {', '.join(templates)}."
        )
    what = sample.question.strip()
    if not what and wording.list_options:
        what = _JOIN[sample.language].join(sample.options)
    what = what or _EVERYTHING[sample.language]
    return _ASK[sample.language][wording.template].format(what=what)


def write(sample: Sample, codec: Codec, wording: Wording = PAPER) -> tuple[Part, ...]:
    """The points one after the other, "None." for none; named unless `question` names them all.

    Raises:
        DataError: an answer that is not made of points, or no image to measure them in.
    """
    answer = sample.answer
    points = tuple(point for point in answer if isinstance(point, Point))
    if isinstance(answer, str) or len(points) != len(answer):
        raise DataError(
            f"Sample {sample.id!r} asks for landmarks but its answer is not a tuple of points."
        )
    if not points:
        return (_NONE[sample.language],)
    bare = all(point.name in {"", sample.question} for point in points)
    named = [replace(point, name="") for point in points] if bare else points
    return codec.write_points(named, size_of(sample))


def read(text: str, sample: Sample, codec: Codec) -> Answer | None:
    """The well-formed points, () for an explicit "None", else None.

    An unnamed point is named by `question`. Equal to what was written within half a quantum of the
    codec.
    """
    if normalise(text) in _NONE_READ:
        return ()
    points = codec.read_points(text, size_of(sample))
    return tuple(replace(point, name=point.name or sample.question) for point in points) or None
