"""In format: the share of responses that answer in the form asked for, right or wrong (ours).

Asked for yes or no, a listed answer, a letter, a box or a point, the task must be able to read one
(`parse_rate`); asked an open question of the general world, the answer must be one that the
question can have (the fact `pool`), such as a colour. Descriptions and other open questions have no
form and are left out.
"""

from residency.metric import Parts, Ratio
from residency.text import normalise
from residency.types import Prediction


def _parts(prediction: Prediction) -> Parts:
    pool = prediction.facts.get("pool")
    if pool is not None:
        known = {normalise(value) for value in str(pool).split("|")}
        return isinstance(prediction.answer, str) and normalise(prediction.answer) in known, 1
    free = isinstance(prediction.reference, str) and not prediction.facts.get("options")
    return (0, 0) if free else (prediction.answer is not None, 1)


metrics = (Ratio(id="in_format", parts=_parts),)
