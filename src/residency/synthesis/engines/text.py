"""A language model that sees no images, in this process: AdaMLLM's own filter is one (Llama-3-8B, base).

`text:MODEL` or `text:MODEL?batch=N` (8), a Hugging Face folder or id. A model without a chat template goes on
where the prompt ends, and says one line. Greedy; labels are chosen by their likelihood.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from residency.errors import UsageError
from residency.model import store
from residency.synthesis.engine import Engine, Kind, Reply, Request, Sampling, checked
from residency.synthesis.engine import number as whole
from residency.types import ImagePart

BATCH = 8
MARK = "\ue000"
SPOKEN = Kind("text", continues=False)


@dataclass(frozen=True, kw_only=True)
class Language:
    """A causal language model with its tokenizer."""

    network: Any
    tokenizer: Any

    @property
    def chats(self) -> bool:
        """Whether it was taught a conversation."""
        return bool(self.tokenizer.chat_template)

    def prompt(self, request: Request) -> list[int]:
        """The tokens of what was said so far; what stands in the texts never becomes a control token."""
        texts = ["".join(map(str, turn.parts)) for turn in request.turns]
        if not self.chats:
            return [*self._start(), *self._plain("\n".join(texts))]
        messages = [{"role": turn.role, "content": MARK} for turn in request.turns]
        frame = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        ids: list[int] = []
        for piece, text in zip(frame.split(MARK), [*texts, ""], strict=True):
            ids += self.tokenizer(piece, add_special_tokens=False)["input_ids"]
            ids += self._plain(text)
        return ids

    def option(self, text: str) -> list[int]:
        """The tokens of a reply; where nothing is spoken in turns a space comes before it."""
        return self._plain(text if self.chats else f" {text}")

    def _start(self) -> list[int]:
        first = self.tokenizer.bos_token_id
        return [] if first is None else [first]

    def _plain(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)[
            "input_ids"
        ]
        return ids

    def padded(self, rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """Rows that end together, as the network takes them."""
        longest, device = max(map(len, rows)), self.network.device
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, own in enumerate(rows):
            ids[row, longest - len(own) :] = torch.tensor(own)
            mask[row, longest - len(own) :] = 1
        return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


def kind(where: str) -> Kind:
    """Its weights decide, wherever they lie.

    Raises:
        UsageError: no model is named, or one that is not there.
    """
    model, _ = _parsed(where)
    store.config_of(model)
    return Kind(f"text {store.identity(model)}", continues=False, served=True, sees=False)


def _parsed(where: str) -> tuple[str, int]:
    model, _, option = where.partition("?")
    name, _, value = option.partition("=")
    if not model or (option and name != "batch"):
        raise UsageError(
            f"engine=text:{where}: expected a model, as in text:meta-llama/Meta-Llama-3-8B, and at most "
            "the option batch=N."
        )
    return model, whole(value, "text", BATCH)


@contextmanager
def opened(where: str, model: str) -> Iterator[Engine]:
    """Load the language model; `model` is not loaded."""
    from transformers import AutoModelForCausalLM, AutoTokenizer  # heavy

    named, batch = _parsed(where)
    device = store.default_device()
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    try:
        network: Any = AutoModelForCausalLM.from_pretrained(
            named, dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
        tokenizer = AutoTokenizer.from_pretrained(named, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{named} cannot be read as a language model: {' '.join(str(error).split())}"
        ) from error
    language = Language(network=network.to(device).eval(), tokenizer=tokenizer)
    yield Engine(
        write=partial(write, language),
        model=named,
        weights=store.identity(named),
        batch=batch,
        continues=False,
    )


@torch.no_grad()
def write(language: Language, requests: Sequence[Request], sampling: Sampling) -> list[Reply]:
    """The next turn of every request; one with an image fails alone.

    Raises:
        UsageError: a temperature above 0.
    """
    if sampling.temperature:
        raise UsageError("engine=text is greedy. Use temperature=0, or another engine.")
    checked(SPOKEN, requests)
    shown = [any(isinstance(p, ImagePart) for t in one.turns for p in t.parts) for one in requests]
    rows = [language.prompt(one) for one, seen in zip(requests, shown, strict=True) if not seen]
    said = iter((_choose if sampling.options else _say)(language, rows, sampling) if rows else ())
    refused = Reply("", "failed", "this engine sees no images")
    return [refused if seen else next(said) for seen in shown]


def _choose(language: Language, rows: Sequence[list[int]], sampling: Sampling) -> list[Reply]:
    """The likeliest option, by the sum over its tokens."""
    options = [language.option(one) for one in sampling.options]
    scores = torch.zeros(len(rows), len(options))
    for place, option in enumerate(options):
        given = language.padded([[*row, *option] for row in rows])
        spots = (given["attention_mask"].cumsum(1) - 1).clamp(min=0)
        kept = len(option) + 1
        logits = language.network(**given, position_ids=spots, logits_to_keep=kept).logits
        told = logits[:, -kept:-1].float().log_softmax(-1)
        wanted = given["input_ids"][:, -len(option) :, None]
        scores[:, place] = told.gather(2, wanted).sum((1, 2)).cpu()
    return [Reply(sampling.options[best], "stop") for best in scores.argmax(1).tolist()]


def _say(language: Language, rows: Sequence[list[int]], sampling: Sampling) -> list[Reply]:
    given = language.padded(rows)
    made = language.network.generate(
        **given, max_new_tokens=sampling.max_tokens, do_sample=False,
        pad_token_id=language.tokenizer.pad_token_id or 0,
    )  # fmt: skip
    ends = language.network.generation_config.eos_token_id
    stops = set(ends) if isinstance(ends, list) else {ends}
    replies = []
    for tokens in made[:, given["input_ids"].shape[1] :].tolist():
        text = language.tokenizer.decode(tokens, skip_special_tokens=True)
        line = text if language.chats else text.lstrip("\n").partition("\n")[0]
        ended = bool(stops.intersection(tokens)) or line != text
        replies.append(Reply(line.strip(), "stop" if ended else "length"))
    return replies
