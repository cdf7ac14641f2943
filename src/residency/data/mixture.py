"""Several data sets as one numbered sequence of readings, and the order in which they are seen."""

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from residency.data.negatives import Negatives
from residency.data.retelling import Retelling, rarity
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
    ) -> "Mixture":
        """The `split` of every data set; `limit` keeps that many samples of each.

        The subset keeps the proportions of the answers and, where `limit` allows, one sample of
        each; `describe` shows what was left out.

        Raises:
            UsageError: no data set, the same one twice, an empty or unknown split, limit < 1.
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
        return cls(
            datasets=tuple(datasets),
            split=split,
            picks=tuple(picks),
            wording=wording,
            codec=codec,
            retelling=retelling,
            turns=turns,
        )

    @cached_property
    def _ends(self) -> Int[np.ndarray, " k"]:
        return np.cumsum([len(pick) for pick in self.picks])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def describe(self) -> list[Share]:
        """What is used of what there is, a row per data set."""
        pairs = zip(self.datasets, self.picks, strict=True)
        return [Share(d.name, self.split, len(p), len(d.split(self.split))) for d, p in pairs]

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
            negative=self.negatives.draw(index, rng_seed, epoch) if "negative" in wanted else None,
            shuffled=self.strangers.draw(index, rng_seed, epoch) if "shuffled" in wanted else None,
        )

    def readings(self, index: int, draw: tuple[int, int, int] = (0, 0, 0)) -> list[Reading]:
        """A sample and each further question about its images, in one conversation or one for each.

        `draw` is (seed, epoch, place in the epoch): what the retelling depends on.

        Raises:
            DataError: a volume without images, or nothing after the exchange that is given.
        """
        sample = self.sample(index)
        if sample.volume is not None and not sample.images:
            raise DataError(
                f"Sample {sample.id!r} is a volume without images: choose slices of it first."
            )
        images = tuple(ImagePart(number) for number in range(len(sample.images)))
        if self.turns != "apart":
            return [Reading(sample=sample, conversation=self._joined(sample, images))]
        asked = (sample, *(replace(more, images=sample.images) for more in sample.also))
        return [
            self.retelling(Reading(sample=one, conversation=self._turns(one, images)), (*draw, k))
            for k, one in enumerate(asked)
        ]

    def _joined(self, sample: Sample, images: tuple[ImagePart, ...]) -> tuple[Turn, ...]:
        """One conversation of all exchanges; the images stand in its first turn."""
        first, *rest = (self._turns(one, ()) for one in (sample, *sample.also))
        asked, answered = first
        opening = (replace(asked, parts=(*images, *asked.parts)), answered)
        if self.turns == "joined":
            return (*opening, *(turn for exchange in rest for turn in exchange))
        if not rest:
            raise DataError(f"Sample {sample.id!r} has nothing to learn after its first exchange.")
        given = (replace(turn, learn=False) for turn in opening)
        return (*given, *(replace(turn, learn=True) for exchange in rest for turn in exchange))

    def facing(self, reading: Reading, *, negative: int | None, shuffled: int | None) -> Reading:
        """The reading with the samples of those indices as its negative and its shuffled sample."""
        if negative is not None:
            other = self.sample(negative)
            reading = replace(reading, negative=other, negative_response=self.response(other))
        if shuffled is not None:
            reading = replace(reading, shuffled=self.sample(shuffled))
        return reading

    def _turns(self, sample: Sample, images: tuple[ImagePart, ...]) -> tuple[Turn, Turn]:
        return (
            Turn("user", (*images, self._task(sample).ask(sample, self.wording))),
            Turn("assistant", self.response(sample), learn=True),
        )

    def response(self, sample: Sample) -> tuple[Part, ...]:
        """The reference answer as the response to learn."""
        return self._task(sample).write(sample, self.codec, self.wording)

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
        instruction = self._task(sample).ask(sample, self.wording)
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


def stratified(samples: Sequence[Sample], limit: int, seed: int) -> Int[np.ndarray, " n"]:
    """`limit` sorted indices in which every answer keeps its proportion (largest remainder).

    Where `limit` allows, no answer disappears. Answers that are boxes or points count by their
    names.
    """
    strata: dict[Hashable, list[int]] = {}
    for index in range(len(samples)):
        strata.setdefault(_stratum(samples[index]), []).append(index)
    sizes = np.array([len(members) for members in strata.values()])
    generator = np.random.default_rng(seed)
    share = limit * sizes / sizes.sum()
    take = np.maximum(np.floor(share), limit >= len(sizes)).astype(np.int64)
    ties = generator.random(len(sizes))
    while take.sum() > limit:  # the guaranteed ones are taken from the strata furthest ahead
        take[np.argmax(np.where(take > 1, take - share, -np.inf))] -= 1
    rest = np.lexsort((ties, take - share))[: limit - int(take.sum())]
    take[rest] += 1
    chosen = [
        generator.choice(members, size=count, replace=False)
        for members, count in zip(strata.values(), take, strict=True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def _stratum(sample: Sample) -> Hashable:
    if isinstance(sample.answer, str):
        return sample.task, sample.answer
    return sample.task, *(a if isinstance(a, str) else a.name for a in sample.answer)


def order(n: int, *, seed: int, epoch: int) -> Int[np.ndarray, " n"]:
    """The permutation of `n` samples for an epoch.

    It sorts raw Philox output, whose stream numpy guarantees, so the order survives an upgrade.
    """
    key = np.array([seed % 2**64, epoch % 2**64], dtype=np.uint64)
    return np.argsort(np.random.Philox(key=key).random_raw(n), kind="stable")


def drawn(weights: Float[np.ndarray, " n"], *, seed: int, epoch: int) -> Int[np.ndarray, " n"]:
    """As many draws with replacement as there are weights, in proportion to them, for an epoch."""
    key = np.array([seed % 2**64, epoch % 2**64], dtype=np.uint64)
    points = np.random.Philox(key=key).random_raw(len(weights)) / 2.0**64
    ends = np.cumsum(weights)
    places = np.searchsorted(ends, points * ends[-1], side="right")
    return np.minimum(places, len(weights) - 1).astype(np.int64)  # rounding at the last end


class Sampler:
    """Batches of indices, epoch after epoch, that can be stopped and taken up again.

    Iterating yields what remains of the current epoch, its last partial batch included, and leaves
    the sampler at the start of the next one. With `weights` an epoch is as many draws with replacement.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        seed: int,
        weights: Float[np.ndarray, " n"] | None = None,
    ) -> None:
        """Raise UsageError where `n` or `batch_size` is below one."""
        if n < 1 or batch_size < 1:
            raise UsageError(f"Cannot batch {n} samples by {batch_size}: both must be positive.")
        self.n, self.batch_size, self.seed, self.weights = n, batch_size, seed, weights
        self.epoch = self.position = 0

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-self.n // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        return (indices for indices, _ in self.with_state())

    def with_state(self) -> Iterator[tuple[list[int], dict[str, int]]]:
        """Batches, each with the state after it: what to save once *this* batch is trained on.

        A background reader runs ahead of training, so `state()` itself would skip batches.
        """
        permutation = (
            order(self.n, seed=self.seed, epoch=self.epoch)
            if self.weights is None
            else drawn(self.weights, seed=self.seed, epoch=self.epoch)
        )
        while True:
            indices = permutation[self.position : self.position + self.batch_size].tolist()
            self.position += len(indices)
            ended = self.position >= self.n
            if ended:
                self.epoch, self.position = self.epoch + 1, 0
            yield indices, self.state()
            if ended:
                return

    def state(self) -> dict[str, int]:
        """Where the sampler stands, with what must be equal to go on from there."""
        return {
            "n": self.n,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "epoch": self.epoch,
            "position": self.position,
        }

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on from `state`.

        Raises:
            UsageError: the state belongs to other data, another batch size or another seed.
        """
        own = self.state()
        fixed = ("n", "batch_size", "seed")
        differing = [
            f"{key} {state.get(key)} -> {own[key]}" for key in fixed if state.get(key) != own[key]
        ]
        if differing:
            raise UsageError(f"The saved sampler differs: {', '.join(differing)}. Start a new run.")
        self.epoch, self.position = state["epoch"], state["position"]
