"""Prepare the next batches in the background while the current one is being trained on."""

import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

from residency.errors import UsageError

T = TypeVar("T")


class _Channel(Generic[T]):
    """A bounded queue between one producer and one consumer that either side can end."""

    def __init__(self, depth: int) -> None:
        self.ready: deque[T] = deque()
        self.depth = depth
        self.changed = threading.Condition()
        self.failure: BaseException | None = None
        self.ended = self.stopped = False

    def put(self, value: T) -> bool:
        """Wait for room; False when the consumer has stopped."""
        with self.changed:
            self.changed.wait_for(lambda: self.stopped or len(self.ready) < self.depth)
            if not self.stopped:
                self.ready.append(value)
                self.changed.notify_all()
            return not self.stopped

    def end(self, failure: BaseException | None) -> None:
        with self.changed:
            self.failure, self.ended = failure, True
            self.changed.notify_all()

    def stop(self) -> None:
        with self.changed:
            self.stopped = True
            self.ready.clear()
            self.changed.notify_all()


def _produce(source: Iterable[T], channel: _Channel[T]) -> None:
    """Fill the channel; the source is closed in the thread that ran it."""
    failure: BaseException | None = None
    iterator: Iterator[T] | None = None
    try:
        iterator = iter(source)
        for value in iterator:
            if not channel.put(value):
                break
    except BaseException as error:  # belongs to the consumer, whatever it is
        failure = error
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            try:
                close()
            except Exception as error:
                failure = failure or error
        channel.end(failure)


class Prefetch(Generic[T]):
    """An iterator over values that another thread makes, at most `depth` of them ahead.

    An error in the source is raised where the failing value would have come, with the source's
    traceback. Closing (also by `with`, or by dropping the last reference) stops the thread after
    the value it is working on. `waited` is the time in seconds that the consumer stood still.
    """

    def __init__(self, source: Iterable[T], depth: int) -> None:
        """Start to read `source` at once; raise UsageError where `depth` is below one."""
        if depth < 1:
            raise UsageError(f"depth={depth} prepares nothing; give at least 1.")
        self.waited = 0.0
        self._channel: _Channel[T] = _Channel(depth)
        # The thread must not refer to self, or an abandoned iterator would never be collected.
        self._thread = threading.Thread(
            target=_produce, args=(source, self._channel), name="residency-prefetch", daemon=True
        )
        self._finalizer = weakref.finalize(self, self._channel.stop)
        self._thread.start()

    def __iter__(self) -> "Prefetch[T]":
        return self

    def __next__(self) -> T:
        channel, began = self._channel, time.perf_counter()
        with channel.changed:
            channel.changed.wait_for(lambda: channel.ready or channel.ended or channel.stopped)
            self.waited += time.perf_counter() - began
            if channel.ready:
                value = channel.ready.popleft()
                channel.changed.notify_all()
                return value
            failure, channel.failure = channel.failure, None
        if failure is not None and not channel.stopped:
            raise failure
        raise StopIteration

    def close(self, timeout: float | None = None) -> None:
        """Stop the thread and wait until it has ended, at most `timeout` seconds."""
        self._finalizer()
        self._thread.join(timeout)

    def __enter__(self) -> "Prefetch[T]":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def prefetch(iterable: Iterable[T], depth: int = 2) -> Prefetch[T]:
    """Read `iterable` in one background thread, `depth` values ahead of the consumer."""
    return Prefetch(iterable, depth)
