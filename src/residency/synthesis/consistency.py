"""Does the precise response follow from the informative one: yes, no or open, judged without the image.

AdaMLLM, section 3.1.2: what is judged `yes` is kept. The prompts are ours. `few_shot` is for a language
model that was not trained for it, `short` for a judge that was.
"""

import hashlib
import re
from typing import Literal

from residency.synthesis.engine import Request, Sampling
from residency.text import words
from residency.triplets import Triplet
from residency.types import Turn

Prompt = Literal["few_shot", "short"]
LABELS = ("yes", "no", "open")

_CASE = "Question: {q}\nLong answer: {c}\nShort answer: {a}\nVerdict:"
_RULES = (
    "Each case below has a question about a picture, a long answer and a short answer. Judge whether the "
    "two answers agree, in one word.\n"
    "yes: somebody who believes the long answer must give the short answer.\n"
    "no: the long answer leads to another short answer, or to none.\n"
    "open: the question has no single right answer, because it asks for a description, a story, "
    "background or an opinion.\n"
)
_EXAMPLES: tuple[tuple[Triplet, str], ...] = (
    (
        Triplet(
            "What is the animal on the sofa? Options: (a) a cat (b) a rabbit (c) a dog",
            "(c) a dog",
            "The animal lies stretched out on the sofa. Its long muzzle and floppy ears are those of a "
            "dog, most likely a young spaniel.",
        ),
        "yes",
    ),
    (
        Triplet(
            "How many boats are moored at the pier?",
            "five",
            "Two boats are tied to the left side of the pier and one to the right, so three boats are "
            "moored there.",
        ),
        "no",
    ),
    (
        Triplet(
            "Write a caption for this photograph.",
            "a market in the morning",
            "Traders set up their stalls while the first customers stroll between crates of fruit. The "
            "low sun suggests an early hour.",
        ),
        "open",
    ),
    (
        Triplet(
            "Is the traffic light green?",
            "no",
            "All cars wait in front of the crossing, and the lamp that is lit is the upper one, which is "
            "red.",
        ),
        "yes",
    ),
    (
        Triplet(
            "Which tool is used to tighten the bolt?",
            "a hammer",
            "The hand holds an adjustable wrench around the head of the bolt, which is the usual tool for "
            "tightening it.",
        ),
        "no",
    ),
    (
        Triplet(
            "What does the painting make you feel?",
            "calm",
            "Broad blue surfaces and the empty horizon may feel peaceful to some and lonely to others.",
        ),
        "open",
    ),
    (
        Triplet(
            "What material is the roof made of?",
            "thatch",
            "The roof is thick, grey-brown and slightly ragged at the edges, as roofs covered with reed "
            "or straw are: it is thatched.",
        ),
        "yes",
    ),
)
_SHORT = (
    "Question: {q}\nLong answer: {c}\nShort answer: {a}\nDoes the short answer follow from the long "
    "answer? Say yes, no or open."
)


def prompt(triplet: Triplet, kind: Prompt) -> str:
    """What the judge reads."""
    if kind == "short":
        return _fill(_SHORT, triplet)
    shown = "\n\n".join(f"{_fill(_CASE, case)} {label}" for case, label in _EXAMPLES)
    return f"{_RULES}\n{shown}\n\n{_fill(_CASE, triplet)}"


def version(kind: Prompt) -> str:
    """Identifies the wording, for the provenance of a verdict."""
    text = prompt(Triplet("{q}", "{a}", "{c}"), kind)
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def request(key: str, triplet: Triplet, kind: Prompt) -> Request:
    """The request for a verdict, without the image."""
    return Request(id=key, turns=(Turn("user", (prompt(triplet, kind),)),))


def sampling(seed: int) -> Sampling:
    """Greedy, one of the labels where the engine sees likelihoods, else a few tokens."""
    return Sampling(max_tokens=4, seed=seed, options=LABELS)


def verdict(text: str) -> str | None:
    """The label that a reply begins with; None where it begins with none."""
    first = words(text)[:1]
    return first[0] if first and first[0] in LABELS else None


def _fill(template: str, triplet: Triplet) -> str:
    """Braces inside of the texts stay as they are."""
    texts = {"q": triplet.instruction, "c": triplet.informative, "a": triplet.precise}
    return re.sub(r"\{([qca])\}", lambda match: texts[match[1]], template)
