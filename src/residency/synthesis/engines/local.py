"""The model in this process, batched with a KV cache; labels are chosen by their likelihood.

`local` or `local:N` for N requests at once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch

from residency.errors import DataError
from residency.model import store
from residency.model.collate import LengthError
from residency.model.generation import generate, score
from residency.model.huggingface import Backbone
from residency.synthesis.engine import Engine, Kind, Reply, Request, Sampling, failed, number
from residency.types import PLAIN, Reading, Sample, Turn

BATCH = 16


def kind(where: str) -> Kind:
    """The model alone decides, whatever the size of a batch."""
    number(where, "local", BATCH)
    return Kind("local", continues=True)


@contextmanager
def opened(where: str, model: str) -> Iterator[Engine]:
    """Load the model; it leaves with the engine."""
    backbone = store.load(model)
    yield Engine(
        write=partial(write, backbone),
        model=model,
        weights=store.identity(model),
        batch=number(where, "local", BATCH),
        continues=True,
    )


def write(backbone: Backbone, requests: Sequence[Request], sampling: Sampling) -> list[Reply]:
    """The next turn of every request; one that cannot be read fails alone."""
    try:
        return _write(backbone, requests, sampling)
    except DataError as error:
        if len(requests) == 1:
            if isinstance(error, LengthError):
                most = backbone.limits.max_tokens
                reason = f"longer than the {most} tokens that this engine reads"
                return [Reply("", "failed", reason)]
            return [failed(error)]
        return [reply for one in requests for reply in write(backbone, [one], sampling)]


def _write(backbone: Backbone, requests: Sequence[Request], sampling: Sampling) -> list[Reply]:
    readings = [_reading(request) for request in requests]
    if sampling.options:
        scores = score(backbone, readings, PLAIN, [(option,) for option in sampling.options])
        best = scores.argmax(1).tolist() if len(requests) else []
        return [Reply(sampling.options[place], "stop") for place in best]
    generators = None
    if sampling.temperature:
        generators = [
            torch.Generator().manual_seed(sampling.seed_of(request)) for request in requests
        ]
    said = generate(
        backbone,
        readings,
        PLAIN,
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        generator=generators,
    )
    return [Reply(text, finish) for text, finish in said]


def _reading(request: Request) -> Reading:
    sample = Sample(id=request.id, dataset="", task="caption", answer="", images=request.images)
    return Reading(
        sample=sample, conversation=(*request.turns, Turn(request.speaker, ("",), learn=True))
    )
