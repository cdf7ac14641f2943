"""What a task is: how to ask, write an answer as text, read one back and score it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from residency.catalog import find
from residency.errors import UsageError
from residency.types import Answer, Box, Part, Point, Sample

_IMAGE = {"en": "the image", "zh": "这张图像"}
_IMAGES = {"en": "the {count} images", "zh": "这{count}张图像"}
_SLICES = {"en": "this series of slices", "zh": "这一系列切面"}


@runtime_checkable
class Codec(Protocol):
    """A model family's spelling of boxes and points; `size` is (width, height) in pixels.

    Boxes and points are pixels of the original image on this side, whatever the text says.
    """

    def write_boxes(self, boxes: Sequence[Box], size: tuple[int, int]) -> tuple[Part, ...]:
        """At least one box as text; names of '' are left out."""
        ...

    def read_boxes(self, text: str, size: tuple[int, int]) -> tuple[Box, ...]:
        """Every well-formed box, in reading order; '' where no name is stated."""
        ...

    def write_points(self, points: Sequence[Point], size: tuple[int, int]) -> tuple[Part, ...]:
        """At least one point as text; names of '' are left out."""
        ...

    def read_points(self, text: str, size: tuple[int, int]) -> tuple[Point, ...]:
        """Every well-formed point, in reading order; '' where no name is stated."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Wording:
    """How an instruction is put; a value of a task, per language.

    `template` names one of the task's templates ("paper" is canonical); `list_options` says whether
    the instruction names the closed answers (VITask's incomplete instruction leaves them out).
    A template that ends in `*` is a pool, from which training draws: `umit*` the wording `umit` and
    its variants `umit_...`, `*` every wording of the task.
    """

    template: str = "paper"
    list_options: bool = True

    @property
    def canonical(self) -> "Wording":
        """Itself, of a pool the wording that stands for it; of `*` the default."""
        stem = self.template.rstrip("*")
        return self if stem == self.template else replace(self, template=stem or PAPER.template)

    def pool(self, task: "Task") -> tuple["Wording", ...]:
        """Every wording of the task that may be drawn.

        Raises:
            UsageError: a pool that the task does not have.
        """
        if not self.template.endswith("*"):
            return (self,)
        stem = self.template.rstrip("*")
        names = [n for n in task.templates if not stem or n == stem or n.startswith(f"{stem}_")]
        if not names:
            raise UsageError(
                f"No wording {self.template!r} for a task of these: {', '.join(task.templates)}. "
                "Give one of them, or template=* for all."
            )
        return tuple(replace(self, template=name) for name in names)


PAPER = Wording()


@runtime_checkable
class Task(Protocol):
    """What every module in `residency.tasks` provides (module-level functions and values)."""

    metrics: tuple[str, ...]  # ids of `residency.metrics` that score it
    templates: tuple[str, ...]  # wordings that `ask` knows; the first is the default

    def ask(self, sample: Sample, wording: Wording) -> str:
        """The instruction, in the sample's language, without the image."""
        ...

    def write(self, sample: Sample, codec: Codec, wording: Wording = PAPER) -> tuple[Part, ...]:
        """The reference answer as the response to learn, in the form that the wording asks for."""
        ...

    def read(self, text: str, sample: Sample, codec: Codec) -> Answer | None:
        """The answer a response states, None where it states none that can be understood.

        For every sample, `read(text_of(write(sample)), sample) == sample.answer`.
        """
        ...


def task(name: str) -> Task:
    """The task of that name.

    Raises:
        UsageError: no such task.
    """
    found: Task = find("tasks", name)
    return found


def text_of(parts: tuple[Part, ...]) -> str:
    """A response as the model would print it, control text included."""
    return "".join(str(part) for part in parts if isinstance(part, str))


def shown(sample: Sample) -> str:
    """What an instruction calls the images of a sample: one image, several, or the slices of a volume."""
    language, count = sample.language, len(sample.images)
    if sample.volume is not None:
        return _SLICES[language]
    return _IMAGE[language] if count < 2 else _IMAGES[language].format(count=count)
