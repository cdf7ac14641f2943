"""The training loop: gradients, parts, audit, resuming, stopping, processes."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import models
import ranks
from residency.data.mixture import Mixture
from residency.data.sampler import Sampler
from residency.errors import CheckpointError, DataError, ResidencyError, UsageError
from residency.model import store
from residency.model.huggingface import Backbone, Limits
from residency.objectives.likelihood import Likelihood
from residency.task import Wording
from residency.train import checkpoint
from residency.train.feed import Feed
from residency.train.journal import Journal, read_journal
from residency.train.signals import Interrupted
from residency.train.trainable import lines, planned
from residency.train.values import Full, LoRA, Schedule, Train
from residency.types import EXEMPLAR

Grads = list[dict[str, torch.Tensor]]


def close(one: Grads, two: Grads) -> None:
    """Equal but for float32 rounding, which the sharp attention of the tiny model amplifies.

    A batch that is normalised wrongly, or a sample that counts twice, is off by many percent.
    """
    assert len(one) == len(two) > 0
    for a, b in zip(one, two, strict=True):
        assert a.keys() == b.keys()
        size = max(float(value.abs().max()) for value in a.values())
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=2e-4 * size)


def precise(backbone: Backbone) -> None:
    """Everything but the expert in float64."""
    backbone.model.double()
    backbone.exemplar_connector.double()


def weights(backbone: Backbone) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in backbone.named_parameters()}


def same_weights(saved: Path, backbone: Backbone) -> None:
    """What was saved are whole weights, those of the model but for rounding; nothing trained is missing."""
    own = weights(backbone)
    parts = load_file(saved / "parts.safetensors")
    adapter = load_file(saved / "adapter" / "adapter_model.safetensors")
    found = dict(parts)
    for name, value in adapter.items():
        inner = name.removeprefix("base_model.model.").removesuffix(".weight")
        found[f"model.{inner}.default.weight"] = value
    names = {store.plain_name(name): name for name in own}
    for name, value in found.items():
        torch.testing.assert_close(value, own[names.get(name, name)], rtol=0, atol=1e-5)
    assert {name for name in own if ".lora_" in name} <= found.keys() and parts


def journal(folder: Path) -> list[dict[str, Any]]:
    rows, unreadable = read_journal(folder / "journal.jsonl")
    assert not unreadable
    return rows


def identical(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def vitask(folder: Path, **changes: Any) -> Any:
    """VITask with negatives, accumulation, LoRA dropout and a connector."""
    train: dict[str, Train] = {
        "language_model": LoRA(lr=1e-2, rank=2, alpha=4, dropout=0.2),
        "exemplar_connector": Full(lr=1e-2),
    }
    schedule = {"updates": 4, "batch_size": 4, "microbatch_size": 2}
    settings = {"objective": ranks.STAGE_2, "train": train, "schedule": schedule, **changes}
    return ranks.run(folder, backbone=ranks.with_expert(), **settings)


# --- gradients ------------------------------------------------------------------------------------


def test_accumulation_does_not_change_the_update(tmp_path, monkeypatch):
    """Normalised by the tokens of the global batch, though responses differ in length; in float64.

    Without negatives: which of them is drawn depends on the company of the microbatch.
    """
    seen = {}
    for size in (4, 2, 1):
        one = ranks.run(
            tmp_path / str(size),
            backbone=ranks.with_expert(),
            objective=ranks.STAGE_1,
            train=ranks.QUIET,
            schedule={"updates": 2, "microbatch_size": size},
        )
        prepare = one._prepare
        monkeypatch.setattr(one, "_prepare", lambda p=prepare, b=one.backbone: (p(), precise(b)))
        seen[size] = ranks.gradients(one)[1]
    for size in (2, 1):
        for whole, split in zip(seen[4], seen[size], strict=True):
            assert whole.keys() == split.keys()
            for name in whole:
                torch.testing.assert_close(whole[name], split[name], rtol=1e-4, atol=5e-6)


def test_a_budget_of_tokens_cuts_microbatches_and_changes_no_update(tmp_path):
    """Long and short responses: fewer samples where rows are long, gradients as without."""
    seen, journals = {}, {}
    for budget in (None, 150):
        one = ranks.run(
            tmp_path / str(budget),
            n=8,
            answers=("red", ranks.LONG),
            train=ranks.QUIET_LM,
            schedule={"updates": 2, "microbatch_tokens": budget},
        )
        seen[budget] = ranks.gradients(one)[1]
        journals[budget] = read_journal(tmp_path / str(budget) / "journal.jsonl")[0]
    assert [row["microbatches"] for row in journals[None]] == [1, 1]
    assert all(row["microbatches"] > 1 for row in journals[150])
    for whole, split in zip(seen[None], seen[150], strict=True):
        close([whole], [split])
    feed = Feed(
        backbone=one.backbone,
        mixture=one.mixture,
        sampler=Sampler(8, 8, 3),
        views=Likelihood().views,
        size=8,
        budget=150,
        seed=3,
    )
    work = next(iter(feed))
    sizes = [(batch.width, len(batch.targets.sample.unique())) for batch in work.batches]
    assert sum(count for _, count in sizes) == 8
    assert all(width <= 150 or count == 1 for width, count in sizes)


def test_the_loss_is_the_mean_over_tokens_and_samples_have_weights(tmp_path):
    one = ranks.run(tmp_path, schedule={"updates": 1})
    readings = one.mixture.readings
    object.__setattr__(one.mixture, "readings", lambda *at: [_weighted(r) for r in readings(*at)])
    outcome, (gradient,) = ranks.gradients(one)
    expected = ranks.fresh()
    backbone = ranks.run(tmp_path / "other", backbone=expected, schedule={"updates": 1})
    backbone._prepare()
    indices = next(iter(backbone._sampler))
    batch = expected.collate(
        [backbone.mixture.reading(i, 3) for i in sorted(indices)], Likelihood().views
    )
    logits = expected.read(batch)[Likelihood().view]
    losses = torch.nn.functional.cross_entropy(logits, batch.targets.tokens, reduction="none")
    ids = [f"s{i}" for i in sorted(indices)]
    weight = torch.tensor([2.0 if ids[k] == "s1" else 1.0 for k in batch.targets.sample])
    assert 1 < float(weight.mean()) < 2
    loss = (losses * weight).sum() / len(losses)
    assert outcome.last_terms["nll"] == pytest.approx(loss.item(), rel=1e-5)
    loss.backward()
    own = {n: p.grad for n, p in expected.named_parameters() if p.grad is not None}
    close([own], [gradient])


def _weighted(reading: Any) -> Any:
    from dataclasses import replace

    return replace(reading, weight=2.0) if reading.sample.id == "s1" else reading


def test_negatives_come_from_the_microbatch_where_it_has_one(tmp_path):
    """Their images are read anyway; what had to come from elsewhere is counted."""
    one = ranks.run(tmp_path, n=12, answers=("red", "blue", "green"), objective=ranks.STAGE_2)
    one.mixture.negatives.check()
    wanted = {"backbone": ranks.with_expert(), "mixture": one.mixture, "views": ranks.STAGE_2.views}
    sampler = Sampler(12, 6, seed=3)
    for size, most in ((6, 0), (1, 6)):
        feed = Feed(**wanted, sampler=sampler, size=size, seed=3)
        work = next(iter(feed))
        assert work.outside == most
        images = sum(len(batch.expert_pixels) for batch in work.batches)
        seen = sum(int(batch.pixels["image_grid_thw"].shape[0]) for batch in work.batches)
        assert images == 6 and seen == (6 if size == 6 else 12)


def test_microbatches_are_composed_so_that_negatives_lie_inside(tmp_path):
    """Whatever their size and the number of processes; a share without another response is told."""
    one = ranks.run(tmp_path, n=12, answers=("red", "blue", "green"), objective=ranks.STAGE_2)
    wanted = {"backbone": ranks.with_expert(), "mixture": one.mixture, "views": ranks.STAGE_2.views}
    for size, world in ((6, 1), (4, 1), (3, 1), (2, 1), (3, 2), (2, 3)):
        ids = []
        for rank in range(world):
            feed = Feed(
                **wanted, sampler=Sampler(12, 12, 3), size=size, seed=3, rank=rank, world=world
            )
            work = next(iter(feed))
            assert work.outside == 0, (size, world)
            ids += [len(batch.targets.tokens) for batch in work.batches]
        assert len(ids) == 12 // size
    lonely = one.mixture.negatives.spread([0, 3, 6, 1])  # three times red, once blue
    assert sorted(lonely) == [0, 1, 2, 3] and lonely.index(3) in (1, 2)


def test_equal_seeds_are_equal_runs_and_others_are_not(tmp_path):
    made = []
    for number, seed in enumerate((3, 3, 4)):
        one = vitask(tmp_path / str(number), seed=seed, schedule={"updates": 2})
        one()
        made.append(weights(one.backbone))
    assert identical(made[0], made[1]) and not identical(made[0], made[2])


def test_two_processes_take_the_same_updates_as_one(tmp_path):
    """Unequal tokens, a process without samples, a process whose samples were all dropped."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    base = models.folder("qwen2_vl")
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    fixed = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    words = [sys.executable, str(Path(ranks.__file__)), str(tmp_path), str(base)]
    said = [tmp_path / "said-0.txt", tmp_path / "said-1.txt"]
    workers = []
    for rank, path in enumerate(said):
        ids = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        with path.open("w") as file:
            workers.append(
                subprocess.Popen(
                    words, env={**os.environ, **world, **fixed, **ids}, stdout=file, stderr=file
                )
            )
    try:
        deadline = time.monotonic() + 900
        while any(w.poll() is None for w in workers) and not any(w.poll() for w in workers):
            assert time.monotonic() < deadline, "the two processes hang"
            time.sleep(0.1)
    finally:
        for worker in workers:  # one that failed would leave the other waiting
            worker.kill()
            worker.wait()
    first, second = (path.read_text() for path in said)
    assert [worker.returncode for worker in workers] == [0, 0], first + second
    for kind in ranks.KINDS:
        one = kind(tmp_path / f"alone-{kind.__name__}")
        outcome, seen = ranks.gradients(one)
        assert (tmp_path / f"{kind.__name__}.txt").read_text() == str(outcome.dropped)
        assert (outcome.dropped > 0) == (kind is ranks.dropped)
        alone = journal(tmp_path / f"alone-{kind.__name__}")
        for name in (
            kind.__name__,
            *([f"sharded-{kind.__name__}"] if kind in ranks.SHARDED else []),
        ):
            for rank in "01":
                files = [tmp_path / f"{name}-{k}-{rank}.safetensors" for k in range(len(seen))]
                close(seen, [load_file(file) for file in files])
            for row, other in zip(journal(tmp_path / name), alone, strict=True):
                assert row["tokens"] == other["tokens"] and row["dropped"] == other["dropped"]
                assert row["loss"] == pytest.approx(other["loss"], rel=1e-4)
        if kind in ranks.SHARDED:  # saved whole, and as one process would have it
            same_weights(tmp_path / f"sharded-{kind.__name__}" / "saved", one.backbone)
    # A look that fails in the first process ends the other one too.
    assert (tmp_path / "blinded-0.txt").read_text() == "DataError: nothing to see after update 1"
    assert "failed in the first process" in (tmp_path / "blinded-1.txt").read_text()
    # A recipe: both train, the first writes.
    assert "tune: done" in first and "tune" not in second
    assert store.load(str(tmp_path / "recipe"), device=torch.device("cpu")).peft


# --- what trains ----------------------------------------------------------------------------------


def test_parts_table_counts_what_is_frozen_adapted_and_full(tmp_path):
    train: dict[str, Train] = {
        "language_model": LoRA(lr=1e-2, rank=2),
        "vision_encoder": Full(lr=5e-4),
    }
    one = ranks.run(tmp_path, train=train, schedule={"updates": 1})
    bare = {part: sum(p.numel() for p in of.values()) for part, of in one.backbone.parts().items()}
    predicted = {row.part: row.trainable for row in planned(one.backbone, train)}
    outcome = one()
    rows = {row.part: row for row in outcome.parts}
    adapter = rows["language_model"].trainable
    assert rows["vision_encoder"].trainable == rows["vision_encoder"].parameters
    assert rows["vision_encoder"].parameters == bare["vision_encoder"]
    assert (rows["connector"].how, rows["connector"].trainable) == ("frozen", 0)
    assert rows["language_model"].parameters == bare["language_model"] + adapter
    held = sum(p.numel() for n, p in one.backbone.named_parameters() if ".lora_" in n)
    assert adapter == held > 0
    assert {part: row.trainable for part, row in rows.items()} == predicted
    assert sum(row.parameters for row in rows.values()) == sum(
        p.numel() for p in one.backbone.parameters()
    )


def test_table_and_audit_are_printed_around_the_first_update(tmp_path, capsys):
    outcome = ranks.run(tmp_path)()
    said = capsys.readouterr().out.splitlines()
    assert said[:4] == lines(outcome.parts)
    assert said[0].split() == ["part", "how", "parameters", "trainable", "lr"]
    assert len({len(line) for line in said[:4]}) == 1  # aligned
    assert said[3].split() == ["language_model", "LoRA", "r=2", "30,816", "1,856", "0.01"]
    assert said[4].startswith("audit: frozen weights unchanged in connector, language_model, vis")
    assert said[4].endswith("gradient received by language_model")
    assert len(said) == 5


def test_frozen_weights_do_not_move_and_trained_ones_do(tmp_path):
    one = vitask(tmp_path)
    one.train = dict(ranks.LM)  # stage 2: the connector is frozen
    before = weights(one.backbone)
    outcome = one()
    after = weights(one.backbone)
    for name, value in before.items():
        wrapped = name if name in after else name.replace(".weight", ".base_layer.weight")
        wrapped = wrapped if wrapped in after else name.replace(".bias", ".base_layer.bias")
        assert torch.equal(value, after[wrapped]), name
    assert "exemplar_connector" in outcome.audit["unchanged"]
    assert outcome.audit["received_gradient"] == ["language_model"]
    assert any(bool(v.any()) for n, v in after.items() if ".lora_B." in n)


def test_audit_catches_a_frozen_weight_that_moves(tmp_path, monkeypatch):
    one = ranks.run(tmp_path)
    descend = one._descend

    def leaking(*args: Any) -> float:
        next(iter(one.backbone.parts()["connector"].values())).data += 1e-6
        return descend(*args)

    monkeypatch.setattr(one, "_descend", leaking)
    with pytest.raises(ResidencyError, match=r"frozen weights changed in \['connector'\]"):
        one()


def test_audit_catches_a_part_without_gradient(tmp_path):
    one = ranks.run(tmp_path, backbone=ranks.with_expert(), train=ranks.CONNECT)  # reads PLAIN only
    with pytest.raises(ResidencyError, match=r"without gradient: \['exemplar_connector'\]"):
        one()


def seldom_seen(folder: Path, *images: int, **changes: Any) -> Any:
    """The vision encoder trains, and the samples of these numbers alone have an image."""
    data = ranks.dataset(8)
    samples = tuple(
        replace(one, images=one.images if k in images else ())
        for k, one in enumerate(data.splits["train"])
    )
    backbone = ranks.fresh()
    mixed = Mixture.of(
        [replace(data, splits={"train": samples})], "train", wording=Wording(), codec=backbone.codec
    )
    train = {**ranks.QUIET_LM, "vision_encoder": Full(lr=1e-6)}
    schedule = {"updates": 4, "batch_size": 2, **changes}
    return ranks.run(folder, mixture=mixed, backbone=backbone, train=train, schedule=schedule)


def test_the_audit_of_what_sees_images_waits_for_one(tmp_path):
    order = [index for batch in Sampler(8, 2, seed=3) for index in batch]
    outcome = seldom_seen(tmp_path / "late", order[5])()
    assert outcome.audit["received_gradient"] == ["language_model", "vision_encoder"]
    without = r"without gradient: \['vision_encoder'\]"
    for updates in (2, 6):  # the run ends, or an epoch does
        with pytest.raises(ResidencyError, match=without):
            seldom_seen(tmp_path / f"never{updates}", updates=updates)()
    assert len(journal(tmp_path / "never6")) == 3


def test_a_resumed_run_need_not_see_an_image_again(tmp_path, monkeypatch):
    order = [index for batch in Sampler(8, 2, seed=3) for index in batch]
    one = seldom_seen(tmp_path, order[0])
    one.save_every = 2
    stop_at(monkeypatch, 3, crash)
    with pytest.raises(RuntimeError, match="power cut"):
        one()
    again = seldom_seen(tmp_path, order[0])()
    assert again.updates == 4 and "vision_encoder" in again.audit["received_gradient"]


def test_trained_weights_are_float32_beside_a_half_precision_base(tmp_path):
    path = str(models.folder("qwen2_vl"))
    backbone = store.load(path, device=torch.device("cpu"), dtype=torch.bfloat16)
    train: dict[str, Train] = {**ranks.LM, "vision_encoder": Full(lr=1e-4)}
    one = ranks.run(tmp_path, backbone=backbone, train=train, precision="bf16")
    outcome = one()
    kinds = {
        part: {p.dtype for n, p in of.items() if part != "language_model" or ".lora_" in n}
        for part, of in backbone.parts().items()
    }
    assert kinds["vision_encoder"] == kinds["language_model"] == {torch.float32}
    assert kinds["connector"] == {torch.bfloat16}
    full = ranks.run(tmp_path / "full", train=train)()
    assert outcome.last_terms["nll"] == pytest.approx(full.last_terms["nll"], rel=0.1)
    assert outcome.last_terms["nll"] != full.last_terms["nll"]


def test_precisions_may_alternate_in_one_process(tmp_path):
    for number, precision in enumerate(("no", "bf16", "no")):
        one = ranks.run(tmp_path / str(number), precision=precision, schedule={"updates": 1})
        assert one().updates == 1
        assert "forward" not in vars(one.backbone)  # nothing stays wrapped


# --- data -----------------------------------------------------------------------------------------


def test_dropped_samples_are_counted_and_whole_batches_may_vanish(tmp_path):
    backbone = ranks.fresh()
    backbone.limits = Limits(max_tokens=60, too_long="drop")
    schedule = {"updates": 8, "batch_size": 1, "microbatch_size": 1}
    answers = ("red", ranks.LONG)
    outcome = ranks.run(tmp_path, n=8, answers=answers, backbone=backbone, schedule=schedule)()
    rows = journal(tmp_path)
    assert outcome.dropped == sum(row["dropped"] for row in rows) == 4
    assert ["loss" in row for row in rows] == [not row["dropped"] for row in rows]
    assert outcome.audit["received_gradient"] == ["language_model"]


def test_a_run_that_drops_everything_fails(tmp_path):
    backbone = ranks.fresh()
    backbone.limits = Limits(max_tokens=20, too_long="drop")
    with pytest.raises(ResidencyError, match="dropped every sample"):
        ranks.run(tmp_path, backbone=backbone)()


def test_shrunk_samples_are_counted(tmp_path):
    backbone = ranks.fresh()
    backbone.limits = Limits(max_tokens=40, too_long="shrink")
    outcome = ranks.run(tmp_path, n=4, answers=("red", "blue"), backbone=backbone)()
    assert outcome.shrunk == 12 and outcome.dropped == 0
    assert [row["shrunk"] for row in journal(tmp_path)] == [4, 4, 4]


def test_a_view_without_negative_is_refused_before_training(tmp_path):
    one = ranks.run(tmp_path, answers=("red",), objective=ranks.STAGE_2, train=ranks.CONNECT)
    with pytest.raises(DataError, match="has no negative"):
        one()
    assert not (tmp_path / "journal.jsonl").exists()


def test_an_error_while_reading_ends_the_reader_and_the_run(tmp_path):
    one = ranks.run(tmp_path, objective=Likelihood(view=EXEMPLAR))  # no expert attached
    with pytest.raises(UsageError, match="needs an expert"):
        one()
    assert not any(thread.name == "residency-prefetch" for thread in threading.enumerate())


# --- pace -----------------------------------------------------------------------------------------


def test_learning_rates_warm_up_and_decay():
    cosine = Schedule(warmup=0.2)
    assert [cosine.factor(k, 10) for k in (0, 1, 2, 6)] == pytest.approx([0.5, 1.0, 1.0, 0.5])
    assert 0 < cosine.factor(9, 10) < 0.05
    assert [Schedule(warmup=0.0, decay="linear").factor(k, 4) for k in range(4)] == [
        1.0, 0.75, 0.5, 0.25,
    ]  # fmt: skip
    assert {Schedule(warmup=0.0, decay="constant").factor(k, 4) for k in range(4)} == {1.0}
    assert Schedule(warmup=1.0).factor(9, 10) == 1.0


def test_the_journal_shows_each_part_at_its_own_rate(tmp_path):
    vitask(tmp_path, schedule={"updates": 2, "decay": "linear"})()
    rates = [row["lr"] for row in journal(tmp_path)]
    assert rates == [
        {"language_model": pytest.approx(0.01), "exemplar_connector": pytest.approx(0.01)},
        {"language_model": pytest.approx(0.005), "exemplar_connector": pytest.approx(0.005)},
    ]


def test_totals_count_partial_batches():
    assert Schedule(batch_size=4, microbatch_size=4).total(9) == 3
    assert Schedule(epochs=2.5, batch_size=4, microbatch_size=4).total(8) == 5
    assert Schedule(epochs=0.01).total(8) == 1
    assert Schedule(updates=7).total(8) == 7


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"microbatch_size": -1}, "microbatch_size=-1"),
        ({"batch_size": 6, "microbatch_size": 4}, "not a multiple"),
        ({"epochs": 0.0}, "epochs=0"),
        ({"epochs": float("nan")}, "epochs=nan"),
        ({"updates": 0}, "updates=0"),
        ({"warmup": 1.5}, "warmup=1.5"),
        ({"clip": 0.0}, "clip=0"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1"),
    ],
)
def test_impossible_schedules_are_refused(given, says):
    with pytest.raises(UsageError, match=says):
        Schedule(**given)
    assert Schedule(batch_size=2, microbatch_size=16)  # a small batch is no accumulation


@pytest.mark.parametrize("given", [{"rank": 0}, {"lr": 0.0}, {"alpha": -1}, {"dropout": 1.0}])
def test_impossible_adapters_are_refused(given):
    with pytest.raises(UsageError, match=f"{next(iter(given))}="):
        LoRA(**{"lr": 1e-3, **given})
    with pytest.raises(UsageError, match="lr=-1"):
        Full(lr=-1.0)


@pytest.mark.parametrize(
    ("train", "says"),
    [
        ({}, "trains nothing"),
        ({"langage_model": Full(lr=1.0)}, "language_model"),
        ({"expert": Full(lr=1.0)}, "Unknown part 'expert'"),
        ({"exemplar_connector": LoRA(lr=1.0)}, "use Full"),
        (
            {"language_model": LoRA(lr=1.0), "vision_encoder": LoRA(lr=1.0, rank=4)},
            "One adapter has one shape",
        ),
    ],
)
def test_impossible_parts_are_refused_planned_and_run(tmp_path, train, says):
    with pytest.raises(UsageError, match=says):
        planned(store.empty(str(models.folder("qwen2_vl"))), train)
    with pytest.raises(UsageError, match=says):
        ranks.run(tmp_path, train=train, backbone=ranks.with_expert())()


# --- stopping and resuming ------------------------------------------------------------------------


def stop_at(monkeypatch: pytest.MonkeyPatch, number: int, how: Any) -> None:
    """Do something after an update was noted, once."""
    note, done = Journal.update, []

    def noted(self: Journal, update: int, row: Any) -> None:
        note(self, update, row)
        if update == number and not done:
            done.append(update)
            how()

    monkeypatch.setattr(Journal, "update", noted)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The weights and journal of a run that nobody disturbed."""
    one = vitask(tmp_path_factory.mktemp("whole"))
    outcome = one()
    return weights(one.backbone), outcome, journal(one.folder)


def crash() -> None:
    raise RuntimeError("power cut")


def test_a_killed_run_resumes_bit_for_bit(tmp_path, monkeypatch, whole, capsys):
    stop_at(monkeypatch, 3, crash)
    with pytest.raises(RuntimeError, match="power cut"):
        vitask(tmp_path, save_every=2)()
    assert not any(thread.name == "residency-prefetch" for thread in threading.enumerate())
    (tmp_path / "checkpoints" / ".staging-update-3-dead").mkdir()  # what a kill may leave
    again = vitask(tmp_path, save_every=2)
    outcome = again()
    assert "Resuming from update-2 of 4." in capsys.readouterr().out
    assert identical(weights(again.backbone), whole[0])
    assert outcome.last_terms == whole[1].last_terms and outcome.updates == 4
    rows = journal(tmp_path)
    assert [row["loss"] for row in rows] == [row["loss"] for row in whole[2]]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["update-2"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_leaves_with_its_code(tmp_path, monkeypatch, whole, number, code):
    handler = signal.getsignal(number)
    stop_at(monkeypatch, 2, lambda: os.kill(os.getpid(), number))
    with pytest.raises(Interrupted, match="goes on from update 2") as caught:
        vitask(tmp_path)()
    assert caught.value.exit_code == code and signal.getsignal(number) is handler
    again = vitask(tmp_path)
    again()
    assert identical(weights(again.backbone), whole[0])


def test_a_signal_in_the_last_update_still_stops_and_loses_nothing(tmp_path, monkeypatch, whole):
    stop_at(monkeypatch, 4, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted, match="goes on from update 4"):
        vitask(tmp_path)()
    again = vitask(tmp_path)
    outcome = again()
    assert identical(weights(again.backbone), whole[0])
    assert outcome.last_terms == whole[1].last_terms and outcome.audit == whole[1].audit


def test_counts_survive_a_resume(tmp_path, monkeypatch):
    def one() -> Any:
        backbone = ranks.fresh()
        backbone.limits = Limits(max_tokens=60, too_long="drop")
        return ranks.run(tmp_path, n=8, answers=("red", ranks.LONG), backbone=backbone)

    stop_at(monkeypatch, 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        one()()
    outcome = one()()
    assert outcome.dropped == sum(r["dropped"] for r in journal(tmp_path))


def test_a_failed_save_is_said_and_training_goes_on(tmp_path, monkeypatch, whole, capsys):
    def full_disk(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "save", full_disk)
    one = vitask(tmp_path, save_every=1)
    one()
    said = capsys.readouterr().out
    assert said.count("warning:") == 3 and "No space left" in said
    assert identical(weights(one.backbone), whole[0])
    assert list((tmp_path / "checkpoints").iterdir()) == []
    # Asked to stop, it does not claim to have saved.
    stop_at(monkeypatch, 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted, match="could not save"):
        vitask(tmp_path / "other")()


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    ranks.run(tmp_path, save_every=1)()
    with pytest.raises(UsageError, match="run was 'test', given 'other'"):
        ranks.run(tmp_path, identity={"run": "other"})()
    for path in (tmp_path / "checkpoints").iterdir():
        (path / "state.json").write_text("{}")
    with pytest.raises(CheckpointError, match="No valid checkpoint"):
        ranks.run(tmp_path)()


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    ranks.run(tmp_path, save_every=1, schedule={"updates": 5})()
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["update-3", "update-4"]
    assert checkpoint.verify(tmp_path / "checkpoints" / "update-4").extra == ()


@pytest.mark.parametrize("where", ["weight", "gradient"])
def test_what_is_not_finite_stops_the_run_before_it_spreads(tmp_path, monkeypatch, where):
    one = ranks.run(tmp_path)
    if where == "weight":
        with torch.no_grad():
            one.backbone.head.__self__.model.model.language_model.norm.weight[0] = torch.nan
    else:
        terms_of = one._terms_of

        def infinite(batch: Any, scale: float) -> Any:
            terms = terms_of(batch, scale)
            for term in terms.values():
                term.register_hook(lambda g: g * torch.inf)
            return terms

        monkeypatch.setattr(one, "_terms_of", infinite)
    with pytest.raises(ResidencyError, match=r"Update 1 is not finite.*was not applied"):
        one()
    adapters = [p for n, p in one.backbone.named_parameters() if ".lora_B." in n]
    assert not any(bool(p.any()) for p in adapters)
