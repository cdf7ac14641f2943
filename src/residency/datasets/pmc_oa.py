"""PMC-OA: 1.65 million subfigures of open articles with their captions (Lin et al., PMC-CLIP, MICCAI 2023).

Source: huggingface.co/datasets/axiong/pmc_oa, each figure under its article's licence, open
download. On disk, as published: `pmc_oa.jsonl` with {image, caption, alignment_type,
alignment_score} and `pmc_oa_beta.jsonl` with {image, caption}, one object a line, and `images.zip`,
unpacked to `caption_T060_filtered_top4_sep_v0_subfigures/` (also read: `images/`). UMIT trains on
1.6 million of them. `pmc_oa.jsonl` is taken where both are there; there is no validation or test
split.

tested on: fixture
"""

import functools
from pathlib import Path

from residency.data.captions import Captioned, captioned_sample, images_of, lacks
from residency.data.published import Defects, Published, assemble, first_of, one_of
from residency.data.records import line, plain, read_records
from residency.dataset import Dataset

FILES = ("pmc_oa.jsonl", "pmc_oa_beta.jsonl")
FOLDERS = ("caption_T060_filtered_top4_sep_v0_subfigures", "images")
ABOUT = Published(
    name="pmc_oa",
    title="PMC-OA",
    task="caption",
    sizes={},
    metric="training only",
    source="huggingface.co/datasets/axiong/pmc_oa",
    licence="per article",
    access="open download",
    tested_on="fixture",
    modality={"en": "biomedical", "zh": "生物医学"},
)


def recognises(path: Path) -> bool:
    """One of the two files, or a folder that holds one."""
    return path.name in FILES or one_of(path, *FILES) is not None


def load(where: str) -> Dataset:
    """Open one of the files, or the folder that holds it.

    Raises:
        DataError: not there, or a line that is not JSON.
    """
    path, defects = ABOUT.locate(where), Defects()
    table = path if path.is_file() else first_of(path, *FILES)
    root = one_of(table.parent, *FOLDERS) or table.parent / FOLDERS[0]
    rows = [
        Captioned(Path(name).stem, (Path(name).name,) if name else (), line(record.get("caption")))
        for record in read_records(table, defects)
        for name in (plain(record.get("image")),)
    ]
    return assemble(
        ABOUT,
        {"train": rows},
        functools.partial(captioned_sample, ABOUT.name, ABOUT.task, root),
        files=[table],
        defects=defects,
        images=(root, images_of),
        lacks=lacks,
    )
