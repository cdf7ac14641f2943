"""What each process reads for each update: its share of the global batch, as microbatches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from residency.data.mixture import Mixture, Sampler
from residency.model.huggingface import Backbone
from residency.types import Batch, Reading, View


class Work(NamedTuple):
    """One process's share of an update.

    Every microbatch of `batches` has a response token. `filler` is run with weight zero while other
    processes have more microbatches: all of them must take part in every pass of a wrapped module.
    It is None only where no process has anything, and where there is one process. `position` is the
    sampler's state after the update.
    """

    batches: list[Batch]
    filler: Batch | None
    dropped: int
    shrunk: int
    position: dict[str, int]

    @property
    def tokens(self) -> int:
        """Response tokens of this process."""
        return sum(len(batch.targets.tokens) for batch in self.batches)


@dataclass(frozen=True, kw_only=True)
class Feed:
    """Endless updates over a mixture. The order of samples does not depend on `world`."""

    backbone: Backbone
    mixture: Mixture
    sampler: Sampler
    views: tuple[View, ...]
    size: int  # of a microbatch
    seed: int
    rank: int = 0
    world: int = 1

    def __iter__(self) -> Iterator[Work]:
        while True:
            epoch = self.sampler.epoch
            for indices, position in self.sampler.with_state():
                yield self._work(indices, position, epoch)

    def _work(self, indices: Sequence[int], position: dict[str, int], epoch: int) -> Work:
        own = [self._reading(index, epoch) for index in indices[self.rank :: self.world]]
        own.sort(key=_letters)  # rows of like length share a microbatch
        made = [
            self.backbone.collate(own[k : k + self.size], self.views)
            for k in range(0, len(own), self.size)
        ]
        batches = [batch for batch in made if len(batch.targets.tokens)]
        filler = None
        if self.world > 1:
            filler = batches[0] if batches else self._borrowed(indices, epoch)
        return Work(
            batches=batches,
            filler=filler,
            dropped=sum(len(batch.dropped) for batch in made),
            shrunk=sum(len(batch.shrunk) for batch in made),
            position=position,
        )

    def _reading(self, index: int, epoch: int) -> Reading:
        return self.mixture.reading(index, self.seed, epoch=epoch, views=self.views)

    def _borrowed(self, indices: Sequence[int], epoch: int) -> Batch | None:
        """The first sample of the global batch that the length policy keeps."""
        for index in indices:
            batch = self.backbone.collate([self._reading(index, epoch)], self.views)
            if len(batch.targets.tokens):
                return batch
        return None


def _letters(reading: Reading) -> int:
    """A cheap stand-in for the length of a row."""
    return sum(len(part) for t in reading.conversation for part in t.parts if isinstance(part, str))
