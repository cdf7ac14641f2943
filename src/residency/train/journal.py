"""What a stage says while it runs: a JSONL journal, TensorBoard, and a progress bar or lines."""

import json
import logging
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from residency.journals import read_journal as read_journal

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Row = Mapping[str, Any]
LINES = 20  # at most so many progress lines per stage where nobody watches a terminal
log = logging.getLogger(__name__)


class Journal:
    """Appends one JSON line per update to `journal.jsonl`, and the same numbers to `tensorboard/`.

    A line is on its way to the disk before `update` returns. Nothing is ever rewritten: a resumed
    run first writes `{"resumed": n}`, which takes back the lines of later updates. A full disk
    costs lines, not the run; `lost` counts them.
    """

    def __init__(self, folder: Path, *, resumed: int = 0, active: bool = True) -> None:
        """Go on after update `resumed`; an inactive journal (other processes) writes nothing."""
        self.lost = 0
        self._path = folder / "journal.jsonl"
        self._active = active
        self._board: SummaryWriter | None = None
        if not active:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            torn = self._mend()
        except OSError as error:
            torn = False
            log.warning("%s cannot be written: %s. Training goes on.", self._path, error)
        if resumed or torn or (self._path.exists() and self._path.stat().st_size):
            self._append({"resumed": resumed, "torn_line": torn})
        self._open_board(folder / "tensorboard", resumed)

    def _mend(self) -> bool:
        """End a line that a kill cut short, so that it cannot spoil the next one."""
        with self._path.open("ab+") as file:
            if file.tell():
                file.seek(-1, 2)
                if file.read(1) != b"\n":
                    file.write(b"\n")
                    return True
        return False

    def _open_board(self, folder: Path, resumed: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes a second to import

        try:
            self._board = SummaryWriter(str(folder), purge_step=resumed + 1 if resumed else None)
        except OSError as error:
            log.warning("No TensorBoard: %s. Training goes on.", error)

    def update(self, update: int, row: Row) -> None:
        """Record an update. Numbers may be nested (`terms`, `lr`); non-finite ones become text."""
        if not self._active:
            return
        self._append({"update": update, **row})
        if self._board is None:
            return
        try:
            for name, value in _numbers(row):
                self._board.add_scalar(name, value, update)
        except OSError as error:
            log.warning("TensorBoard stopped: %s. Training goes on.", error)
            self._board = None

    def _append(self, content: Row) -> None:
        line = json.dumps(_plain(content), allow_nan=False, ensure_ascii=False) + "\n"
        try:
            # Opened each time: a partial write is then mended like one that a kill cut short.
            if self.lost:
                self._mend()
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            if not self.lost:
                log.warning("%s lost a line: %s. Training goes on.", self._path, error)
            self.lost += 1

    def close(self) -> None:
        """Write out what TensorBoard still holds."""
        board, self._board = self._board, None
        if board is not None:
            try:
                board.close()
            except OSError as error:
                log.warning("TensorBoard lost its last numbers: %s.", error)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Progress:
    """Shows how far a stage is, how long it will take, its loss terms and its wait for data.

    On a terminal a bar on stderr; elsewhere at most 20 lines per stage.
    """

    def __init__(
        self,
        total: int,
        *,
        start: int = 0,
        label: str = "",
        active: bool = True,
        console: Console | None = None,
    ) -> None:
        """`start` is the update that a resumed stage goes on from."""
        self._total, self._start, self._label = total, start, label
        self._every = max(1, math.ceil((total - start) / (LINES - 2)))
        self._active = active
        self._console = console or Console(stderr=True, soft_wrap=True, highlight=False)
        self._began = time.perf_counter()
        self._bar: Bar | None = None

    def __enter__(self) -> "Progress":
        self._began = time.perf_counter()
        if self._active and self._console.is_terminal:
            self._bar = Bar(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[state]}", markup=False),
                console=self._console,
            )
            self._bar.add_task(self._label, total=self._total, completed=self._start, state="")
            self._bar.start()
        return self

    def update(self, update: int, row: Row) -> None:
        """Show the state after `update`."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=update, state=summary(row))
        elif self._active and self._due(update):
            self._say(f"{self._label} {update}/{self._total}  {self._eta(update)}  {summary(row)}")

    def note(self, text: str) -> None:
        """Print a line without disturbing the bar."""
        if self._active:
            self._say(text)

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def _due(self, update: int) -> bool:
        done = update - self._start
        return done == 1 or done % self._every == 0 or update == self._total

    def _eta(self, update: int) -> str:
        elapsed = time.perf_counter() - self._began
        left = elapsed / max(1, update - self._start) * (self._total - update)
        minutes, seconds = divmod(round(left), 60)
        return f"{minutes}:{seconds:02d} left"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        sys.stderr.flush()


def summary(row: Row) -> str:
    """An update in a few words: loss, its terms, the share of time spent waiting for data."""
    terms = row.get("terms", {})
    words = [f"loss {row['loss']:.3f}"] if "loss" in row else []
    words += [f"{name} {value:.3f}" for name, value in terms.items()] if len(terms) > 1 else []
    words += [f"data wait {row['data_wait']:.0%}"] if "data_wait" in row else []
    counted = ("dropped", "shrunk", "negatives_outside")
    words += [f"{key.replace('_', ' ')} {row[key]}" for key in counted if row.get(key)]
    return "  ".join(words)


def _numbers(row: Row, prefix: str = "") -> list[tuple[str, float]]:
    """The numbers in a row under the names that TensorBoard groups by."""
    found: list[tuple[str, float]] = []
    for key, value in row.items():
        if isinstance(value, Mapping):
            found += _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float):
            found.append((prefix + key, float(value)))
    return found


def _plain(value: Any) -> Any:
    """JSON has no inf and no nan; a diverging run must stay readable."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
