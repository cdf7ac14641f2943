"""ROUGE-L: the longest common subsequence of response and reference, as F, averaged over samples.

`rouge_l`: F1 = 2 l / (|response| + |reference|) with l the length of the subsequence (Lin, 2004); words
as `residency.text.words`, Chinese by character.

The same texts give 0.34 to 0.62 by these implementations, so a number needs its id:
`@google`: `rouge-score`'s rougeL, the default on a-z and 0-9 words (Chinese scores 0).
`@coco`: pycocoevalcap, F with beta 1.2 (recall weighs more) on words_bioclean; `@coco-raw` on the text
split at single spaces.
`@pypi-rouge`: PyPI `rouge` 1.0.1 as AdaMLLM uses it for Recipe1M: sentences cut at ".", words at
spaces with their case, the *distinct* words of the union of all sentence-to-sentence subsequences
over the distinct words of each text. An empty text, which raises there, scores 0 (as AdaMLLM counts it).
"""

from collections.abc import Callable, Sequence

from residency.metric import Parts, Ratio, response, written
from residency.metrics.rouge_n import f1, sentences
from residency.text import common_subsequence, words, words_ascii, words_bioclean
from residency.types import Prediction

BETA = 1.2


def _plain(split: Callable[[str], list[str]]) -> Callable[[Prediction], Parts]:
    def parts(prediction: Prediction) -> Parts:
        said, true = split(response(prediction)), split(written(prediction.reference))
        return f1(common_subsequence(said, true), len(said), len(true)), 1

    return parts


def _coco(split: Callable[[str], list[str]]) -> Callable[[Prediction], Parts]:
    def parts(prediction: Prediction) -> Parts:
        # An empty text is one empty word there, hence two empty texts agree.
        said = split(response(prediction)) or [""]
        true = split(written(prediction.reference)) or [""]
        length = common_subsequence(said, true)
        if not length:
            return 0, 1
        precision, recall = length / len(said), length / len(true)
        return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision), 1

    return parts


def _pypi(prediction: Prediction) -> Parts:
    return distinct_summary_f1(response(prediction), written(prediction.reference)), 1


def distinct_summary_f1(said: str, true: str) -> float:
    """PyPI `rouge` 1.0.1 rouge-l F of two texts, 0 where one has no sentence."""
    found, wanted = sentences(said), sentences(true)
    if not found or not wanted:
        return 0.0
    union = {word for w in wanted for s in found for word in _subsequence(w, s)}
    precision = len(union) / len({word for sentence in found for word in sentence})
    recall = len(union) / len({word for sentence in wanted for word in sentence})
    return 2 * precision * recall / (precision + recall + 1e-8)


def _subsequence(first: Sequence[str], second: Sequence[str]) -> set[str]:
    """The words of the longest common subsequence that PyPI `rouge` picks where several exist.

    It walks back from the ends of both, and on a tie drops a word of `second`.
    """
    if set(first).isdisjoint(second):
        return set()
    rows = [[0] * (len(second) + 1)]
    for word in first:
        above, row, left = rows[-1], [0], 0
        for j, other in enumerate(second):
            left = above[j] + 1 if word == other else max(above[j + 1], left)
            row.append(left)
        rows.append(row)
    i, j, picked = len(first), len(second), set()
    while i and j:
        if first[i - 1] == second[j - 1]:
            i, j = i - 1, j - 1
            picked.add(first[i])
        elif rows[i - 1][j] > rows[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return picked


metrics = (
    Ratio(id="rouge_l", parts=_plain(words)),
    Ratio(id="rouge_l@google", parts=_plain(words_ascii)),
    Ratio(id="rouge_l@coco", parts=_coco(words_bioclean)),
    Ratio(id="rouge_l@coco-raw", parts=_coco(lambda text: text.split(" "))),
    Ratio(id="rouge_l@pypi-rouge", parts=_pypi),
)
