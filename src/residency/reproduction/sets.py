"""Which data sets of a paper are on this machine, and what takes the place of those that are not."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from residency.catalog import find
from residency.data.published import Published
from residency.dataset import open_dataset
from residency.errors import DataError, ResidencyError
from residency.paper import Needed

WHERE = "RESIDENCY_DATA"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A data set of a paper as this machine has it.

    `spec` opens it, '' where it is missing; `name` is then what results call it. `why` says what is
    missing and where to get it, or what stands in. `benchmark` is what `prepare` turns it into first.
    """

    key: str
    spec: str = ""
    name: str = ""
    stand_in: bool = False
    why: str = ""
    benchmark: Needed | None = None

    @property
    def missing(self) -> bool:
        """Whether there is nothing to run on."""
        return not self.spec


def look(
    keys: Iterable[str], sets: Mapping[str, Needed], root: str | None, *, stand_in: bool
) -> dict[str, Found]:
    """What was found of the sets by their keys; `root` None is `$RESIDENCY_DATA`."""
    folder = root or os.environ.get(WHERE, "")
    return {key: _found(key, sets[key], folder, stand_in) for key in dict.fromkeys(keys)}


def _found(key: str, needed: Needed, folder: str, stand_in: bool) -> Found:
    reason = f"not in {folder}" if folder else "no data folder"
    for path in _places(needed, folder):
        spec = f"{needed.reader}:{path}"
        try:
            name = _usable(spec, needed)
            if needed.reports:
                _usable(f"{needed.reports}:{Path(folder) / needed.reports}", Needed(reader=""))
        except ResidencyError as error:
            reason = f"{path} cannot be used: {' '.join(str(error).split()).rstrip('.')}"
            continue
        benchmark = needed if needed.protocol else None
        named = f"benchmark:{name}" if benchmark else name
        return Found(key=key, spec=spec, name=named, benchmark=benchmark)
    if stand_in and needed.stand_in:
        name = open_dataset(needed.stand_in).name
        named = f"benchmark:{name}" if needed.protocol else name
        why = f"{needed.stand_in} stands in ({reason})"
        return Found(key=key, spec=needed.stand_in, name=named, stand_in=True, why=why)
    return Found(key=key, why=f"{reason}. Get it: {where_from(needed)}")


def _places(needed: Needed, folder: str) -> list[Path]:
    """Where the set may lie, of those places that hold something its reader recognises."""
    if not folder:
        return []
    reader = find("datasets", needed.reader)
    places = [Path(folder, name) for name in needed.files or (needed.reader,)]
    return [path for path in places if path.exists() and reader.recognises(path)]


def _usable(spec: str, needed: Needed) -> str:
    """The name of the data set; raises where a split or the images of it are not there."""
    dataset = open_dataset(spec)
    for split in needed.splits if needed.reader else ():
        samples = dataset.split(split)
        if not len(samples):
            raise DataError(f"split {split!r} is empty")
        for place in {0, len(samples) // 2, len(samples) - 1}:
            for picture in samples[place].images[:1]:
                picture.load()
    return dataset.name


def where_from(needed: Needed) -> str:
    """Where to get a set, in a line."""
    about = getattr(find("datasets", needed.reader), "ABOUT", None)
    if needed.get or not isinstance(about, Published):
        return needed.get or f"see the reader {needed.reader!r} in docs/datasets.md"
    return f"{about.title}, {about.source} ({about.access})"


def prepare(found: Found, folder: Path, root: str | None) -> str:
    """The spec that a run is given: a set of attributes is written as its benchmark first.

    A benchmark that is already there stays.
    """
    if found.benchmark is None:
        return found.spec
    out = folder / found.key
    if not (out / "benchmark.json").is_file():
        from residency.data.benchmark_files import write

        needed = found.benchmark
        base = Path(root or os.environ.get(WHERE, ""))
        reports = f"{needed.reports}:{base / needed.reports}" if needed.reports else None
        made, plan = find("datasets", "benchmark").made(
            found.spec, protocol=needed.protocol, reports=reports
        )
        print(write(out, made, plan), flush=True)
    return f"benchmark:{out}"
