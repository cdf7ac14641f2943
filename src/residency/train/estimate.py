"""How long a stage would take, and how much memory: arithmetic on shapes, a measured rate."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from residency.backbone import PARTS
from residency.data.mixture import Mixture
from residency.errors import UsageError
from residency.model.huggingface import Backbone
from residency.model.pieces import MOST
from residency.train.trainable import PartRow
from residency.train.values import Schedule
from residency.types import PLAIN, Batch, View

EFFICIENCY = 0.3  # share of the matmul rate that training reaches (ours; small models reach less)
ACTIVATIONS = 34  # bytes per token, layer and width unit in half precision (Korthikanti, 2022)
LOGITS = 4  # float32 copies of the logits that a loss term and its gradient hold (ours)
LOOKED_AT = 4  # samples of each data set
VISION = ("vision_encoder", "connector")
DECODER = ("language_model", "cross_attention")


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds, bytes of the model and its training state, and what they follow from.

    `flops` are those of all updates, `tokens` and `responses` those of a row. By data set, `shares`
    are the shares of the tokens of an epoch, `images` the image tokens of a sample, and `smallest`
    those of its smallest image (0: no image tokens stand in rows).
    """

    seconds: float
    bytes: float
    flops: float
    tokens: float
    responses: float
    shares: tuple[float, ...]
    images: tuple[float, ...]
    smallest: tuple[int, ...]

    def describe(self) -> str:
        """For people."""
        minutes = self.seconds / 60
        return (
            f"about {self.tokens:.0f} tokens a row, roughly {minutes:.1f} min and "
            f"{self.bytes / 2**30:.1f} GiB on this device (within a factor of three)"
        )


@dataclass(frozen=True, slots=True)
class _Row:
    """Means over a few samples: tokens of a row, response tokens, patches of its images, image tokens.

    `smallest` are the tokens of the smallest image.
    """

    tokens: float
    responses: float
    patches: float
    images: float = 0.0
    smallest: int = 0


def estimate(
    backbone: Backbone,
    mixture: Mixture,
    rows: Sequence[PartRow],
    schedule: Schedule,
    views: Sequence[View],
) -> Estimate:
    """The cost of `schedule` over `mixture`, from the token counts of a few of its samples.

    A forward pass takes 2 FLOPs per weight and token. The backward pass takes as many again for
    the inputs, where something before or in the part trains, and for the weights, where they train
    in full. The vision encoder runs once per distinct image, the head at response tokens only. The
    language model is counted once per view: an upper bound, because trees share what views share.
    `backbone` may be on the meta device.
    """
    measured = _measure(backbone, mixture)
    row = _mean(measured, mixture.draws)
    per_sample = _flops(backbone, rows, row, views)
    flops = per_sample * schedule.total(mixture.epoch_size) * schedule.batch_size
    tokens = [one.tokens * draws for one, draws in zip(measured, mixture.draws, strict=True)]
    return Estimate(
        seconds=flops / (matmul_rate() * EFFICIENCY),
        bytes=_bytes(backbone, rows, row, schedule, len(views)),
        flops=flops,
        tokens=row.tokens,
        responses=row.responses,
        shares=tuple(count / sum(tokens) for count in tokens),
        images=tuple(one.images for one in measured),
        smallest=tuple(one.smallest for one in measured),
    )


def _measure(backbone: Backbone, mixture: Mixture) -> list[_Row]:
    """A row for each data set, from a few of its samples; nothing where all are dropped."""
    found, start = [], 0
    for pick in mixture.picks:
        step = max(1, len(pick) // LOOKED_AT)
        some = [mixture.reading(start + place) for place in range(0, len(pick), step)][:LOOKED_AT]
        start += len(pick)
        batch = backbone.collate(some, [PLAIN])
        prompt = batch.prompts[PLAIN]
        kept = max(1, len(prompt.tokens))
        shown = len(prompt.images) / max(1, len(set(prompt.images)))  # how often each is shown
        spans = _spans(backbone, prompt.tokens)
        found.append(
            _Row(
                float(prompt.attention.sum()) / kept,
                float(prompt.predicts.sum()) / kept,
                _patches(backbone, batch) * shown / kept,
                sum(spans) / kept,
                min(spans, default=0),
            )
        )
    if not any(row.tokens for row in found):
        raise UsageError(
            "The length policy drops all of the samples looked at. Raise max_tokens, or choose "
            "too_long=shrink."
        )
    return found


def _spans(backbone: Backbone, tokens: Int[Tensor, "b t"]) -> list[int]:
    """The tokens of every image, where they stand in the row."""
    if not backbone.family.in_row:
        return []
    here = (tokens == backbone.composer.image_id).tolist()
    return [len(list(run)) for row in here for is_image, run in groupby(row) if is_image]


def _mean(rows: Sequence[_Row], draws: Sequence[int]) -> _Row:
    """The row of an epoch that draws so often from each."""
    weights = [count / sum(draws) for count in draws]
    pairs = list(zip(rows, weights, strict=True))
    return _Row(
        sum(row.tokens * weight for row, weight in pairs),
        sum(row.responses * weight for row, weight in pairs),
        sum(row.patches * weight for row, weight in pairs),
    )


def _patches(backbone: Backbone, batch: Batch) -> float:
    """Patches of the distinct images of a batch."""
    if "pixel_values" not in batch.pixels:
        return 0.0
    vision: Any = backbone.model.config.vision_config
    side = vision.patch_size
    height, width = side if isinstance(side, (list, tuple)) else (side, side)
    channels = getattr(vision, "num_channels", None) or getattr(vision, "in_channels", 3)
    size = channels * height * width * getattr(vision, "temporal_patch_size", 1)
    return batch.pixels["pixel_values"].numel() / size


def _flops(backbone: Backbone, rows: Sequence[PartRow], row: _Row, views: Sequence[View]) -> float:
    """Of one sample, forward and backward."""
    images = len({view.image for view in views})
    model: Any = backbone.model
    inner, outer = model.get_input_embeddings(), model.get_output_embeddings()
    head = float(outer.weight.numel())
    # Looking up embeddings costs nothing; tied ones are the head.
    looked_up = 0.0 if outer.weight is inner.weight else float(inner.weight.numel())
    by_name = {part.part: part for part in rows}
    upstream = False  # whether anything from here back to the pixels trains
    total = 0.0
    merges = backbone.family.merges(model.config)
    slots = [part for part in rows if part.part not in PARTS]
    for name in (*VISION, *sorted(by_name.keys() & set(DECODER), key=DECODER.index)):
        part = by_name[name]
        upstream |= part.trainable > 0
        if name in DECODER:
            upstream |= any(slot.lr is not None for slot in slots)
        full = part.lr is not None and part.trainable == part.parameters
        passes = 2 + 2 * upstream + 2 * full
        if name == "language_model":
            total += passes * (part.parameters - head - looked_up) * row.tokens * len(views)
            total += passes * head * row.responses * len(views)
        elif name == "cross_attention":
            looks = _keys_and_values(backbone)
            tokens = (part.parameters - looks) * row.tokens * len(views)
            total += passes * (tokens + looks * row.patches / merges * images)
        else:
            # The connector sees merged patches, and merging widens what it sees by as much.
            seen = row.patches if name == "vision_encoder" else row.patches / merges
            total += passes * part.parameters * seen * images
    return total


def _keys_and_values(backbone: Backbone) -> float:
    """Weights of cross-attention that read images; the others read tokens."""
    part = backbone.parts()["cross_attention"]
    return float(sum(p.numel() for n, p in part.items() if ".k_proj." in n or ".v_proj." in n))


def _bytes(
    backbone: Backbone, rows: Sequence[PartRow], row: _Row, schedule: Schedule, views: int
) -> float:
    """Weights, float32 gradients and AdamW moments, activations and logits of a microbatch."""
    half = torch.cuda.is_available()
    size = 2 if half else 4
    weights = sum(size * part.parameters + (16 - size) * part.trainable for part in rows)
    config = backbone.model.config.get_text_config()
    held = schedule.microbatch_size * views
    activations = held * row.tokens * config.num_hidden_layers * config.hidden_size
    logits = 4 * LOGITS * min(MOST, held * row.responses * config.vocab_size)
    return weights + ACTIVATIONS * (1 if half else 2) * activations + logits


def matmul_rate() -> float:
    """FLOP/s of a square matrix product on the default device, from a tenth of a second of them."""
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    side = 4096 if cuda else 512
    matrix = torch.ones(side, side, device=device, dtype=torch.bfloat16 if cuda else torch.float32)
    torch.mm(matrix, matrix)
    if cuda:
        torch.cuda.synchronize()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < 0.1:
        torch.mm(matrix, matrix)
        if cuda:
            torch.cuda.synchronize()
        count += 1
    return 2 * side**3 * count / (time.perf_counter() - began)
