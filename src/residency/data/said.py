"""What a row of a user's own file says, whatever shape it has: images, questions with answers, labels.

Shapes, told by their keys: `conversations` (LLaVA, ShareGPT), `messages` (also OpenAI and Anthropic
content lists), `prompt`/`completion`, `query`/`response`, `instruction`/`output`, `question`/`answer`,
`image` with `caption` or `text`, `image` with `label`. Text is data: nothing in it becomes a special
token. An `<image>` tag only says that an image is meant; tags must be as many as images, or none.
"""

import base64
import binascii
import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from residency.catalog import suggest
from residency.data.documents import RowError
from residency.data.splits import unknown_split

TAG = "<image>"
Row = Mapping[str, Any]
Image = str | bytes
USER, MODEL = ("human", "user"), ("gpt", "assistant", "model", "bot")
IMAGE_KEYS = ("images", "image")
PAIRS = (
    ("prompt", "completion"),
    ("query", "response"),
    ("instruction", "output"),
    ("question", "answer"),
)
CAPTIONS = ("caption", "text")


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """One row: paths or bytes of images; questions with answers in order, else a label.

    `shape` is the key that told the shape. `unheard` is True where a system turn was left out,
    because an instruction is chosen by the task.
    """

    shape: str
    images: tuple[Image, ...]
    turns: tuple[tuple[str, str], ...] = ()
    label: str | int | None = None
    id: str = ""
    split: str = ""
    group: str = ""
    unheard: bool = False


def shape_of(keys: set[str]) -> str:
    """The name of the shape that a row with these keys has, "" for none."""
    for key in ("conversations", "messages"):
        if key in keys:
            return key
    for first, second in PAIRS:
        if {first, second} <= keys:
            return first
    if keys & set(IMAGE_KEYS):
        return next((key for key in (*CAPTIONS, "label") if key in keys), "")
    return ""


def read_row(row: object, where: str) -> Said:
    """What a row says.

    Raises:
        RowError: no known shape, a value of another type, roles out of turn, an empty answer, tags
            that do not fit the images, an image that is an address or no valid base64.
    """
    if not isinstance(row, Mapping):
        raise RowError("shape", where, f"{type(row).__name__}; expected an object with keys.")
    shape = shape_of(set(row))
    if not shape:
        known = ("conversations", "messages", "prompt", "question", "caption", "label")
        close = "".join(suggest(str(key), list(known)) for key in list(row)[:20])
        listed = ", ".join(str(key) for key in list(row)[:8])
        raise RowError("shape", where, f"keys {listed}: no known shape.{close}")
    images = _images(row, where)
    if shape == "label":
        return _said(row, where, shape, images, label=_label(row["label"], where))
    heard: list[tuple[str, str]] = []  # role, text
    if shape in ("conversations", "messages"):
        more = _dialogue(row[shape], heard, where)
        # Content lists carry their images themselves, beside or instead of `images`.
        images = images or more
    elif shape in CAPTIONS:
        heard = [("user", ""), ("model", _text(row[shape], where, shape))]
    else:
        images = _pair(row, shape, heard, where) or images
    turns, unheard = _turns(heard, where)
    _require_tags(turns, len(images), where)
    plain = tuple((_untagged(question), answer) for question, answer in turns)
    return _said(row, where, shape, images, turns=plain, unheard=unheard)


def _said(row: Row, where: str, shape: str, images: tuple[Image, ...], **facts: Any) -> Said:
    """With what any shape may state besides."""
    stated = {name: row.get(name) for name in ("id", "split", "group")}
    stated["group"] = stated["group"] or row.get("patient")
    words: dict[str, Any] = {
        name: "" if value is None else str(value).strip() for name, value in stated.items()
    }
    if words["split"] and (wrong := unknown_split(words["split"])):
        raise RowError("split", where, wrong)
    if shape == "label" and not images:
        raise RowError("image", where, "no image.")
    return Said(shape=shape, images=images, **words, **facts)


def _images(row: Row, where: str) -> tuple[Image, ...]:
    for key in IMAGE_KEYS:
        if row.get(key) is not None:
            value = row[key]
            listed = value if isinstance(value, list | tuple) else [value]
            return tuple(image_of(entry, where) for entry in listed)
    return ()


def image_of(entry: Any, where: str) -> Image:
    """A path, or the bytes of an image, from any of the ways to state one.

    Raises:
        RowError: an address (nothing is fetched), empty, not base64, or of another type.
    """
    if isinstance(entry, bytes):
        return entry
    if isinstance(entry, Mapping):
        for key in ("bytes", "path", "url", "base64", "data", "image", "image_url", "file_name"):
            if entry.get(key) is not None:
                text = entry[key]
                encoded = key in ("base64", "data") and isinstance(text, str)
                return _decoded(text, where) if encoded else image_of(text, where)
    if isinstance(entry, str) and entry.strip():
        text = entry.strip()
        if re.match(r"(https?|ftp|s3|gs)://", text, re.IGNORECASE):
            raise RowError("url", where, "an image by address; nothing is fetched. Save it first.")
        if text.startswith("data:"):
            return _decoded(text, where)
        return text.removeprefix("file://")
    raise RowError("image", where, f"an image given as {type(entry).__name__}; expected a path.")


def _decoded(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(
            "".join(text.partition(",")[2].split() or text.split()), validate=True
        )
    except (binascii.Error, ValueError):
        raise RowError("image", where, "an image that is not valid base64.") from None


def _text(value: object, where: str, key: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RowError("text", where, f"{key} is {type(value).__name__}; expected text.")
    if isinstance(value, float) and not math.isfinite(value):
        raise RowError("text", where, f"{key} is {value}, which is no number.")
    return str(value).strip()


def _label(value: object, where: str) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = " ".join(_text(value, where, "label").split())
    if not text:
        raise RowError("empty_answer", where, "an empty label.")
    return text


def _dialogue(entries: object, heard: list[tuple[str, str]], where: str) -> tuple[Image, ...]:
    """Append role and text of every entry; the images of content lists."""
    if not isinstance(entries, list | tuple) or not entries:
        raise RowError("turns", where, "no list of turns.")
    images: list[Image] = []
    for entry in entries:
        if not isinstance(entry, Mapping):
            raise RowError("turns", where, f"a turn is {type(entry).__name__}; expected an object.")
        role = str(entry.get("from", entry.get("role")) or "").strip().lower()
        content = entry.get("value", entry.get("content"))
        if isinstance(content, list | tuple):
            content = _content(content, images, where)
        heard.append((role, _text(content, where, f"the turn of {role or 'nobody'}")))
    return tuple(images)


def _content(parts: Any, images: list[Image], where: str) -> str:
    """The text of a content list, a tag where an image stands."""
    texts = []
    for part in parts:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind in ("text", "input_text", "output_text"):
            texts.append(_text(part.get("text", ""), where, "a text part"))
        elif kind in ("image_url", "image", "input_image"):
            # A bare {"type": "image"} stands for the next of the row's own images.
            stated = part.get("source") or {key: part[key] for key in part if key != "type"}
            if stated:
                images.append(image_of(stated, where))
            texts.append(TAG)
        else:
            raise RowError("content", where, f"a part of type {kind!r}; text and images are read.")
    return "\n".join(texts)


def _pair(row: Row, first: str, heard: list[tuple[str, str]], where: str) -> tuple[Image, ...]:
    """A question with its answer: text, or lists of messages (TRL)."""
    second = dict(PAIRS)[first]
    found: tuple[Image, ...] = ()
    for key, role in ((first, "user"), (second, "model")):
        value = row[key]
        if isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
            found += _dialogue(value, heard, where)
        else:
            text = _text(value, where, key)
            more = row.get("input") if key == "instruction" else None
            heard.append((role, f"{text}\n{_text(more, where, 'input')}" if more else text))
    return found


def _turns(heard: list[tuple[str, str]], where: str) -> tuple[tuple[tuple[str, str], ...], bool]:
    """Questions with answers; whether a system turn was left out."""
    spoken = [(role, text) for role, text in heard if role != "system"]
    turns = []
    for place in range(0, len(spoken), 2):
        pair = spoken[place : place + 2]
        if len(pair) < 2 or pair[0][0] not in USER or pair[1][0] not in MODEL:
            roles = ", ".join(role or "nobody" for role, _ in heard)
            raise RowError(
                "turns", where, f"turns of {roles}; expected user and assistant by turns."
            )
        if not pair[1][1]:
            raise RowError("empty_answer", where, f"answer {place // 2 + 1} is empty.")
        turns.append((pair[0][1], pair[1][1]))
    if not turns:
        raise RowError("turns", where, "no question with an answer.")
    return tuple(turns), len(spoken) < len(heard)


def _require_tags(turns: tuple[tuple[str, str], ...], images: int, where: str) -> None:
    if any(TAG in answer for _, answer in turns):
        raise RowError("placeholder", where, f"{TAG} inside an answer.")
    tags = sum(question.count(TAG) for question, _ in turns)
    if tags not in (0, images):
        raise RowError("placeholder", where, f"{tags} tags {TAG} for {images} images.")


def _untagged(question: str) -> str:
    return question.replace(TAG, "").strip()


def identity(image: Image) -> str:
    """What equal images have in common: the path, else a hash of the bytes."""
    return image if isinstance(image, str) else f"sha256:{hashlib.sha256(image).hexdigest()[:32]}"
