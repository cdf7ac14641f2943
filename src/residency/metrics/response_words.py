"""Response words: how many words a response has, the mean over samples.

Neither good nor bad: it stands beside recalls, which grow with whatever else is said. Words as
`residency.text.words`, Chinese by character; an empty response has none.
"""

from residency.metric import Parts, Ratio, response
from residency.text import words
from residency.types import Prediction


def _parts(prediction: Prediction) -> Parts:
    return len(words(response(prediction))), 1


metrics = (Ratio(id="response_words", parts=_parts, higher_is_better=False),)
