"""What a task is: how to ask, write an answer as text, read one back and score it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from residency.catalog import find
from residency.types import Answer, Box, Part, Point, Sample


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
    """

    template: str = "paper"
    list_options: bool = True


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
