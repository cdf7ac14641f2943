"""Features of a frozen vision encoder: split from the connector, and kept on disk."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import models
import ranks
from residency.catalog import find, names
from residency.errors import UsageError
from residency.model import encoder as engine
from residency.model.encoder import CachedEncoder, Space, caching, space
from residency.model.feature_cache import FeatureCache
from residency.model.feature_keys import content_key, obstacle, tower_key
from residency.model.generation import generate, score
from residency.model.huggingface import Backbone
from residency.train.journal import read_journal
from residency.train.trainer import Outcome, Run
from residency.train.values import Full, LoRA
from residency.types import BLANK, PLAIN, Batch


@pytest.fixture(params=models.ALL)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    """A shared backbone without slots."""
    made = models.shared(request.param)
    made.zero_grad()
    return made


def album(backbone: Backbone, *numbers: int) -> Batch:
    """A batch of images of unlike shapes."""
    sizes = ((48, 48), (90, 40), (30, 60))
    pictures = [models.picture(n, sizes[n % 3]) for n in numbers]
    return backbone.collate([models.reading(str(k), p) for k, p in enumerate(pictures)], [PLAIN])


# --- the split ------------------------------------------------------------------------------------


def seen(backbone: Backbone, features: list[Tensor]) -> tuple[list[Tensor], dict[str, Any]]:
    """Features with the gradients of what made them."""
    backbone.zero_grad()
    torch.cat(features).square().sum().backward()
    named = backbone.named_parameters()
    grads = {name: p.grad.clone() for name, p in named if p.grad is not None}
    return [one.detach() for one in features], grads


def test_encoder_then_connector_is_the_models_own_pass_bit_for_bit(backbone: Backbone) -> None:
    """Values and the gradients of both parts; afterwards the model is as before."""
    family, model, pixels = backbone.family, backbone.model, album(backbone, 0, 1, 2).pixels
    whole, expected = seen(backbone, family.features(model, pixels))
    split, gradients = seen(backbone, family.connect(model, family.encode(model, pixels)))
    again, _ = seen(backbone, family.features(model, pixels))
    fixed = backbone.name in ("gemma3", "mllama", "blip2")  # as many for every image
    assert (len({len(one) for one in whole}) == 1) == fixed
    for one, two, three in zip(whole, split, again, strict=True):
        assert torch.equal(one, two) and torch.equal(one, three)
    assert gradients.keys() == expected.keys()
    reached = {
        part for part, names in backbone.parts().items() if any(name in gradients for name in names)
    }
    assert reached == {"vision_encoder", "connector"}
    assert all(torch.equal(gradients[name], expected[name]) for name in expected)


def test_the_encoder_alone_does_not_run_the_connector(backbone: Backbone) -> None:
    backbone.zero_grad()
    encoded = backbone.family.encode(backbone.model, album(backbone, 0, 1).pixels)
    torch.cat([one.flatten() for one in encoded]).square().sum().backward()
    parts = backbone.parts()
    assert all(p.grad is None for p in parts["connector"].values())
    assert any(p.grad is not None for p in parts["vision_encoder"].values())


def test_an_image_alone_has_the_pixels_it_has_in_company(backbone: Backbone) -> None:
    together = album(backbone, 0, 1, 2).pixels
    alone = [album(backbone, n).pixels for n in range(3)]
    for own, one in zip(backbone.family.each(together), alone, strict=True):
        assert own.keys() == one.keys() and all(torch.equal(own[k], one[k]) for k in one)


# --- the folder -----------------------------------------------------------------------------------

KEYS = [f"{n:064x}" for n in range(40)]
MIB = 2**20


def features(number: int, size: int = MIB) -> Tensor:
    """So many bytes of noise."""
    noise = torch.Generator().manual_seed(number)
    return torch.randn(size // 4, generator=noise).view(-1, 64)


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def opened(folder: Path, **changes: Any) -> FeatureCache:
    return FeatureCache(folder, **{"gib": 1.0, "part": "tower", **changes})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_is_put_comes_back_in_another_process_bit_for_bit(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    held, folder = features(1).to(dtype)[3:7], tmp_path / "features"
    first = opened(folder)
    first.put(KEYS[1], held)
    assert first.get(KEYS[1]) is not None
    first.close()
    found = opened(folder).get(KEYS[1])
    assert found is not None and found.dtype == dtype and torch.equal(found, held)
    assert opened(folder).get(KEYS[2]) is None
    assert opened(folder, part="other").get(KEYS[1]) is None
    assert entries(tmp_path) == [first.path(KEYS[1])]
    assert folder.stat().st_mode & 0o077 == 0  # images can be private


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "swap", "header"])
def test_a_damaged_entry_is_absent_counted_and_replaced(tmp_path: Path, harm: str) -> None:
    first = opened(tmp_path)
    for n in (0, 1):
        assert first.write(KEYS[n], features(n, 4096))
    path, content = first.path(KEYS[0]), bytearray(first.path(KEYS[0]).read_bytes())
    if harm == "swap":  # whole, but of another image
        content = bytearray(first.path(KEYS[1]).read_bytes())
    elif harm == "header":
        content[0:4] = b"\xff" * 4
    else:
        content[-100] ^= 1
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b""}.get(harm, content))
    again = opened(tmp_path)
    assert again.get(KEYS[0]) is None and again.damaged == 1
    again.put(KEYS[0], features(0, 4096))
    again.close()
    found = opened(tmp_path).get(KEYS[0])
    assert found is not None and torch.equal(found, features(0, 4096))


def test_two_writers_leave_one_whole_entry_each(tmp_path: Path) -> None:
    """And a reader never sees half of one."""
    caches = [opened(tmp_path), opened(tmp_path)]
    reader, stop, odd = opened(tmp_path), threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            for n in range(8):
                found = reader.read(KEYS[n])
                if found is not None and not torch.equal(found, features(n, 2**16)):
                    odd.append(n)

    watching = threading.Thread(target=read)
    watching.start()
    for n in range(8):
        for cache in caches:
            cache.put(KEYS[n], features(n, 2**16))
    for cache in caches:
        cache.close()
    stop.set()
    watching.join()
    assert not odd and reader.damaged == 0
    assert [path.stem for path in entries(tmp_path)] == KEYS[:8]


def test_the_budget_holds_and_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    old = opened(tmp_path, part="another tower")
    for n in range(6):
        old.write(KEYS[n], features(n))
        os.utime(old.path(KEYS[n]), (1000 + n, 1000 + n))
    used = opened(tmp_path, gib=6.5 / 1024, part="another tower")
    assert used.read(KEYS[0]) is not None  # the oldest is used again
    new = opened(tmp_path, gib=6.5 / 1024)
    os.utime(used.path(KEYS[0]), (2000, 2000))
    assert new.write(KEYS[9], features(9))
    left = {path.stem for path in entries(tmp_path)}
    assert left == {KEYS[0], KEYS[3], KEYS[4], KEYS[5], KEYS[9]} and new.evicted == 2
    assert sum(path.stat().st_size for path in entries(tmp_path)) <= 6.5 * MIB


def test_what_a_run_uses_is_not_evicted_for_what_it_adds(tmp_path: Path) -> None:
    """An epoch longer than the budget keeps what fits instead of replacing all of it in turn."""
    cache = opened(tmp_path, gib=4.5 / 1024)
    for n in range(8):
        cache.put(KEYS[n], features(n))
    cache.close()
    assert [path.stem for path in entries(tmp_path)] == KEYS[:4]
    assert (cache.evicted, cache.left_out) == (0, 4)


def test_the_budget_is_that_of_all_writers_together(tmp_path: Path) -> None:
    caches = [opened(tmp_path, gib=4.5 / 1024) for _ in range(2)]
    kept = [caches[n % 2].write(KEYS[n], features(n)) for n in range(8)]
    assert kept == [True] * 4 + [False] * 4
    assert [path.stem for path in entries(tmp_path)] == KEYS[:4]


def test_files_of_others_are_left_alone_and_abandoned_drafts_go(tmp_path: Path) -> None:
    (tmp_path / "tower" / "00").mkdir(parents=True)
    model = tmp_path / "model.safetensors"
    drafts = [tmp_path / "tower" / "00" / f".{KEYS[n]}-0123abcd" for n in (0, 1)]
    for path in (model, *drafts):
        path.write_bytes(bytes(4 * MIB))
    for path in (model, drafts[0]):
        os.utime(path, (1000, 1000))
    cache = opened(tmp_path, gib=1.5 / 1024)
    assert cache.write(KEYS[0], features(0)) and not cache.write(KEYS[1], features(1))
    assert set(entries(tmp_path)) == {model, drafts[1], cache.path(KEYS[0])}


def test_a_disk_that_refuses_costs_entries_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    cache = opened(tmp_path)
    for n in range(3):
        cache.put(KEYS[n], features(n, 4096))
    cache.close()
    assert cache.left_out == 3 and not entries(tmp_path)
    assert caplog.text.count("No space left on device") == 1
    assert all(cache.get(KEYS[n]) is not None for n in range(3))  # memory goes on


def test_the_folder_is_that_of_the_run_unless_the_environment_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(engine.FOLDER, raising=False)
    monkeypatch.delenv(engine.SIZE, raising=False)
    assert space(tmp_path) == Space(tmp_path / "features", engine.DEFAULT_GIB)
    monkeypatch.setenv(engine.FOLDER, str(tmp_path / "shared"))
    monkeypatch.setenv(engine.SIZE, "2.5")
    assert space(tmp_path) == Space(tmp_path / "shared" / "features", 2.5)
    monkeypatch.setenv(engine.SIZE, "0")
    assert space(tmp_path) is None
    for wrong in ("much", "-1", "inf", "nan"):
        monkeypatch.setenv(engine.SIZE, wrong)
        with pytest.raises(UsageError, match="GiB"):
            space(tmp_path)


# --- keys -----------------------------------------------------------------------------------------


def test_the_key_is_that_of_the_tower_and_of_nothing_else(backbone: Backbone) -> None:
    before = tower_key(backbone, "no")
    parts = backbone.parts()
    keys = {before}
    with torch.no_grad():
        for part, same in (("vision_encoder", 0), ("connector", 1), ("language_model", 1)):
            weight = next(iter(parts[part].values()))
            held = weight.clone()
            weight.view(-1)[0] += 1
            keys.add(tower_key(backbone, "no"))
            assert (tower_key(backbone, "no") == before) == bool(same)
            weight.copy_(held)
    assert tower_key(backbone, "no") == before
    keys.add(tower_key(backbone, "bf16"))
    backbone.model.to(torch.bfloat16)
    keys.add(tower_key(backbone, "no"))
    backbone.model.to(torch.float32)
    config = backbone.model.config.vision_config
    layers, config.num_attention_heads = getattr(config, "num_attention_heads", None), 99
    keys.add(tower_key(backbone, "no"))
    config.num_attention_heads = layers
    assert len(keys) == 5


def test_the_key_of_an_image_is_its_pixels_and_their_layout(backbone: Backbone) -> None:
    each = backbone.family.each
    together = each(album(backbone, 0, 1, 2).pixels)
    alone = [each(album(backbone, n).pixels)[0] for n in range(3)]
    keys = [content_key(one) for one in together]
    assert keys == [content_key(one) for one in alone] and len(set(keys)) == 3
    one = alone[0]
    other = {k: v.clone() for k, v in one.items()}
    other["pixel_values"].view(-1)[5] += 1e-3
    assert content_key(other) != keys[0]
    layout = {k: v if k == "pixel_values" else v + 1 for k, v in one.items()}
    assert content_key(layout) != keys[0]


# --- reading through it ---------------------------------------------------------------------------


def forced(monkeypatch: pytest.MonkeyPatch, on: bool = True) -> None:
    """Decide without measuring."""

    def decided(self: CachedEncoder, pixels: Any) -> None:
        self.on = on

    monkeypatch.setattr(CachedEncoder, "_measure", decided)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Images per call of a vision encoder."""
    seen: list[int] = []
    for family in (find("backbones", name) for name in names("backbones")):
        original = family.encode

        def counted(model: Any, pixels: Any, original: Any = original) -> list[Tensor]:
            encoded = original(model, pixels)
            seen.append(len(encoded))
            return encoded

        monkeypatch.setattr(family, "encode", counted)
    yield seen


def test_logits_are_the_same_and_each_image_is_encoded_once(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passes: list[int]
) -> None:
    """In company, alone, in another order, in the next process; blank images too."""
    forced(monkeypatch)
    batches = [album(backbone, *numbers) for numbers in ((0, 1, 2), (2, 0), (1,), (3, 1))]
    blank = backbone.collate([models.reading("a", models.picture(0))], [PLAIN, BLANK])
    with torch.no_grad():
        bare = [backbone.read(batch) for batch in [*batches, blank]]
        for misses in ([1] * 5, []):
            passes.clear()
            with caching(backbone, Space(tmp_path)) as encoder:
                assert encoder is not None and backbone.encoder is encoder
                cached = [backbone.read(batch) for batch in [*batches, blank]]
            assert passes == misses and backbone.encoder is None
            assert (encoder.counts.hits, encoder.counts.misses) == (10 - len(misses), len(misses))
            for one, two in zip(bare, cached, strict=True):
                for view in one:
                    torch.testing.assert_close(two[view], one[view], rtol=0, atol=1e-5)


def test_images_are_encoded_together_where_company_changes_no_bit(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passes: list[int]
) -> None:
    """Only what is missing, in one call."""
    forced(monkeypatch)
    with caching(backbone, Space(tmp_path)) as encoder, torch.no_grad():
        assert encoder is not None and not encoder.company
        backbone.see(album(backbone, 0))
        encoder.company = True
        found = backbone.see(album(backbone, 0, 1, 2))
    assert passes == [1, 2] and (encoder.counts.hits, encoder.counts.misses) == (1, 3)
    with torch.no_grad():
        for one, two in zip(backbone.see(album(backbone, 0, 1, 2)), found, strict=True):
            torch.testing.assert_close(two, one, rtol=0, atol=1e-5)


def test_answers_are_the_same_through_it(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced(monkeypatch)
    readings = [models.reading(str(n), models.picture(n)) for n in range(2)]
    readings.append(models.reading("text"))
    options = [("red circle",), ("blue",)]
    said = generate(backbone, readings, PLAIN, max_tokens=4)
    scores = score(backbone, readings, PLAIN, options)
    with caching(backbone, Space(tmp_path)) as encoder:
        assert generate(backbone, readings, PLAIN, max_tokens=4) == said
        again = score(backbone, readings, PLAIN, options)
        assert encoder is not None and encoder.counts.misses == encoder.counts.hits == 2
    torch.testing.assert_close(again, scores, rtol=0, atol=1e-4)


def test_a_trained_connector_runs_live(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the gradient it has without the cache."""
    forced(monkeypatch)
    parts, batch = backbone.parts(), album(backbone, 0, 1)
    for parameter in parts["vision_encoder"].values():
        parameter.requires_grad_(False)
    try:
        _, expected = seen(backbone, backbone.see(batch))
        with caching(backbone, Space(tmp_path)):
            for _ in range(2):
                _, gradients = seen(backbone, backbone.see(batch))
                assert gradients.keys() == expected.keys() == parts["connector"].keys()
                for name, gradient in gradients.items():
                    size = float(expected[name].abs().max())
                    torch.testing.assert_close(
                        gradient, expected[name], rtol=1e-4, atol=1e-5 * size
                    )
    finally:
        backbone.requires_grad_(True)


@pytest.mark.parametrize(
    ("uses", "alone", "together", "load", "company", "on"),
    [
        (2.0, 10, 10, 9, False, True),  # milliseconds an image
        (2.0, 10, 10, 11, False, False),
        (2.0, 30, 10, 1, False, False),  # many small images on a GPU, for a short while
        (5.0, 30, 10, 1, False, True),
        (2.0, 30, 10, 1, True, True),  # where company changes no bit the first time costs no more
    ],
)
def test_it_pays_where_encoding_once_and_loading_then_costs_less(
    backbone: Backbone,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    uses: float,
    alone: int,
    together: int,
    load: int,
    company: bool,
    on: bool,
) -> None:
    """Than encoding as often as the image is read."""
    monkeypatch.setattr(engine, "_equal", lambda some, others: company)
    taken = iter([alone / 1e3, 2 * together / 1e3, 2 * alone / 1e3, 2 * load / 1e3])

    def timed(self: CachedEncoder, call: Any, repeats: int = 3) -> float:
        call()
        return next(taken)

    monkeypatch.setattr(CachedEncoder, "_timed", timed)
    with caching(backbone, Space(tmp_path), uses=uses) as encoder, torch.no_grad():
        backbone.see(album(backbone, 0, 1))
        assert encoder is not None and encoder.on == on and encoder.company == company
        assert f"read {uses:g} times" in encoder.news[0]
        assert ("(the same bits)" in encoder.news[0]) == company


@pytest.mark.parametrize("slow", ["encode", "load"])
def test_it_is_off_where_it_would_be_slower(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    """As measured at the first batch, and said."""
    owner, name = {
        "encode": (backbone.family, "encode"),
        "load": (FeatureCache, "read"),
    }[slow]
    original = getattr(owner, name)

    def late(*args: Any) -> Any:
        images = len(backbone.family.each(args[1])) if slow == "encode" else 1
        time.sleep(0.03 * images)
        return original(*args)

    batch = album(backbone, 0, 1, 2)
    with torch.no_grad():
        expected = backbone.see(batch)
        monkeypatch.setattr(owner, name, late)
        with caching(backbone, Space(tmp_path)) as encoder:
            assert encoder is not None
            found = backbone.see(batch)
            (line,) = encoder.news
            assert encoder.on == (slow == "encode") == (str(tmp_path) in line)
            assert "ms to encode an image" in line and "ms to load it" in line
            assert (encoder.look(batch.pixels) is None) == (slow == "load")
    for one, two in zip(expected, found, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-5)
        assert slow == "encode" or torch.equal(one, two)  # as if there were no cache


def test_a_folder_that_cannot_be_written_is_told(backbone: Backbone, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with caching(backbone, Space(tmp_path / "file")) as encoder, torch.no_grad():
        backbone.see(album(backbone, 0))
        assert encoder is not None and encoder.on is False
        assert encoder.news[0].startswith("features: not cached: ")


# --- training -------------------------------------------------------------------------------------


def trained(folder: Path, where: Path | None, **changes: Any) -> tuple[Run, Outcome]:
    """Two epochs of VITask with negatives over eight images."""
    settings: dict[str, Any] = {
        "n": 8,
        "backbone": ranks.with_expert(),
        "objective": ranks.STAGE_2,
        "train": ranks.QUIET,
        "schedule": {"updates": 4, "batch_size": 4, "microbatch_size": 2},
        "features": where and Space(where),
        **changes,
    }
    run = ranks.run(folder, **settings)
    return run, run()


def rows(folder: Path) -> list[dict[str, Any]]:
    found, unreadable = read_journal(folder / "journal.jsonl")
    assert not unreadable
    return found


def weights(run: Run) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in run.backbone.named_parameters()}


def test_training_has_the_same_loss_and_the_second_run_encodes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forced(monkeypatch)
    where = tmp_path / "features"
    trained(tmp_path / "without", None)
    cold, _ = trained(tmp_path / "cold", where)
    capsys.readouterr()
    warm, _ = trained(tmp_path / "warm", where)
    assert "features: 100% of " in capsys.readouterr().out
    without, first, second = (rows(tmp_path / name) for name in ("without", "cold", "warm"))
    for one, two in zip(without, first, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-5) and "features" not in one
    assert sum(row["features"]["misses"] for row in first) == 8
    assert sum(row["features"]["misses"] for row in second) == 0
    assert [row["features"]["misses"] for row in first][2:] == [0, 0]  # the second epoch
    images = [row["features"]["hits"] + row["features"]["misses"] for row in first]
    assert images == [row["features"]["hits"] for row in second] and min(images) > 0
    one, two = weights(cold), weights(warm)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert cold.backbone.encoder is None


@pytest.mark.slow
def test_damage_during_a_run_is_counted_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forced(monkeypatch)
    where = tmp_path / "features"
    cold, _ = trained(tmp_path / "cold", where)
    for path in entries(where)[:2]:
        content = bytearray(path.read_bytes())
        content[-1] ^= 4
        path.write_bytes(content)
    again, _ = trained(tmp_path / "again", where)
    assert "2 damaged" in capsys.readouterr().out
    found = rows(tmp_path / "again")
    assert sum(row["features"]["damaged"] for row in found) == 2
    assert sum(row["features"]["misses"] for row in found) == 2
    one, two = weights(cold), weights(again)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert len(entries(where)) == 8


def test_a_vision_encoder_that_is_trained_or_random_is_not_cached(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = tmp_path / "features"
    for n, how in enumerate((Full(lr=1e-6), LoRA(lr=1e-6, rank=2))):
        trained(tmp_path / str(n), where, train={"vision_encoder": how})
        assert "features: not cached, the vision encoder is trained" in capsys.readouterr().out
        assert "features" not in rows(tmp_path / str(n))[0]
    assert not where.exists()
    made = models.backbone("internvl")
    assert obstacle(made, trained=False) == ""
    made.model.config.vision_config.hidden_dropout_prob = 0.1
    assert "hidden_dropout_prob" in obstacle(made, trained=False)


@pytest.mark.slow
def test_a_resumed_run_goes_on_as_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On or off, it does not measure again, and ends bit for bit where the whole run ends."""
    forced(monkeypatch)
    whole, _ = trained(tmp_path / "whole", tmp_path / "features")
    part = ranks.run(
        tmp_path / "part",
        n=8,
        backbone=ranks.with_expert(),
        objective=ranks.STAGE_2,
        train=ranks.QUIET,
        schedule={"updates": 4, "batch_size": 4, "microbatch_size": 2},
        features=Space(tmp_path / "fresh"),
        save_every=1,
    )
    found, updates = part._found, []

    def stopping() -> dict[str, Any]:
        updates.append(found())
        if len(updates) == 3:
            raise KeyboardInterrupt
        return updates[-1]

    monkeypatch.setattr(part, "_found", stopping)
    with pytest.raises(KeyboardInterrupt):
        part()
    forced(monkeypatch, on=False)
    rest, _ = trained(tmp_path / "part", tmp_path / "elsewhere")
    assert rows(tmp_path / "part")[-1]["features"]["misses"] > 0  # it is on, as it began
    one, two = weights(whole), weights(rest)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_recipe_counts_how_often_its_steps_read_an_image() -> None:
    """Two epochs, and one each of two stages; a step that trains the tower reads with another one."""
    demo, other = (
        find("recipes", name).recipe(data=("phantoms",)).workspace()
        for name in ("demo", "vanilla_vision")
    )
    assert demo.looks[("phantoms", "train")] == 4.0
    assert demo.uses(("phantoms",), "train") == 4.0
    assert demo.uses(("phantoms",), "test") > 5.0  # three models, four views, pairs
    assert ("phantoms", "train") not in other.looks and other.uses(("phantoms",), "train") == 2.0
