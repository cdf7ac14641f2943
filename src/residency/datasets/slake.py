"""SLAKE: questions about 642 radiology images, in English and Chinese (Liu et al., ISBI 2021).

Source: www.med-vqa.com/slake, CC BY 4.0, open download. On disk, as published:
`{train,validate,test}.json`, each a list of {img_id, img_name (`xmlabN/source.jpg`), question,
answer, answer_type (OPEN, CLOSED), q_lang (en, zh), location, modality, base_type (vqa, kvqa),
content_type, triple, qid}, and `imgs/xmlabN/{source.jpg,mask.png,detection.json}`. Splits of both
languages together: 9835/2099/2094 questions (UMIT, Table 1); English test 645 open and 416 closed,
of which 355 are yes or no. Each language has its own split of the images, so training on both shows
66 English training images among the Chinese validation images: the note counts them. A sample's
group is its image. The boxes are `slake_detection`.

`slake:PATH:language=en` reads one language alone, as AdaMLLM and LLaVA-Med do.

Without `imgs` the questions are read, and every sample's image is reported as missing.

tested on: real (questions; the images were not available, their paths follow the published layout)
"""

import functools
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from residency.data.published import Defects, Published, assemble, holds, one_of
from residency.data.questions import (
    Question,
    count_without_options,
    image_of,
    lacks,
    question_sample,
    taught,
)
from residency.data.records import Record, line, plain, read_records
from residency.dataset import Dataset
from residency.errors import DataError, UsageError

FILES = {
    "train": ("train.json",),
    "val": ("validate.json", "validation.json"),
    "test": ("test.json",),
}
MODALITIES = {"CT": "CT", "MRI": "磁共振", "X-Ray": "X光"}
ABOUT = Published(
    name="slake",
    title="SLAKE",
    task="vqa",
    sizes={"train": 9835, "val": 2099, "test": 2094},
    metric="open: token recall; closed: accuracy (LLaVA-Med), or exact match (UMIT)",
    source="www.med-vqa.com/slake",
    licence="CC BY 4.0",
    access="open download",
    tested_on="real",
    modality={"en": "radiology", "zh": "放射"},
)


def recognises(path: Path) -> bool:
    """A folder with `train.json` and `validate.json`, the name that only SLAKE uses.

    The hub's copy calls it `validation.json`, and has `mask.txt` beside it.
    """
    ours = holds(path, "train.json", "validate.json")
    return ours or holds(path, "train.json", "validation.json", "mask.txt")


def load(where: str, *, language: str = "") -> Dataset:
    """Open the folder of the release, whichever of the three files are there; `language` en or zh alone.

    Raises:
        DataError: not there, none of the files, or one that cannot be read.
        UsageError: another language.
    """
    if language not in ("", "en", "zh"):
        raise UsageError(
            f"slake: language={language}: expected en or zh, or leave it out for both."
        )
    root, defects = ABOUT.locate(where), Defects()
    files = {split: path for split, some in FILES.items() if (path := one_of(root, *some))}
    if not files:
        raise DataError(
            f"{root} has none of train.json, validate.json, test.json. Give SLAKE's folder."
        )
    rows = {
        split: [q for q in _questions(read_records(path, defects)) if language in ("", q.language)]
        for split, path in files.items()
    }
    known = taught(rows.get("train", ()))
    count_without_options(chain.from_iterable(rows.values()), known, defects)
    _crossing(rows, defects)
    dataset = assemble(
        ABOUT,
        rows,
        functools.partial(question_sample, ABOUT.name, root / "imgs", known),
        files=files.values(),
        defects=defects,
        images=(root / "imgs", image_of),
        lacks=lacks,
    )
    mark = f":language={language}" if language else ""
    return replace(dataset, digest=dataset.digest + mark)


def _questions(records: list[Record]) -> Iterator[Question]:
    for record in records:
        zh = plain(record.get("q_lang")) == "zh"
        modality = plain(record.get("modality"))
        yield Question(
            key=plain(record.get("qid")),
            image=plain(record.get("img_name")),
            question=line(record.get("question")),
            answer=line(record.get("answer")),
            answer_type=plain(record.get("answer_type")).upper(),
            language="zh" if zh else "en",
            modality=MODALITIES.get(modality, modality) if zh else modality,
            facts=(
                ("content_type", plain(record.get("content_type"))),
                ("base_type", plain(record.get("base_type"))),
                ("location", plain(record.get("location"))),
            ),
            kind=plain(record.get("content_type")),
        )


def _crossing(rows: dict[str, list[Question]], defects: Defects) -> None:
    """How many images each pair of splits shares, the languages taken together."""
    images = {split: {row.image for row in some} for split, some in rows.items()}
    names = list(images)
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            if shared := len(images[first] & images[second]):
                defects.notes.append(
                    f"{shared} of {len(images[second])} {second} images are also {first} images, in "
                    "the other language: the two languages split the images differently."
                )
