"""ROUGE-1 and ROUGE-2: the n-grams that response and reference share, as F1, averaged over samples.

`rouge1`, `rouge2`: 2 |shared| / (|response| + |reference|), n-grams counted with multiplicity (Lin,
2004); words as `residency.text.words`, Chinese by character. Two texts without n-grams score 0.

`@google`: the same on `rouge-score`'s words (a-z and 0-9, no stemming; Chinese scores 0).
`rouge1@m3d`: M3D-Cap's "ROUGE" is exactly `rouge1@google` (UMIT's column calls it ROUGE-L).
`@pypi-rouge`: PyPI `rouge` 1.0.1, sentences cut at ".", words at spaces with their case, every
distinct n-gram counted once.
"""

from collections.abc import Callable

from residency.metric import Parts, Ratio, response, written
from residency.text import ngrams, words, words_ascii
from residency.types import Prediction


def sentences(text: str) -> list[list[str]]:
    """What PyPI `rouge` works on: the words, split at spaces, of every piece between full stops.

    A piece of white space alone counts as one empty word, as it does there.
    """
    return [piece.split() or [""] for piece in text.split(".") if piece]


def f1(shared: int, said: int, true: int) -> float:
    """The harmonic mean of shared / said and shared / true."""
    return 2 * shared / (said + true) if shared else 0.0


def _counted(order: int, split: Callable[[str], list[str]]) -> Callable[[Prediction], Parts]:
    def parts(prediction: Prediction) -> Parts:
        said = ngrams(split(response(prediction)), order)
        true = ngrams(split(written(prediction.reference)), order)
        return f1((said & true).total(), said.total(), true.total()), 1

    return parts


def _distinct(order: int) -> Callable[[Prediction], Parts]:
    def parts(prediction: Prediction) -> Parts:
        said, true = (
            set(ngrams([word for sentence in sentences(text) for word in sentence], order))
            for text in (response(prediction), written(prediction.reference))
        )
        if not said or not true:
            return 0, 1
        precision, recall = len(said & true) / len(said), len(said & true) / len(true)
        return 2 * precision * recall / (precision + recall + 1e-8), 1

    return parts


metrics = (
    *(Ratio(id=f"rouge{n}", parts=_counted(n, words)) for n in (1, 2)),
    *(Ratio(id=f"rouge{n}@google", parts=_counted(n, words_ascii)) for n in (1, 2)),
    *(Ratio(id=f"rouge{n}@pypi-rouge", parts=_distinct(n)) for n in (1, 2)),
    Ratio(id="rouge1@m3d", parts=_counted(1, words_ascii)),
)
