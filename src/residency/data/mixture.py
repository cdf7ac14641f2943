"""Several data sets as one numbered sequence of readings, and the order in which they are seen."""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from residency.data.augment import Augment
from residency.data.mix import Mix
from residency.data.negatives import Negatives, uniform
from residency.data.retelling import Retelling, rarity
from residency.data.sampler import balanced, drawn, endless, order
from residency.data.strata import stratified, stratum
from residency.dataset import Dataset
from residency.errors import DataError, UsageError
from residency.task import Codec, Task, Wording, task, text_of
from residency.types import ImagePart, Part, Reading, Sample, Turn, View

# How the questions about an image are put: each in a conversation of its own; in one conversation; in one
# whose first exchange is given and of which everything after it is learned, questions too (AdaMLLM, Table 1).
Turns = Literal["apart", "joined", "continued"]


class Share(NamedTuple):
    """How much of a data set's split a mixture uses."""

    dataset: str
    split: str
    used: int
    available: int
    draws: int = 0  # of an epoch; 0 where nothing is drawn


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """One split of several data sets, concatenated, with the words chosen.

    `picks` holds, per data set, the indices in use. Samples are built when asked for, so a mixture
    of half a million images holds a few integers each. `retelling` changes the words at each draw.
    """

    datasets: tuple[Dataset, ...]
    split: str
    picks: tuple[Sequence[int] | Int[np.ndarray, " n"], ...]
    wording: Wording
    codec: Codec
    retelling: Retelling = Retelling()  # noqa: RUF009 - frozen
    turns: Turns = "apart"
    mix: Mix = Mix()  # noqa: RUF009 - frozen
    augment: Augment = Augment()  # noqa: RUF009 - frozen
    _tasks: dict[str, Task] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        datasets: Sequence[Dataset],
        split: str,
        *,
        limit: int | None = None,
        wording: Wording,
        codec: Codec,
        seed: int = 0,
        retelling: Retelling = Retelling(),  # noqa: B008 - frozen
        turns: Turns = "apart",
        mix: Mix = Mix(),  # noqa: B008 - frozen
        augment: Augment = Augment(),  # noqa: B008 - frozen
    ) -> "Mixture":
        """The `split` of every data set; `limit` keeps that many samples of each.

        `mix` says how much of each an epoch draws, `augment` how readings may change their images.

        The subset keeps the proportions of the answers and, where `limit` allows, one sample of
        each; `describe` shows what was left out.

        Raises:
            UsageError: no data set, the same one twice, an empty or unknown split, limit < 1, or a
                mix for another number of data sets.
        """
        names = [dataset.name for dataset in datasets]
        if not names or len(set(names)) < len(names):
            raise UsageError(f"A mixture needs different data sets; given: {names}.")
        if limit is not None and limit < 1:
            raise UsageError(f"limit={limit} leaves nothing; give a positive number or none.")
        if turns != "apart" and (retelling.instructions or retelling.shuffle != "none"):
            raise UsageError(
                f"turns={turns!r} puts several exchanges into a conversation, which a retelling cannot "
                'reword. Use turns="apart", or no retelling of words.'
            )
        picks: list[Sequence[int] | np.ndarray] = []
        for dataset in datasets:
            samples = dataset.split(split)
            if not len(samples):
                raise UsageError(f"Split {split!r} of data set {dataset.name!r} has no samples.")
            whole = limit is None or limit >= len(samples)
            picks.append(range(len(samples)) if whole else stratified(samples, limit or 0, seed))
        mix.draws([len(pick) for pick in picks])
        if retelling.draw != "uniform" and not mix.plain:
            raise UsageError("Draws by rare words and a mix exclude each other: use mix=all.")
        return cls(
            datasets=tuple(datasets),
            split=split,
            picks=tuple(picks),
            wording=wording,
            codec=codec,
            retelling=retelling,
            turns=turns,
            mix=mix,
            augment=augment,
        )

    @cached_property
    def _ends(self) -> Int[np.ndarray, " k"]:
        return np.cumsum([len(pick) for pick in self.picks])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @cached_property
    def draws(self) -> tuple[int, ...]:
        """Readings of an epoch, by data set."""
        return self.mix.draws([len(pick) for pick in self.picks])

    @property
    def epoch_size(self) -> int:
        """Readings of an epoch."""
        return sum(self.draws)

    def describe(self) -> list[Share]:
        """What is used of what there is and how often an epoch draws it, a row per data set."""
        triples = zip(self.datasets, self.picks, self.draws, strict=True)
        return [
            Share(d.name, self.split, len(p), len(d.split(self.split)), n) for d, p, n in triples
        ]

    def order(self, seed: int, epoch: int) -> Int[np.ndarray, " n"]:
        """The samples that an epoch reads, in their order; a function of its arguments alone."""
        if self.weights is not None:
            return drawn(self.weights, seed=seed, epoch=epoch)
        turns = order(self.epoch_size, seed=seed, epoch=epoch)
        return turns if self.mix.plain else self._drawn(seed, epoch)[turns]

    def _drawn(self, seed: int, epoch: int) -> Int[np.ndarray, " n"]:
        """What an epoch draws of each data set, one after the other."""
        found = []
        for number, (pick, count) in enumerate(zip(self.picks, self.draws, strict=True)):
            first = int(self._ends[number]) - len(pick)
            own = seed + 1_000_003 * (number + 1)
            if self.mix.classes:
                places = balanced(self._classes[number], epoch * count, count, seed=own)
            else:
                places = endless(len(pick), epoch * count, count, seed=own)
            found.append(first + places)
        return np.concatenate(found)

    @cached_property
    def _classes(self) -> list[list[list[int]]]:
        """The places of each answer, by data set."""
        every = []
        for number, pick in enumerate(self.picks):
            first = int(self._ends[number]) - len(pick)
            strata: dict[Hashable, list[int]] = {}
            for place in range(len(pick)):
                strata.setdefault(stratum(self.sample(first + place)), []).append(place)
            every.append(list(strata.values()))
        return every

    def sample(self, index: int) -> Sample:
        """The sample numbered `index` over all data sets.

        Raises:
            IndexError: outside `[0, len)`.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"Sample {index} of {len(self)}")
        place = int(np.searchsorted(self._ends, index, side="right"))
        offset = index - (int(self._ends[place - 1]) if place else 0)
        return self.datasets[place].split(self.split)[int(self.picks[place][offset])]

    def reading(
        self, index: int, rng_seed: int = 0, *, epoch: int = 0, views: Collection[View] = ()
    ) -> Reading:
        """A sample with its conversation, and with the other samples that `views` look at.

        The images come first, in the sample's order, then the instruction. Negative and shuffled
        samples depend on (rng_seed, epoch, index) alone.

        Raises:
            DataError: a view needs another sample and none fits; a volume without images.
        """
        wanted = {view.image for view in views}
        return self.facing(
            self.readings(index, (rng_seed, epoch, index))[0],
            seed=rng_seed,
            epoch=epoch,
            negative=self.negatives.draw(index, rng_seed, epoch) if "negative" in wanted else None,
            shuffled=self.strangers.draw(index, rng_seed, epoch) if "shuffled" in wanted else None,
        )

    def shown(self, index: int, seed: int, epoch: int) -> Sample:
        """The sample as an epoch shows it: augmented by `augment`."""
        return self.augment(self.sample(index), seed, epoch, index)

    def readings(self, index: int, draw: tuple[int, int, int] = (0, 0, 0)) -> list[Reading]:
        """A sample and each further question about its images, in one conversation or one for each.

        `draw` is (seed, epoch, place in the epoch): what augmentation and retelling depend on.

        Raises:
            DataError: a volume without images, or nothing after the exchange that is given.
        """
        sample = self.shown(index, *draw[:2])
        if sample.volume is not None and not sample.images:
            raise DataError(
                f"Sample {sample.id!r} is a volume without images: choose slices of it first."
            )
        images = tuple(ImagePart(number) for number in range(len(sample.images)))
        if self.turns != "apart":
            return [Reading(sample=sample, conversation=self._joined(sample, images, draw))]
        asked = (sample, *(replace(more, images=sample.images) for more in sample.also))
        return [
            self.retelling(
                Reading(sample=one, conversation=self._turns(one, images, (*draw, k))), (*draw, k)
            )
            for k, one in enumerate(asked)
        ]

    def _joined(
        self, sample: Sample, images: tuple[ImagePart, ...], draw: tuple[int, ...]
    ) -> tuple[Turn, ...]:
        """One conversation of all exchanges; the images stand in its first turn."""
        spoken = enumerate((sample, *sample.also))
        first, *rest = (self._turns(one, (), (*draw, k)) for k, one in spoken)
        asked, answered = first
        opening = (replace(asked, parts=(*images, *asked.parts)), answered)
        if self.turns == "joined":
            return (*opening, *(turn for exchange in rest for turn in exchange))
        if not rest:
            raise DataError(f"Sample {sample.id!r} has nothing to learn after its first exchange.")
        given = (replace(turn, learn=False) for turn in opening)
        return (*given, *(replace(turn, learn=True) for exchange in rest for turn in exchange))

    def facing(
        self,
        reading: Reading,
        *,
        negative: int | None,
        shuffled: int | None,
        seed: int = 0,
        epoch: int = 0,
    ) -> Reading:
        """The reading with the samples of those indices as its negative and its shuffled sample."""
        if negative is not None:
            other = self.shown(negative, seed, epoch)
            reading = replace(reading, negative=other, negative_response=self.response(other))
        if shuffled is not None:
            reading = replace(reading, shuffled=self.shown(shuffled, seed, epoch))
        return reading

    def _turns(
        self, sample: Sample, images: tuple[ImagePart, ...], draw: tuple[int, ...]
    ) -> tuple[Turn, Turn]:
        """Instruction and response, in the words that the wording's pool gives at a draw."""
        spoken = self._task(sample)
        pool = self.wording.pool(spoken)
        said = pool[uniform(len(pool), *draw, 2)] if len(pool) > 1 else pool[0]
        return (
            Turn("user", (*images, spoken.ask(sample, said))),
            Turn("assistant", spoken.write(sample, self.codec, said), learn=True),
        )

    def response(self, sample: Sample) -> tuple[Part, ...]:
        """The reference answer as the response to learn, in its canonical words."""
        return self._task(sample).write(sample, self.codec, self.wording.canonical)

    @cached_property
    def weights(self) -> Float[np.ndarray, " n"] | None:
        """How often each sample is drawn beside the others, None where all come once per epoch."""
        if self.retelling.draw == "uniform":
            return None
        return rarity([text_of(self.response(self.sample(i))) for i in range(len(self))])

    @cached_property
    def negatives(self) -> Negatives:
        """Same data set, instruction and number of images, another response; built on first use."""
        return Negatives(map(self._pair, range(len(self))), name=lambda i: self.sample(i).id)

    @cached_property
    def strangers(self) -> Negatives:
        """Same data set and number of images, other pixels; built on first use."""

        def pair(index: int) -> tuple[Hashable, Hashable]:
            sample = self.sample(index)
            keys = tuple(picture.key for picture in sample.images)
            return (sample.dataset, len(keys)), keys

        return Negatives(
            map(pair, range(len(self))),
            name=lambda i: self.sample(i).id,
            remedy="no other image in its data set. Leave the shuffled view out.",
        )

    def _pair(self, index: int) -> tuple[Hashable, Hashable]:
        sample = self.sample(index)
        instruction = self._task(sample).ask(sample, self.wording.canonical)
        words = isinstance(sample.answer, str) or all(isinstance(a, str) for a in sample.answer)
        # Writing boxes and points needs the image size, hence a decoded image: compare the facts.
        response: Hashable = text_of(self.response(sample)) if words else sample.answer
        # Without an image there is nothing to swap: one common response, hence no candidates.
        shown = response if sample.images else ""
        return (sample.dataset, instruction, len(sample.images)), shown

    def _task(self, sample: Sample) -> Task:
        # The catalogue looks at the disk; half a million samples should not.
        if sample.task not in self._tasks:
            self._tasks[sample.task] = task(sample.task)
        return self._tasks[sample.task]
