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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from scipy.sparse import csr_array, diags_array

from residency.metric import mean, response, written
from residency.text import words, words_bioclean
from residency.types import Prediction

ORDERS = 4
SIGMA = 6.0


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
        n = len(predictions)
        texts = [self.split(response(p)) for p in predictions]
        texts += [self.split(written(p.reference)) for p in predictions]
        total = np.zeros(n)
        for counts in _counted(texts):
            total += _cosine(counts[:n], counts[n:])
        # Lengths are counted in bigrams, as the reference implementation does.
        pairs = np.array([max(0, len(tokens) - 1) for tokens in texts])
        apart = pairs[:n] - pairs[n:]
        scores = 10 * total / ORDERS * np.exp(-(apart**2) / (2 * SIGMA**2))
        return self.scale * scores.reshape(-1, 1)


def _counted(texts: Sequence[Sequence[str]]) -> Iterator[csr_array]:
    """How often every text holds every n-gram, `[texts, n-grams]`, for n = 1 to 4."""
    known: dict[str, int] = {}
    tokens = np.array([known.setdefault(w, len(known)) for text in texts for w in text], dtype=int)
    owner = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    grams = tokens
    for order in range(1, ORDERS + 1):
        if order > 1:
            # An n-gram is the (n - 1)-gram that starts there and the word that ends it, in one text.
            ends = tokens[order - 1 :]
            keys = grams[: len(ends)] * max(len(known), 1) + ends
            grams = np.unique(keys, return_inverse=True)[1]
        whole = owner[: len(grams)] == owner[order - 1 :]
        places = (owner[: len(grams)][whole], grams[whole])
        size = int(grams.max(initial=-1)) + 1
        yield csr_array((np.ones(len(places[0])), places), shape=(len(texts), max(size, 1)))


def _cosine(said: csr_array, true: csr_array) -> np.ndarray:
    """The clipped cosine of the tf-idf vectors of every row; an n-gram in no reference weighs the most."""
    held = (true > 0).sum(0)
    idf = log(max(true.shape[0], 1)) - np.log(np.maximum(held, 1))
    first, second = said @ diags_array(idf), true @ diags_array(idf)
    shared = first.minimum(second).multiply(second).sum(1)
    norm = np.sqrt(first.multiply(first).sum(1) * second.multiply(second).sum(1))
    return np.divide(shared, norm, out=np.zeros_like(norm), where=norm > 0)


metrics = (
    CiderD(id="cider_d"),
    CiderD(id="cider_d@coco", split=words_bioclean),
    CiderD(id="cider_d@coco-raw", split=str.split),
    CiderD(id="cider_d@iu-xray", split=words_bioclean, scale=100.0),
)
