"""Llama 3.2 Vision (Meta, 2024): images by cross-attention, in eight of forty decoder layers.

One `<|image|>` per image in the row. An image is cut into at most four tiles of 560 x 560; transformers
pads it to four, the states of padding included: real patches attend to them. `area.most` is the area of
all tiles, padding included, so 560 * 560 is one tile alone, as InstFree's code (torchtune) reads it.
A token sees the last image before it (neighbours together); a token before all images sees every state of
its row, later images included, which is why rows are not read as trees. In transformers it also sees the
images that its row was padded with beside a row of more images: logits depend on company, which they do not
here. No box convention is documented: JSON of 0-1000 is ours.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from PIL.Image import Image
from torch import Tensor, nn
from transformers import PreTrainedModel, ProcessorMixin

from residency.backbone import ImageLayout, as_written, replaced, sequential_positions, slot_ids
from residency.codec_json import JsonCodec
from residency.types import Area, Prompt, Tree

model_types = ("mllama",)
codec = JsonCodec()
replaces_image, in_row, untrained, chat, clips = True, False, "", "", None
template = as_written


def prefixes(model_config: Any) -> Mapping[str, tuple[str, ...]]:
    """The layers that attend to images are a part, with their norms, gates and MLPs."""
    crossing = model_config.get_text_config().cross_attention_layers
    return {
        "vision_encoder": ("model.vision_model.",),
        "connector": ("model.multi_modal_projector.",),
        "language_model": ("model.language_model.", "lm_head."),
        "cross_attention": tuple(f"model.language_model.layers.{k}." for k in crossing),
    }


def separate(model_config: Any) -> str:
    """Always; see the module."""
    del model_config
    return "tokens before an image attend to all images of their row"


def merges(model_config: Any) -> float:
    """A state per patch."""
    del model_config
    return 1.0


def slots(model_config: Any, tokenizer: Any) -> tuple[int, int]:
    """Two of Llama 3's reserved tokens."""
    names = ("<|reserved_special_token_100|>", "<|reserved_special_token_101|>")
    return slot_ids(model_config, tokenizer, names)


def pixels(
    processor: ProcessorMixin, images: Sequence[Image], area: Area
) -> tuple[dict[str, Tensor], list[ImageLayout]]:
    """Tiles of all images `[tiles, 3, h, w]`; of each how many there are, how many real, rows x columns.

    The processor's `max_image_tiles` is a cap as well: 1 there is one real tile for every image.
    """
    image_processor: Any = processor.image_processor
    most = image_processor.max_image_tiles
    side = image_processor.size["height"]
    tiles = most if area.most is None else min(max(area.most // side**2, 1), most)
    made = image_processor(
        images=[[image] for image in images], max_image_tiles=tiles, return_tensors="pt"
    )
    shapes = torch.tensor(_shapes(tiles))
    return {
        "pixel_values": made["pixel_values"].flatten(0, 2),
        "tiles": torch.full((len(images),), tiles),
        "real": made["aspect_ratio_mask"].sum((1, 2)),
        "shape": shapes[made["aspect_ratio_ids"][:, 0] - 1],
    }, [ImageLayout(1, (1, 1))] * len(images)


def _shapes(most: int) -> list[tuple[int, int]]:
    """Arrangements of at most so many tiles, in the order of their numbers."""
    span = range(1, most + 1)
    return [(a, b) for a in span for b in span if a * b <= most]


def image_token(processor: ProcessorMixin) -> int:
    """`<|image|>`."""
    token: int = processor.image_token_id  # type: ignore[attr-defined]
    return token


def span(processor: ProcessorMixin, tokens: int, slot: Sequence[int]) -> list[int]:
    """The template already writes the one placeholder."""
    return [image_token(processor)] * tokens + list(slot)


def positions(length: int, spans: Sequence[tuple[int, ImageLayout]]) -> Int[Tensor, "1 t"]:
    """One-dimensional."""
    del spans
    return sequential_positions(length)


def features(model: PreTrainedModel, pixels: Mapping[str, Tensor]) -> list[Float[Tensor, "_ d"]]:
    """Tower and projector: a state per patch, and a last column that is 1 in real tiles, else 0."""
    return connect(model, encode(model, pixels))


def each(pixels: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """The tiles of every image `[tiles, 3, h, w]` and its facts `[1]`, `[1]`, `[1, 2]`."""
    tiles = pixels["pixel_values"].split(pixels["tiles"].tolist())
    facts = {name: pixels[name].split(1) for name in ("tiles", "real", "shape")}
    return [
        {"pixel_values": own, **{name: of[n] for name, of in facts.items()}}
        for n, own in enumerate(tiles)
    ]


def encode(model: PreTrainedModel, pixels: Mapping[str, Tensor]) -> list[Tensor]:
    """The tower, images of as many tiles together: `[tiles patches, width + 1]`."""
    tower: Any = model.model.vision_model
    counts, known = pixels["tiles"].tolist(), _shapes(tower.max_num_tiles)
    tiles = pixels["pixel_values"].split(counts)
    made: list[Tensor] = [pixels["pixel_values"]] * len(counts)
    for count in sorted(set(counts)):
        here = [n for n, own in enumerate(counts) if own == count]
        real = torch.arange(count, device=tiles[0].device) < pixels["real"][here, None]
        numbers = [known.index((a, b)) + 1 for a, b in pixels["shape"][here].tolist()]
        with tiles_of(tower, count):
            states = tower(
                pixel_values=torch.stack([tiles[n] for n in here])[:, None],
                aspect_ratio_ids=real.new_tensor(numbers, dtype=torch.long)[:, None],
                aspect_ratio_mask=real[:, None].long(),
            ).last_hidden_state[:, 0]
        flags = real[:, :, None, None].expand(-1, -1, states.shape[2], 1).to(states)
        for n, own in zip(here, torch.cat([states, flags], dim=-1).flatten(1, 2), strict=True):
            made[n] = own
    return made


@contextmanager
def tiles_of(tower: Any, count: int) -> Iterator[None]:
    """Inside, the tower takes images of so many tiles: its tile embeddings go no further."""
    missing = tower.max_num_tiles - count
    with ExitStack() as aside:
        for embedding in (
            tower.pre_tile_positional_embedding,
            tower.gated_positional_embedding,
            tower.post_tile_positional_embedding,
        ):
            aside.enter_context(replaced(embedding, "forward", _cut(embedding.forward, missing)))
        yield


def _cut(whole: Any, missing: int) -> Any:
    """The embedding of all tiles, applied to the first of them."""

    def forward(states: Tensor, shapes: Tensor) -> Tensor:
        padded = nn.functional.pad(states, (0, 0, 0, 0, 0, missing))
        made: Tensor = whole(padded, shapes)
        return made[:, : states.shape[1]]

    return forward


def connect(model: PreTrainedModel, encoded: Sequence[Tensor]) -> list[Float[Tensor, "_ d"]]:
    """The projector; the last column stays."""
    inner: Any = model.model
    states = torch.cat(list(encoded))
    made = torch.cat([inner.multi_modal_projector(states[:, :-1]), states[:, -1:]], dim=-1)
    return list(made.split([len(one) for one in encoded]))


def language_model(model: PreTrainedModel) -> nn.Module:
    """The text decoder with its cross-attention layers."""
    inner: Any = model.model
    decoder: nn.Module = inner.language_model
    return decoder


def inputs(
    model: PreTrainedModel, prompt: Prompt | Tree, images: Sequence[Float[Tensor, "_ d"]]
) -> dict[str, Any]:
    """The padding mask; the states of each row's images; which of them each token attends to.

    A row without images has states of zero, which the layers add nothing of.
    """
    assert isinstance(prompt, Prompt)  # `separate`
    given: dict[str, Any] = {"attention_mask": prompt.attention}
    if not prompt.images:
        return given
    here = (prompt.tokens == model.config.image_token_id) & prompt.attention
    shown = [[images[n] for n in of] for of in _by_row(prompt.images, here.sum(1).tolist())]
    blank = images[0][:0]
    states = nn.utils.rnn.pad_sequence([torch.cat([blank, *of]) for of in shown], batch_first=True)
    owner = nn.utils.rnn.pad_sequence(
        [
            torch.cat([states.new_full((len(one),), k) for k, one in enumerate(of)])
            if of
            else states.new_zeros(0)
            for of in shown
        ],
        batch_first=True,
        padding_value=-1,
    ).long()
    sees, late = _sees(here, owner, states[..., -1] > 0)
    low = torch.finfo(states.dtype).min
    mask = torch.zeros(sees.shape, dtype=states.dtype, device=sees.device)
    return given | {
        "cross_attention_states": states[..., :-1],
        "cross_attention_mask": mask.masked_fill(~sees, low)[:, None],
        "full_text_row_masked_out_mask": late.to(states.dtype)[:, None, :, None],
    }


def _by_row(images: Sequence[int], counts: Sequence[int]) -> list[list[int]]:
    left = iter(images)
    return [[next(left) for _ in range(count)] for count in counts]


def _sees(
    here: Bool[Tensor, "b t"], owner: Int[Tensor, "b s"], real: Bool[Tensor, "b s"]
) -> tuple[Bool[Tensor, "b t s"], Bool[Tensor, "b t"]]:
    """Which states each token attends to, and whether it comes after an image at all."""
    begins = here & ~nn.functional.pad(here, (1, 0))[:, :-1]  # neighbours are one group
    group, number = begins.cumsum(1), here.cumsum(1)
    # Of each state: the number of its image in the row, from 1, and the group of that image.
    image = owner + 1
    first = (number[:, None] < image[..., None]).sum(-1).clamp(max=here.shape[1] - 1)
    own = group.gather(1, first)
    after = (group[..., None] == own[:, None]) & (number[..., None] >= image[:, None])
    early = (group == 0)[..., None] & (owner >= 0)[:, None]
    sees = (after & (real & (owner >= 0))[:, None]) | early
    return sees | ~sees.any(-1, keepdim=True), group > 0


def onward(
    model: PreTrainedModel, given: Mapping[str, Any], attention: Bool[Tensor, "b t"]
) -> dict[str, Any]:
    """A new token attends to what the last one before it did; the states are in the cache."""
    del model
    names = ("cross_attention_mask", "full_text_row_masked_out_mask")
    if names[0] not in given:
        return {"attention_mask": attention}
    width = given[names[0]].shape[2]
    rows = torch.arange(len(attention), device=attention.device)
    last = attention[:, :width].sum(1) - 1
    return {"attention_mask": attention} | {
        name: given[name][rows, :, last][:, :, None] for name in names
    }
