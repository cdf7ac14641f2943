"""WebDataset shards: tar files whose members share a key, as `0001.jpg` with `0001.json` or `0001.txt`.

On disk: one uncompressed tar, or a folder of `train-000000.tar`, `val-000000.tar` and so on. Text is a
caption (`txt`), a class (`cls`) or a row of any shape that `residency.data.said` knows (`json`).
Nothing is unpacked: images are read from their place in the tar. Source and licence are the owner's.
"""

import functools
import hashlib
from pathlib import Path

from residency.data.archive import Group, groups, row_of, shards_of
from residency.data.card import distinct_labels, read_card
from residency.data.documents import RowError
from residency.data.formats import Partial, gathered, sample_of
from residency.data.said import read_row
from residency.data.splits import SPLITS, assign, side_by_side
from residency.dataset import Dataset
from residency.errors import DataError
from residency.types import Sample


def recognises(path: Path) -> bool:
    """Whether it is a tar file, or a folder that holds some; never raises."""
    try:
        return bool(shards_of(path))
    except OSError:
        return False


def load(where: str) -> Dataset:
    """Open a shard, or a folder of shards.

    Raises:
        DataError: no such file, a damaged shard, a misspelt split, or no sample that can be used.
    """
    path = Path(where)
    shards = shards_of(path) if where else {}
    if not shards:
        raise DataError(f"No such file: {where!r}. Write webdataset:PATH of a tar or their folder.")
    if wrong := side_by_side(shards):
        raise DataError(f"{path}: {wrong}")
    name = path.stem if path.is_file() else path.resolve().name
    root = path if path.is_dir() else path.parent
    card = read_card(root)
    notes = [*card.notes]
    found: dict[str, list[Group]] = {}
    for split, files in shards.items():
        some = [group for shard in files for group in groups(shard)]
        if split:
            found[split] = some
            continue
        for group, place in zip(some, assign([group.key for group in some]), strict=True):
            found.setdefault(SPLITS[place], []).append(group)
        notes.append("No split stated: samples were split 70/10/20, seed 0.")
    state = hashlib.sha256()
    good: dict[str, tuple[list[Group], list[RowError]]] = {}
    labels: set[str] = set()
    for split in sorted(found, key=SPLITS.index):
        good[split] = ([], [])
        for group in found[split]:
            try:
                said = read_row(row_of(group, pixels=False), f"{group.shard} sample {group.key}")
            except RowError as error:
                good[split][1].append(error)
                continue
            state.update(f"{split}\0{said}\0{[m.size for m in group.members]}\n".encode())
            labels |= {str(said.label)} - {"None"}
            good[split][0].append(group)
    bad = {split: some for split, (_, some) in good.items()}
    faults = gathered(bad, [split for split, (usable, _) in good.items() if usable], path)
    ordered = distinct_labels(card.labels or tuple(sorted(labels)), str(path))
    modality = card.modality.get("en", "")
    return Dataset(
        name=name,
        splits={
            split: Partial(
                len(good[split][0]),
                functools.partial(_sample, name, root, ordered, modality, good[split][0]),
                faults[split],
            )
            for split in faults
        },
        labels=ordered,
        modality=card.modality,
        digest=state.hexdigest(),
        source=card.source,
        licence=card.licence,
        notes=tuple(notes),
    )


def _sample(
    name: str, root: Path, labels: tuple[str, ...], modality: str, rows: list[Group], place: int
) -> Sample:
    group = rows[place]
    said = read_row(row_of(group), f"{group.shard} sample {group.key}")
    return sample_of(said, name, root, labels, modality, group.key)
