"""Rows of a job survive kills at any byte: nothing lost, nothing twice, files equal to an undisturbed run."""

import contextlib
import os
import random
import signal
import time

import pytest

from residency.errors import DataError, UsageError
from residency.synthesis.store import IDENTITY, Rows, alone, failures, fill, read_rows

IDENT = {"job": "test", "made": {"model": "m", "seed": 0}}


def make(some):
    return [{"id": n, "text": f"row {n}\n第 {n}"} for n in some]


def content(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.name != ".lock"}


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr("residency.synthesis.store.SHARD", 8)


@pytest.mark.parametrize("total", [0, 1, 7, 8, 16, 21])
def test_every_input_has_one_row_in_order(tmp_path, small, total):
    rows = fill(tmp_path, IDENT, range(total), make, group=3)
    assert [row["id"] for row in rows] == list(range(total))
    assert rows == read_rows(tmp_path)
    names = [name for name in content(tmp_path) if name != IDENTITY]
    assert len(names) == -(-total // 9), "shards hold whole groups: 8 becomes 9"


def test_a_finished_job_makes_nothing_again(tmp_path, small):
    fill(tmp_path, IDENT, range(10), make, group=3)
    again = fill(tmp_path, IDENT, range(10), lambda some: pytest.fail("made again"), group=3)
    assert [row["id"] for row in again] == list(range(10))


def test_a_kill_at_any_byte_changes_nothing(tmp_path, small):
    whole = tmp_path / "whole"
    fill(whole, IDENT, range(21), make, group=3)
    expected = content(whole)
    data = b"".join(b for name, b in expected.items() if name != IDENTITY)
    random.seed(0)
    for trial, cut in enumerate(sorted(random.sample(range(len(data) + 1), 25))):
        folder = tmp_path / f"cut{trial}"
        folder.mkdir()
        (folder / IDENTITY).write_bytes(expected[IDENTITY])
        left, number = data[:cut], 0
        for name in list(expected)[1:]:  # what a killed run had sealed, then its open shard
            shard = expected[name]
            if len(left) <= len(shard):
                break
            (folder / name).write_bytes(shard)
            left, number = left[len(shard) :], number + 1
        (folder / f"shard-{number:05d}.part").write_bytes(left)
        made = []

        def count(some, made=made):
            made += list(some)
            return make(some)

        fill(folder, IDENT, range(21), count, group=3)
        assert content(folder) == expected, cut
        assert len(made) == len(set(made)) <= 21


def test_an_exception_keeps_whole_groups(tmp_path, small):
    calls = []

    def breaks(some):
        calls.append(list(some))
        if len(calls) == 3:
            raise RuntimeError("down")
        return make(some)

    with pytest.raises(RuntimeError):
        fill(tmp_path, IDENT, range(12), breaks, group=3)
    rows = Rows(tmp_path, IDENT, total=12, group=3)
    assert rows.done == 6
    assert [row["id"] for row in rows] == list(range(6))
    with pytest.raises(DataError, match="unfinished"):
        read_rows(tmp_path)


def test_a_job_goes_on_in_groups_of_another_size(tmp_path, small):
    whole, other = tmp_path / "whole", tmp_path / "other"
    fill(whole, IDENT, range(40), make, group=3)
    for group, stops in ((3, 14), (5, 25), (1, 32), (16, 41)):

        def breaks(some, stops=stops):
            if some[-1] >= stops:
                raise RuntimeError("down")
            return make(some)

        with contextlib.suppress(RuntimeError):
            fill(other, IDENT, range(40), breaks, group=group)
    assert content(other) == content(whole)


def test_failures_are_counted_by_reason():
    said = ["", "needs 12 tokens", "HTTP 500", "needs 13 tokens"]
    assert failures([{"reason": one} for one in said]) == {"needs 12 tokens": 2, "HTTP 500": 1}


def test_another_job_is_refused(tmp_path, small):
    fill(tmp_path, IDENT, range(3), make, group=3)
    with pytest.raises(UsageError, match=r"rows of another job: job was 'test', now 'other'"):
        fill(tmp_path, {**IDENT, "job": "other"}, range(3), make, group=3)
    with pytest.raises(UsageError, match="total was 3, now 4"):
        fill(tmp_path, IDENT, range(4), make, group=3)


def test_a_changed_shard_is_refused(tmp_path, small):
    fill(tmp_path, IDENT, range(10), make, group=3)
    shard = sorted(tmp_path.glob("shard-00000-*.jsonl"))[0]
    shard.write_bytes(shard.read_bytes().replace(b"row 1", b"row 7"))
    with pytest.raises(DataError, match="damaged or out of place"):
        read_rows(tmp_path)


def test_one_process_writes_at_a_time(tmp_path):
    with (
        alone(tmp_path),
        pytest.raises(UsageError, match="Another process writes"),
        alone(tmp_path),
    ):
        pass


def test_text_that_is_no_unicode_is_kept(tmp_path):
    rows = fill(tmp_path, IDENT, [0], lambda some: [{"text": "\ud800 x"}], group=1)
    assert rows == [{"text": "\ud800 x"}] == read_rows(tmp_path)


def start(folder):
    """A process of its own that runs a job of 400 rows; it shares what is imported already."""
    child = os.fork()
    if child:
        return child

    def slowly(some):
        time.sleep(0.004)
        return make(some)

    try:
        fill(folder, {"job": "kill"}, range(400), slowly, group=4)
    finally:
        os._exit(0)


@pytest.mark.slow
def test_ten_real_kills_leave_the_files_of_an_undisturbed_run(tmp_path, small):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    os.waitpid(start(whole), 0)
    assert len(read_rows(whole)) == 400
    random.seed(1)
    for _ in range(10):
        child = start(killed)
        time.sleep(random.uniform(0.005, 0.04))
        os.kill(child, signal.SIGKILL)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL, "it was still at work"
    os.waitpid(start(killed), 0)
    assert content(killed) == content(whole)
