"""The journal survives kills, resumes and full disks; progress stays short where nobody watches."""

import errno
import io
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from residency.train.journal import LINES, Journal, Progress, read_journal, summary


def row(loss: float) -> dict[str, Any]:
    return {
        "epoch": 0.5,
        "lr": {"language_model": 1e-4},
        "loss": loss,
        "terms": {"vanilla": loss / 2, "align": loss / 2},
        "grad_norm": 1.0,
        "tokens": 12,
        "seconds": 0.1,
        "data_wait": 0.25,
        "dropped": 0,
        "shrunk": 0,
    }


def test_every_update_is_on_disk_before_the_next(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for number in (1, 2, 3):
            journal.update(number, row(number))
            lines = (tmp_path / "journal.jsonl").read_text().splitlines()
            assert len(lines) == number
            assert json.loads(lines[-1]) == {"update": number, **row(number)}


def test_a_resumed_run_takes_back_later_updates_but_erases_nothing(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for number in range(1, 6):
            journal.update(number, row(number))
    with Journal(tmp_path, resumed=3) as journal:
        journal.update(4, row(40))
    rows, unreadable = read_journal(tmp_path / "journal.jsonl")
    assert [(r["update"], r["loss"]) for r in rows] == [(1, 1), (2, 2), (3, 3), (4, 40)]
    assert unreadable == 0
    lines = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert len(lines) == 7 and json.loads(lines[5]) == {"resumed": 3, "torn_line": False}


def test_a_run_started_over_takes_back_everything(tmp_path: Path) -> None:
    for loss in (1.0, 2.0):
        with Journal(tmp_path) as journal:
            journal.update(1, row(loss))
    rows, _ = read_journal(tmp_path / "journal.jsonl")
    assert [r["loss"] for r in rows] == [2.0]


def test_a_line_cut_by_a_kill_spoils_no_other(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.update(1, row(1))
        journal.update(2, row(2))
    path = tmp_path / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    with Journal(tmp_path, resumed=1) as journal:
        journal.update(2, row(20))
    rows, unreadable = read_journal(path)
    assert [r["loss"] for r in rows] == [1, 20] and unreadable == 1
    assert '{"resumed": 1, "torn_line": true}' in path.read_text()


def test_a_diverging_loss_stays_valid_json(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.update(1, row(float("nan")) | {"grad_norm": float("inf")})
    text = (tmp_path / "journal.jsonl").read_text()
    content = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert content["loss"] == "nan" and content["grad_norm"] == "inf"


def test_tensorboard_holds_the_same_numbers(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.update(1, row(4.0))
        journal.update(2, row(2.0))
    time.sleep(1.1)  # TensorBoard orders its files by the second in their names
    with Journal(tmp_path, resumed=1) as journal:
        journal.update(2, row(3.0))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"loss", "terms/vanilla", "lr/language_model", "data_wait"} <= set(events.scalars.Keys())
    assert [(s.step, s.value) for s in events.Scalars("loss")] == [(1, 4.0), (2, 3.0)]


def test_a_full_disk_costs_lines_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Journal(tmp_path) as journal, caplog.at_level(logging.WARNING):
        journal.update(1, row(1))
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", refuse)
            journal.update(2, row(2))
            journal.update(3, row(3))
        journal.update(4, row(4))
        assert journal.lost == 2
    assert caplog.text.count("No space left") == 1
    rows, unreadable = read_journal(tmp_path / "journal.jsonl")
    assert [r["update"] for r in rows] == [1, 4] and unreadable == 0


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    with Journal(tmp_path / "run", active=False) as journal:
        journal.update(1, row(1))
    assert not (tmp_path / "run").exists()


def lines_of(total: int, start: int = 0, active: bool = True) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=False, soft_wrap=True)
    with Progress(total, start=start, label="tune", active=active, console=console) as progress:
        for number in range(start + 1, total + 1):
            progress.update(number, row(number))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize("total", [1, 5, 19, 20, 21, 37, 100, 1001])
@pytest.mark.parametrize("start", [0, 3])
def test_without_a_terminal_a_stage_says_little(total: int, start: int) -> None:
    lines = lines_of(total, start)
    assert len(lines) <= LINES
    if total > start:
        assert f"tune {start + 1}/{total}" in lines[0] and f"tune {total}/{total}" in lines[-1]
        assert len(lines) >= min(total - start, LINES // 2)


def test_a_line_tells_time_terms_and_data_wait() -> None:
    (line,) = lines_of(1)
    assert line == "tune 1/1  0:00 left  loss 1.000  vanilla 0.500  align 0.500  data wait 25%"
    assert lines_of(3, active=False) == []


def test_what_was_dropped_is_said() -> None:
    assert summary(row(1) | {"dropped": 2, "shrunk": 3}).endswith("dropped 2  shrunk 3")
    assert summary({"loss": 1.0, "terms": {"only": 1.0}}) == "loss 1.000"


def test_on_a_terminal_there_is_one_bar_and_notes_are_lines() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    with Progress(10, start=4, label="tune", console=console) as progress:
        progress.update(5, row(2))
        progress.note("warning: [disk] full")
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "5/10" in text and "vanilla 1.000" in text and "warning: [disk] full" in text
