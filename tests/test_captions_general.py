"""Captions of the general world: every fact stands in its caption, in many forms."""

import hashlib
from random import Random

import pytest

from residency.data import captions_general
from residency.data.captions_general import PRESENCE, tell
from residency.data.wordings_general import article
from residency.phantoms import general as world
from residency.text import words

KINDS = ("objects", "lines", "halves", "pattern", "spots", "dots")


def told(number):
    rng = Random(number)
    kind = rng.choice(KINDS)
    return tell(rng, world.draw(rng, kind, 1 if kind in ("objects", "spots") else 0))


@pytest.fixture(scope="module")
def many():
    return [told(number) for number in range(400)]


def test_every_fact_is_stated_and_every_trait_stands_once(many):
    for one in many:
        said = words(one.caption)
        assert len({fact.trait for fact in one.facts}) == len(one.facts) > 0
        for fact in one.facts:
            value = words(fact.value)
            if fact.value == "absent":
                assert {"no", "absent"} & set(said), one
            else:
                assert any(said[k : k + len(value)] == value for k in range(len(said))), one
            assert set(words(fact.trait)) <= set(said), one


def test_values_stand_before_and_behind_their_things(many):
    text = " ".join(f" {' '.join(words(one.caption))} " for one in many)
    facts = [fact for one in many for fact in one.facts if fact.value not in PRESENCE]
    before = sum(f" {' '.join(words(f'{f.value} {f.trait}'))} " in text for f in facts)
    behind = sum(f" {' '.join(words(f'{f.trait} {f.be} {f.value}'))} " in text for f in facts)
    assert before > 200 and behind > 200


def test_forms_differ(many):
    text = "\n".join(one.caption for one in many)
    for form in (" with ", " are ", "No ", "There is no ", " and ", "\nSummary: ", ": "):
        assert text.count(form) > 5, form
    assert len({one.caption for one in many}) > 395


def test_the_same_number_tells_the_same_in_every_process():
    told_now = repr([told(number) for number in range(20)])
    assert hashlib.sha256(told_now.encode()).hexdigest()[:16] == "20f833d9ad618b70", (
        "other captions: raise VERSION in datasets/seed_general.py"
    )


def test_invented_words_are_seldom_words():
    rng = Random(0)
    made = [captions_general.invented(rng) for _ in range(500)]
    assert len(set(made)) > 490
    assert not set(made) & set(captions_general.VALUES)
    assert all(one.isalpha() and one.islower() for one in made)


@pytest.mark.parametrize(
    ("words_", "expected"), [("oval stone", "an "), ("stone", "a "), ("inner ring", "an ")]
)
def test_articles(words_, expected):
    assert article(words_) == expected + words_
