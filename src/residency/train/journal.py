"""What a stage says while it runs: a JSONL journal, TensorBoard, and a progress bar or sparse lines."""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

LINES = 20  # how often a stage speaks where there is no terminal


class Journal:
    """`journal.jsonl`, one object per update, flushed line by line, and the same in TensorBoard.

    Rows of updates that a resumed run repeats stay in the file; a `resumed` row marks where it
    took up again, so that the last row of each update is the one that counts.
    """

    def __init__(self, folder: Path, *, resumed: int, active: bool) -> None:
        self._file: IO[str] | None = None
        self._board: Any = None
        if not active:
            return
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / "journal.jsonl").open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=resumed + 1)
        if resumed:
            self._write({"resumed": resumed})

    def update(self, number: int, row: Mapping[str, Any]) -> None:
        """Note an update: loss, terms, learning rates, gradient norm, tokens, seconds, data wait."""
        if self._file is None:
            return
        self._write({"update": number, **row})
        for name, value in _flat(row):
            self._board.add_scalar(name, value, number)

    def _write(self, row: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._board.close()


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The last row of every update, in order; a truncated last line is left out."""
    rows: dict[int, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if "resumed" in row:
            rows = {number: kept for number, kept in rows.items() if number <= row["resumed"]}
        else:
            rows[row["update"]] = row
    return [rows[number] for number in sorted(rows)]


def _flat(row: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    flat: list[tuple[str, float]] = []
    for name, value in row.items():
        if isinstance(value, Mapping):
            flat += _flat(value, f"{prefix}{name}/")
        else:
            flat.append((f"{prefix}{name}", float(value)))
    return flat


class Progress:
    """A bar with ETA, terms and data-wait share on a terminal; about twenty lines elsewhere."""

    def __init__(self, total: int, *, start: int, label: str, active: bool) -> None:
        self._total, self._start, self._label, self._active = total, start, label, active
        self._began = time.perf_counter()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> "Progress":
        if self._active and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[said]}"),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._task = self._bar.add_task(
                self._label, total=self._total, completed=self._start, said=""
            )
        return self

    def update(self, number: int, row: Mapping[str, Any]) -> None:
        """Show where the stage is."""
        if not self._active:
            return
        terms = ", ".join(f"{name} {value:.3f}" for name, value in row["terms"].items())
        said = f"{terms}, data wait {row['data_wait']:.0%}"
        if self._bar is not None:
            self._bar.update(self._task, completed=number, said=said)
            return
        every = max(1, self._total // LINES)
        if number % every == 0 or number in (self._start + 1, self._total):
            done = max(1, number - self._start)
            left = (time.perf_counter() - self._began) / done * (self._total - number)
            line = f"  {self._label} {number}/{self._total}: {said}, {left:.0f} s left"
            print(line, file=sys.stderr, flush=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
