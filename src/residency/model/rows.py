"""From a conversation to a row of token ids, with labels from turn spans.

Template and data are tokenised apart, so data can never become a control token.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError
from tokenizers import Tokenizer
from transformers import ProcessorMixin

from residency.backbone import Family, ImageLayout
from residency.errors import DataError, UsageError
from residency.types import Conversation, ImagePart, Markup, Part, Turn

_SENTINEL = re.compile("\ue000(\\d+)\\.(\\d+)\ue001")
_Kinds = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(slots=True)
class Row:
    """One conversation as tokens.

    `spans` holds (first placeholder, layout, number of the image in the sample); `exemplars` the
    numbers of the images whose exemplars fill the slots, left to right.
    """

    tokens: list[int] = field(default_factory=list)
    learned: list[bool] = field(default_factory=list)
    spans: list[tuple[int, ImageLayout, int]] = field(default_factory=list)
    exemplars: list[int] = field(default_factory=list)

    def extend(self, tokens: Sequence[int], *, learn: bool) -> None:
        """Append tokens that are all learned or all given."""
        self.tokens += tokens
        self.learned += [learn] * len(tokens)


@dataclass(frozen=True, slots=True)
class Slots:
    """Width of each slot, 0 leaves it out; `replace` puts the exemplar in the image's place."""

    exemplar: int = 0
    replace: bool = False
    proxy: int = 0


class Composer:
    """Writes rows for one processor. Rendering and tokenisation are cached by content."""

    def __init__(
        self, family: Family, processor: ProcessorMixin, slot_ids: tuple[int, int]
    ) -> None:
        self.family = family
        self.processor = processor
        self.exemplar_id, self.proxy_id = slot_ids
        self.tokenizer: Any = processor.tokenizer
        self.image_id = family.image_token(processor)
        self._plain = _without_added_tokens(self.tokenizer)
        self._added = frozenset(self.tokenizer.get_added_vocab().values())
        self.text_ids = lru_cache(maxsize=65536)(self._text_ids)
        self.template = lru_cache(maxsize=256)(self._template)
        self.end_of_turn = self._end_of_turn()

    def _end_of_turn(self) -> int:
        """The control token that the chat template writes after a response."""
        pieces = self.template((("user", ("text",)), ("assistant", ("text",))))
        tail = pieces[-1][0]
        if not tail or tail[0] not in self._added:
            raise UsageError("The chat template does not close a response with a control token.")
        return tail[0]

    def _text_ids(self, text: str) -> tuple[int, ...]:
        try:
            ids = tuple(self._plain.encode(text, add_special_tokens=False).ids)
        except TypeError as error:  # how the tokenizer says it
            raise DataError(
                f"Text {text[:60]!r} holds half of a character pair; fix it."
            ) from error
        if not self._added.isdisjoint(ids):
            bad = self.tokenizer.convert_ids_to_tokens(sorted(self._added.intersection(ids)))
            raise DataError(f"Text {text[:60]!r} tokenises to control tokens {bad}; rephrase it.")
        return ids

    def part_ids(self, part: Part) -> tuple[int, ...]:
        """Token ids of data or markup."""
        if isinstance(part, Markup):
            return tuple(self.tokenizer(str(part), add_special_tokens=False)["input_ids"])
        return self.text_ids(str(part))

    def response_ids(self, parts: Sequence[Part]) -> list[int]:
        """Token ids of a response, without the end of the turn."""
        return [token for part in parts for token in self.part_ids(part)]

    def _template(
        self, kinds: _Kinds
    ) -> tuple[tuple[tuple[int, ...], tuple[int, int] | None], ...]:
        """The chat template around the parts: (tokens, the part that follows them)."""
        messages: Any = [
            {
                "role": role,
                "content": [
                    {"type": "image"}
                    if kind == "image"
                    else {"type": "text", "text": f"\ue000{i}.{j}\ue001"}
                    for j, kind in enumerate(parts)
                ],
            }
            for i, (role, parts) in enumerate(kinds)
        ]
        text = self._rendered(messages)
        pieces: list[tuple[tuple[int, ...], tuple[int, int] | None]] = []
        done = 0
        for match in _SENTINEL.finditer(text):
            ids = self.tokenizer(text[done : match.start()], add_special_tokens=False)["input_ids"]
            pieces.append((tuple(ids), (int(match[1]), int(match[2]))))
            done = match.end()
        tail = self.tokenizer(text[done:], add_special_tokens=False)["input_ids"]
        return (*pieces, (tuple(tail), None))

    def _rendered(self, messages: Any) -> str:
        try:
            text: str = self.processor.apply_chat_template(messages, tokenize=False)
        except TemplateError as error:
            roles = ", ".join(message["role"] for message in messages)
            raise UsageError(
                f"The chat template of this model refuses turns of {roles}: {error}. Write the "
                "conversation as its template allows."
            ) from error
        return self.family.template(self.processor, text)

    def row(
        self,
        conversation: Conversation,
        layouts: Sequence[ImageLayout],
        slots: Slots,
        *,
        answer: bool = True,
    ) -> Row:
        """Write one conversation; `layouts` are those of the sample's images, in its order.

        Without `answer` the row is a prompt: it ends where the last learned turn begins.

        Raises:
            DataError: nothing to learn, an empty response, an image that the sample lacks, or no
                place for a slot.
            UsageError: the chat template does not end a learned turn with a control token.
        """
        last = max((i for i, turn in enumerate(conversation) if turn.learn), default=None)
        if last is None:
            raise DataError("No turn is marked to be learned; give the sample a response.")
        if answer and not all(self._spoken(turn) for turn in conversation if turn.learn):
            raise DataError("A response to learn is empty; drop the sample or give it an answer.")
        if not answer:
            conversation = (*conversation[:last], replace(conversation[last], parts=("",)))
        row = self._written(conversation, layouts, slots, until=None if answer else last)
        if slots.exemplar and not row.exemplars:
            raise DataError("The view needs an exemplar, and the conversation shows no image.")
        if slots.proxy and self.proxy_id not in row.tokens:
            raise DataError("The view needs a proxy instruction, and no user turn has a text.")
        if not answer:
            row.learned = [False] * len(row.tokens)  # earlier turns are part of the prompt
        return row

    def _written(
        self,
        conversation: Conversation,
        layouts: Sequence[ImageLayout],
        slots: Slots,
        until: int | None,
    ) -> Row:
        """The row up to the response of turn `until`, or to the end."""
        kinds = tuple(
            (t.role, tuple("image" if isinstance(p, ImagePart) else "text" for p in t.parts))
            for t in conversation
        )
        shown = iter(p.index for t in conversation for p in t.parts if isinstance(p, ImagePart))
        row, proxied = Row(), set[int]()
        learning: int | None = None  # the turn whose response was written last, if it is learned
        for tokens, place in self.template(kinds):
            if learning is not None and (place is None or place[0] != learning):
                self._end(row, tokens)
                tokens, learning = tokens[1:], None
            for token in tokens:
                if token == self.image_id:
                    self._image(row, next(shown), layouts, slots)
                else:
                    row.extend([token], learn=False)
            if place is None or place[0] == until:
                break
            turn = conversation[place[0]]
            if slots.proxy and turn.role == "user":
                if place[0] not in proxied:  # the whole instruction becomes one slot
                    row.extend([self.proxy_id] * slots.proxy, learn=False)
                    proxied.add(place[0])
                continue
            row.extend(self.part_ids(turn.parts[place[1]]), learn=turn.learn)
            learning = place[0] if turn.learn else None
        return row

    def _spoken(self, turn: Turn) -> bool:
        return any(self.part_ids(p) for p in turn.parts if not isinstance(p, ImagePart))

    def _end(self, row: Row, tokens: tuple[int, ...]) -> None:
        """Learn to stop: the control token that the template writes after a response."""
        if tokens[:1] != (self.end_of_turn,):
            raise UsageError("The chat template closes this learned turn in an unknown way.")
        row.extend(tokens[:1], learn=True)

    def _image(self, row: Row, number: int, layouts: Sequence[ImageLayout], slots: Slots) -> None:
        if number >= len(layouts):
            raise DataError(
                f"The conversation shows image {number}, the sample has {len(layouts)}."
            )
        layout = layouts[number]
        placeholders = 0 if slots.replace else layout.tokens
        ids = self.family.span(self.processor, placeholders, [self.exemplar_id] * slots.exemplar)
        if placeholders:
            row.spans.append((len(row.tokens) + ids.index(self.image_id), layout, number))
        if slots.exemplar:
            row.exemplars.append(number)
        row.extend(ids, learn=False)


def _without_added_tokens(tokenizer: Any) -> Tokenizer:
    """A copy that knows no control token, for text that comes from data."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state["added_tokens"] = []
    state["post_processor"] = None
    return Tokenizer.from_str(json.dumps(state))
