"""What a data set is: named splits of samples, and the facts that hold for all of them."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, overload, runtime_checkable

from residency.catalog import find, names, suggest
from residency.errors import DataError, UsageError
from residency.types import Area, Sample

_AREA = re.compile(r":(min_pixels|max_pixels)=([^:,]*)")  # options that every data set takes
_OPTIONS = re.compile(r"(?P<where>.*?)(?P<options>(?::[a-z_]+=[^:]*)+)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Samples by split, with what is declared once for the whole set.

    `splits` maps train / val / test to sequences that build a sample when indexed, so a set of half
    a million images costs nothing to open. `labels` is the closed label set in canonical order (empty
    for open tasks). `modality` names the imaging modality per language, for the instruction. `digest`
    identifies the content: it is part of a run's identity. `notes` says what was found wrong and
    what was done about it, and whatever else is worth knowing; `defects` counts, by kind, what is wrong
    with the files and shows in no sample any more, because the reader left it out or mended it.
    `synthetic` samples are computed when they are indexed, so none of them can be bad.
    `admitted` gives the samples of a split that may be used, where that had to be found out. `area`
    is how large a model is to see its images.
    """

    name: str
    splits: Mapping[str, Sequence[Sample]]
    labels: tuple[str, ...] = ()
    multi_label: bool = False
    modality: Mapping[str, str] = field(default_factory=dict)
    digest: str
    source: str = ""
    licence: str = ""
    notes: tuple[str, ...] = ()
    defects: Mapping[str, int] = field(default_factory=dict)
    synthetic: bool = False
    admitted: Callable[[str], Sequence[Sample]] | None = field(default=None, repr=False)
    area: Area = Area()  # noqa: RUF009 - frozen

    @property
    def card(self) -> dict[str, object]:
        """What of the set decides answers and scores; part of a run's identity."""
        return {
            "digest": self.digest,
            "labels": list(self.labels),
            "multi_label": self.multi_label,
            "modality": dict(sorted(self.modality.items())),
        }

    def split(self, name: str) -> Sequence[Sample]:
        """The samples of one split.

        Raises:
            UsageError: the data set has no such split.
        """
        if name not in self.splits:
            have = ", ".join(self.splits)
            raise UsageError(f"Data set {self.name!r} has no split {name!r}; it has: {have}.")
        samples = self.admitted(name) if self.admitted else self.splits[name]
        return samples if self.area == Area() else Sized(samples, self.name, self.area)


@dataclass(frozen=True, slots=True)
class Sized(Sequence[Sample]):
    """The samples of a data set whose images a model sees in an area of their own."""

    samples: Sequence[Sample]
    dataset: str
    area: Area

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        sample, mark = self.samples[index], f"#{self.area.least}-{self.area.most}"
        images = tuple(replace(p, key=p.key + mark, area=self.area) for p in sample.images)
        also = tuple(replace(more, dataset=self.dataset) for more in sample.also)
        return replace(sample, dataset=self.dataset, images=images, also=also)


@runtime_checkable
class Reader(Protocol):
    """What every module in `residency.datasets` provides."""

    def recognises(self, path: Path) -> bool:
        """Whether this existing file or folder has the layout that the module reads; never raises."""
        ...

    def load(self, where: str) -> Dataset:
        """Open the data set. `where` is a path, or the variant after `name:` ('' for none).

        Keyword-only parameters, if any, are options that a user may give.
        """
        ...


def open_dataset(spec: str) -> Dataset:
    """Open `NAME`, `NAME:VARIANT` or a path, with options behind it as `:key=value`.

    Options are the keyword-only parameters of the reader's `load`, all of them texts, and for every
    data set `min_pixels` and `max_pixels`, between which a model's processor brings each of its images.

    Raises:
        DataError: the path is missing or its content is unusable.
        UsageError: neither a name nor a path whose layout a reader recognises.
    """
    found = dict(_AREA.findall(spec))
    if found:
        dataset = open_dataset(_AREA.sub("", spec))
        area, mark = _area(spec, found), "".join(f":{key}={n}" for key, n in found.items())
        digest = f"{dataset.digest}{mark}"
        return replace(dataset, name=dataset.name + mark, digest=digest, area=area)
    name, where = find_reader(spec)
    reader = find("datasets", name)
    load = reader.load
    bare, said = where, ""
    if not Path(where).exists():  # else the name of a file looks like options
        bare, said = split_options(where)
    known = [
        p.name for p in inspect.signature(load).parameters.values() if p.kind is p.KEYWORD_ONLY
    ]
    if said and not known and reader.recognises(Path(bare)):
        raise UsageError(f"{where}: the reader {name!r} takes no options.")
    opened: Dataset = load(bare, **read_options(said, known, name)) if known else load(where)
    return opened


def _area(spec: str, given: Mapping[str, str]) -> Area:
    """The bounds that `min_pixels` and `max_pixels` name."""
    if len(_AREA.findall(spec)) > len(given):
        raise UsageError(f"{spec}: min_pixels or max_pixels is given twice; give each once.")
    if not all(value.isdecimal() and int(value) for value in given.values()):
        raise UsageError(
            f"{spec}: min_pixels and max_pixels are whole numbers of pixels, 1 or more."
        )
    bounds = {key: int(value) for key, value in given.items()}
    least, most = bounds.get("min_pixels"), bounds.get("max_pixels")
    if least and most and least > most:
        raise UsageError(f"{spec}: min_pixels={least} is above max_pixels={most}; exchange them.")
    return Area(least, most)


def split_options(where: str) -> tuple[str, str]:
    """What comes before the options of `PATH:window=lung:frames=16`, and the options."""
    found = _OPTIONS.fullmatch(where)
    return (where, "") if found is None else (found["where"], found["options"][1:])


def read_options(text: str, known: Sequence[str], owner: str) -> dict[str, str]:
    """Options as `key=value`, colons or commas between them; `owner` takes the keys `known`.

    Raises:
        UsageError: a word that is no `key=value`, an unknown key, or one that is given twice.
    """
    given: dict[str, str] = {}
    for word in filter(None, re.split("[:,]", text)):
        key, equals, value = word.partition("=")
        if not equals or key not in known:
            raise UsageError(
                f"{owner} does not know {word!r}.{suggest(key, list(known))} "
                f"Options are written key=value; keys: {', '.join(known)}."
            )
        if key in given:
            raise UsageError(
                f"{owner} option {key!r} is given twice: {given[key]!r} and {value!r}. Keep one."
            )
        given[key] = value
    return given


def find_reader(spec: str) -> tuple[str, str]:
    """The name of the reader that a specification means, and what it is given to load.

    Raises:
        DataError: the path is missing.
        UsageError: neither a name nor a path whose layout a reader recognises.
    """
    known = names("datasets")
    name, _, variant = spec.partition(":")
    if name in known:
        return name, variant
    path = Path(spec)
    if not path.exists():
        path = Path(split_options(spec)[0])
    if path.exists():
        # A published layout is also one of the general shapes: who declares a set is asked first.
        for entry in sorted(known, key=lambda name: not hasattr(find("datasets", name), "ABOUT")):
            if find("datasets", entry).recognises(path):
                return entry, spec
        raise UsageError(
            f"{spec} exists, but no reader recognises its layout. Readers: {', '.join(known)}. "
            "Name one explicitly as NAME:PATH, for example table:answers.csv."
        )
    looks_like_path = "/" in spec or path.suffix
    what = "No such file or folder" if looks_like_path else "No data set or path named"
    hint = "" if looks_like_path else suggest(name, known)
    raise DataError(f"{what}: {spec!r}.{hint} Data sets: {', '.join(known)}; or give a path.")
