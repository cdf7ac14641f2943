"""What a model family is: the few facts that let one `Backbone` drive any vision-language model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from PIL.Image import Image
from torch import Tensor, nn
from transformers import PreTrainedModel, ProcessorMixin

from residency.catalog import find, names
from residency.errors import UsageError
from residency.task import Codec
from residency.types import Area, Prompt, Tree

PARTS = ("vision_encoder", "connector", "language_model", "cross_attention")


@dataclass(frozen=True, slots=True)
class ImageLayout:
    """One image in the token row: `tokens` placeholders, laid out as `grid` rows x columns.

    A clip has such a grid at each of `times` steps.
    """

    tokens: int
    grid: tuple[int, int]
    times: int = 1


# As `Family.pixels`, with the slices of each volume in the place of an image.
Clips = Callable[
    [ProcessorMixin, Sequence[Sequence[Image]], Area], tuple[dict[str, Tensor], list[ImageLayout]]
]


@runtime_checkable
class Family(Protocol):
    """What every module in `residency.backbones` provides."""

    model_types: tuple[str, ...]  # `config.model_type` values it serves
    codec: Codec
    replaces_image: bool  # whether an exemplar may stand in place of the image (EP_rep)
    clips: Clips | None  # how slices are prepared as one video; None where they are several images
    in_row: bool  # whether image features stand in the token row; else layers attend to them
    untrained: str  # why it is for evaluation only: no slots, no training; empty where it is not
    chat: str  # the chat template of a family whose checkpoints have none, else empty

    def prefixes(self, model_config: Any) -> Mapping[str, tuple[str, ...]]:
        """Part -> prefixes of parameter names. The longest matching prefix decides."""
        ...

    def separate(self, model_config: Any) -> str:
        """Why rows that begin alike cannot be read as trees; empty where they can."""
        ...

    def merges(self, model_config: Any) -> float:
        """Patches of the vision encoder that become one vector of the connector, for estimates."""
        ...

    def slots(self, model_config: Any, tokenizer: Any) -> tuple[int, int]:
        """Token ids reserved as placeholders of the exemplar and of the proxy instruction."""
        ...

    def pixels(
        self, processor: ProcessorMixin, images: Sequence[Image], area: Area
    ) -> tuple[dict[str, Tensor], list[ImageLayout]]:
        """Preprocess distinct images; `area` bounds each.

        A family of fixed tiles keeps to `area.most` alone, one of a single fixed size to neither.
        """
        ...

    def template(self, processor: ProcessorMixin, text: str) -> str:
        """The chat template's text, without data, as the processor changes it before tokenisation."""
        ...

    def span(self, processor: ProcessorMixin, tokens: int, slot: Sequence[int]) -> list[int]:
        """Token ids that replace the image token of the chat template, `slot` after the image."""
        ...

    def image_token(self, processor: ProcessorMixin) -> int:
        """Id of the image placeholder, in the template and in the span."""
        ...

    def positions(
        self, length: int, spans: Sequence[tuple[int, ImageLayout]]
    ) -> Int[Tensor, "p t"]:
        """Rotary positions of one row whose image placeholders start at the given places."""
        ...

    def features(
        self, model: PreTrainedModel, pixels: Mapping[str, Tensor]
    ) -> list[Float[Tensor, "_ d"]]:
        """One pass of vision encoder and connector: the embeddings of every distinct image."""
        ...

    def each(self, pixels: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """The tensors of every image alone; along their first axis they add up to `pixels`."""
        ...

    def encode(self, model: PreTrainedModel, pixels: Mapping[str, Tensor]) -> list[Tensor]:
        """The vision encoder alone: what the connector reads of every distinct image."""
        ...

    def connect(
        self, model: PreTrainedModel, encoded: Sequence[Tensor]
    ) -> list[Float[Tensor, "_ d"]]:
        """The connector alone: `connect(model, encode(model, pixels))` is `features`."""
        ...

    def language_model(self, model: PreTrainedModel) -> nn.Module:
        """The decoder that takes `inputs_embeds` and returns hidden states."""
        ...

    def inputs(
        self, model: PreTrainedModel, prompt: Prompt | Tree, images: Sequence[Float[Tensor, "_ d"]]
    ) -> dict[str, Any]:
        """What the decoder is given beside embeddings and positions: masks, images beside the row.

        `images` are the features of the batch; `prompt.images` says which of them it shows.
        """
        ...

    def onward(
        self, model: PreTrainedModel, given: Mapping[str, Any], attention: Bool[Tensor, "b t"]
    ) -> dict[str, Any]:
        """The same for one more token in every row, which `attention` includes already."""
        ...


def masked(
    model: PreTrainedModel, prompt: Prompt | Tree, images: Sequence[Float[Tensor, "_ d"]]
) -> dict[str, Any]:
    """`inputs` of every family whose images stand in the row and whose attention is causal."""
    del model, images
    if isinstance(prompt, Tree):  # nothing masked is plain causal attention: a faster path
        straight = prompt.straight
        return {"attention_mask": torch.ones_like(prompt.tokens) if straight else prompt.mask}
    return {"attention_mask": prompt.attention}


def masked_onward(
    model: PreTrainedModel, given: Mapping[str, Any], attention: Bool[Tensor, "b t"]
) -> dict[str, Any]:
    """`onward` of the same families."""
    del model, given
    return {"attention_mask": attention}


def as_written(processor: ProcessorMixin, text: str) -> str:
    """`template` of every family whose processor leaves the text as it is."""
    del processor
    return text


def odd_layers(model_config: Any) -> str:
    """`separate` of every family: layers of the language model that do not look everywhere."""
    kinds = getattr(model_config.get_text_config(), "layer_types", None) or ()
    odd = sorted(set(kinds) - {"full_attention"})
    return f"the language model has layers of {', '.join(odd)}" if odd else ""


def slot_ids(model_config: Any, tokenizer: Any, names: Sequence[str] = ()) -> tuple[int, int]:
    """Two control tokens that chats never write, by name; else two rows that no token uses.

    Raises:
        UsageError: the tokenizer has neither.
    """
    ids = [tokenizer.convert_tokens_to_ids(name) for name in names]
    if len(ids) == 2 and all(isinstance(i, int) and i != tokenizer.unk_token_id for i in ids):
        return ids[0], ids[1]
    size = model_config.get_text_config().vocab_size
    if size - len(tokenizer) >= 2:
        return size - 1, size - 2
    wanted = f"neither {names[0]!r} and {names[1]!r} nor" if names else "not"
    raise UsageError(
        f"The tokenizer ({len(tokenizer)} tokens, {size} embedding rows) has {wanted} two unused "
        "rows for slot placeholders. Use the unmodified base checkpoint."
    )


def sequential_positions(length: int) -> Int[Tensor, "1 t"]:
    """0, 1, 2, ...: the positions of every family without M-RoPE."""
    return torch.arange(length)[None]


@contextmanager
def replaced(module: nn.Module, method: str, function: Callable[..., Any]) -> Iterator[None]:
    """Inside, a method of the module is another function."""
    setattr(module, method, function)
    try:
        yield
    finally:
        delattr(module, method)  # that of its class is in force again


def bypassed(module: nn.Module) -> AbstractContextManager[None]:
    """Inside, the module returns what it is given, so that what runs before it can be had alone."""
    return replaced(module, "forward", lambda given: given)


def family_of(model_type: str) -> tuple[str, Family]:
    """The family module that serves a Hugging Face `config.model_type`.

    Raises:
        UsageError: no family serves it.
    """
    served: list[str] = []
    for name in names("backbones"):
        family: Any = find("backbones", name)
        if model_type in family.model_types:
            return name, family
        served += family.model_types
    raise UsageError(
        f"No backbone serves model type {model_type!r}. Served: {', '.join(sorted(served))}. "
        "A new family is one file in residency/backbones."
    )
