"""The nouns every other module speaks: what is on disk, what is said, and under which condition."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL.Image import Image
from torch import Tensor

Language = Literal["en", "zh"]


@dataclass(frozen=True, slots=True)
class Area:
    """The least and the most pixels that a processor brings an image to; None leaves its own."""

    least: int | None = None
    most: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """An image that is decoded when it is needed.

    `load` returns 8-bit RGB in displayed orientation and may raise `DataError`; `key` identifies
    the pixels (a path, or data set/split/index), so equal keys mean equal images. `size` is
    (width, height) where it is known without decoding; boxes and points need it. `area` says how
    large a model is to see it.
    """

    key: str
    load: Callable[[], Image]
    size: tuple[int, int] | None = None
    area: Area = Area()


@dataclass(frozen=True, kw_only=True, slots=True)
class Volume:
    """A 3D image that is decoded when it is needed.

    `load` returns float32 voxels `[z, y, x]`; `spacing_mm` is the voxel size in the same order.
    """

    key: str
    load: Callable[[], np.ndarray]
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A named rectangle `x1, y1, x2, y2` in pixels of the original image (x2, y2 exclusive)."""

    name: str
    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Box3D:
    """A named cuboid in voxels of the original volume (upper corner exclusive)."""

    name: str
    x1: float
    y1: float
    z1: float
    x2: float
    y2: float
    z2: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A named landmark in pixels of the original image."""

    name: str
    x: float
    y: float


# A label or free text; the labels of a multi-label sample (empty: none of them); boxes; landmarks.
Answer = str | tuple[str, ...] | tuple[Box, ...] | tuple[Box3D, ...] | tuple[Point, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One annotated case: the facts, before any wording is chosen.

    `task` names an entry of `residency.tasks`. `options` is the closed set of answers in canonical
    order, empty for open questions. `group` is the patient (or whatever must stay on one side of a
    split and is resampled as one); empty means the sample stands alone. `modality` is the name of
    the imaging modality in the sample's language. `also` holds further samples about the same images,
    which training asks beside it, each in a conversation of its own; evaluation asks the first alone.
    """

    id: str
    dataset: str
    task: str
    answer: Answer
    images: tuple[Picture, ...] = ()
    volume: Volume | None = None
    question: str = ""
    options: tuple[str, ...] = ()
    modality: str = ""
    group: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    language: Language = "en"
    also: tuple["Sample", ...] = ()

    @property
    def unit(self) -> str:
        """What the bootstrap resamples: the patient, else the image or volume, else the sample."""
        shown = self.volume.key if self.volume is not None else ""
        return self.group or shown or (self.images[0].key if self.images else self.id)


class Markup(str):
    """Control text that our own code wrote: the only text allowed to become special tokens."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ImagePart:
    """The place of the sample's image number `index` inside a turn."""

    index: int = 0


# Plain `str` is data: it is tokenised without special tokens, whatever it spells.
Part = str | Markup | ImagePart


@dataclass(frozen=True, slots=True)
class Turn:
    """One utterance; only turns marked `learn` enter the loss."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[Part, ...]
    learn: bool = False


Conversation = tuple[Turn, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """A condition under which the model reads a conversation. The response never changes."""

    image: Literal["own", "negative", "blank", "shuffled"] = "own"
    instruction: Literal["text", "proxy"] = "text"
    exemplar: bool = False

    @property
    def name(self) -> str:
        """The name in results: plain, or the departures from plain joined by `+`."""
        departures: list[str] = [self.image] if self.image != "own" else []
        departures += ["proxy"] if self.instruction == "proxy" else []
        departures += ["exemplar"] if self.exemplar else []
        return "+".join(departures) or "plain"


PLAIN = View()
EXEMPLAR = View(exemplar=True)
NEGATIVE = View(image="negative")
NEGATIVE_EXEMPLAR = View(image="negative", exemplar=True)
PROXY = View(instruction="proxy")
BLANK = View(image="blank")
SHUFFLED = View(image="shuffled")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """A sample with the words chosen for it, ready to be collated.

    `negative` is the sample whose image the `negative` view shows (same instruction, another
    response), `shuffled` the one whose image the `shuffled` view shows. `weight` scales every loss
    term of the sample's tokens.
    """

    sample: Sample
    conversation: Conversation
    negative: Sample | None = None
    negative_response: tuple[Part, ...] = ()
    shuffled: Sample | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Prompt:
    """A right-padded batch as one view reads it.

    `positions` are what the language model's rotary embedding sees (p = 3 axes for M-RoPE, else 1).
    `images` lists, row by row and left to right, which distinct image of the batch fills each image
    span; `exemplars` does the same for the exemplar slots.
    """

    tokens: Int[Tensor, "b t"]
    attention: Bool[Tensor, "b t"]
    positions: Int[Tensor, "p b t"]
    predicts: Bool[Tensor, "b t"]  # True where the next token is a response token
    images: tuple[int, ...]
    exemplars: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """All views of a batch with every shared beginning written once: right-padded rows of trees.

    `enter` numbers the tokens of a row depth first, and the tokens below a token have the numbers
    from its own to before its `leave`: what a token may look at is what it lies below. `looks` are
    the places of each row whose states predict something (padded with 0), `reads` the flat places
    in `[b, q]` of what predicts each response token under each view. `images` and `exemplars` are
    those of `Prompt`. `straight` says that every row is one tree without branches: attention is plain
    causal attention then, and needs no mask.
    """

    tokens: Int[Tensor, "b t"]
    enter: Int[Tensor, "b t"]
    leave: Int[Tensor, "b t"]
    positions: Int[Tensor, "p b t"]
    looks: Int[Tensor, "b q"]
    reads: Mapping[View, Int[Tensor, " r"]]
    images: tuple[int, ...]
    exemplars: tuple[int, ...]
    straight: bool = False

    @property
    def mask(self) -> Bool[Tensor, "b 1 t t"]:
        """True where a token may look: at itself and along its path to the root."""
        return self.sight(self.enter)

    def places(self, view: View) -> Int[Tensor, " r"]:
        """Flat places in `[b, t]` of what predicts each response token under a view."""
        rows, width = self.tokens.shape
        first = torch.arange(rows, device=self.looks.device)[:, None] * width
        return (first + self.looks).flatten()[self.reads[view]]

    def sight(self, enter: Int[Tensor, "b q"]) -> Bool[Tensor, "b 1 q t"]:
        """What the tokens numbered `enter` may look at."""
        number = enter[:, None, :, None]
        return (self.enter[:, None, None] <= number) & (number < self.leave[:, None, None])


@dataclass(frozen=True, slots=True)
class Targets:
    """What every view of a batch must predict, in reading order.

    `lengths` says of each token how many response tokens its sample has. `diverges` is True from the
    first token on which the negative sample's own response differs.
    """

    tokens: Int[Tensor, " r"]
    sample: Int[Tensor, " r"]
    lengths: Int[Tensor, " r"]
    weights: Float[Tensor, " r"]
    diverges: Bool[Tensor, " r"]

    def each(self, change: Callable[[Tensor], Tensor]) -> "Targets":
        """The same targets after a change of every tensor: a slice, another device."""
        return Targets(**{f.name: change(getattr(self, f.name)) for f in fields(self)})


@dataclass(frozen=True, slots=True)
class Batch:
    """The same responses, read under every view that the objective asked for.

    Either `prompts` holds the rows of each view, or `tree` holds all of them at once.
    `pixels` are the processor's tensors for the distinct images of the batch (empty when no view
    shows one); `expert_pixels` are the distinct images that fill an exemplar slot, as the expert
    sees them. `datasets` names the data set of every sample that `targets` numbers. `dropped` and
    `shrunk` name the samples that the length policy touched.
    """

    prompts: Mapping[View, Prompt]
    targets: Targets
    pixels: Mapping[str, Tensor]
    expert_pixels: Float[Tensor, "m 3 h w"] | None = None
    tree: Tree | None = None
    datasets: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    shrunk: tuple[str, ...] = ()

    @property
    def shows(self) -> int:
        """What any view shows: 1 an image, 2 an exemplar of one, 3 both, 0 neither."""
        read = [*self.prompts.values()] if self.tree is None else [self.tree]
        return any(one.images for one in read) + 2 * any(one.exemplars for one in read)

    @property
    def width(self) -> int:
        """Tokens that pass the language model, padding included."""
        if self.tree is not None:
            return self.tree.tokens.numel()
        return sum(prompt.tokens.numel() for prompt in self.prompts.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What a model said about a sample under a view, and what was understood.

    `answer` is None when the text could not be parsed; `scores` holds the summed log-likelihood of
    every option where likelihood scoring was used; `facts` are JSON values that metrics need of the
    sample (`residency.metric.facts`). `prompt` is a hash of the instruction as it was put, `images`
    one of each image that was shown. `finish` is "error" where a server refused the sample: `text`
    is then empty, and `facts["error"]` says why.
    """

    sample: str
    dataset: str
    task: str
    view: str
    text: str
    answer: Answer | None
    reference: Answer
    unit: str
    finish: Literal["stop", "length", "scored", "error"] = "stop"
    scores: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    prompt: str = ""
    images: tuple[str, ...] = ()
