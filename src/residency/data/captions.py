"""One text per image or per study: the rows of captioning and report sets, and their samples."""

from pathlib import Path
from typing import NamedTuple

from residency.data.images import file_picture
from residency.types import Language, Sample


class Captioned(NamedTuple):
    """The text of one or more images, whose paths are relative to the root of the images."""

    key: str
    images: tuple[str, ...]
    text: str
    group: str = ""
    modality: str = ""
    language: Language = "en"


def captioned_sample(name: str, task: str, root: Path, split: str, row: Captioned) -> Sample:
    """The sample of a row; `task` is caption or report."""
    return Sample(
        id=f"{name}/{split}/{row.key}",
        dataset=name,
        task=task,
        answer=row.text,
        images=tuple(file_picture(root, image) for image in row.images),
        modality=row.modality,
        group=row.group,
        language=row.language,
    )


def lacks(row: Captioned) -> str:
    """What an unusable row is without."""
    return " or ".join(n for n in ("images", "text") if not getattr(row, n))


def images_of(row: Captioned) -> tuple[str, ...]:
    """The images that a row refers to."""
    return row.images
