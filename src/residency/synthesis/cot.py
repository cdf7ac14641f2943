"""From a consistent triplet to one instruction and one response: reasons first, then the conclusion.

The rule is AdaMLLM's (released code, process/syn_utils.py); the templates are ours. Facts the paper
leaves open and what stands here: docs/papers.md.
"""

import re
from collections.abc import Sequence
from random import Random
from typing import Literal, NamedTuple

from residency.triplets import Triplet

Kind = Literal["concluding", "contains", "template"]
Pool = Literal["paper", "upstream"]
# A last sentence with one of these concludes by itself. The released code looks for substrings, so
# that "also " counts as "so "; we look for words.
_CUES = re.compile(r"\b(could be|so|thus|therefore|final|finally|answer|result)\b")

# {q} instruction, {r} the response that holds everything, {c} informative, {a} precise.
_QA = (
    ("{q}", "{r}"),
    ("Question: {q}", "{r}"),
    ("Question: {q}\nAnswer:", "{r}"),
    ("{q}\nAnswer the question about the image.", "{r}"),
    ("Look at the image. {q}", "{r}"),
    ("Please answer: {q}", "{r}"),
    ("Here is a task about the picture.\n{q}", "{r}"),
    ("Task: {q}", "{r}"),
    ("I would like to know: {q}", "{r}"),
    ("Solve this.\n{q}", "{r}"),
    ("Use the image to respond.\n{q}", "{r}"),
    ("{q}\nResponse:", "{r}"),
)
_COT = (
    ("{q}", "{c}\nTherefore, the answer is {a}"),
    ("{q}\nThink it through.", "{c}\nSo the answer is {a}"),
    ("Question: {q}\nExplain before you answer.", "{c}\nThe answer: {a}"),
    ("{q}\nGive your reasons first.", "{c}\nHence: {a}"),
    ("Look at the image and reason.\n{q}", "{c}\nIn short: {a}"),
    ("{q}\nLet us go step by step.", "{c}\nThat makes the answer {a}"),
    ("Task: {q}\nWork it out.", "{c}\nFinal answer: {a}"),
    ("{q}\nWhy, and what follows?", "{c}\nIt follows that the answer is {a}"),
    ("Answer with an explanation: {q}", "{c}\nThe answer is {a}"),
    ("{q}\nFirst describe what matters, then conclude.", "{c}\nConclusion: {a}"),
    ("Consider the picture carefully. {q}", "{c}\nTo conclude, {a}"),
    ("{q}\nAnswer at the end.", "{c}\nAnswer: {a}"),
)
# The response writes the question, or a part of it: the released code's other half (A1).
_INVERTED = (
    ("Write a question about the image whose answer is: {a}", "{q}"),
    ("{c}\nWhich question about the image does this answer?", "{q}"),
    ("The answer is {a}. Give a question and the reasons.", "Question: {q}\nReasons: {c}"),
    ("Ask something about the picture and answer it.", "Question: {q}\n{c}\nAnswer: {a}"),
    ("{q}\nThe answer is {a}. Explain why.", "{c}"),
    ("{c}\nState a question about this and its short answer.", "Question: {q}\nAnswer: {a}"),
)


class Combined(NamedTuple):
    """The pair to learn, and which branch of the rule made it."""

    instruction: str
    response: str
    kind: Kind


def decide(triplet: Triplet) -> Kind:
    """Whether the informative response concludes by itself, contains the precise one, or neither."""
    informative = triplet.informative.lower()
    if _CUES.search(informative.rstrip(". \n").rsplit(". ", 1)[-1]):
        return "concluding"
    return "contains" if triplet.precise.lower() in informative else "template"


def combine(triplet: Triplet, *, seed: str, pool: Pool = "paper") -> Combined:
    """The chain of thought of a triplet; its template is drawn with `seed`.

    `paper` asks the question and answers it; `upstream` draws from the inverted templates as well,
    as often as from the others, where the rule comes to a template.
    """
    kind, rng = decide(triplet), Random(seed)
    response = triplet.informative
    if kind == "contains":
        response = f"{triplet.informative} {triplet.precise}"
    pairs: Sequence[tuple[str, str]] = _QA
    if kind == "template":
        pairs = _INVERTED if pool == "upstream" and rng.random() < 0.5 else _COT
    asked, answered = rng.choice(pairs)
    words = {
        "q": triplet.instruction,
        "r": response,
        "c": triplet.informative,
        "a": triplet.precise,
    }
    return Combined(_fill(asked, words), _fill(answered, words), kind)


def single(instruction: str, response: str, *, seed: str) -> Combined:
    """One response alone, as the ablations without the filter learn it."""
    asked, answered = Random(seed).choice(_QA)
    words = {"q": instruction, "r": response}
    return Combined(_fill(asked, words), _fill(answered, words), "concluding")


def _fill(template: str, words: dict[str, str]) -> str:
    """Braces inside of the texts stay as they are."""
    return re.sub(r"\{(\w)\}", lambda match: words[match[1]], template)
