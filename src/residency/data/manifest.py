"""The manifest of converted data: Croissant 1.0 (mlcommons.org/croissant), JSON-LD with checksums.

What Croissant has no word for (counts, what was left out, what was wrong with the source) stands under
`residency`, which the context declares as plain JSON.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from residency.data.sinks import File
from residency.dataset import Dataset

CONFORMS = "http://mlcommons.org/croissant/1.0"
_TERMS = (
    "citeAs", "column", "extract", "field", "fileObject", "fileProperty", "fileSet", "format",
    "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet",
    "references", "regex", "repeated", "replace", "separator", "source", "subField", "transform",
)  # fmt: skip
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "residency": {"@id": "urn:residency:manifest", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS},
}
IMAGES = "images"


def manifest(
    dataset: Dataset,
    files: Sequence[File],
    rows: Mapping[str, int],
    left_out: Mapping[str, int],
    images: int,
) -> dict[str, Any]:
    """The manifest of what was written of `dataset`: `files`, `rows` by split, distinct `images`."""
    counts = ", ".join(f"{split} {count:,}" for split, count in rows.items())
    distribution: list[dict[str, Any]] = [
        {
            "@type": "cr:FileObject",
            "@id": file.name,
            "name": file.name,
            "contentUrl": file.name,
            "encodingFormat": file.kind,
            "contentSize": f"{file.size} B",
            "sha256": file.sha256,
        }
        for file in files
    ]
    if any(file.split for file in files):
        distribution.append(
            {
                "@type": "cr:FileSet",
                "@id": IMAGES,
                "name": IMAGES,
                "description": "Every image is named by the sha256 of its content.",
                "encodingFormat": ["image/png", "image/jpeg"],
                "includes": f"{IMAGES}/*/*",
            }
        )
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS,
        "name": dataset.name,
        "description": f"{dataset.name} as messages with images. Rows: {counts}.",
        "license": dataset.licence or "not declared",
        "url": dataset.source or "not declared",
        "distribution": distribution,
        "recordSet": [_records(file) for file in files],
        "residency": {
            "rows": dict(rows),
            "images": images,
            "left_out": dict(left_out),
            "defects": dict(dataset.defects),
            "notes": list(dataset.notes),
            "labels": list(dataset.labels),
            "source_digest": dataset.digest,
        },
    }


def _records(file: File) -> dict[str, Any]:
    """The fields of one table."""
    name = file.split or "rows"
    columns = ["id", "task", "language", "group", "messages", "images"]
    columns = columns if file.split else ["split", *columns]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{column}",
                "name": column,
                "dataType": "sc:Text",
                **({"repeated": True} if column in ("messages", "images") else {}),
                "source": {
                    "fileObject": {"@id": file.name},
                    "extract": {"jsonPath": f"$.{column}"} if file.split else {"column": column},
                },
            }
            for column in columns
        ],
    }


def write_json(path: Path, value: Any) -> None:
    """A value as indented JSON."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
