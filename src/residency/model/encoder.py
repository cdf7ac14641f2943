"""A frozen vision encoder behind a cache: each image passes it once, where that is measured to be faster.

A feature depends on its image alone. In company, rounding may depend on the company, and what is found
on disk on when it was written; so images are encoded one by one unless company was seen to change no bit.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from residency.errors import UsageError
from residency.model.feature_cache import FeatureCache
from residency.model.feature_keys import content_key, tower_key
from residency.types import Batch

if TYPE_CHECKING:
    from residency.model.huggingface import Backbone

FOLDER, SIZE = "RESIDENCY_CACHE", "RESIDENCY_CACHE_GIB"
DEFAULT_GIB = 16.0
IMAGES, SLOW = 4, 0.25  # measured on so many images; on one where it takes longer (seconds)


@dataclass(frozen=True, slots=True)
class Space:
    """Where encoded images are kept, and how many GiB they may take."""

    folder: Path
    gib: float = DEFAULT_GIB

    def describe(self) -> str:
        """For people."""
        return f"{self.folder}, at most {self.gib:g} GiB"


def space(run: Path) -> Space | None:
    """`$RESIDENCY_CACHE`/features where it is set, else `features` in the folder of the run.

    `$RESIDENCY_CACHE_GIB` bounds it; 0 keeps nothing, and None is returned.

    Raises:
        UsageError: the bound is no number, or below zero.
    """
    given = os.environ.get(SIZE, "") or str(DEFAULT_GIB)
    try:
        gib = float(given)
    except ValueError:
        gib = -1.0
    if not 0 <= gib < float("inf"):
        raise UsageError(f"{SIZE}={given!r}: give a number of GiB, 0 for no cache of features.")
    return Space(Path(os.environ.get(FOLDER) or run) / "features", gib) if gib else None


@dataclass(frozen=True, slots=True)
class Lookup:
    """What the cache had of the images of a batch, in their order; None where there was nothing."""

    keys: tuple[str, ...]
    found: tuple[Tensor | None, ...]

    @property
    def whole(self) -> bool:
        """Whether no image has to be encoded."""
        return all(one is not None for one in self.found)


@dataclass(frozen=True, slots=True)
class Counts:
    """Images found and encoded; entries that were damaged, evicted, and not stored."""

    hits: int = 0
    misses: int = 0
    damaged: int = 0
    evicted: int = 0
    left_out: int = 0

    def describe(self) -> str:
        """For people."""
        images = self.hits + self.misses
        rest = {"damaged": self.damaged, "evicted": self.evicted, "not stored": self.left_out}
        said = [f"{number} {what}" for what, number in rest.items() if number]
        share = f"{self.hits / images:.0%}" if images else "none"
        return ", ".join([f"{share} of {images} images came from the cache", *said])


class CachedEncoder:
    """Encodes the images of batches through `cache`, on or off as measured at the first batch."""

    def __init__(
        self, backbone: "Backbone", cache: FeatureCache, *, place: str, uses: float
    ) -> None:
        """`place` says where the cache is, `uses` how often an image is read, at least about."""
        self._backbone, self._cache, self._place, self._uses = backbone, cache, place, uses
        self.on: bool | None = None  # None until it is measured
        self.company = False  # whether images are encoded together: the same bits, faster
        self.news: list[str] = []  # to be told, once
        self._expected: Lookup | None = None
        self._hits = self._misses = 0

    @property
    def counts(self) -> Counts:
        """Since it was made."""
        cache = self._cache
        return Counts(self._hits, self._misses, cache.damaged, cache.evicted, cache.left_out)

    def told(self) -> list[str]:
        """What there is to say when it is done: how it decided, and what was found."""
        said, self.news = self.news, []
        return [*said, f"features: {self.counts.describe()}"] if self.on else said

    def look(self, pixels: Mapping[str, Tensor]) -> Lookup | None:
        """What is known of these images; may be called ahead, in another thread."""
        if not pixels or self.on is False:
            return None
        keys = tuple(map(content_key, self._backbone.family.each(pixels)))
        return Lookup(keys, tuple(map(self._cache.get, keys)))

    def expect(self, looked: Lookup | None) -> None:
        """What was found of the images of the next call, if they were looked up ahead."""
        self._expected = looked

    def __call__(self, pixels: Mapping[str, Tensor]) -> list[Tensor]:
        """What the connector reads of each image; no pixels are needed where all was found ahead."""
        family, model = self._backbone.family, self._backbone.model
        looked, self._expected = self._expected, None
        if looked is None and not pixels:
            return []
        if self.on is None:
            with torch.no_grad():
                self._measure(pixels)
        if not self.on:
            return family.encode(model, pixels)
        if looked is None:
            looked = self.look(pixels)
        assert looked is not None  # it is on, and there are pixels
        made = [  # what was not there may have come since
            self._cache.get(key) if found is None else found
            for key, found in zip(looked.keys, looked.found, strict=True)
        ]
        missing = [number for number, one in enumerate(made) if one is None]
        self._hits, self._misses = (
            self._hits + len(made) - len(missing),
            self._misses + len(missing),
        )
        alone = family.each(pixels) if missing else []
        for number, one in zip(missing, self._encoded([alone[n] for n in missing]), strict=True):
            self._cache.put(looked.keys[number], one)
            made[number] = one
        device = self._backbone.device
        return [one.to(device, non_blocking=True) for one in made if one is not None]

    def _encoded(self, images: list[dict[str, Tensor]]) -> list[Tensor]:
        """Images that no one has seen yet, together where that changes nothing."""
        groups = [images] if self.company and images else [[one] for one in images]
        with torch.no_grad():
            return [made for group in groups for made in self._pass(group)]

    def _pass(self, group: list[dict[str, Tensor]]) -> list[Tensor]:
        """The features of images that are encoded in one call."""
        whole = {name: torch.cat([one[name] for one in group]) for name in group[0]}
        return self._backbone.family.encode(self._backbone.model, whole)

    def lighten(self, batch: Batch, looked: Lookup | None) -> Batch:
        """The batch without pixels that nobody will look at."""
        useless = self.on and looked is not None and looked.whole
        return replace(batch, pixels={}) if useless else batch

    # --- measuring ------------------------------------------------------------------------------

    def _measure(self, pixels: Mapping[str, Tensor]) -> None:
        """Decide: on where `first + (uses - 1) load < uses together` (seconds an image).

        On the right is what happens without the cache: all images of a batch in one call, always.
        The first time costs as much where the bits are those of images alone, else what these cost.
        """
        family, model = self._backbone.family, self._backbone.model
        every = family.each(pixels)
        some = every[:IMAGES]
        family.encode(model, some[0])  # the first call is slower
        made: list[Tensor] = []
        alone = together = self._timed(lambda: made.extend(family.encode(model, some[0])), 1)
        if alone > SLOW:
            some = some[:1]
        else:
            together = self._timed(lambda: self._pass(some)) / len(some)
            alone = self._timed(lambda: [family.encode(model, one) for one in some]) / len(some)
            made += [family.encode(model, one)[0] for one in some[1:]]
            self.company = _equal(made, self._pass(some)) and _equal(made, self._pass(every))
        try:
            for one, features in zip(some, made, strict=True):
                self._kept(content_key(one), features)
            load = self._timed(lambda: list(map(self._loaded, some))) / len(some)
        except OSError as error:
            self.on, self.news = False, [f"features: not cached: {error}"]
            return
        first = together if self.company else alone
        self.on = first + (self._uses - 1) * load < self._uses * together
        self.news = [
            f"features: {1e3 * together:.1f} ms to encode an image, {1e3 * alone:.1f} ms alone "
            f"({'the same' if self.company else 'not the same'} bits), {1e3 * load:.1f} ms to load it, "
            f"read {self._uses:g} times: "
            + (f"kept in {self._place}" if self.on else "not cached, which is faster")
        ]

    def _kept(self, key: str, features: Tensor) -> None:
        if self._cache.read(key) is None and not self._cache.write(key, features):
            raise OSError(f"there is no room in {self._place}")

    def _loaded(self, pixels: Mapping[str, Tensor]) -> Tensor:
        found = self._cache.read(content_key(pixels))
        if found is None:
            raise OSError(f"what was written is gone from {self._place}")
        return found.to(self._backbone.device)

    def _timed(self, call: Callable[[], object], repeats: int = 3) -> float:
        """The least seconds of a few."""
        cuda = self._backbone.device.type == "cuda"
        taken = []
        for _ in range(repeats):
            began = time.perf_counter()
            call()
            if cuda:
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - began)
        return min(taken)


def _equal(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    """Whether the first of the others are these, bit for bit."""
    return all(map(torch.equal, some, others))


@contextmanager
def caching(
    backbone: "Backbone", where: Space | None, *, autocast: str = "no", uses: float = 2.0
) -> Iterator[CachedEncoder | None]:
    """Inside, the backbone reads images through a cache; None where there is no place for one.

    `autocast` is the precision that it is run in, `uses` about how often an image is read. It is
    only for a vision encoder that `obstacle` accepts.
    """
    if where is None:
        yield None
        return
    cache = FeatureCache(where.folder, gib=where.gib, part=tower_key(backbone, autocast)[:32])
    backbone.encoder = CachedEncoder(backbone, cache, place=where.describe(), uses=uses)
    try:
        yield backbone.encoder
    finally:
        backbone.encoder = None
        cache.close()
