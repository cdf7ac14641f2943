"""Parse rate: the share of responses that the task could read an answer from, right or wrong.

An accuracy below chance is a matter of format, not of ignorance: this number tells which.
"""

from residency.metric import Parts, Ratio
from residency.types import Prediction


def _parts(prediction: Prediction) -> Parts:
    return prediction.answer is not None, 1


metrics = (Ratio(id="parse_rate", parts=_parts),)
