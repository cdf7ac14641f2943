"""Checkpoints survive kills, full disks and damage; optimizer and random states come back."""

import errno
import json
import logging
import os
import random
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from residency.errors import CheckpointError, UsageError
from residency.train import checkpoint, state

IDENTITY: dict[str, object] = {"data": {"digest": "d1", "limit": None}, "batch_size": 8}


def writer(number: int) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "adapter").mkdir()
        save_file({"a": torch.full((50,), float(number))}, folder / "adapter" / "a.safetensors")
        (folder / "residency.json").write_text(json.dumps({"update": number}))

    return write


def save(root: Path, number: int, content: int | None = None) -> Path:
    target = root / f"update-{number}"
    checkpoint.commit(target, writer(number if content is None else content), IDENTITY)
    return target


def content_of(folder: Path) -> int:
    told = json.loads((folder / "residency.json").read_text())["update"]
    tensor = load_file(folder / "adapter" / "a.safetensors")["a"]
    assert (tensor == told).all()
    return int(told)


def hidden(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.name.startswith(".")]


def in_child(run: Callable[[], None]) -> int:
    """The wait status of a forked process that calls `run`; nothing of it reaches this one."""
    pid = os.fork()
    if pid == 0:
        try:
            run()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def kill_at(event: int) -> None:
    """From now on this process is killed at its `event`-th touch of the disk."""
    seen = 0
    audited = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}

    def touch(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen > event:
            os.kill(os.getpid(), signal.SIGKILL)

    flush = os.fsync
    os.fsync = lambda descriptor: (touch(), flush(descriptor))[1]
    sys.addaudithook(lambda name, _: touch() if name in audited else None)


def test_a_commit_can_be_verified_and_leaves_nothing_else(tmp_path: Path) -> None:
    folder = save(tmp_path / "run", 7)
    manifest = checkpoint.verify(folder)
    assert manifest.identity == IDENTITY
    assert set(manifest.files) == {"adapter/a.safetensors", "residency.json"}
    assert manifest.files["residency.json"][0] == len('{"update": 7}')
    assert hidden(folder.parent) == []


def test_a_kill_at_any_touch_of_the_disk_leaves_a_valid_checkpoint(tmp_path: Path) -> None:
    kills = 0
    outcomes = set()
    while True:
        root = tmp_path / str(kills)
        save(root, 1)

        def work(root: Path = root, event: int = kills) -> None:
            kill_at(event)
            save(root, 2)
            save(root, 2, content=3)  # replaces an existing one
            checkpoint.prune(root, 1)

        status = in_child(work)
        found = checkpoint.newest(root) or (checkpoint.clean(root), checkpoint.newest(root))[1]
        assert found is not None, kills
        checkpoint.clean(root)
        assert hidden(root) == []
        found = checkpoint.newest(root, identity=IDENTITY)
        assert found is not None
        outcomes.add((found[0].name, content_of(found[0])))
        for folder in root.iterdir():
            checkpoint.verify(folder)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        kills += 1
    assert kills > 40
    assert outcomes == {("update-1", 1), ("update-2", 2), ("update-2", 3)}
    assert [path.name for path in root.iterdir()] == ["update-2"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("where", ["write", "fsync", "mkdir", "rename"])
def test_a_refusing_disk_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, where: str
) -> None:
    folder = save(tmp_path, 1)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    write = writer(2)
    with monkeypatch.context() as patch:
        if where == "write":

            def write(staging: Path) -> None:
                (staging / "half").write_text("half")
                refuse()
        else:
            patch.setattr(os, where, refuse)
        with pytest.raises(checkpoint.SaveFailed) as caught:
            checkpoint.commit(folder, write, IDENTITY)
    assert os.strerror(code) in str(caught.value) and "intact" in str(caught.value)
    assert content_of(folder) == 1 and checkpoint.verify(folder)
    assert hidden(tmp_path) == []


def test_a_disk_that_fills_up_inside_safetensors_is_a_failed_save(tmp_path: Path) -> None:
    folder = save(tmp_path, 1)

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        big = {"big": torch.zeros(100_000)}
        with pytest.raises(checkpoint.SaveFailed):
            checkpoint.commit(
                tmp_path / "update-2", lambda f: save_file(big, f / "big.safetensors"), IDENTITY
            )

    assert in_child(work) == 0
    assert content_of(folder) == 1 and hidden(tmp_path) == []
    assert not (tmp_path / "update-2").exists()


def test_an_error_in_the_writer_is_not_disguised(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        checkpoint.commit(tmp_path / "update-1", write, IDENTITY)
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_never_saved(tmp_path: Path) -> None:
    with pytest.raises(checkpoint.SaveFailed, match="link is not a regular file"):
        checkpoint.commit(
            tmp_path / "update-1", lambda f: (f / "link").symlink_to("/etc/passwd"), IDENTITY
        )


WEIGHTS, FACTS, MANIFEST = "adapter/a.safetensors", "residency.json", "manifest.json"


def truncate(name: str, share: float) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / name
        os.truncate(path, int(path.stat().st_size * share))

    return damage


def flip(name: str, place: float) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[int(place * (len(content) - 1))] ^= 1
        (folder / name).write_bytes(content)

    return damage


def swap(folder: Path) -> None:
    one, two = (folder / WEIGHTS).read_bytes(), (folder / FACTS).read_bytes()
    (folder / WEIGHTS).write_bytes(two)
    (folder / FACTS).write_bytes(one)


def foreign_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_text((folder.parent / "update-1" / MANIFEST).read_text())


def future(folder: Path) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    content.pop("sha256")
    (folder / MANIFEST).write_text(checkpoint._render({**content, "format": 2}))


def climbing(folder: Path) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    content.pop("sha256")
    content["files"]["../update-1/residency.json"] = [1, "0"]
    (folder / MANIFEST).write_text(checkpoint._render(content))


def wrong_weights(value: torch.Tensor) -> Callable[[Path], None]:
    return lambda folder: save_file({"a": value}, folder / WEIGHTS)


def manifest_link(folder: Path) -> None:
    (folder / MANIFEST).rename(folder.parent / "elsewhere.json")
    (folder / MANIFEST).symlink_to(folder.parent / "elsewhere.json")


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    **{
        f"{name} cut to {share}": (truncate(name, share), name)
        for name in (WEIGHTS, FACTS, MANIFEST)
        for share in (0, 0.01, 0.5, 0.99)
    },
    **{
        f"bit of {name} at {place}": (flip(name, place), name)
        for name in (WEIGHTS, FACTS, MANIFEST)
        for place in (0.0, 0.3, 0.6, 1.0)
    },
    **{
        f"{name} deleted": (lambda folder, name=name: (folder / name).unlink(), name)
        for name in (WEIGHTS, FACTS, MANIFEST)
    },
    "two files swapped": (swap, WEIGHTS),
    "wrong shape": (wrong_weights(torch.ones(5, 10)), WEIGHTS),
    "nan": (wrong_weights(torch.full((50,), float("nan"))), WEIGHTS),
    "manifest of another": (foreign_manifest, WEIGHTS),
    "manifest of null": (lambda folder: (folder / MANIFEST).write_text("null"), MANIFEST),
    "nested manifest": (lambda folder: (folder / MANIFEST).write_text("[" * 10**5), MANIFEST),
    "link out": (lambda folder: (folder / "extra").symlink_to("/etc"), "extra is a symbolic link"),
    "manifest is a link": (manifest_link, MANIFEST),
    "future version": (future, "format 2, and this version reads 1"),
    "path out": (climbing, r"\.\./update-1/residency.json is missing"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_named_and_passed_over(tmp_path: Path, name: str) -> None:
    save(tmp_path, 1)
    folder = save(tmp_path, 2)
    damage, told = DAMAGE[name]
    damage(folder)
    with pytest.raises(CheckpointError, match=told) as caught:
        checkpoint.verify(folder)
    assert "update-2" in str(caught.value) and "\n" not in str(caught.value)
    skipped: list[str] = []
    found = checkpoint.newest(tmp_path, identity=IDENTITY, skipped=skipped)
    assert found is not None and found[0].name == "update-1" and content_of(found[0]) == 1
    assert skipped == [str(caught.value)]
    assert folder.is_dir()  # the evidence


def test_a_passed_over_checkpoint_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, 1)
    (save(tmp_path, 2) / FACTS).unlink()
    with caplog.at_level(logging.WARNING):
        assert checkpoint.newest(tmp_path) is not None
    assert "residency.json is missing" in caplog.text


def test_newest_goes_by_number_and_knows_an_empty_folder(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path / "none") is None
    (tmp_path / "update-x").mkdir()
    assert checkpoint.newest(tmp_path) is None
    for number in (9, 10, 2):
        save(tmp_path, number)
    found = checkpoint.newest(tmp_path)
    assert found is not None and found[0].name == "update-10"


def test_only_invalid_checkpoints_are_no_fresh_start(tmp_path: Path) -> None:
    for number in (1, 2):
        (save(tmp_path, number) / MANIFEST).unlink()
    with pytest.raises(CheckpointError, match=r"update-2.*update-1") as caught:
        checkpoint.newest(tmp_path)
    assert caught.value.exit_code == 3


def test_another_identity_is_refused_key_by_key(tmp_path: Path) -> None:
    save(tmp_path, 1)
    given = {"data": {"digest": "d2", "limit": None}, "batch_size": 8, "seed": 1}
    with pytest.raises(UsageError) as caught:
        checkpoint.newest(tmp_path, identity=given)
    assert "data.digest was 'd1', given 'd2'; seed was 'absent', given 1." in str(caught.value)
    assert "batch_size" not in str(caught.value)


def test_an_added_file_is_reported_not_fatal(tmp_path: Path) -> None:
    folder = save(tmp_path, 1)
    (folder / "notes.txt").write_text("best so far")
    assert checkpoint.verify(folder).extra == ("notes.txt",)


def test_prune_keeps_valid_ones_and_all_evidence(tmp_path: Path) -> None:
    for number in range(1, 6):
        save(tmp_path, number)
    flip(WEIGHTS, 0.5)(tmp_path / "update-5")
    flip(WEIGHTS, 0.5)(tmp_path / "update-2")
    removed = checkpoint.prune(tmp_path, 2)
    assert [path.name for path in removed] == ["update-1"]
    assert {path.name for path in tmp_path.iterdir()} == {f"update-{n}" for n in (2, 3, 4, 5)}
    flip(WEIGHTS, 0.5)(tmp_path / "update-4")
    assert checkpoint.prune(tmp_path, 1) == []  # update-3 is the only valid one
    with pytest.raises(UsageError, match="keep=0"):
        checkpoint.prune(tmp_path, 0)


def test_prune_survives_a_folder_that_cannot_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        save(tmp_path, number)

    def refuse(*_: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "rename", refuse)
    assert checkpoint.prune(tmp_path, 1) == []
    assert checkpoint.verify(tmp_path / "update-1")


def test_clean_brings_back_what_was_moved_aside(tmp_path: Path) -> None:
    folder = save(tmp_path, 1)
    folder.rename(tmp_path / ".aside-update-1-0a0a0a0a")
    (tmp_path / ".staging-update-1-0b0b0b0b").mkdir()
    assert len(checkpoint.clean(tmp_path)) == 2
    assert content_of(folder) == 1 and hidden(tmp_path) == []
    assert checkpoint.clean(tmp_path / "none") == []


def model() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2))


def adamw(net: torch.nn.Sequential) -> torch.optim.AdamW:
    groups = [
        {"params": net[0].parameters(), "lr": 1e-2, "name": "first"},
        {"params": net[2].parameters(), "lr": 3e-3, "weight_decay": 0.1, "name": "last"},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.95))


def train(net: torch.nn.Module, optimizer: torch.optim.Optimizer, schedule: Any) -> None:
    for _ in range(3):
        loss = net(torch.randn(5, 4)).square().sum() * random.random() * np.random.normal()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def test_training_continues_bit_for_bit(tmp_path: Path) -> None:
    net = model()
    optimizer = adamw(net)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    train(net, optimizer, schedule)
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    checkpoint.save_optimizer(optimizer, tmp_path / "optimizer")
    state.save_tree({"rng": state.rng_state(), "lr": schedule.state_dict()}, tmp_path / "state")
    train(net, optimizer, schedule)

    again = model()
    again.load_state_dict(weights)
    resumed = adamw(again)
    following = torch.optim.lr_scheduler.CosineAnnealingLR(resumed, 10)
    random.seed(99), np.random.seed(99), torch.manual_seed(99)
    checkpoint.load_optimizer(resumed, tmp_path / "optimizer")
    saved = state.load_tree(tmp_path / "state")
    state.set_rng_state(saved["rng"])
    following.load_state_dict(saved["lr"])
    for path in tmp_path.iterdir():
        path.unlink()  # nothing may depend on the files any more
    train(again, resumed, following)

    for name, value in net.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    one, two = optimizer.state_dict(), resumed.state_dict()
    assert one["param_groups"] == two["param_groups"]
    for number, moments in one["state"].items():
        assert moments["step"] == 6
        assert all(torch.equal(v, two["state"][number][k]) for k, v in moments.items())


def test_state_finer_than_its_parameter_keeps_its_bits(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    optimizer = torch.optim.AdamW([parameter])
    fine = torch.tensor([1.0001, 1.0002, 1.0003])
    optimizer.state[parameter] = {"step": torch.tensor(1.0), "exp_avg": fine, "exp_avg_sq": fine}
    checkpoint.save_optimizer(optimizer, tmp_path / "o")
    other = torch.optim.AdamW([parameter])
    checkpoint.load_optimizer(other, tmp_path / "o")
    assert torch.equal(other.state[parameter]["exp_avg"], fine)


def test_a_foreign_optimizer_is_refused(tmp_path: Path) -> None:
    net = model()
    optimizer = adamw(net)
    net(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    checkpoint.save_optimizer(optimizer, tmp_path / "o")
    with pytest.raises(CheckpointError, match=r"over \[2, 2\] parameters, not \[4\]"):
        checkpoint.load_optimizer(torch.optim.AdamW(net.parameters()), tmp_path / "o")
    wide = torch.nn.Sequential(torch.nn.Linear(4, 9), torch.nn.Dropout(0.5), torch.nn.Linear(9, 2))
    with pytest.raises(CheckpointError, match=r"shape \(8, 4\), the parameter \(9, 4\)"):
        checkpoint.load_optimizer(adamw(wide), tmp_path / "o")
    (tmp_path / "o.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load_optimizer(optimizer, tmp_path / "o")


def test_random_generators_continue_where_they_were(tmp_path: Path) -> None:
    def draws() -> list[float]:
        own = [random.random(), random.gauss(0, 1), np.random.random(), np.random.normal()]
        return [*map(float, own), float(torch.rand(())), float(torch.randn(()))]

    random.gauss(0, 1), np.random.normal()  # both keep half a pair of normal draws in their state
    state.save_tree(state.rng_state(), tmp_path / "rng")
    expected = draws()
    draws()
    state.set_rng_state(state.load_tree(tmp_path / "rng"))
    assert draws() == expected


def test_a_gpu_state_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(CheckpointError, match="saved on a GPU"):
        state.set_rng_state({**state.rng_state(), "cuda": torch.zeros(16, dtype=torch.uint8)})


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    tree = {
        "a": {"b": shared, 0: [1, 2.5, (True, None)]},
        "a.b": shared[::2],
        "dict": {},
        "odd": (float("inf"), -0.0, 5e-324, 2**80, "é\ud7ff"),
        "empty": torch.zeros(0, 3, dtype=torch.bfloat16),
    }
    state.save_tree(tree, tmp_path / "t")
    back = state.load_tree(tmp_path / "t")
    assert torch.equal(back["a"]["b"], shared) and torch.equal(back["a.b"], shared[::2])
    assert back["a"][0] == [1, 2.5, (True, None)] and back["dict"] == {}
    assert back["odd"] == tree["odd"] and str(back["odd"][1]) == "-0.0"
    assert back["empty"].shape == (0, 3) and back["empty"].dtype == torch.bfloat16
    with pytest.raises(TypeError, match=r"Cannot save t\.x\.0: a set"):
        state.save_tree({"x": [{1}]}, tmp_path / "t")
    (tmp_path / "t.json").write_text('{"pickle": 1}')
    with pytest.raises(CheckpointError, match="unknown kind 'pickle'"):
        state.load_tree(tmp_path / "t")
