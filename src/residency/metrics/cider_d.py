"""CIDEr-D: agreement on the n-grams that are rare among the references, 0 to 10 (Vedantam, CVPR 2015).

Per sample 10 times the mean over n = 1..4 of the clipped cosine of tf-idf vectors,
sum min(h, r) r / (|h| |r|), times exp(-(difference of lengths)^2 / 72). idf is log(n samples) - log(the
number of references that hold the n-gram), at least over one. The score depends on the set that is
scored: for one sample it is 0, for two half of it is. In the bootstrap the document frequencies stay
those of the whole set.

`cider_d`: words as `residency.text.words`, Chinese by character. `@coco`: pycocoevalcap's "CIDEr" on
words_bioclean; `@coco-raw` on the text split at spaces. `@iu-xray`: `@coco` times 100, the figure that
tables on IU X-Ray and PEIR Gross print.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np

from residency.metric import mean, response, written
from residency.text import ngrams, words, words_bioclean
from residency.types import Prediction

ORDERS = (1, 2, 3, 4)
SIGMA = 6.0
Grams = tuple[Counter[tuple[str, ...]], ...]  # one per order


@dataclass(frozen=True, kw_only=True, slots=True)
class CiderD:
    """CIDEr-D over the words of `split`, times `scale`."""

    id: str
    split: Callable[[str], list[str]] = words
    scale: float = 1.0
    higher_is_better: bool = True
    value = staticmethod(mean)

    def prepare(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
        """The score of each sample, `[n, 1]`."""
        said = [self._grams(response(p)) for p in predictions]
        true = [self._grams(written(p.reference)) for p in predictions]
        held = Counter(gram for grams in true for counts in grams for gram in counts)
        most = log(max(len(predictions), 1))
        idf = {gram: most - log(count) for gram, count in held.items()}
        scores = [_agreement(s, t, idf, most) for s, t in zip(said, true, strict=True)]
        return self.scale * np.array(scores, dtype=np.float64).reshape(-1, 1)

    def _grams(self, text: str) -> Grams:
        tokens = self.split(text)
        return tuple(ngrams(tokens, order) for order in ORDERS)


def _agreement(said: Grams, true: Grams, idf: dict[tuple[str, ...], float], unseen: float) -> float:
    """10 times the mean over orders; an n-gram in no reference weighs `unseen`."""
    # Lengths are counted in bigrams, as the reference implementation does.
    apart = said[1].total() - true[1].total()
    total = 0.0
    for found, wanted in zip(said, true, strict=True):
        first = {gram: count * idf.get(gram, unseen) for gram, count in found.items()}
        second = {gram: count * idf[gram] for gram, count in wanted.items()}
        shared = sum(
            min(first[gram], second[gram]) * second[gram] for gram in first.keys() & second
        )
        norm = sqrt(sum(v * v for v in first.values()) * sum(v * v for v in second.values()))
        total += shared / norm if norm else shared
    return 10 * total / len(ORDERS) * exp(-(apart**2) / (2 * SIGMA**2))


metrics = (
    CiderD(id="cider_d"),
    CiderD(id="cider_d@coco", split=words_bioclean),
    CiderD(id="cider_d@coco-raw", split=str.split),
    CiderD(id="cider_d@iu-xray", split=words_bioclean, scale=100.0),
)
