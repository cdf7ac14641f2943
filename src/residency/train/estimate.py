"""How long and how much memory a stage would take: arithmetic on shapes, and a measured matmul rate."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from residency.data.mixture import Mixture
from residency.model.huggingface import Backbone
from residency.train.trainable import PartRow
from residency.train.values import Schedule
from residency.types import PLAIN

EFFICIENCY = 0.3  # share of the matmul rate that training reaches (ours; small models reach less)
ACTIVATIONS = 34  # bytes per token, layer and width unit without recomputation (Korthikanti, 2022)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds and bytes, to within a factor of about two or three."""

    seconds: float
    bytes: float
    tokens: float  # per row

    def describe(self) -> str:
        """For people."""
        minutes = self.seconds / 60
        return (
            f"about {self.tokens:.0f} tokens a row, roughly {minutes:.1f} min and "
            f"{self.bytes / 2**30:.1f} GiB on this device (within a factor of three)"
        )


def estimate(
    backbone: Backbone, mixture: Mixture, rows: Sequence[PartRow], schedule: Schedule, views: int
) -> Estimate:
    """The cost of `schedule` over `mixture`, from the token counts of a few of its samples.

    A forward pass takes 2 FLOPs per weight and token; the backward pass twice that where weights
    train in full and once where they are frozen or under LoRA. The vision encoder runs once per
    distinct image, the language model once per view.
    """
    some = [mixture.reading(i) for i in range(0, len(mixture), max(1, len(mixture) // 4))][:4]
    prompt = backbone.collate(some, [PLAIN]).prompts[PLAIN]
    tokens = float(prompt.attention.sum(1).float().mean())
    # Four patches merge into a token in the families served so far.
    patches = 4.0 * float((prompt.tokens == backbone.composer.image_id).sum()) / len(some)
    samples = schedule.total(len(mixture)) * schedule.batch_size
    flops = 0.0
    for row in rows:
        vision = row.part in ("vision_encoder", "connector")
        seen = patches if vision else tokens * views
        full = row.trainable == row.parameters
        backward = 4 if full else 0 if vision and not row.trainable else 2
        flops += (2 + backward) * row.parameters * seen
    config = backbone.model.config.get_text_config()
    held = schedule.microbatch_size * views * tokens * config.num_hidden_layers * config.hidden_size
    size = 4 if not torch.cuda.is_available() else 2
    memory = sum(size * row.parameters + 16 * row.trainable for row in rows) + ACTIVATIONS * held
    return Estimate(flops * samples / (matmul_rate() * EFFICIENCY), memory, tokens)


def matmul_rate() -> float:
    """FLOP/s of a square matrix product on the default device, from a tenth of a second of them."""
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    side = 4096 if cuda else 512
    matrix = torch.ones(side, side, device=device, dtype=torch.bfloat16 if cuda else torch.float32)
    matrix @ matrix
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < 0.1:
        matrix @ matrix
        if cuda:
            torch.cuda.synchronize()
        count += 1
    return 2 * side**3 * count / (time.perf_counter() - began)
