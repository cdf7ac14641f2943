"""What a person declares about data on disk, in `residency.yaml` or `dataset.json` beside it."""

import json
import unicodedata
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from residency.catalog import suggest
from residency.errors import DataError
from residency.text import normalise

CARD_FILES = ("residency.yaml", "dataset.json")


@dataclass(frozen=True, kw_only=True)
class Card:
    """Declared facts: `modality` per language (en, zh); `labels` in canonical order."""

    modality: dict[str, str] = field(default_factory=dict)
    licence: str = ""
    source: str = ""
    labels: tuple[str, ...] = ()
    multi_label: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """What is missing, for the notes of a data set."""
        if self.modality:
            return ()
        return (
            "No modality declared, so the instruction says only 'image'; declare it as "
            f"`modality: {{en: ..., zh: ...}}` in {CARD_FILES[0]}.",
        )


def read_card(folder: Path) -> Card:
    """The card of a folder, an empty one where there is none.

    Raises:
        DataError: two cards, not YAML or JSON, an unknown key, or a value of another type.
    """
    found = [folder / name for name in CARD_FILES if (folder / name).is_file()]
    if not found:
        return Card()
    if len(found) > 1:
        raise DataError(f"{folder} has both {' and '.join(CARD_FILES)}. Keep one of them.")
    path = found[0]
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read: {reason}. Write a flat list of keys.") from None
    known = [entry.name for entry in fields(Card)]
    if not isinstance(values, dict):
        raise DataError(f"{path} must hold keys and values; allowed keys: {', '.join(known)}.")
    for key in values:
        if key not in known:
            raise DataError(
                f"{path} has an unknown key {key!r}.{suggest(str(key), known)} Allowed: "
                f"{', '.join(known)}."
            )
    return Card(**{key: _value(path, key, value) for key, value in values.items()})


def distinct_labels(labels: tuple[str, ...], where: str) -> tuple[str, ...]:
    """The labels, once it is sure that a response can tell them apart.

    Raises:
        DataError: two labels differ only by case, spaces, marks without width or final punctuation.
    """
    seen: dict[str, str] = {}
    for label in labels:
        # Marks that nobody sees, such as a zero-width space or a change of direction, tell nothing apart.
        bare = "".join(c for c in label if unicodedata.category(c) != "Cf")
        twin = seen.setdefault(normalise(bare), label)
        if twin is not label:
            raise DataError(
                f"{where}: the labels {twin!r} and {label!r} differ only by case, spaces or "
                "punctuation. Merge or rename them."
            )
    return labels


def _value(path: Path, key: str, value: Any) -> Any:
    """A value of the right type for its key."""
    if key == "modality":
        value = {"en": value} if isinstance(value, str) else value
        if isinstance(value, dict) and set(value) <= {"en", "zh"}:
            return {language: str(name) for language, name in value.items()}
        allowed = "a name, or names for `en` and `zh`"
    elif key == "labels":
        if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
            return distinct_labels(tuple(value), str(path))
        allowed = "a list of names"
    elif key == "multi_label":
        if isinstance(value, bool):
            return value
        allowed = "true or false"
    else:
        if isinstance(value, str):
            return value
        allowed = "text"
    raise DataError(f"{path}: {key} is {value!r}; expected {allowed}.")
