"""What an expert answers: the best label of its slice, or every label above one half."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from residency.dataset import Dataset
from residency.evaluate.controls import fixed
from residency.model.expert import Expert
from residency.types import Answer, Prediction, Sample

BATCH = 256


@torch.no_grad()
def answers(expert: Expert, samples: Sequence[Sample], dataset: Dataset) -> list[Prediction]:
    """One prediction per sample, with the log-probability of every label as its scores.

    Raises:
        UsageError: the expert has no outputs for the data set's labels.
    """
    part = expert.layout.of(dataset)
    device = next(expert.parameters()).device
    made = []
    for start in range(0, len(samples), BATCH):
        some = samples[start : start + BATCH]
        pixels = expert.pixels([sample.images[0].load() for sample in some]).to(device)
        logits = expert(pixels)[:, part.start : part.stop].float().cpu()
        sigmoid = torch.nn.functional.logsigmoid
        scores = sigmoid(logits) if part.multi_label else logits.log_softmax(-1)
        for sample, row, raw in zip(some, scores.tolist(), logits.tolist(), strict=True):
            answer: Answer
            if part.multi_label:
                answer = tuple(label for label, z in zip(part.labels, raw, strict=True) if z > 0)
            else:
                answer = part.labels[max(range(len(row)), key=row.__getitem__)]
            said = fixed(sample, answer)
            named = dict(zip(part.labels, row, strict=True))
            made.append(replace(said, finish="scored", scores=named))
    return made
