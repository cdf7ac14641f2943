"""Stopping on request: the update in flight ends, the run saves itself and leaves."""

import signal
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from residency.errors import ResidencyError


class Interrupted(ResidencyError):  # noqa: N818 - it is what happened, not a fault
    """The run was asked to stop; `exit_code` is that of the signal (130 SIGINT, 143 SIGTERM)."""

    def __init__(self, number: int, folder: Path, saved: int | None) -> None:
        goes_on = "the newest checkpoint there" if saved is None else f"update {saved}"
        lost = "could not save and " if saved is None else ""
        super().__init__(
            f"Stopped by {signal.Signals(number).name}; the run in {folder} {lost}goes on from "
            f"{goes_on} when the command is repeated."
        )
        self.exit_code = 128 + number


class Signals:
    """Notes SIGINT and SIGTERM instead of dying at once; a second one does what it always did."""

    def __init__(self) -> None:
        self.caught = 0
        self._old: dict[int, Any] = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame  # the signature is Python's
        self.caught = number
        signal.signal(number, self._old[number])

    def __enter__(self) -> "Signals":
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._old[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread: signals are somebody else's
                break
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
