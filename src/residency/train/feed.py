"""What each process reads for each update: its share of the global batch, as microbatches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from residency.data.mixture import Mixture
from residency.data.sampler import Sampler
from residency.errors import DataError
from residency.model.encoder import CachedEncoder, Lookup
from residency.model.huggingface import Backbone
from residency.types import Batch, Reading, View


class Work(NamedTuple):
    """One process's share of an update.

    Every microbatch of `batches` has a response token; `looked` is what the cache of features, if
    any, had of the images of each. `filler` is run with weight zero while other
    processes have more microbatches: all of them must take part in every pass of a wrapped module.
    It is None only where no process has anything, and where there is one process. `outside` counts
    negatives whose images are no one's own in their microbatch. `position` is the sampler's state
    after the update.
    """

    batches: list[Batch]
    filler: Batch | None
    dropped: int
    shrunk: int
    outside: int
    position: dict[str, int]
    looked: list[Lookup | None]

    def round(self, number: int) -> tuple[Batch, Lookup | None, float]:
        """The microbatch to run in a round, what is known of its images, and its weight."""
        if number < len(self.batches):
            return self.batches[number], self.looked[number], 1.0
        assert self.filler is not None  # some process has a batch, else there were no rounds
        return self.filler, self.looked[0] if self.looked else None, 0.0

    @property
    def shows(self) -> bool:
        """Whether this process shows an image."""
        return any(batch.shows for batch in self.batches)

    @property
    def tokens(self) -> int:
        """Response tokens of this process."""
        return sum(len(batch.targets.tokens) for batch in self.batches)


@dataclass(frozen=True, kw_only=True)
class Feed:
    """Endless updates over a mixture. The order of samples does not depend on `world`.

    All questions about an image go into one microbatch: `size` counts samples, not questions.
    `budget` bounds the tokens of a microbatch that pass the language model, padding included.
    """

    backbone: Backbone
    mixture: Mixture
    sampler: Sampler
    views: tuple[View, ...]
    size: int  # of a microbatch
    seed: int
    budget: int | None = None
    rank: int = 0
    world: int = 1
    encoder: CachedEncoder | None = None

    def __iter__(self) -> Iterator[Work]:
        while True:
            epoch = self.sampler.epoch
            for indices, position in self.sampler.with_state():
                yield self._work(indices, position, epoch)

    def _work(self, indices: Sequence[int], position: dict[str, int], epoch: int) -> Work:
        own = self._own(indices, position, epoch)
        made, outside = [], 0
        for k in range(0, len(own), self.size):
            for batch, strays in self._fitting(own[k : k + self.size], epoch):
                made.append(batch)
                outside += strays
        batches = [batch for batch in made if len(batch.targets.tokens)]
        looked: list[Lookup | None] = [None] * len(batches)
        if self.encoder is not None:
            looked = [self.encoder.look(batch.pixels) for batch in batches]
            batches = list(map(self.encoder.lighten, batches, looked))
        filler = None
        if self.world > 1:
            filler = batches[0] if batches else self._borrowed(indices, epoch)
        return Work(
            batches=batches,
            filler=filler,
            dropped=sum(len(batch.dropped) for batch in made),
            shrunk=sum(len(batch.shrunk) for batch in made),
            outside=outside,
            position=position,
            looked=looked,
        )

    def _fitting(
        self, some: Sequence[tuple[int, list[Reading]]], epoch: int
    ) -> list[tuple[Batch, int]]:
        """These samples as one microbatch, or as several where one would exceed the budget.

        What counts is the batch as written, after sharing and packing, so it is written to know.
        """
        readings, strays = self._facing(some, epoch)
        batch = self.backbone.collate(readings, self.views, self.backbone.form)
        pieces = min(len(some), -(-batch.width // self.budget)) if self.budget else 1
        if pieces <= 1:
            return [(batch, strays)]
        bounds = pairwise(len(some) * n // pieces for n in range(pieces + 1))
        return [part for start, end in bounds for part in self._fitting(some[start:end], epoch)]

    def _facing(
        self, some: Sequence[tuple[int, list[Reading]]], epoch: int
    ) -> tuple[list[Reading], int]:
        """The readings of a microbatch with the other samples that the views look at.

        Negatives come from the microbatch where it has one: their images are read anyway.
        """
        company = [index for index, _ in some]
        shown = {view.image for view in self.views}
        readings: list[Reading] = []
        outside = 0
        for index, of in some:
            negative = shuffled = None
            if "negative" in shown:
                if len(of) > 1:
                    raise DataError(
                        f"Sample {of[0].sample.id!r} has several questions about its image; "
                        "contrastive tuning needs one. Use contrast=0, or one question per image."
                    )
                negative = self.mixture.negatives.near(index, company, self.seed, epoch)
                outside += negative not in company
            if "shuffled" in shown:
                shuffled = self.mixture.strangers.draw(index, self.seed, epoch)
            readings += [
                self.mixture.facing(
                    reading, negative=negative, shuffled=shuffled, seed=self.seed, epoch=epoch
                )
                for reading in of
            ]
        return readings, outside

    def _own(
        self, indices: Sequence[int], position: Mapping[str, int], epoch: int
    ) -> list[tuple[int, list[Reading]]]:
        """This process's share of a global batch, in the order in which microbatches are cut.

        Rows of like length share a microbatch. Where there are negatives, samples with the same
        instruction and other responses do, over all processes.
        """
        first = (position["position"] or position["n"]) - len(indices)  # of the batch in its epoch
        contrasts = any(view.image == "negative" for view in self.views)
        if contrasts:
            mixed = self.mixture.negatives.spread(indices)
            start, end = (len(mixed) * n // self.world for n in (self.rank, self.rank + 1))
        mine = mixed[start:end] if contrasts else range(self.rank, len(indices), self.world)
        own = [
            (indices[k], self.mixture.readings(indices[k], (self.seed, epoch, first + k)))
            for k in mine
        ]
        return own if contrasts else sorted(own, key=lambda entry: letters(entry[1]))

    def _borrowed(self, indices: Sequence[int], epoch: int) -> Batch | None:
        """The first sample of the global batch that the length policy keeps."""
        for index in indices:
            own = [(index, self.mixture.readings(index, (self.seed, epoch, 0)))]
            readings, _ = self._facing(own, epoch)
            batch = self.backbone.collate(readings, self.views, self.backbone.form)
            if len(batch.targets.tokens):
                return batch
        return None


def letters(readings: Sequence[Reading]) -> int:
    """A cheap stand-in for the length of rows."""
    turns = [turn for reading in readings for turn in reading.conversation]
    return sum(len(part) for turn in turns for part in turn.parts if isinstance(part, str))
