"""Write a task about an image and its caption: AdaMLLM's synthesizer in one assistant turn (our form).

The caption is `attributes["caption"]`, left out of the instruction where it is empty. The answer is
(instruction, precise, informative). The paper's own form, in which the model continues after a user
header, is a conversation of several turns and is built by `residency.synthesis.seed`.
"""

from residency.errors import UsageError
from residency.task import PAPER, Codec, Wording
from residency.triplets import Triplet
from residency.triplets import read as read_triplet
from residency.triplets import write as write_triplet
from residency.types import Answer, Part, Sample

metrics = ("parse_rate",)
templates = ("paper",)

_CAPTION = "Caption of the image: {caption}\n"
_ASK = (
    "Write a task about the image in three lines. Instruction: the question. Precise: the short answer. "
    "Informative: the answer with its reasons."
)


def ask(sample: Sample, wording: Wording) -> str:
    """The caption and what to write.

    Raises:
        UsageError: no such template.
    """
    if wording.template not in templates:
        raise UsageError(f"triplet has no wording {wording.template!r}. It has: paper.")
    caption = sample.attributes.get("caption", "")
    return (_CAPTION.format(caption=caption) if caption else "") + _ASK


def write(sample: Sample, codec: Codec, wording: Wording = PAPER) -> tuple[Part, ...]:
    """The three parts by name; the order of the two responses follows from the sample's id."""
    return (write_triplet(Triplet(*map(str, sample.answer)), seed=sample.id),)


def read(text: str, sample: Sample, codec: Codec) -> Answer | None:
    """The triplet, None where a part is missing, empty or there twice."""
    found = read_triplet(text)
    return None if isinstance(found, str) else tuple(found)
