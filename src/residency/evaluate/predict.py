"""Ask a model about every sample of a split, and keep what it said as lines that survive a kill."""

import hashlib
import json
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from residency.data.strata import stratified
from residency.dataset import Dataset
from residency.errors import DataError, UsageError
from residency.evaluate.controls import fixed, shuffled_partners
from residency.evaluate.fingerprints import Hashes
from residency.evaluate.store import FILE, FORMAT, PredictionLog
from residency.task import Codec, Wording, task, text_of
from residency.types import (
    Conversation,
    ImagePart,
    Part,
    Prediction,
    Reading,
    Sample,
    Turn,
    View,
)

Mode = Literal["generate", "likelihood"]
Finish = Literal["stop", "length", "error"]
Progress = Callable[[int, int], None]  # called with samples done and samples in all


@runtime_checkable
class Answerer(Protocol):
    """What predicting needs of a model: functions, never the model itself."""

    codec: Codec

    def generate(
        self, readings: Sequence[Reading], view: View, *, max_tokens: int
    ) -> Sequence[tuple[str, Finish]]:
        """The response to each reading and how it ended; with `error`, why there is none."""
        ...

    def score(
        self, readings: Sequence[Reading], view: View, options: Sequence[tuple[Part, ...]]
    ) -> Float[Tensor, "n k"]:
        """Summed log-likelihood of every option (the same for all); prefix computed once."""
        ...

    def lengths(self, options: Sequence[tuple[Part, ...]]) -> list[int]:
        """Tokens of every option as a whole response, its end included: what sums are over."""
        ...


def predict(
    answerer: Answerer,
    dataset: Dataset,
    split: str,
    *,
    model: str,
    view: View,
    mode: Mode,
    wording: Wording,
    out: Path,
    batch_size: int = 16,
    limit: int | None = None,
    seed: int = 0,
    max_tokens: int = 64,
    progress: Progress | None = None,
) -> list[Prediction]:
    """Predictions of a split in its order, also appended to `out/predictions.jsonl`.

    What the file already holds is not asked again. `model` identifies the weights; together with
    the data set's card, split, view, mode, wording, limit, seed and max_tokens it is the identity
    of the file. `limit` draws that many samples with `seed`, which also shuffles the images of the
    shuffled view.

    Raises:
        UsageError: the file belongs to another identity, the view needs a negative image, no sample
            has an image, or likelihood is asked for a sample without a closed set of single answers.
    """
    samples = select(dataset, split, limit=limit, seed=seed)
    _check(samples, view=view, mode=mode, batch_size=batch_size, dataset=dataset)
    asked = _Once(answerer) if view.image == "blank" else answerer
    asker = _Asker(asked, dataset.labels, view, mode, wording, max_tokens, Hashes())
    identity = {
        "format": FORMAT,
        "model": model,
        "dataset": dataset.name,
        **dataset.card,
        "split": split,
        "limit": limit,
        "seed": seed,
        "n": len(samples),
    }
    partners = shuffled_partners(samples, seed=seed) if view.image == "shuffled" else None
    with PredictionLog(out / FILE, identity | asker.identity) as log:
        done = {prediction.sample: prediction for prediction in log.kept}
        for start in range(0, len(samples), batch_size):
            # Groups are cut before what is done is left out: a resumed run asks in the same ones.
            rows = range(start, min(start + batch_size, len(samples)))
            todo = [
                reading(samples[i], wording, answerer.codec, partners[i] if partners else None)
                for i in rows
                if samples[i].id not in done
            ]
            if todo:
                answers = asker(todo)
                log.append(answers)
                done.update((answer.sample, answer) for answer in answers)
            if progress:
                progress(rows.stop, len(samples))
        predictions = [done[sample.id] for sample in samples]
        if not log.complete:
            log.finish(counts(predictions) | {"dropped_lines": log.dropped})
    return predictions


def counts(predictions: Sequence[Prediction]) -> dict[str, int]:
    """How many predictions there are, could not be understood, were cut off, and were refused."""
    return {
        "n": len(predictions),
        "n_unparsed": sum(p.answer is None for p in predictions),
        "n_length": sum(p.finish == "length" for p in predictions),
        "n_error": sum(p.finish == "error" for p in predictions),
    }


def select(dataset: Dataset, split: str, *, limit: int | None, seed: int) -> list[Sample]:
    """The samples to ask about: all, or `limit` drawn by answer with `seed`, in the split's order.

    Raises:
        UsageError: no such split, an empty one, or a limit below 1.
    """
    samples = dataset.split(split)
    if limit is not None and limit < 1:
        raise UsageError(f"limit={limit} leaves no samples. Give at least 1, or leave it out.")
    if not len(samples):
        raise UsageError(f"Split {split!r} of data set {dataset.name!r} is empty.")
    if limit is None or limit >= len(samples):
        return list(samples)
    return [samples[i] for i in stratified(samples, limit, seed).tolist()]


def reading(
    sample: Sample, wording: Wording, codec: Codec, shuffled: Sample | None = None
) -> Reading:
    """A sample in words: its images, its instruction, and its reference as the turn to learn."""
    spoken = task(sample.task)
    images = map(ImagePart, range(len(sample.images)))
    asked: tuple[Part, ...] = (*images, spoken.ask(sample, wording))
    conversation: Conversation = (
        Turn("user", asked),
        Turn("assistant", spoken.write(sample, codec, wording), learn=True),
    )
    return Reading(sample=sample, conversation=conversation, shuffled=shuffled)


def heard(asked: Reading, text: str, finish: Finish, *, view: View, codec: Codec) -> Prediction:
    """What was said as an answer; thoughts before it are kept apart and read by nobody."""
    if finish == "error":
        refused = fixed(asked.sample, None, view=view.name)
        return replace(refused, finish=finish, facts={**refused.facts, "error": text})
    thought, marked, after = text.rpartition("</think>")
    spoken = after.strip() if marked else text
    made = fixed(
        asked.sample, task(asked.sample.task).read(spoken, asked.sample, codec), view=view.name
    )
    facts = {**made.facts, "thought": thought + marked} if marked else made.facts
    return replace(made, text=spoken, finish=finish, facts=facts)


def prompt_hash(conversation: Conversation) -> str:
    """16 hex digits of SHA-256 over the turns that are not learned, images as their places."""
    asked = [
        [
            turn.role,
            *(part if isinstance(part, str) else f"<image {part.index}>" for part in turn.parts),
        ]
        for turn in conversation
        if not turn.learn
    ]
    return hashlib.sha256(json.dumps(asked, ensure_ascii=False).encode()).hexdigest()[:16]


def _check(
    samples: Sequence[Sample], *, view: View, mode: Mode, batch_size: int, dataset: Dataset
) -> None:
    if batch_size < 1:
        raise UsageError(f"batch_size={batch_size} is not a batch. Give at least 1.")
    if view.image == "negative":
        raise UsageError(
            f"View {view.name!r} shows a negative image and is for training. "
            "Evaluate under own, blank or shuffled."
        )
    if not any(sample.images or sample.volume for sample in samples):
        raise UsageError(
            f"No sample of {dataset.name!r} has an image, so this would measure a model that sees "
            "nothing. Check where the data set looks for its images."
        )
    ids: set[str] = set()
    for sample in samples:
        if sample.id in ids:
            raise UsageError(
                f"Data set {dataset.name!r} has two samples {sample.id!r}. Make the ids unique."
            )
        ids.add(sample.id)
        if sample.volume is not None and not sample.images:
            raise DataError(
                f"Sample {sample.id!r} is a volume without images: choose slices of it first."
            )
        if mode == "likelihood" and (
            isinstance(sample.answer, tuple) or not _options(sample, dataset.labels)
        ):
            raise UsageError(
                f"Sample {sample.id!r} has no closed set of single answers, which mode "
                "'likelihood' scores. Use mode 'generate'."
            )


def _options(sample: Sample, labels: Sequence[str]) -> Sequence[str]:
    return sample.options or labels


class _Once:
    """An answerer that is asked once for readings that are one to it: same words, same blank images."""

    def __init__(self, answerer: Answerer) -> None:
        self._answerer, self.codec = answerer, answerer.codec

    def generate(
        self, readings: Sequence[Reading], view: View, *, max_tokens: int
    ) -> Sequence[tuple[str, Finish]]:
        few, of = _distinct(readings)
        said = self._answerer.generate(few, view, max_tokens=max_tokens)
        return [said[k] for k in of]

    def score(
        self, readings: Sequence[Reading], view: View, options: Sequence[tuple[Part, ...]]
    ) -> Float[Tensor, "n k"]:
        few, of = _distinct(readings)
        return self._answerer.score(few, view, options)[of]

    def lengths(self, options: Sequence[tuple[Part, ...]]) -> list[int]:
        return self._answerer.lengths(options)


def _distinct(readings: Sequence[Reading]) -> tuple[list[Reading], list[int]]:
    """The readings that differ in words or in the size of an image, and of each all which it equals."""
    places: dict[Hashable, int] = {}
    few: list[Reading] = []
    of: list[int] = []
    for one in readings:
        sizes = tuple((picture.size, picture.area) for picture in one.sample.images)
        words = tuple(turn for turn in one.conversation if not turn.learn)
        known = all(size for size, _ in sizes)  # unknown sizes may differ
        volume = one.sample.volume is not None  # its slices may be one clip
        key: Hashable = (words, sizes, volume) if known else id(one)
        of.append(places.setdefault(key, len(few)))
        if of[-1] == len(few):
            few.append(one)
    return few, of


@dataclass(frozen=True, slots=True)
class _Asker:
    """A model and everything that decides how it is asked."""

    answerer: Answerer
    labels: Sequence[str]
    view: View
    mode: Mode
    wording: Wording
    max_tokens: int
    hashes: Hashes

    @property
    def identity(self) -> dict[str, Any]:
        """What of this changes the predictions."""
        return {
            "view": self.view.name,
            "mode": self.mode,
            "wording": asdict(self.wording),
            "max_tokens": self.max_tokens if self.mode == "generate" else None,
        }

    def __call__(self, readings: Sequence[Reading]) -> list[Prediction]:
        """One prediction per reading, in order."""
        if self.mode == "likelihood":
            found = dict(self._score(readings))
            answers = [found[i] for i in range(len(readings))]
        else:
            said = self.answerer.generate(readings, self.view, max_tokens=self.max_tokens)
            answers = [
                heard(asked, *one, view=self.view, codec=self.answerer.codec)
                for asked, one in zip(readings, said, strict=True)
            ]
        return [
            replace(answer, prompt=prompt_hash(asked.conversation), images=self._shown(asked))
            for asked, answer in zip(readings, answers, strict=True)
        ]

    def _shown(self, asked: Reading) -> tuple[str, ...]:
        """Hashes of the images that the view showed; of a blank one only that it was blank."""
        shuffled = self.view.image == "shuffled" and asked.shuffled is not None
        shown = asked.shuffled.images if shuffled else asked.sample.images  # type: ignore[union-attr]
        return tuple("blank" if self.view.image == "blank" else self.hashes(p) for p in shown)

    def _score(self, readings: Sequence[Reading]) -> Iterator[tuple[int, Prediction]]:
        """Score readings that share their written options together; yields (place, prediction)."""
        together: dict[tuple[tuple[Part, ...], ...], list[int]] = {}
        for i, asked in enumerate(readings):
            together.setdefault(self._written(asked.sample), []).append(i)
        for written, places in together.items():
            rows = self.answerer.score([readings[i] for i in places], self.view, written)
            tokens = self.answerer.lengths(written)
            for i, row in zip(places, rows.float().tolist(), strict=True):
                yield i, self._scored(readings[i].sample, written, row, tokens)

    def _written(self, sample: Sample) -> tuple[tuple[Part, ...], ...]:
        write = task(sample.task).write
        return tuple(
            write(replace(sample, answer=option), self.answerer.codec, self.wording)
            for option in _options(sample, self.labels)
        )

    def _scored(
        self,
        sample: Sample,
        written: Sequence[tuple[Part, ...]],
        row: list[float],
        tokens: list[int],
    ) -> Prediction:
        if not all(map(math.isfinite, row)):  # a diverged model: counted with the unparsed
            return replace(fixed(sample, None, view=self.view.name), finish="scored")
        options = _options(sample, self.labels)
        best = max(range(len(row)), key=row.__getitem__)
        made = fixed(sample, options[best], view=self.view.name)
        return replace(
            made,
            text=text_of(written[best]),
            finish="scored",
            scores=dict(zip(options, row, strict=True)),
            facts={**made.facts, "option_tokens": tokens},
        )
