"""Answering with a backbone: greedy or sampled text, and the likelihood of given options."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

from residency.errors import DataError, UsageError
from residency.model.huggingface import Backbone, to_device
from residency.types import Part, Prompt, Reading, View

Finish = Literal["stop", "length"]
_CHUNK = 2**25  # logits held at once while scoring, in elements


def _prefill(
    backbone: Backbone, readings: Sequence[Reading], view: View
) -> tuple[Prompt, dict[str, Any], Any, Float[Tensor, "b d"], Int[Tensor, " b"]]:
    """Read the prompts once: what the decoder was given, its cache, and of each row the last state
    and the next position."""
    batch = to_device(backbone.collate(readings, [view], "prompts"), backbone.device)
    if batch.dropped:
        raise _too_long(batch.dropped)
    prompt = batch.prompts[view]
    images = backbone.see(batch)
    embeddings = backbone.embed(prompt, images, backbone.exemplify(batch))
    given = backbone.family.inputs(backbone.model, prompt, images)
    # Whole, also where layers have a window: rows are padded on the right, and masks know positions.
    hidden, cache = backbone.decode(embeddings, given, prompt.positions, DynamicCache())
    last = prompt.attention.sum(1) - 1
    rows = torch.arange(len(last), device=last.device)
    following = prompt.positions.amax(0)[rows].amax(1) + 1
    return prompt, given, cache, hidden[rows, last], following


def stops(backbone: Backbone) -> set[int]:
    """Ids of the tokens that end a response: the model's own, and the end of a turn."""
    declared = backbone.model.generation_config.eos_token_id
    ids = {declared} if isinstance(declared, int) else set(declared or ())
    ids.add(backbone.composer.end_of_turn)
    return ids


@torch.no_grad()
def generate(
    backbone: Backbone,
    readings: Sequence[Reading],
    view: View,
    *,
    max_tokens: int,
    temperature: float = 0.0,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
) -> list[tuple[str, Finish]]:
    """Answer each reading; its own response is not looked at.

    `temperature` 0 is greedy; above 0 tokens are drawn with `generator`, or with one for each reading,
    which makes a text independent of those beside it. Control tokens other than the end of the
    response stay in the text, so that codecs can read boxes from it.

    Raises:
        UsageError: `max_tokens` below 1, or a temperature without a generator.
        DataError: a prompt is too long for the model's limits.
    """
    if max_tokens < 1:
        raise UsageError(f"max_tokens={max_tokens}; generate at least one token.")
    if temperature < 0 or (temperature and generator is None):
        raise UsageError(
            f"temperature={temperature}: use 0 for greedy, or above 0 together with a generator."
        )
    if not readings:
        return []
    prompt, given, cache, hidden, position = _prefill(backbone, readings, view)
    ends = torch.tensor(sorted(stops(backbone)), device=hidden.device)
    attention = prompt.attention
    done = torch.zeros(len(hidden), dtype=torch.bool, device=hidden.device)
    made: list[Int[Tensor, " b"]] = []
    axes = len(prompt.positions)
    for _ in range(max_tokens):
        token = _choose(backbone.head(hidden), temperature, generator)
        made.append(torch.where(done, ends[0], token))
        done |= torch.isin(token, ends)
        if bool(done.all()):
            break
        attention = torch.cat([attention, torch.ones_like(attention[:, :1])], dim=1)
        embeddings = backbone.model.get_input_embeddings()(token[:, None])
        places = position[None, :, None].expand(axes, -1, 1)
        given = backbone.family.onward(backbone.model, given, attention)
        states, cache = backbone.decode(embeddings, given, places, cache)
        hidden, position = states[:, -1], position + 1
    return [_text(backbone, row, set(ends.tolist())) for row in torch.stack(made, 1).tolist()]


def _choose(
    logits: Float[Tensor, "b v"],
    temperature: float,
    generator: torch.Generator | Sequence[torch.Generator] | None,
) -> Int[Tensor, " b"]:
    if not temperature:
        return logits.argmax(-1)
    probabilities = (logits.float() / temperature).softmax(-1)
    if isinstance(generator, Sequence):
        rows = zip(probabilities.to(generator[0].device), generator, strict=True)
        drawn = torch.stack([torch.multinomial(row, 1, generator=own) for row, own in rows])
        return drawn[:, 0].to(logits.device)
    place = generator.device if generator is not None else logits.device
    drawn = torch.multinomial(probabilities.to(place), 1, generator=generator)
    return drawn[:, 0].to(logits.device)


def _text(backbone: Backbone, tokens: list[int], ends: set[int]) -> tuple[str, Finish]:
    kept = next((k for k, token in enumerate(tokens) if token in ends), len(tokens))
    text: str = backbone.composer.tokenizer.decode(
        tokens[:kept], skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    return text.strip(), "stop" if kept < len(tokens) else "length"


@torch.no_grad()
def score(
    backbone: Backbone,
    readings: Sequence[Reading],
    view: View,
    options: Sequence[Sequence[Part]],
) -> Float[Tensor, "n k"]:
    """Log-likelihood of each option as the whole response (its end included), summed over tokens.

    Prompts and options grow as trees: a prompt is read once, so is what options begin with in
    common. An option that is a prefix of another is told apart by the end of the response.

    Raises:
        UsageError: no options, or one without any text.
        DataError: a prompt with its longest option is too long for the model's limits.
    """
    if not options or not all(backbone.composer.response_ids(option) for option in options):
        raise UsageError("Give at least one option to score, each with some text.")
    if not readings:
        return torch.zeros(0, len(options))
    answered = [_answered(reading, option) for reading in readings for option in options]
    batch = backbone.collate(answered, [view], backbone.form)
    if batch.dropped:
        raise _too_long(batch.dropped)
    batch = to_device(batch, backbone.device)
    of = _log_likelihood(backbone, backbone.states(batch)[view], batch.targets.tokens)
    sums = torch.zeros(len(answered), device=of.device).index_add_(0, batch.targets.sample, of)
    return sums.view(len(readings), len(options)).cpu()


def _answered(reading: Reading, option: Sequence[Part]) -> Reading:
    """The reading with another response in its last learned turn, the only one learned."""
    last = max(k for k, turn in enumerate(reading.conversation) if turn.learn)
    before = (replace(turn, learn=False) for turn in reading.conversation[:last])
    turn = replace(reading.conversation[last], parts=tuple(option))
    return replace(reading, conversation=(*before, turn), negative_response=())


def _too_long(names: Sequence[str]) -> DataError:
    some = ", ".join(dict.fromkeys(names[:3]))
    return DataError(
        f"The length policy drops the prompts of {some}: too long to answer. Raise the limit "
        "of tokens, or choose too_long=shrink."
    )


def _log_likelihood(
    backbone: Backbone, hidden: Float[Tensor, "r d"], tokens: Int[Tensor, " r"]
) -> Float[Tensor, " r"]:
    """Of each token after its state, in float32; the logits of all rows never exist at once."""
    width = backbone.model.get_output_embeddings().weight.shape[0]
    rows = max(1, _CHUNK // int(width))
    made = []
    for states, chosen in zip(hidden.split(rows), tokens.split(rows), strict=True):
        logits = backbone.head(states).float()
        made.append(logits.gather(1, chosen[:, None])[:, 0] - logits.logsumexp(-1))
    return torch.cat(made)
