"""What was drawn and painted a moment ago: the steps of a run look at the same phantoms many times."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """Values by key, the least recently asked for forgotten first once they weigh more than `budget`.

    A value is shared by all who ask for it: none of them may change it. Threads may ask at once; two
    that miss the same key both make it, and equal keys make equal values.
    """

    def __init__(self, *, budget: int, weigh: Callable[[T], int]) -> None:
        """`budget` and what `weigh` returns are bytes."""
        self.budget, self.held = budget, 0
        self._weigh = weigh
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of `key`, made where it is not kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        value = make()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = value
                self.held += self._weigh(value)
            while self.held > self.budget:
                self.held -= self._weigh(self._kept.popitem(last=False)[1])
        return value
