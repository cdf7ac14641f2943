"""Sets in the conversation form of LLaVA: declared by their files, read by one loader.

An entry is {id, image: path or list, conversations: [{from: human|gpt, value}, ...]}; some files
misspell the last key as `conversatons`; others have {images, messages: [{role, content}]}. Image
marks are cut from the questions. The first exchange is the sample, the others follow in `Sample.also`.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from residency.data.images import file_picture
from residency.data.published import Defects, Published, assemble, one_of
from residency.data.records import Record, line, plain, read_records
from residency.dataset import Dataset
from residency.errors import DataError
from residency.types import Language, Picture, Sample

ASKS, ANSWERS = frozenset(("human", "user")), frozenset(("gpt", "assistant"))
KEYS = ("conversations", "conversatons", "messages")
_MARK = re.compile(r"<image>|<ImageHere>", re.IGNORECASE)


class Dialogue(NamedTuple):
    """The exchanges (question, answer) about the same images."""

    key: str
    images: tuple[str, ...]
    exchanges: tuple[tuple[str, str], ...]
    modality: str = ""
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One released file: what it adds to the name of the set, its published count (0: not stated)."""

    name: str
    count: int = 0
    language: Language = "en"


@dataclass(frozen=True, kw_only=True)
class Conversations:
    """A set of such files.

    `about.task` is vqa for short answers, caption for long ones; `about.sizes` are by variant.

    `folders` are where the images may lie, beside the file; `facts` are keys kept as attributes.
    """

    about: Published
    files: Mapping[str, Variant]
    folders: tuple[str, ...] = ("images",)
    facts: tuple[str, ...] = ()

    def recognises(self, path: Path) -> bool:
        """One of the released files by its name, or a folder that holds one."""
        return path.name in self.files or one_of(path, *self.files) is not None

    def load(self, where: str) -> Dataset:
        """Open a released file, or the folder of exactly one.

        Raises:
            DataError: not there, none or several released files, or not such a list.
        """
        path, defects = self._file(self.about.locate(where)), Defects()
        variant = self.files[path.name]
        about = replace(
            self.about,
            name=f"{self.about.name}_{variant.name}",
            sizes={"train": variant.count} if variant.count else {},
        )
        root = one_of(path.parent, *self.folders) or path.parent
        rows = [
            self._row(place, record, root.name, defects)
            for place, record in enumerate(read_records(path, defects))
        ]
        return assemble(
            about,
            {"train": rows},
            functools.partial(_sample, about, variant.language, root),
            files=[path],
            defects=defects,
            images=(root, lambda row: row.images),
            lacks=_lacks,
        )

    def _file(self, path: Path) -> Path:
        if path.is_file():
            if path.name in self.files:
                return path
            raise DataError(
                f"{path.name} is not a released file of {self.about.title}: "
                f"{', '.join(self.files)}. Keep the name that it was released under."
            )
        found = [name for name in self.files if (path / name).is_file()]
        if len(found) != 1:
            have = "none" if not found else "several"
            raise DataError(
                f"{path} holds {have} of {', '.join(found or self.files)}. Give one file: "
                f"{self.about.name}:PATH/FILE."
            )
        return path / found[0]

    def _row(self, place: int, record: Record, folder: str, defects: Defects) -> Dialogue:
        images = record.get("image", record.get("images"))
        names = [images] if isinstance(images, str) else images
        if KEYS[0] not in record and KEYS[1] in record:
            defects.add(f"Entries that misspell the key {KEYS[0]} as {KEYS[1]} (read)")
        return Dialogue(
            key=plain(record.get("id")) or str(place),
            images=tuple(_below(plain(name), folder) for name in names)
            if isinstance(names, list)
            else (),
            exchanges=_exchanges(
                next((record[key] for key in KEYS if key in record), None),
                self.about.task == "vqa",
                defects,
            ),
            modality=plain(record.get("modality")),
            facts=tuple((key, plain(record.get(key))) for key in self.facts if record.get(key)),
        )


def _below(name: str, folder: str) -> str:
    """The path of an image without the folder of images, where the file repeats it."""
    return name.removeprefix("./").removeprefix(f"{folder}/")


def _exchanges(turns: Any, short: bool, defects: Defects) -> tuple[tuple[str, str], ...]:
    """Question and answer in turn; () and a count where the turns do not alternate."""
    clean = line if short else plain
    said = [
        (plain(turn.get("from", turn.get("role"))), turn.get("value", turn.get("content")))
        for turn in (turns if isinstance(turns, list) else ())
        if isinstance(turn, dict)
    ]
    said = [(who, words) for who, words in said if who != "system"]
    asked, answered = said[::2], said[1::2]
    alternate = len(asked) == len(answered) and all(who in ASKS for who, _ in asked)
    if not alternate or any(who not in ANSWERS for who, _ in answered):
        defects.add("Conversations whose turns do not alternate (left out)")
        return ()
    pairs = (
        (line(_MARK.sub(" ", plain(question))), clean(answer))
        for (_, question), (_, answer) in zip(asked, answered, strict=True)
    )
    kept = tuple((question, answer) for question, answer in pairs if question and answer)
    defects.add("Exchanges without question or answer (left out)", len(asked) - len(kept))
    return kept


def _lacks(row: Dialogue) -> str:
    return " or ".join(n for n in ("images", "exchanges") if not getattr(row, n))


def _sample(about: Published, language: Language, root: Path, split: str, row: Dialogue) -> Sample:
    pictures = tuple(file_picture(root, name) for name in row.images)
    first, *others = (
        _exchange(about, language, split, row, place, pictures)
        for place in range(len(row.exchanges))
    )
    return replace(first, also=tuple(others))


def _exchange(
    about: Published,
    language: Language,
    split: str,
    row: Dialogue,
    place: int,
    pictures: tuple[Picture, ...],
) -> Sample:
    question, answer = row.exchanges[place]
    return Sample(
        id=f"{about.name}/{split}/{row.key}" + (f"#{place}" if place else ""),
        dataset=about.name,
        task=about.task,
        answer=answer,
        images=pictures,
        question=question,
        modality=row.modality or about.modality.get(language, ""),
        attributes=dict(row.facts),
        language=language,
    )
