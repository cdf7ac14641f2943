"""BLEU: clipped n-gram precision of a whole set of texts, times the brevity penalty (Papineni, 2002).

`bleuN` = min(1, e^(1 - r/h)) * (p_1 ... p_N)^(1/N), where p_n is the share of the n-grams of all
responses that occur in their own reference (clipped to its counts), h and r the lengths of all
responses and references. Not a mean over samples; 0 where some p_n is 0. Words as
`residency.text.words`: lower case, no punctuation, Chinese by character.

Variants, each with its own words:
`@coco`: pycocoevalcap (words_bioclean; p_n = (hits + 1e-15) / (total + 1e-9)); `@coco-raw` the same on
the text split at spaces. `@sacrebleu`: sacrebleu's default (13a words, case kept, a p_n without hits
counts as 1 / (2 total), the next one 1 / (4 total), ...). `bleu1@m3d`: M3D-Cap's "BLEU", the mean over
samples of BLEU-1 on 13a words as Hugging Face `evaluate` computes it; an empty response is 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from residency.metric import Metric, Parts, Ratio, response, written
from residency.text import ngrams, words, words_13a, words_bioclean
from residency.types import Prediction

Smooth = Callable[[np.ndarray, np.ndarray], np.ndarray]  # hits and totals [draws, n] -> precisions


def _plain(hits: np.ndarray, totals: np.ndarray) -> np.ndarray:
    return np.divide(hits, totals, out=np.zeros_like(hits), where=totals > 0)


def _coco(hits: np.ndarray, totals: np.ndarray) -> np.ndarray:
    return (hits + 1e-15) / (totals + 1e-9)


def _halving(hits: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Mteval's smoothing: the k-th order without hits counts as 1 / 2^k of a hit."""
    missed = hits == 0
    smoothed = np.where(missed, 0.5 ** missed.cumsum(1), hits)
    useful = np.any(hits, axis=1, keepdims=True) & np.all(totals, axis=1, keepdims=True)
    return _plain(smoothed, totals) * useful


@dataclass(frozen=True, kw_only=True, slots=True)
class Bleu:
    """Corpus BLEU up to `order`."""

    id: str
    order: int
    split: Callable[[str], list[str]] = words
    smooth: Smooth = _plain
    higher_is_better: bool = True

    def prepare(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
        """Hits and totals per order, length of response and reference: `[n, 2 * order + 2]`."""
        rows = [self._counts(p) for p in predictions]
        return np.array(rows, dtype=np.float64).reshape(-1, 2 * self.order + 2)

    def value(self, statistics: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """BLEU of the drawn texts per row of `weights`."""
        sums = weights @ statistics
        hits, totals = sums[:, : self.order], sums[:, self.order : -2]
        precisions = self.smooth(hits, totals)
        said, true = sums[:, -2], sums[:, -1]
        longer = np.divide(true, said, out=np.full_like(said, np.inf), where=said > 0)
        penalty = np.exp(np.minimum(0, 1 - np.maximum(longer, 1)))
        return penalty * precisions.prod(1) ** (1 / self.order)

    def _counts(self, prediction: Prediction) -> list[int]:
        said, true = self.split(response(prediction)), self.split(written(prediction.reference))
        orders = range(1, self.order + 1)
        hits = [(ngrams(said, n) & ngrams(true, n)).total() for n in orders]
        return [*hits, *(max(0, len(said) - n + 1) for n in orders), len(said), len(true)]


def _one_text(prediction: Prediction) -> Parts:
    said, true = words_13a(response(prediction)), words_13a(written(prediction.reference))
    if not said:
        return 0, 1
    hits = (ngrams(said, 1) & ngrams(true, 1)).total()
    return float(np.exp(min(0, 1 - len(true) / len(said)))) * hits / len(said), 1


metrics: tuple[Metric, ...] = (
    *(Bleu(id=f"bleu{n}", order=n) for n in range(1, 5)),
    *(Bleu(id=f"bleu{n}@coco", order=n, split=words_bioclean, smooth=_coco) for n in range(1, 5)),
    *(Bleu(id=f"bleu{n}@coco-raw", order=n, split=str.split, smooth=_coco) for n in range(1, 5)),
    Bleu(id="bleu4@sacrebleu", order=4, split=words_13a, smooth=_halving),
    Ratio(id="bleu1@m3d", parts=_one_text),
)
