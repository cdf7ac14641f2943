"""Models come back as they were saved, and broken or foreign folders are refused in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

import models
from residency.errors import CheckpointError, ResidencyError, UsageError
from residency.model import store
from residency.model.huggingface import Backbone
from residency.model.slots import ProxyInstruction
from residency.train.trainable import apply, planned
from residency.train.values import Full, LoRA, Train
from residency.types import EXEMPLAR, PLAIN, PROXY, View

CPU = torch.device("cpu")
READINGS = [
    models.reading("a", models.picture(0)),
    models.reading("b", models.picture(1, (90, 40)), question="Which one?", answer="blue square"),
]
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 123456\n"


@pytest.fixture(params=models.ALL)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def train(backbone: Backbone, how: dict[str, Train], seed: int = 0) -> set[str]:
    """Move every trainable weight a little; returns the parts trained in full."""
    generator = torch.Generator().manual_seed(seed)
    for group in apply(backbone, how):
        for parameter in group["params"]:
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    backbone.requires_grad_(False).eval()
    return {part for part, of in how.items() if isinstance(of, Full)}


def read(backbone: Backbone, *views: View) -> dict[View, torch.Tensor]:
    with torch.no_grad():
        return backbone.read(backbone.collate(READINGS, views or [PLAIN]))


def saved(backbone: Backbone, folder: Path, changed: set[str]) -> Path:
    folder.mkdir(parents=True)
    store.save(backbone, folder, changed=changed)
    return folder


def same(one: dict[View, torch.Tensor], two: dict[View, torch.Tensor]) -> None:
    assert one.keys() == two.keys()
    for view, logits in one.items():
        assert torch.equal(logits, two[view]), view.name


def test_lora_comes_back_and_plain_peft_reads_it(family: str, tmp_path: Path) -> None:
    from peft import PeftModel

    made = models.backbone(family)
    before = read(made)
    changed = train(made, {"language_model": LoRA(lr=1e-3, rank=2, alpha=4)})
    after = read(made)
    assert not torch.equal(before[PLAIN], after[PLAIN])
    folder = saved(made, tmp_path / "model", changed)
    assert not (folder / "parts.safetensors").exists()
    same(read(store.load(str(folder), device=CPU)), after)
    same(read(store.load(str(folder / "adapter"), device=CPU)), after)
    plain = AutoModelForImageTextToText.from_pretrained(models.folder(family), dtype=torch.float32)
    wrapped = PeftModel.from_pretrained(plain, folder / "adapter")
    theirs = models.backbone(family)
    theirs.model = wrapped.get_base_model()
    for view, logits in read(theirs).items():  # PEFT rounds in other places
        torch.testing.assert_close(logits, after[view], rtol=1e-4, atol=1e-4)


def test_an_adapter_of_nano_names_it_and_no_path(tmp_path: Path) -> None:
    made = store.load("nano", device=CPU)
    changed = train(made, {"language_model": LoRA(lr=1e-3, rank=2, alpha=4)})
    folder = saved(made, tmp_path / "model", changed)
    config = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "nano"
    for path in (folder / "adapter").iterdir():
        assert str(store.NANO).encode() not in path.read_bytes(), path
    same(read(store.load(str(folder / "adapter"), device=CPU)), read(made))


def test_only_safetensors_are_read(base: Path, trained: Path) -> None:
    adapter = trained / "adapter"
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    refused(adapter, CheckpointError, "adapter_model.safetensors")
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    refused(base, CheckpointError)


def test_a_continued_lora_stage_starts_from_the_adapter(family: str, tmp_path: Path) -> None:
    lora: dict[str, Train] = {"language_model": LoRA(lr=1e-3, rank=2, alpha=4)}
    made = models.backbone(family)
    changed = train(made, lora)
    folder = saved(made, tmp_path / "one", changed)
    again = store.load(str(folder), device=CPU)
    same(read(again), read(made))
    changed = train(again, lora | {"connector": Full(lr=1e-3)}, seed=1)
    after = read(again)
    assert not torch.equal(after[PLAIN], read(made)[PLAIN])
    folder = saved(again, tmp_path / "two", changed)
    same(read(store.load(str(folder), device=CPU)), after)
    with pytest.raises(UsageError, match="already carries an adapter"):
        apply(again, {"language_model": LoRA(lr=1e-3, rank=3, alpha=4)})


def test_full_parts_come_back_and_nothing_else_is_stored(family: str, tmp_path: Path) -> None:
    made = models.backbone(family)
    changed = train(made, {"connector": Full(lr=1e-3), "language_model": Full(lr=1e-3)})
    folder = saved(made, tmp_path / "model", changed)
    stored = set(load_file(folder / "parts.safetensors"))
    parts = made.parts()
    assert stored == set(parts["connector"]) | set(parts["language_model"])
    again = store.load(str(folder), device=CPU)
    same(read(again), read(made))
    tied = [
        one.model.get_output_embeddings().weight is one.model.get_input_embeddings().weight
        for one in (made, again)
    ]
    assert tied[0] == tied[1] == (family in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "gemma3"))


def test_lora_beside_full_parts_of_the_same_model(family: str, tmp_path: Path) -> None:
    """The connector in full and its adapter elsewhere; names are saved without PEFT's wrapping."""
    made = models.backbone(family)
    how: dict[str, Train] = {
        "language_model": LoRA(lr=1e-3, rank=2, alpha=4),
        "connector": Full(lr=1e-3),
        "vision_encoder": Full(lr=1e-3),
    }
    changed = train(made, how)
    folder = saved(made, tmp_path / "model", changed)
    stored = load_file(folder / "parts.safetensors")
    assert not any("base_layer" in name or "lora_" in name for name in stored)
    same(read(store.load(str(folder), device=CPU)), read(made))


@pytest.mark.parametrize("kind", ["cls", "patches", "replace"])
def test_exemplar_and_proxy_come_back(family: str, kind: str, tmp_path: Path) -> None:
    made = models.backbone(family)
    made.attach(models.expert(), exemplar=kind)  # type: ignore[arg-type]
    torch.manual_seed(5)
    made.proxy_instruction = ProxyInstruction(3, made.width, std=1.0)
    changed = train(made, {"exemplar_connector": Full(lr=1.0), "proxy_instruction": Full(lr=1.0)})
    folder = saved(made, tmp_path / "model", changed)
    again = store.load(str(folder), device=CPU)
    assert again.exemplar == kind and again.expert is not None and not again.expert.training
    views = (PLAIN, EXEMPLAR, PROXY, View(exemplar=True, instruction="proxy"))
    same(read(again, *views), read(made, *views))
    shape = store.empty(str(folder))
    assert {n: p.shape for n, p in shape.parts()["exemplar_connector"].items()} == {
        n: p.shape for n, p in made.parts()["exemplar_connector"].items()
    }
    assert len(shape.parts()["proxy_instruction"]) == 1


def test_restoring_keeps_the_precision_of_the_model(family: str, tmp_path: Path) -> None:
    """A part trained in float32 must not stand alone in a half-precision model."""
    made = models.backbone(family)
    folder = saved(made, tmp_path / "model", train(made, {"connector": Full(lr=1e-3)}))
    half = store.load(str(folder), device=CPU, dtype=torch.bfloat16)
    assert {p.dtype for p in half.model.parameters()} == {torch.bfloat16}
    difference = (read(half)[PLAIN].float() - read(made)[PLAIN]).abs()
    assert difference.mean() < 0.3 and difference.mean() > 0


def test_empty_has_names_and_sizes_but_no_weights(family: str) -> None:
    made, shape = models.backbone(family), store.empty(str(models.folder(family)))
    assert all(p.is_meta for p in shape.parameters())
    own = {part: {n: p.shape for n, p in of.items()} for part, of in made.parts().items()}
    assert own == {part: {n: p.shape for n, p in of.items()} for part, of in shape.parts().items()}
    lora: dict[str, Train] = {"language_model": LoRA(lr=1e-3, rank=2)}
    rows = planned(shape, lora)
    apply(made, lora)
    moving = sum(p.numel() for p in made.parameters() if p.requires_grad)
    assert sum(row.trainable for row in rows) == moving


# --- what is refused ------------------------------------------------------------------------------


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A private copy of a tiny base."""
    shutil.copytree(models.folder("qwen2_vl"), tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def trained(base: Path, tmp_path: Path) -> Path:
    made = store.load(str(base), device=CPU)
    made.attach(models.expert())
    how: dict[str, Train] = {
        "language_model": LoRA(lr=1e-3, rank=2),
        "exemplar_connector": Full(lr=1e-3),
    }
    return saved(made, tmp_path / "trained", train(made, how))


def refused(model: Path | str, kind: type[ResidencyError], *words: str) -> None:
    with pytest.raises(kind) as caught:
        store.load(str(model), device=CPU)
    message = str(caught.value)
    assert "\n" not in message and str(model) in message and message.endswith("."), message
    for word in words:
        assert word in message, message


def test_a_base_that_changed_or_vanished_is_refused(base: Path, trained: Path) -> None:
    weights = base / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    refused(trained, CheckpointError, str(base), "another", "Restore that base")
    shutil.rmtree(base)
    refused(trained, CheckpointError, str(base), "not there")


def test_a_checkpoint_finds_its_base_from_any_directory(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = store.load("base", device=CPU)
    folder = saved(made, tmp_path / "model", train(made, {"connector": Full(lr=1e-3)}))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    same(read(store.load(str(folder), device=CPU)), read(made))


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", UsageError, "No such model folder", "Hugging Face")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", UsageError, "holds no model", "config.json")
    for call in (store.empty, store.config_of):
        with pytest.raises(UsageError, match="holds no model"):
            call(str(tmp_path / "empty"))


def test_a_run_names_its_model_or_says_that_it_has_none(base: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    made = store.load(str(base), device=CPU)
    saved(made, run / "tune" / "model", train(made, {"connector": Full(lr=1e-3)}))
    for content in ({}, {"model": None}, {"model": "other/model"}):
        (run / "run.json").write_text(json.dumps(content))
        refused(run, CheckpointError, "no finished model yet")
    (run / "run.json").write_text(json.dumps({"model": "tune/model"}))
    same(read(store.load(str(run), device=CPU)), read(made))
    assert store.identity(str(run)) == store.identity(str(run / "tune" / "model"))
    assert len(store.empty(str(run)).parts()["connector"]) == len(made.parts()["connector"])
    assert store.root(str(run)) == str(base.resolve())
    (run / "run.json").write_text("{")
    refused(run, CheckpointError, "run.json", "cannot be read")


def edited(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_unknown_model_types(base: Path) -> None:
    edited(base / "config.json", lambda c: c.update(model_type="nonsense"))
    refused(base, UsageError, "nonsense")
    edited(base / "config.json", lambda c: c.update(model_type="bert"))
    refused(base, UsageError, "'bert'", "internvl", "qwen2_5_vl, qwen2_vl")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 99}'])
def test_a_broken_description_is_refused(trained: Path, content: str) -> None:
    (trained / "residency.json").write_text(content)
    refused(trained, CheckpointError)


def test_pointers_and_truncated_weights(base: Path, trained: Path) -> None:
    files = [trained / "adapter" / "adapter_model.safetensors", trained / "parts.safetensors"]
    for file in files:
        whole = file.read_bytes()
        file.write_text(POINTER)
        refused(trained, CheckpointError, "git lfs pull")
        # Cut off; and a header that claims 2^63 bytes, which nobody may set aside.
        for damaged in (whole[: len(whole) // 2], (2**63).to_bytes(8, "little") + whole[8:]):
            file.write_bytes(damaged)
            refused(trained, CheckpointError, "cannot be read")
        file.write_bytes(whole)
    read(store.load(str(trained), device=CPU))
    weights = base / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_text(POINTER)
    refused(base, CheckpointError, "git lfs pull")
    weights.write_bytes(whole[: len(whole) // 2])
    refused(base, CheckpointError, "cannot be read")
    weights.unlink()
    refused(base, CheckpointError, "cannot be read")


def test_weights_that_do_not_fit(trained: Path, base: Path) -> None:
    from safetensors.torch import save_file

    parts = load_file(trained / "parts.safetensors")
    save_file(parts | {"model.extra": torch.zeros(2)}, trained / "parts.safetensors")
    refused(trained, CheckpointError, "model.extra", "does not fit")
    weights = load_file(base / "model.safetensors")
    gone = next(name for name in weights if "mlp" in name)
    weights.pop(gone)
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    refused(base, CheckpointError, "lacks 1 weights")


def test_an_adapter_without_a_base_and_a_base_without_a_processor(
    base: Path, trained: Path
) -> None:
    edited(
        trained / "adapter" / "adapter_config.json",
        lambda c: c.update(base_model_name_or_path=None),
    )
    refused(trained / "adapter", CheckpointError, "does not name its base")
    for name in ("preprocessor_config.json", "processor_config.json"):
        (base / name).unlink(missing_ok=True)
    refused(base, CheckpointError)
