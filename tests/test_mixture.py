"""Mixtures, negatives, the sampler and the background reader."""

import gc
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL.Image import Image

import residency.tasks
from residency.data.mix import Mix
from residency.data.mixture import Mixture, Share
from residency.data.negatives import Negatives, uniform
from residency.data.sampler import Sampler, order
from residency.data.strata import stratified
from residency.data.stream import prefetch
from residency.dataset import Dataset
from residency.errors import DataError, UsageError
from residency.task import Wording
from residency.types import (
    NEGATIVE,
    PLAIN,
    SHUFFLED,
    Box,
    ImagePart,
    Picture,
    Sample,
    Turn,
    Volume,
)

TASK = '''
"""A task for these tests."""
metrics = ()
templates = ("paper",)
def ask(sample, wording):
    return sample.question or "Which of " + ", ".join(sample.options) + "?"
def read(text, sample, codec):
    return text.removesuffix(".")
def write(sample, codec, wording):
    if isinstance(sample.answer, str):
        return (sample.answer + ".",)
    return (codec.write_boxes(sample.answer, (1, 1)),)
'''


class NoCodec:
    """Writing a box would need the size of the image, hence decode it."""

    def refuse(self, *args: Any) -> Any:
        raise AssertionError("the index must not write boxes")

    write_boxes = write_points = read_boxes = read_points = refuse


@pytest.fixture(autouse=True)
def toy_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_mixture.py").write_text(TASK)
    path = [*residency.tasks.__path__, str(tmp_path)]
    monkeypatch.setattr(residency.tasks, "__path__", path)


def never() -> Image:
    raise AssertionError("no image may be decoded")


def make(name: str, labels: Sequence[str], **facts: Any) -> list[Sample]:
    options = tuple(sorted(set(labels)))
    return [
        Sample(
            id=f"{name}-{number}",
            dataset=name,
            task="toy_mixture",
            answer=label,
            options=options,
            images=(Picture(key=f"{name}/{number}", load=never),),
            **facts,
        )
        for number, label in enumerate(labels)
    ]


def dataset(name: str, samples: list[Sample]) -> Dataset:
    return Dataset(name=name, splits={"train": samples}, digest=name)


def mix(*datasets: Dataset, limit: int | None = None, seed: int = 0, how: str = "all") -> Mixture:
    return Mixture.of(
        datasets,
        "train",
        limit=limit,
        wording=Wording(),
        codec=NoCodec(),
        seed=seed,
        mix=Mix.of(how),
    )


def test_sample_numbers_run_over_all_data_sets() -> None:
    mixture = mix(dataset("a", make("a", "xyx")), dataset("b", make("b", "uv")))
    ids = [mixture.sample(i).id for i in range(len(mixture))]
    assert ids == ["a-0", "a-1", "a-2", "b-0", "b-1"]
    with pytest.raises(IndexError):
        mixture.sample(5)
    with pytest.raises(IndexError):
        mixture.sample(-1)


def test_reading_puts_images_first_and_learns_the_response_only() -> None:
    reading = mix(dataset("a", make("a", "xy"))).reading(1)
    assert reading.conversation == (
        Turn("user", (ImagePart(0), "Which of x, y?")),
        Turn("assistant", ("y.",), learn=True),
    )
    assert reading.negative is None and reading.shuffled is None


def test_reading_attaches_only_the_samples_its_views_look_at() -> None:
    mixture = mix(dataset("a", make("a", "xyxyz")))
    reading = mixture.reading(0, 3, views=(PLAIN, NEGATIVE))
    assert reading.negative is not None and reading.shuffled is None
    assert reading.negative_response in {("y.",), ("z.",)}
    assert reading.negative_response == mixture.response(reading.negative)
    reading = mixture.reading(0, 3, views=(SHUFFLED,))
    assert reading.negative is None and reading.negative_response == ()
    assert reading.shuffled is not None and reading.shuffled.id != "a-0"


def test_a_volume_without_images_is_refused_not_shown_blank() -> None:
    volume = Volume(key="v", load=lambda: np.zeros((1, 1, 1)), spacing_mm=(1.0, 1.0, 1.0))
    sample = Sample(id="ct", dataset="a", task="toy_mixture", answer="x", volume=volume)
    with pytest.raises(DataError, match="'ct' is a volume without images"):
        mix(dataset("a", [sample])).reading(0)


def test_limit_is_stratified_seeded_and_described() -> None:
    many = dataset("a", make("a", "x" * 80 + "y" * 18 + "z" * 2))
    few = dataset("b", make("b", "uv"))
    mixture = mix(many, few, limit=10)
    assert mixture.describe() == [Share("a", "train", 10, 100, 10), Share("b", "train", 2, 2, 2)]
    counts = Counter(mixture.sample(i).answer for i in range(10))
    assert counts == {"x": 7, "y": 2, "z": 1} or counts == {"x": 8, "y": 1, "z": 1}
    ids = [mixture.sample(i).id for i in range(len(mixture))]
    again, other = mix(many, few, limit=10), mix(many, few, limit=10, seed=1)
    assert ids == [again.sample(i).id for i in range(len(again))]
    assert ids != [other.sample(i).id for i in range(len(other))]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 29, 30])
def test_stratified_takes_exactly_the_limit_without_repeats(limit: int) -> None:
    samples = make("a", "x" * 20 + "y" * 6 + "z" * 3 + "w")
    chosen = stratified(samples, limit, seed=4)
    assert len(chosen) == len(set(chosen.tolist())) == limit
    if limit >= 4:
        assert {samples[i].answer for i in chosen} == set("xyzw")


def test_impossible_mixtures_are_named() -> None:
    one = dataset("a", make("a", "xy"))
    with pytest.raises(UsageError, match="different data sets"):
        mix(one, one)
    with pytest.raises(UsageError, match="different data sets"):
        mix()
    with pytest.raises(UsageError, match="limit=0"):
        mix(one, limit=0)
    with pytest.raises(UsageError, match="has no samples"):
        mix(dataset("e", []))


def test_every_negative_shares_the_instruction_and_differs_in_the_response() -> None:
    generator = np.random.default_rng(0)
    questions = [f"q{n}" for n in range(3)]
    samples = [
        sample
        for question in questions
        for sample in make(
            f"a{question}", list(generator.choice(list("xyz"), 20)), question=question
        )
    ]
    samples = [
        Sample(
            id=str(n),
            dataset="a",
            task=s.task,
            answer=s.answer,
            images=s.images,
            question=s.question,
        )
        for n, s in enumerate(samples)
    ]
    mixture = mix(dataset("a", samples), dataset("b", make("b", "xyz", question="q0")))
    for epoch in range(5):
        for index in range(len(mixture)):
            own = mixture.sample(index)
            other = mixture.sample(mixture.negatives.draw(index, 7, epoch))
            assert other.dataset == own.dataset
            assert other.question == own.question
            assert other.answer != own.answer


def test_draws_are_fixed_by_seed_epoch_and_index_and_uniform() -> None:
    pairs = [("g", r) for r in "aaabbbbbcd"]
    negatives = Negatives(pairs)
    draws = [negatives.draw(0, 1, epoch) for epoch in range(4000)]
    assert draws == [Negatives(pairs).draw(0, 1, epoch) for epoch in range(4000)]
    assert draws != [negatives.draw(0, 2, epoch) for epoch in range(4000)]
    counts = Counter(draws)
    assert set(counts) == set(range(3, 10)) and negatives.candidates(0) == 7
    expected = 4000 / 7
    # Chi-square with 6 degrees of freedom: 22.5 is the 0.999 quantile.
    assert sum((c - expected) ** 2 / expected for c in counts.values()) < 22.5


def test_draws_of_neighbouring_samples_are_independent() -> None:
    negatives = Negatives([("g", n % 2) for n in range(200)])
    partners = {negatives.draw(index, 0) for index in range(200)}
    # 200 uniform draws out of 2 x 100 leave about 200 / e undrawn.
    assert 100 < len(partners) < 155


def test_missing_negatives_are_listed_and_named() -> None:
    mixture = mix(dataset("derma", make("derma", "xxx")), dataset("b", make("b", "xy")))
    assert mixture.negatives.missing.tolist() == [0, 1, 2]
    with pytest.raises(DataError) as caught:
        mixture.negatives.draw(1, 0)
    assert str(caught.value) == (
        "Sample 'derma-1' has no negative: no other response shares its instruction. "
        "Use contrast=0, or add classes."
    )
    with pytest.raises(DataError, match=r"'derma-0' has no negative \(nor have 2 more\)"):
        mixture.negatives.check()
    mix(dataset("b", make("b", "xy"))).negatives.check()


def test_a_negative_has_as_many_images_as_the_sample() -> None:
    one, two, none = make("a", "xyz")
    two = Sample(**{f: getattr(two, f) for f in two.__slots__} | {"images": two.images * 2})
    none = Sample(**{f: getattr(none, f) for f in none.__slots__} | {"images": ()})
    assert mix(dataset("a", [one, two, none])).negatives.missing.tolist() == [0, 1, 2]


def test_boxes_are_compared_without_decoding_the_image() -> None:
    samples = make("a", "xy", question="Where?")
    boxes = [(Box(name="n", x1=0.0, y1=0.0, x2=x, y2=1.0),) for x in (1.0, 2.0)]
    samples = [
        Sample(**{f: getattr(s, f) for f in s.__slots__} | {"answer": b})
        for s, b in zip(samples, boxes, strict=True)
    ]
    assert mix(dataset("a", samples)).negatives.draw(0, 0) == 1


def test_a_shuffled_image_is_another_image() -> None:
    samples = make("a", "xy")
    twin = Sample(**{f: getattr(samples[0], f) for f in samples[0].__slots__} | {"id": "twin"})
    strangers = mix(dataset("a", [*samples, twin])).strangers
    assert {strangers.draw(0, 0, epoch) for epoch in range(20)} == {1}
    assert {strangers.draw(1, 0, epoch) for epoch in range(50)} == {0, 2}


def test_drawing_is_constant_time_in_a_large_group() -> None:
    negatives = Negatives(("g", n % 5) for n in range(100_000))
    began = time.process_time()
    for index in range(2000):
        assert negatives.draw(index, 0) % 5 != index % 5
    assert time.process_time() - began < 1.0  # a scan over the group would take minutes


def test_uniform_covers_its_range() -> None:
    assert {uniform(3, 0, n) for n in range(100)} == {0, 1, 2}
    assert uniform(1, 5) == 0


def test_order_is_a_permutation_that_never_changes() -> None:
    assert sorted(order(1000, seed=3, epoch=2)) == list(range(1000))
    assert order(8, seed=0, epoch=0).tolist() == [0, 2, 1, 5, 4, 3, 6, 7]
    assert order(50, seed=0, epoch=0).tolist() != order(50, seed=0, epoch=1).tolist()
    assert order(50, seed=-1, epoch=0).tolist() != order(50, seed=1, epoch=0).tolist()


def test_each_epoch_holds_every_sample_once_with_the_partial_batch() -> None:
    sampler = Sampler(10, 4, seed=0)
    for epoch in range(3):
        assert sampler.epoch == epoch
        batches = list(sampler)
        assert [len(batch) for batch in batches] == [4, 4, 2] and len(sampler) == 3
        assert sorted(index for batch in batches for index in batch) == list(range(10))


@pytest.mark.parametrize("stop", range(8))
def test_a_resumed_sampler_goes_on_with_the_same_ids(stop: int) -> None:
    def run(sampler: Sampler, epochs: int) -> list[tuple[list[int], dict[str, int]]]:
        return [pair for _ in range(epochs) for pair in sampler.with_state()]

    whole = run(Sampler(10, 4, seed=5), 3)
    resumed = Sampler(10, 4, seed=5)
    resumed.restore(whole[stop][1])
    assert run(resumed, 3 - resumed.epoch) == whole[stop + 1 :]


@pytest.mark.parametrize("stop", range(8))
def test_pooled_batches_hold_rows_of_like_length_and_resume(stop: int) -> None:
    """Two batches at a time share eight samples; every epoch still holds each sample once."""
    settings: dict[str, Any] = {"pool": 2, "length": lambda i: i % 10}

    def run(sampler: Sampler, epochs: int) -> list[tuple[list[int], dict[str, int]]]:
        return [pair for _ in range(epochs) for pair in sampler.with_state()]

    whole = run(Sampler(22, 4, seed=5, **settings), 2)
    resumed = Sampler(22, 4, seed=5, **settings)
    resumed.restore(whole[stop][1])
    assert run(resumed, 2 - resumed.epoch) == whole[stop + 1 :]
    batches = [indices for indices, _ in whole[:6]]
    assert sorted(i for batch in batches for i in batch) == list(range(22))
    assert [len(batch) for batch in batches] == [4, 4, 4, 4, 4, 2]
    plain = list(Sampler(22, 4, seed=5))
    assert {*batches[0], *batches[1]} == {*plain[0], *plain[1]} and batches != plain
    spread = [max(i % 10 for i in b) - min(i % 10 for i in b) for b in batches]
    chance = [max(i % 10 for i in b) - min(i % 10 for i in b) for b in plain]
    assert sum(spread) < sum(chance)
    with pytest.raises(UsageError, match="pool 2 -> 1"):
        Sampler(22, 4, seed=5).restore(whole[0][1])


def test_a_sampler_refuses_the_state_of_another_run() -> None:
    state = Sampler(10, 4, seed=5).state()
    with pytest.raises(UsageError, match="batch_size 4 -> 2, seed 5 -> 6"):
        Sampler(10, 2, seed=6).restore(state)
    with pytest.raises(UsageError, match="both must be positive"):
        Sampler(0, 2, seed=6)


def sources(drawn: np.ndarray, mixture: Mixture) -> Counter[str]:
    return Counter(mixture.sample(int(index)).dataset for index in drawn)


@pytest.mark.parametrize(
    ("how", "draws"),
    [
        ("all", (30, 10)),
        ("weights:1:1", (20, 20)),
        ("weights:1:3", (10, 30)),
        ("temperature:1", (30, 10)),
        ("temperature:1000", (20, 20)),
        ("temperature:2", (25, 15)),  # sqrt(30) : sqrt(10) = 63.4 % : 36.6 %
        ("counts:7:25", (7, 25)),
    ],
)
def test_an_epoch_draws_what_the_mix_says(how: str, draws: tuple[int, int]) -> None:
    both = mix(dataset("a", make("a", "xyz" * 10)), dataset("b", make("b", "uv" * 5)), how=how)
    assert both.draws == draws
    assert [share.draws for share in both.describe()] == list(draws)
    counts: Counter[int] = Counter()
    for epoch in range(4):
        drawn = both.order(5, epoch)
        assert sources(drawn, both) == {"a": draws[0], "b": draws[1]}
        counts.update(drawn.tolist())
    for own in (range(30), range(30, 40)):  # no sample is seen twice more than another
        seen = [counts[index] for index in own]
        assert max(seen) - min(seen) <= 1
    assert both.order(5, 2).tolist() == both.order(5, 2).tolist()
    assert how == "all" or both.order(5, 2).tolist() != both.order(6, 2).tolist()


def test_classes_are_drawn_equally_often_and_each_in_turn() -> None:
    rare = mix(dataset("a", make("a", "x" * 20 + "y" * 3 + "z")), how="counts:10+classes")
    seen: Counter[str] = Counter()
    own: Counter[str] = Counter()
    for epoch in range(6):
        for index in rare.order(1, epoch):
            sample = rare.sample(int(index))
            seen[str(sample.answer)] += 1
            own[sample.id] += 1
    assert seen == {"x": 20, "y": 20, "z": 20}
    assert {own[f"a-{number}"] for number in range(20)} == {1}, "each x once before any twice"
    assert sorted(own[f"a-{number}"] for number in (20, 21, 22)) == [6, 7, 7]


@pytest.mark.parametrize("stop", range(9))
def test_a_weighted_mixture_resumes_exactly(stop: int) -> None:
    both = mix(
        dataset("a", make("a", "xyz" * 4)), dataset("b", make("b", "uv")), how="weights:1:2+classes"
    )

    def sampler() -> Sampler:
        return Sampler(both.epoch_size, 4, 5, lambda epoch: both.order(5, epoch))

    def run(one: Sampler, epochs: int) -> list[tuple[list[int], dict[str, int]]]:
        return [pair for _ in range(epochs) for pair in one.with_state()]

    whole = run(sampler(), 3)
    resumed = sampler()
    resumed.restore(whole[stop][1])
    assert run(resumed, 3 - resumed.epoch) == whole[stop + 1 :]


@pytest.mark.parametrize(
    "how",
    ["half", "weights", "weights:1", "weights:1:0", "weights:a:b", "counts:1.5:2", "temperature:0",
     "all:3", "weights:1:2+labels", "temperature:nan"],
)  # fmt: skip
def test_a_mix_that_means_nothing_is_refused(how: str) -> None:
    with pytest.raises(UsageError, match="mix="):
        mix(dataset("a", make("a", "xy")), dataset("b", make("b", "xy")), how=how)


def test_prefetch_keeps_the_order_and_measures_the_wait() -> None:
    def slow() -> Iterator[int]:
        for number in range(3):
            time.sleep(0.02)
            yield number

    stream = prefetch(slow())
    assert list(stream) == [0, 1, 2]
    assert 0.03 < stream.waited < 2
    assert next(stream, None) is None
    ready = prefetch(iter(range(3)), depth=3)
    time.sleep(0.05)
    assert list(ready) == [0, 1, 2]
    assert ready.waited < 0.03


def test_prefetch_reads_no_further_than_its_depth() -> None:
    read: list[int] = []
    with prefetch((read.append(n) or n for n in range(100)), depth=2) as stream:
        next(stream)
        time.sleep(0.05)
        assert len(read) <= 4
    with pytest.raises(UsageError, match="depth=0"):
        prefetch([], depth=0)


def test_prefetch_raises_in_order_with_the_traceback_of_the_source() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise DataError("b.png is truncated")

    stream = prefetch(broken())
    assert next(stream) == 1
    with pytest.raises(DataError, match="truncated") as caught:
        next(stream)
    assert "broken" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    with pytest.raises(StopIteration):
        next(stream)


def test_prefetch_ends_its_thread_and_closes_the_source() -> None:
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed.set()

    with prefetch(source()) as stream:
        next(stream)
    assert closed.is_set() and not stream._thread.is_alive()
    assert list(stream) == []


def test_an_abandoned_prefetch_stops_by_itself() -> None:
    stream = prefetch(iter(range(1000)))
    thread = stream._thread
    next(stream)
    del stream
    gc.collect()
    thread.join(timeout=2)
    assert not thread.is_alive()
