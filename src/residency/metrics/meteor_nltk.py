"""NLTK's METEOR of English texts, the mean over samples: what M3D-Cap prints; up to twice Java's `meteor`.

Words as NLTK splits them sentence by sentence (`NLTKWordTokenizer`; a sentence ends at . ? ! before white
space, where Hugging Face `evaluate` asks the model punkt, a download), lower case, matched exactly, then by
Porter stem, then by WordNet synonym; F with alpha 0.9 times 1 - 0.5 (chunks / matches)^3 (Banerjee and Lavie,
2005, as NLTK's `single_meteor_score` computes it).

`meteor@nltk` needs WordNet's files where NLTK looks for them (nothing is downloaded). `meteor@nltk-stem` is
the same without synonyms, which can only be lower. Both need the package nltk, of the extra `meteor`.
"""

import re
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

from residency.errors import UsageError
from residency.metric import Parts, Ratio, response, written
from residency.types import Prediction

_SENTENCE = re.compile(r"(?<=[.?!])\s+")


class NoSynonyms:
    """A WordNet that knows no word."""

    def synsets(self, word: str) -> list[Any]:
        """None."""
        return []


@cache
def _wordnet(metric_id: str) -> Any:
    """The WordNet files of this machine.

    Raises:
        UsageError: nltk is not installed, or does not find them.
    """
    _require(metric_id)
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
    except LookupError as error:
        raise UsageError(
            f"{metric_id} needs WordNet's files, and NLTK finds none. Put `corpora/wordnet` into a folder "
            "of NLTK_DATA, or use meteor@nltk-stem."
        ) from error
    return wordnet


def _require(metric_id: str) -> None:
    if find_spec("nltk") is None:
        raise UsageError(
            f"{metric_id} needs nltk, which is not installed. Install the extra: "
            "pip install 'residency[meteor]'; or leave the metric out."
        )


def _scored(metric_id: str, synonyms: Callable[[str], Any]) -> Callable[[Prediction], Parts]:
    def parts(prediction: Prediction) -> Parts:
        known = synonyms(metric_id)
        from nltk.translate.meteor_score import single_meteor_score

        said, true = map(_words, (response(prediction), written(prediction.reference)))
        return float(single_meteor_score(true, said, wordnet=known)), 1

    return parts


def _words(text: str) -> list[str]:
    from nltk.tokenize import NLTKWordTokenizer

    split = NLTKWordTokenizer().tokenize
    return [word for sentence in _SENTENCE.split(text) for word in split(sentence)]


def _none(metric_id: str) -> NoSynonyms:
    _require(metric_id)
    return NoSynonyms()


metrics = tuple(
    Ratio(id=name, parts=_scored(name, synonyms))
    for name, synonyms in (("meteor@nltk", _wordnet), ("meteor@nltk-stem", _none))
)
