"""vLLM in this process, for models that it serves; needs `pip install vllm`.

`vllm` or `vllm:N` for N images at most in a prompt. It reads Hugging Face folders and ids.
"""

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from residency.errors import DataError, UsageError
from residency.model import store
from residency.synthesis.engine import (
    Engine,
    Kind,
    Reply,
    Request,
    Sampling,
    as_messages,
    failed,
    number,
)
from residency.types import Picture

BATCH = 512  # requests handed over at once; vLLM forms its own batches
MARK = "\ue000"


def kind(where: str) -> Kind:
    """The model alone decides."""
    number(where, "vllm", 1)
    return Kind("vllm", continues=True, foreign=True, package="vllm")


@contextmanager
def opened(where: str, model: str) -> Iterator[Engine]:
    """Start vLLM on the model.

    Raises:
        UsageError: the model is a checkpoint of ours.
    """
    library: Any = importlib.import_module("vllm")
    if store.checkpoint_folder(model) is not None:
        raise UsageError(
            f"vLLM reads Hugging Face folders, and {model} is a checkpoint of a run. Use engine=local."
        )
    limit = {"image": number(where, "vllm", 1)}
    served = library.LLM(model=store.resolve(model), limit_mm_per_prompt=limit, seed=0)
    yield Engine(
        write=partial(write, library, served),
        model=model,
        weights=store.identity(model),
        batch=BATCH,
        continues=True,
    )


def write(
    library: Any, served: Any, requests: Sequence[Request], sampling: Sampling
) -> list[Reply]:
    """The next turns; the chat template writes all that comes before them."""
    tokenizer = served.get_tokenizer()
    prompts, places, replies = [], [], {}
    for place, request in enumerate(requests):
        try:
            prompts.append(_prompt(tokenizer, request))
            places.append(place)
        except DataError as error:
            replies[place] = failed(error)
    settings = [
        library.SamplingParams(
            temperature=sampling.temperature,
            max_tokens=sampling.max_tokens,
            seed=sampling.seed_of(requests[place]) % 2**31,
            skip_special_tokens=True,
        )
        for place in places
    ]
    for place, made in zip(places, served.generate(prompts, settings), strict=True):
        one = made.outputs[0]
        replies[place] = Reply(
            one.text.strip(), "length" if one.finish_reason == "length" else "stop"
        )
    return [replies[place] for place in range(len(requests))]


def _prompt(tokenizer: Any, request: Request) -> dict[str, Any]:
    """Everything up to where the next turn begins, whoever speaks it."""
    shown: list[Any] = []

    def image(picture: Picture) -> dict[str, Any]:
        shown.append(picture.load())
        return {"type": "image"}

    messages = as_messages(request, image)
    messages.append({"role": request.speaker, "content": [{"type": "text", "text": MARK}]})
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    prompt: dict[str, Any] = {"prompt": text.partition(MARK)[0]}
    return prompt | ({"multi_modal_data": {"image": shown}} if shown else {})
