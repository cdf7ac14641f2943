"""Token F1: how many words a free answer shares with the reference, averaged over samples.

Per sample 2 |shared| / (|predicted| + |reference|), shared words counted with multiplicity (so that
repeating oneself costs), words as `residency.text.words` splits them: lower case, Chinese by
character. Two empty texts score 1, an unparsed answer 0.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from residency.metric import mean
from residency.text import words
from residency.types import Answer, Prediction

id = "token_f1"
higher_is_better = True
value = mean


def prepare(predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
    """The F1 of each sample, `[n, 1]`; `labels` are not needed."""
    scores = [0.0 if p.answer is None else _f1(p.answer, p.reference) for p in predictions]
    return np.array(scores, dtype=np.float64).reshape(-1, 1)


def _f1(answer: Answer, reference: Answer) -> float:
    found, wanted = Counter(_words(answer)), Counter(_words(reference))
    total = found.total() + wanted.total()
    return 2 * (found & wanted).total() / total if total else 1.0


def _words(answer: Answer) -> list[str]:
    return words(answer if isinstance(answer, str) else " ".join(map(str, answer)))
