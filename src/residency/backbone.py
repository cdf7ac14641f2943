"""What a model family is: the few facts that let one `Backbone` drive any vision-language model."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from PIL.Image import Image
from torch import Tensor, nn
from transformers import PreTrainedModel, ProcessorMixin

from residency.catalog import find, names
from residency.errors import UsageError
from residency.task import Codec

PARTS = ("vision_encoder", "connector", "language_model")
OWN_PARTS = ("exemplar_connector", "proxy_instruction", "expert")


@dataclass(frozen=True, slots=True)
class ImageLayout:
    """One image in the token row: `tokens` placeholders, laid out as `grid` rows x columns."""

    tokens: int
    grid: tuple[int, int]


@runtime_checkable
class Family(Protocol):
    """What every module in `residency.backbones` provides."""

    model_types: tuple[str, ...]  # `config.model_type` values it serves
    codec: Codec
    replaces_image: bool  # whether an exemplar may stand in place of the image (EP_rep)

    def prefixes(self) -> Mapping[str, tuple[str, ...]]:
        """Part -> prefixes of parameter names. The longest matching prefix decides."""
        ...

    def slots(self, model_config: Any, tokenizer: Any) -> tuple[int, int]:
        """Token ids reserved as placeholders of the exemplar and of the proxy instruction."""
        ...

    def pixels(
        self, processor: ProcessorMixin, images: Sequence[Image], max_pixels: int | None
    ) -> tuple[dict[str, Tensor], list[ImageLayout]]:
        """Preprocess distinct images; `max_pixels` caps the area of each, None leaves it."""
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


def sequential_positions(length: int) -> Int[Tensor, "1 t"]:
    """0, 1, 2, ...: the positions of every family without M-RoPE."""
    return torch.arange(length)[None]


@contextmanager
def bypassed(module: nn.Module) -> Iterator[None]:
    """Inside, the module returns what it is given, so that what runs before it can be had alone."""
    module.forward = lambda given: given
    try:
        yield
    finally:
        del module.forward  # the method of its class is in force again


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
