"""Painted pills: the generalist's words, another look, and products that tie a pill's facts together."""

from collections import Counter

import numpy as np
import pytest

from residency.data.benchmark import TOLD
from residency.dataset import open_dataset
from residency.datasets import pills
from residency.datasets.general import WORDS
from residency.errors import UsageError


def pixels(sample):
    return np.asarray(sample.images[0].load(), dtype=float)


def test_a_pill_is_the_same_every_time_and_another_in_every_split_and_seed(tmp_path):
    first, again = (pills.load("").split("train")[3] for _ in range(2))
    assert first.attributes == again.attributes and np.array_equal(pixels(first), pixels(again))
    for where, split in (("", "test"), ("seed=1", "train")):
        assert not np.array_equal(pixels(first), pixels(pills.load(where).split(split)[3]))
    assert not pills.recognises(tmp_path)


def test_reports_state_the_facts_in_words_of_the_general_world():
    for sample in pills.load("train=20").split("train")[:]:
        assert str(sample.answer).split(", ") == [f"{v} {k}" for k, v in sample.attributes.items()]
        known = {value for name, value in sample.attributes.items() if name != "place"}
        assert known <= set(WORDS)
        assert sample.attributes["place"] in pills.QUADRANTS


def test_shift_moves_the_pixels_and_nothing_else():
    plain, moved = (pills.load(f"shift={shift}").split("val")[5] for shift in (0, 1))
    assert plain.attributes == moved.attributes and plain.images[0].key != moved.images[0].key
    assert np.abs(pixels(plain) - pixels(moved)).mean() > 8


def test_the_pill_lies_where_the_facts_say():
    for sample in pills.load("shift=0").split("train")[:20]:
        thing = sample.images[0].load.args[0].things[0]
        x, y = thing.centre
        middle = pills.SIDE / 2
        place = f"{'top' if y < middle else 'bottom'} {'left' if x < middle else 'right'}"
        assert place == sample.attributes["place"]
        assert min(thing.box) >= 0 and max(thing.box) <= pills.SIDE


def test_products_tie_shape_and_colour_and_disloyal_pills_have_none():
    def most_common_colour(loyal):
        every = [s.attributes for s in pills.load(f"train=400:loyal={loyal}").split("train")[:]]
        circles = [facts["colour"] for facts in every if facts["shape"] == "circle"]
        return Counter(circles).most_common(1)[0][1] / len(circles)

    assert most_common_colour(1) > 0.99 and most_common_colour(0) < 0.35


def test_it_becomes_a_benchmark():
    dataset = open_dataset("benchmark:pills:train=60:val=8:test=40")
    assert dataset.name == "benchmark:pills:train=60:val=8:test=40"
    asked = Counter(sample.question for sample in dataset.split("test"))
    assert set(asked) == {f"What is the {name}?" for name in pills.VALUES}
    sample = dataset.split("test")[0]
    assert len(sample.attributes["told"].split(TOLD)) == len(sample.options)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("shif=1", "Did you mean 'shift'"),
        ("shift=2", "from 0 to 1"),
        ("train=x", "from 0 to 100"),
        ("train=4,seed=1:train=5", "twice: '4' and '5'"),
    ],
)
def test_wrong_options_are_refused(where, said):
    with pytest.raises(UsageError, match=said):
        pills.load(where)
