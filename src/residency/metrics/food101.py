"""AdaMLLM's Food101 accuracy: MMMU's parser on numbered classes, a random class where it reads none.

The classes of the label set are numbered from 0 in its order. In turn: "(17)", " 17 " (numbers between
spaces), else, in responses of more than five words, the name of a class; of several the last one counts;
of none a random class, drawn here with the sample's name as seed. `accuracy` is the number to prefer:
there an unreadable response is wrong.
"""

from collections.abc import Sequence

import numpy as np

from residency.errors import DataError, UsageError
from residency.metric import mean, response, written
from residency.metrics.choice_accuracy import mmmu
from residency.text import normalise
from residency.types import Prediction

id = "accuracy@food101"
higher_is_better = True
value = mean


def prepare(predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
    """1 where the class that is read is right, `[n, 1]`.

    Raises:
        UsageError: no label set was declared.
        DataError: a reference outside the label set.
    """
    if not labels:
        raise UsageError(
            f"{id} numbers the classes of the label set, and none is declared. "
            "Declare `labels` on the data set."
        )
    place = {normalise(label): number for number, label in enumerate(labels)}
    signs = [str(number) for number in range(len(labels))]
    right = np.zeros((len(predictions), 1))
    for row, p in enumerate(predictions):
        reference = place.get(normalise(written(p.reference)))
        if reference is None:
            raise DataError(
                f"Sample {p.sample!r} has reference {p.reference!r}, outside the label set."
            )
        right[row] = mmmu(response(p), labels, p.sample, signs=signs) == reference
    return right
