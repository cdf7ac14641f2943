"""Whether synthetic answers are true, where the facts of an image are known: exact, no judge involved.

A sample's attributes are its facts, trait to value. Only what can be decided is counted: an instruction
that names no trait of the sample is `undecided`, and how many there are is part of the result.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from residency.evaluate.results import Estimate
from residency.evaluate.statistics import wilson
from residency.synthesis.pairs import Found
from residency.text import words
from residency.triplets import Triplet

NO_FACTS = frozenset(("caption", "recipe", "kind", "chance", "skill", "task_name", "answer_type"))
_VERDICTS = ("yes", "no")
_MISSING = frozenset(("absent", "none", "no"))  # say the same of a thing


class Truth(NamedTuple):
    """Whether each response is true; None for both where the facts do not decide."""

    precise: bool | None
    informative: bool | None


def facts_of(attributes: Mapping[str, str]) -> dict[str, str]:
    """The attributes that are facts about the image."""
    return {name: value for name, value in attributes.items() if name not in NO_FACTS}


def traits_of(instruction: str, facts: Mapping[str, str]) -> list[str]:
    """The traits that an instruction asks about; none where it names none.

    The longest one whose words all occur, else all that share the most words with it: "How is the
    nucleus?" asks about every trait of the nucleus. One and many are the same word ("granules" are asked
    for in "the granule colour").
    """
    asked = set(_singular(instruction))
    named = {trait: set(_singular(trait)) for trait in facts}
    whole = [trait for trait, own in named.items() if own and own <= asked]
    if whole:
        return [max(whole, key=lambda trait: len(named[trait]))]
    shared = {trait: len(own & asked) for trait, own in named.items()}
    most = max(shared.values(), default=0)
    return [trait for trait, count in shared.items() if most and count == most]


def truth(triplet: Triplet, facts: Mapping[str, str]) -> Truth:
    """Judge both responses by the facts.

    The precise response is true where it states the value of a trait that is asked about, or, to a yes/no
    question, the right one of yes and no. The informative one is true where it states such a value.
    Whatever is `none` is also `absent`.
    """
    traits = traits_of(triplet.instruction, facts)
    if not traits:
        return Truth(None, None)
    values = [words(facts[trait]) for trait in traits]
    informative = _state(words(triplet.informative), values)
    said = words(triplet.precise)
    if said[:1] and said[0] in _VERDICTS:
        named = {word for trait in traits for word in _singular(trait)}
        rest = [one for one in words(triplet.instruction) if not named & set(_singular(one))]
        return Truth(said[0] == ("yes" if _state(rest, values) else "no"), informative)
    return Truth(_state(said, values), informative)


def _state(said: list[str], values: list[list[str]]) -> bool:
    """Whether a text states one of the values."""
    return any(_states(said, value) for value in values)


def _singular(text: str) -> list[str]:
    """The words of a text without the s of the plural, wherever one may be one."""
    return [one[:-1] if len(one) > 3 and one.endswith("s") else one for one in words(text)]


def _states(said: list[str], value: list[str]) -> bool:
    """Whether the words of a value stand together in a text."""
    if len(value) == 1 and value[0] in _MISSING:
        return bool(_MISSING & set(said))
    width = len(value)
    return any(said[k : k + width] == value for k in range(len(said) - width + 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """Counts over triplets; `combined` counts those of which both responses are true."""

    n: int
    undecided: int
    precise: int
    informative: int
    combined: int

    @property
    def decided(self) -> int:
        """Triplets whose truth is known."""
        return self.n - self.undecided

    def shares(self) -> dict[str, Estimate]:
        """`precise_true` and so on, among the decided; nothing where there is none."""
        names = ("precise", "informative", "combined") if self.decided else ()
        return {f"{name}_true": share(getattr(self, name), self.decided) for name in names}

    def as_json(self) -> dict[str, Any]:
        """The counts."""
        return asdict(self)


def share(count: int, n: int) -> Estimate:
    """`count` of `n`, one at least, with Wilson's interval."""
    made = wilson(count, n)
    return Estimate(estimate=made.estimate, low=made.low, high=made.high)


def accuracy(every: Sequence[Found]) -> Accuracy:
    """Of the triplets among what was found."""
    return added(
        truth(one.triplet, facts_of(one.pair.sample.attributes)) for one in every if one.triplet
    )


def added(judged: Iterable[Truth]) -> Accuracy:
    """Add up."""
    every = list(judged)
    known = [one for one in every if one.precise is not None]
    return Accuracy(
        n=len(every),
        undecided=len(every) - len(known),
        precise=sum(bool(one.precise) for one in known),
        informative=sum(bool(one.informative) for one in known),
        combined=sum(bool(one.precise and one.informative) for one in known),
    )
