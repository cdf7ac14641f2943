"""The expert: joint head, loss on a slice, trunks of every kind, fitting, and its folder."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from residency.data.strata import stratified
from residency.dataset import Dataset
from residency.errors import CheckpointError, DataError, UsageError
from residency.evaluate.experts import answers
from residency.model.expert import Expert, Layout, layout
from residency.model.trunk import build
from residency.step import Workspace
from residency.train import expert as training
from residency.train.expert import Augment, augmented, fit, slice_loss
from residency.train.expert_step import FitExpert, limited
from residency.train.expert_table import tabulate
from residency.train.journal import read_journal
from residency.types import Picture, Sample

STILL = Augment(shift=0.0, brightness=0.0, contrast=0.0)
MEDMNIST = {
    "path": 9, "chest": 14, "derma": 7, "oct": 4, "pneumonia": 2, "retina": 5,
    "breast": 2, "blood": 8, "tissue": 8, "organa": 11, "organc": 11, "organs": 11,
}  # fmt: skip


def named(name: str, labels: tuple[str, ...], *, multi_label: bool = False, **splits) -> Dataset:
    return Dataset(
        name=name, labels=labels, multi_label=multi_label, splits=splits, digest=f"{name}-test"
    )


def picture(key: str, level: int, *, side: int = 16, seed: int = 0) -> Picture:
    noise = np.random.default_rng(seed).integers(-20, 20, (side, side, 3))
    image = Image.fromarray(np.clip(level + noise, 0, 255).astype(np.uint8))
    return Picture(key=key, load=lambda: image)


def grey_levels(name: str, labels: tuple[str, ...], count: int, *, offset: int = 0) -> Dataset:
    """Images whose brightness is their label: separable by any classifier."""

    def split(which: str, seed: int) -> tuple[Sample, ...]:
        made = []
        for i in range(count):
            k = i % len(labels)
            level = offset + 30 + 180 * k // max(1, len(labels) - 1)
            key = f"{name}-{which}-{i}"
            image = picture(key, level, seed=seed + i)
            made.append(
                Sample(
                    id=key, dataset=name, task="classification", answer=labels[k],
                    images=(image,), options=labels,
                )
            )  # fmt: skip
        return tuple(made)

    return named(name, labels, train=split("train", 0), val=split("val", 500), test=split("t", 900))


def several(name: str) -> Dataset:
    """A multi-label set: `bright`, `noisy`, both, or none of them."""
    answers_ = [(), ("bright",), ("noisy",), ("bright", "noisy")]
    samples = tuple(
        Sample(
            id=f"{name}-{i}", dataset=name, task="classification", answer=answers_[i % 4],
            images=(picture(f"{name}-{i}", 60 + 120 * (i % 2), seed=i),),
        )
        for i in range(8)
    )  # fmt: skip
    return named(name, ("bright", "noisy"), multi_label=True, train=samples, val=samples)


# --- the joint head ---------------------------------------------------------------------------


def test_twelve_medmnist_sets_need_70_outputs_and_the_organ_sets_share_theirs():
    sets = [
        named(
            name,
            tuple(f"{'organ' if name.startswith('organ') else name} {i}" for i in range(count)),
            multi_label=name == "chest",
        )
        for name, count in MEDMNIST.items()
    ]
    joint = layout(sets)
    assert joint.outputs == 70
    organ = [joint.of(d) for d in sets[-3:]]
    assert {(part.start, part.stop) for part in organ} == {(organ[0].start, organ[0].start + 11)}
    assert [part.dataset for part in organ] == ["organa", "organc", "organs"]
    owned = torch.stack([joint.inside(joint.of(d)) for d in sets[:-2]]).sum(0)
    assert owned.tolist() == [1] * 70
    assert [part.dataset for part in joint.slices if part.multi_label] == ["chest"]
    assert Layout.from_json(json.loads(json.dumps(joint.to_json()))) == joint


def test_same_labels_of_another_kind_get_their_own_outputs():
    labels = ("a", "b")
    assert layout([named("x", labels), named("y", labels, multi_label=True)]).outputs == 4
    assert layout([named("x", labels), named("y", ("b", "a"))]).outputs == 4


def test_a_set_with_known_labels_is_answered_by_the_slice_of_another():
    joint = layout([named("retina", ("0", "1")), named("x", ("a", "b"))])
    assert joint.of(named("aptos", ("0", "1"))).dataset == "retina"
    with pytest.raises(UsageError, match="no outputs for the 3 labels of data set 'y'"):
        joint.of(named("y", ("a", "b", "c")))


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ([], "at least one data set"),
        ([named("vqa", ())], "'vqa' has no closed label set"),
        ([named("x", ("a",)), named("x", ("b",))], "'x' is given twice"),
    ],
)
def test_impossible_heads_are_refused(sets, message):
    with pytest.raises(UsageError, match=message):
        layout(sets)


# --- the loss ---------------------------------------------------------------------------------


def test_loss_and_gradient_live_on_the_slice_of_the_sample():
    torch.manual_seed(0)
    logits = torch.randn(2, 7, requires_grad=True)
    inside = torch.tensor([[1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1]]).bool()
    targets = F.one_hot(torch.tensor([1, 6]), 7).float()
    loss = slice_loss(logits, targets, inside, torch.tensor([False, False]))
    expected = [
        F.cross_entropy(logits[:1, :3], torch.tensor([1])),
        F.cross_entropy(logits[1:, 4:], torch.tensor([2])),
    ]
    torch.testing.assert_close(loss, torch.stack(expected))
    loss.sum().backward()
    assert (logits.grad[~inside] == 0).all()
    assert (logits.grad[inside] != 0).all()


def test_multi_label_loss_is_the_mean_bce_of_the_slice():
    logits = torch.tensor([[9.0, -1.0, 2.0, 0.5]], requires_grad=True)
    inside = torch.tensor([[False, True, True, True]])
    targets = torch.tensor([[0.0, 0.0, 1.0, 0.0]])
    loss = slice_loss(logits, targets, inside, torch.tensor([True]))
    expected = F.binary_cross_entropy_with_logits(logits[:, 1:], targets[:, 1:])
    torch.testing.assert_close(loss[0], expected)
    loss.sum().backward()
    assert logits.grad[0, 0] == 0
    assert (logits.grad[0, 1:] != 0).all()


def test_right_needs_every_label_of_a_multi_label_answer():
    inside = torch.tensor([[False, True, True]] * 3)
    targets = torch.tensor([[0.0, 1.0, 0.0]] * 3)
    logits = torch.tensor([[9.0, 2.0, 1.0], [9.0, 2.0, -1.0], [9.0, 1.0, 2.0]])
    several_, single = torch.ones(3).bool(), torch.zeros(3).bool()
    assert training.right(logits, targets, inside, several_).tolist() == [False, True, False]
    assert training.right(logits, targets, inside, single).tolist() == [True, True, False]


# --- trunks and features ----------------------------------------------------------------------


def test_small_gives_logits_and_features_of_its_declared_sizes():
    expert = Expert.create("small", [named("x", ("a", "b", "c"))], seed=0).eval()
    assert sum(p.numel() for p in expert.parameters()) < 600_000
    pixels = torch.rand(2, 3, expert.image_size, expert.image_size)
    assert expert(pixels).shape == (2, 3)
    assert expert.features(pixels, "cls").shape == (2, 1, expert.width)
    patches = expert.features(pixels, "patches")
    assert patches.shape == (2, expert.patches, expert.width)
    torch.testing.assert_close(patches.mean(1), expert.features(pixels, "cls")[:, 0])


def test_pixels_are_resized_and_normalised_and_bytes_agree_with_them():
    expert = Expert.create("small", [named("x", ("a", "b"))], image_size=16, seed=0)
    images = [
        Image.new("RGB", (40, 20), (255, 0, 51)),
        Image.new("L", (16, 16), 255),
        Image.new("P", (8, 8)),
    ]
    pixels = expert.pixels(images)
    assert pixels.shape == (3, 3, 16, 16)
    assert pixels.dtype == torch.float32
    torch.testing.assert_close(pixels[0, :, 3, 5], torch.tensor([1.0, -1.0, -0.6]))
    assert (pixels[1] == 1).all()
    assert torch.equal(expert.normalised(expert.resized(images)), pixels)


def tiny_vit(folder, *, processor: bool = True):
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(1)
    config = ViTConfig(
        hidden_size=12, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        image_size=16, patch_size=8, num_labels=3,
    )  # fmt: skip
    model = ViTForImageClassification(config).eval()
    model.save_pretrained(folder)
    if processor:
        facts = {
            "image_processor_type": "ViTImageProcessor", "size": {"height": 16, "width": 16},
            "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "resample": 3,
            "do_resize": True, "do_normalize": True, "do_rescale": True,
        }  # fmt: skip
        (folder / "preprocessor_config.json").write_text(json.dumps(facts))
    return model


def test_a_hugging_face_vit_on_disk_gives_its_own_cls_and_patch_tokens(tmp_path):
    model = tiny_vit(tmp_path / "vit")
    expert = Expert.create(str(tmp_path / "vit"), [named("x", ("a", "b"))], seed=0).eval()
    assert (expert.image_size, expert.width, expert.patches) == (16, 12, 4)
    assert expert.spec.mean == (0.1, 0.2, 0.3)
    assert expert.spec.std == (0.4, 0.5, 0.6)
    assert expert.spec.resample == "bicubic"
    pixels = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        hidden = model.vit(pixels).last_hidden_state
        torch.testing.assert_close(expert.features(pixels, "cls")[:, 0], hidden[:, 0])
        torch.testing.assert_close(expert.features(pixels, "patches"), hidden[:, 1:])
    expert.save(tmp_path / "expert")
    for file in (tmp_path / "vit").iterdir():
        file.unlink()  # the saved expert needs nothing of its source
    again = Expert.load(tmp_path / "expert")
    with torch.no_grad():
        assert torch.equal(again(pixels), expert(pixels))


def test_every_weight_of_a_vision_transformer_gets_a_gradient(tmp_path):
    tiny_vit(tmp_path, processor=False)
    expert = Expert.create(str(tmp_path), [named("x", ("a", "b"))], seed=0)
    assert expert.spec.mean == (0.5, 0.5, 0.5)  # no processor
    expert(torch.randn(2, 3, 16, 16)).square().sum().backward()
    assert [name for name, p in expert.named_parameters() if p.grad is None] == []


def test_a_processor_that_cannot_be_read_is_not_passed_over(tmp_path):
    tiny_vit(tmp_path, processor=False)
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read as an image processor"):
        Expert.create(str(tmp_path), [named("x", ("a", "b"))], seed=0)


def test_weights_that_do_not_fill_the_model_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    tiny_vit(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    lost = next(name for name in weights if "layer" in name and name.endswith("weight"))
    del weights[lost]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match="lack 1 tensors of ViTModel"):
        Expert.create(str(tmp_path), [named("x", ("a", "b"))], seed=0)


def test_a_vision_transformer_reads_another_size_by_interpolation(tmp_path):
    tiny_vit(tmp_path)
    expert = Expert.create(str(tmp_path), [named("x", ("a", "b"))], image_size=32, seed=0)
    assert (expert.image_size, expert.patches) == (32, 16)


# model type, configuration, patches at 32 pixels, tokens before the patches
FAMILIES = [
    ("convnext", {"hidden_sizes": [4, 4, 8, 8], "depths": [1, 1, 1, 1]}, 1, 0),
    ("resnet", {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "embedding_size": 4}, 1, 0),
    ("swin", {"embed_dim": 4, "depths": [1, 1], "num_heads": [1, 1], "window_size": 4,
              "image_size": 32}, 16, 0),
    ("dinov2_with_registers", {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
                               "image_size": 32, "patch_size": 8}, 16, 5),
    ("deit", {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
              "intermediate_size": 8, "image_size": 32, "patch_size": 8}, 16, 2),
    ("siglip_vision_model", {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
                             "intermediate_size": 8, "image_size": 32, "patch_size": 8}, 16, 0),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "values", "patches", "prefix"), FAMILIES, ids=lambda v: str(v))
def test_hugging_face_families(kind, values, patches, prefix, tmp_path):
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    model = AutoModel.from_config(AutoConfig.for_model(kind, **values)).eval()
    model.save_pretrained(tmp_path / "hub")
    expert = Expert.create(str(tmp_path / "hub"), [named("x", ("a", "b"))], image_size=32, seed=0)
    expert.eval()
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        output = model(pixel_values=pixels)
        cls, tokens = expert.features(pixels, "cls"), expert.features(pixels, "patches")
    hidden = output.last_hidden_state
    hidden = hidden.flatten(2).transpose(1, 2) if hidden.ndim == 4 else hidden
    assert expert.patches == patches
    torch.testing.assert_close(tokens, hidden[:, prefix:])
    expected = hidden[:, 0] if prefix else output.pooler_output.flatten(1)
    torch.testing.assert_close(cls[:, 0], expected)
    expert.save(tmp_path / "expert")
    with torch.no_grad():
        assert torch.equal(Expert.load(tmp_path / "expert")(pixels), expert(pixels))


def test_the_image_side_of_a_model_of_images_and_text_serves(tmp_path):
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    tower = {
        "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8,
    }  # fmt: skip
    config = CLIPConfig(
        vision_config={**tower, "image_size": 16, "patch_size": 8},
        text_config={**tower, "vocab_size": 10, "max_position_embeddings": 8},
        projection_dim=8,
    )
    model = CLIPModel(config).eval()
    model.save_pretrained(tmp_path)
    expert = Expert.create(str(tmp_path), [named("x", ("a", "b"))], seed=0).eval()
    pixels = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        hidden = model.vision_model(pixels).last_hidden_state
        torch.testing.assert_close(expert.features(pixels, "cls")[:, 0], hidden[:, 0])


def test_a_masked_autoencoder_is_refused_because_it_drops_random_patches(tmp_path):
    from transformers import ViTMAEConfig, ViTMAEModel

    config = ViTMAEConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        image_size=32, patch_size=4,
    )  # fmt: skip
    ViTMAEModel(config).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="reads the same image differently each time"):
        Expert.create(str(tmp_path), [named("x", ("a", "b"))], seed=0)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "mobilenetv3_small_050", "test_resnet"])
def test_timm_models_start_random_and_come_back_from_disk(name, tmp_path):
    expert = Expert.create(f"timm:{name}", [named("x", ("a", "b"))], image_size=32, seed=3).eval()
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert expert.features(pixels, "cls").shape == (2, 1, expert.width)
        assert expert.features(pixels, "patches").shape == (2, expert.patches, expert.width)
        expert.save(tmp_path)
        assert torch.equal(Expert.load(tmp_path)(pixels), expert(pixels))


def test_weights_follow_the_seed_and_leave_the_global_generator_alone():
    sets = [named("x", ("a", "b"))]
    before = torch.random.get_rng_state()
    first, again, other = (Expert.create("small", sets, seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.head.weight, again.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("timm:resnet1", "timm has no model 'resnet1'"),
        ("timm:resnet18,trained", "Unknown option 'trained'"),
        ("/nowhere/at/all", "Cannot open an expert from '/nowhere/at/all'"),
    ],
)
def test_unknown_sources_are_one_line(source, message):
    with pytest.raises(UsageError, match=message) as caught:
        Expert.create(source, [named("x", ("a", "b"))], seed=0)
    assert "\n" not in str(caught.value)


def test_impossible_sizes_are_refused():
    with pytest.raises(UsageError, match="image_size=4 is too small"):
        Expert.create("small", [named("x", ("a", "b"))], image_size=4, seed=0)


# --- the folder -------------------------------------------------------------------------------


def test_save_and_load_round_trip(tmp_path):
    sets = [grey_levels("x", ("dark", "bright"), 4), several("y")]
    expert = Expert.create("small", sets, image_size=16, seed=0).eval()
    expert.save(tmp_path)
    again = Expert.load(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"expert.json", "expert.safetensors"}
    assert (again.layout, again.spec, again.training) == (expert.layout, expert.spec, False)
    state = again.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in expert.state_dict().items())


def test_what_is_missing_or_broken_is_a_checkpoint_error(tmp_path):
    with pytest.raises(CheckpointError, match=r"expert\.json is missing"):
        Expert.load(tmp_path)
    Expert.create("small", [named("x", ("a", "b"))], image_size=16, seed=0).save(tmp_path)
    whole = (tmp_path / "expert.safetensors").read_bytes()
    (tmp_path / "expert.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="cannot be read"):
        Expert.load(tmp_path)
    (tmp_path / "expert.safetensors").write_bytes(whole)
    facts = json.loads((tmp_path / "expert.json").read_text())
    (tmp_path / "expert.json").write_text(json.dumps({**facts, "format": 99}))
    with pytest.raises(CheckpointError, match="format 99"):
        Expert.load(tmp_path)


def test_a_trunk_is_rebuilt_from_its_specification_alone():
    expert = Expert.create("small", [named("x", ("a", "b"))], image_size=16, seed=0)
    rebuilt = build(expert.spec)
    assert [n for n, _ in rebuilt.named_parameters()] == [
        n for n, _ in expert.trunk.named_parameters()
    ]


def test_adopting_takes_the_trunk_and_the_outputs_of_equal_labels():
    old = Expert.create("small", [named("a", ("p", "q")), named("b", ("r", "s"))], seed=0)
    new = Expert.create("small", [named("c", ("x", "y", "z")), named("d", ("r", "s"))], seed=1)
    fresh = new.head.weight[:3].clone()
    assert new.adopt(old) == 2
    assert torch.equal(new.head.weight[3:], old.head.weight[2:])
    assert torch.equal(new.head.weight[:3], fresh)
    state = old.trunk.state_dict()
    assert all(torch.equal(value, state[n]) for n, value in new.trunk.state_dict().items())
    with pytest.raises(UsageError, match="Cannot start a small expert 'small' at 32 pixels"):
        Expert.create("small", [named("a", ("p", "q"))], image_size=32, seed=0).adopt(old)


# --- fitting ----------------------------------------------------------------------------------


def fitted(datasets, *, seed=0, epochs=4, start=None, source="small", augment=STILL):
    expert = Expert.create(source, datasets, image_size=16, seed=seed)
    report = fit(
        expert, datasets, epochs=epochs, lr=5e-3, batch_size=8, seed=seed, start=start,
        augment=augment,
    )  # fmt: skip
    return expert, report


def test_joint_fit_learns_every_set_and_reports_each():
    sets = [
        grey_levels("x", ("dark", "bright"), 16),
        grey_levels("y", ("low", "mid", "high"), 24),
        several("z"),
    ]
    expert, report = fitted(sets, epochs=6)
    best = report.epochs[report.best - 1]
    assert set(best["val_accuracies"]) == {"x", "y", "z"}
    assert best["val_accuracy"] == pytest.approx(sum(best["val_accuracies"].values()) / 3)
    assert best["val_accuracies"]["x"] >= 0.9
    assert best["val_accuracies"]["y"] >= 0.6
    assert report.epochs[-1]["loss"] < report.epochs[0]["loss"]
    said = answers(expert, sets[0].split("val"), sets[0])
    share = sum(p.answer == p.reference for p in said) / len(said)
    assert share == pytest.approx(best["val_accuracies"]["x"])  # the kept epoch is what answers
    assert {(p.view, p.finish) for p in said} == {("", "scored")}
    for prediction in said:
        scores = prediction.scores
        assert sum(np.exp(value) for value in scores.values()) == pytest.approx(1, abs=1e-5)
        assert max(scores, key=scores.__getitem__) == prediction.answer
    both = answers(expert, sets[2].split("val"), sets[2])
    assert all(
        p.answer == tuple(label for label, s in p.scores.items() if s > np.log(0.5)) for p in both
    )


def test_fit_is_deterministic_given_its_seed():
    sets = [grey_levels("x", ("dark", "bright"), 8)]
    first, one = fitted(sets, epochs=2, augment=Augment())
    torch.rand(7)  # the global generator must not matter
    second, two = fitted(sets, epochs=2, augment=Augment())
    assert one == two
    state = second.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in first.state_dict().items())
    _, other = fitted(sets, epochs=2, seed=1, augment=Augment())
    assert other.epochs != one.epochs


def test_dropout_follows_the_seed_too(tmp_path):
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        image_size=16, patch_size=8, hidden_dropout_prob=0.5,
    )  # fmt: skip
    ViTModel(config).save_pretrained(tmp_path)
    sets = [grey_levels("x", ("dark", "bright"), 8)]
    _, one = fitted(sets, source=str(tmp_path))
    torch.rand(7)
    before = torch.random.get_rng_state()
    _, two = fitted(sets, source=str(tmp_path))
    assert one == two
    assert torch.equal(torch.random.get_rng_state(), before)


def scripted(monkeypatch, scores):
    """Make validation return these (accuracy, loss) pairs, and epochs only add one to the bias."""
    rows = iter(scores)
    monkeypatch.setattr(
        training,
        "_validate",
        lambda *_: dict(zip(("val_accuracy", "val_loss"), next(rows), strict=True)),
    )

    def step(expert, *_):
        expert.head.bias.data += 1
        return 0.0

    monkeypatch.setattr(training, "_epoch", step)


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([(0.5, 1.0), (0.9, 1.0), (0.7, 0.1)], 2),  # accuracy decides, the last epoch does not
        ([(0.9, 1.0), (0.9, 0.5), (0.9, 0.7)], 2),  # ties go to the lower loss
        ([(0.9, 0.5), (0.9, 0.5), (0.1, 0.1)], 1),  # and then to the earlier epoch
    ],
)
def test_the_best_epoch_is_kept_and_restored(monkeypatch, scores, best):
    scripted(monkeypatch, scores)
    sets = [grey_levels("x", ("dark", "bright"), 4)]
    expert = Expert.create("small", sets, image_size=16, seed=0)
    bias = expert.head.bias.detach().clone()
    said = []
    report = fit(expert, sets, epochs=3, lr=1e-3, batch_size=4, seed=0, log=said.append)
    assert report.best == best
    torch.testing.assert_close(expert.head.bias.cpu(), bias + best)
    assert said == report.epochs
    assert [row["epoch"] for row in said] == [1, 2, 3]
    assert not any(p.requires_grad for p in expert.parameters())


def test_fit_starts_from_an_earlier_expert(tmp_path):
    old = [grey_levels("x", ("dark", "bright"), 8)]
    expert, _ = fitted(old, epochs=3)
    expert.save(tmp_path)
    new = [grey_levels("y", ("dark", "bright"), 8), grey_levels("z", ("a", "b", "c"), 6)]
    _, report = fitted(new, epochs=1, start=tmp_path)
    assert (report.taken_over, report.outputs) == (2, 5)


def test_images_that_do_not_fit_in_memory_are_decoded_each_time():
    sets = [grey_levels("x", ("dark", "bright"), 6), grey_levels("y", ("a", "b", "c"), 5)]
    expert = Expert.create("small", sets, image_size=16, seed=0)
    size = 11 * 3 * 16 * 16
    kept, streamed = (tabulate(expert, sets, "train", memory=m) for m in (size, size - 1))
    assert (kept.pixels.held, streamed.pixels.held) == (size, 0)
    rows = torch.tensor([10, 0, 5, 6])
    assert torch.equal(kept.pixels[rows], streamed.pixels[rows])
    images = [
        sets[k].split("train")[i].images[0].load() for k, i in ((1, 4), (0, 0), (0, 5), (1, 0))
    ]
    assert torch.equal(kept.pixels[rows], expert.resized(images))
    assert kept.targets[rows].argmax(1).tolist() == [3, 0, 1, 2]


def test_bad_samples_and_settings_are_named():
    good = grey_levels("x", ("dark", "bright"), 4)
    expert = Expert.create("small", [good], image_size=16, seed=0)
    first = good.split("train")[0]
    for bad, message in (
        (replace(first, answer="purple"), "'x-train-0' has label 'purple'"),
        (replace(first, images=()), "'x-train-0' has no image"),
    ):
        with pytest.raises((DataError, UsageError), match=message):
            tabulate(expert, [replace(good, splits={"train": (bad,)})], "train")
    with pytest.raises(UsageError, match="split 'val' of data set 'x' is empty"):
        tabulate(expert, [replace(good, splits={"val": ()})], "val")
    with pytest.raises(UsageError, match="epochs=0"):
        fit(expert, [good], epochs=0, lr=1e-3, batch_size=4, seed=0)


def test_a_batch_of_one_left_over_still_trains():
    _, report = fitted([grey_levels("x", ("dark", "bright"), 9)], epochs=1)
    assert np.isfinite(report.epochs[0]["loss"])


# --- the step ---------------------------------------------------------------------------------


def workspace(out, *sets, limit=None):
    opened = {dataset.name: dataset for dataset in sets}
    return Workspace(out=out, base="", seed=3, limit=limit, command="test", _open=opened)


def test_the_step_keeps_to_the_limit_and_tells_of_every_epoch(tmp_path, capsys):
    sets = (grey_levels("x", ("dark", "bright"), 12), grey_levels("y", ("a", "b", "c"), 9))
    space = workspace(tmp_path, *sets, limit=6)
    step = FitExpert(name="expert", data=("x", "y"), epochs=2, batch_size=4)
    said = step.plan(space)
    assert said[0] == "x/train: 6 of 12 samples"
    assert said[3] == "y/val: 6 of 9 samples"
    assert said[-1] == "small, 5 outputs, 2 epochs of batches of 4, lr 0.001"
    assert list(tmp_path.iterdir()) == []
    facts = step.run(space)
    assert [tuple(share.values()) for share in facts["samples"]] == [
        ("x", "train", 6, 12, 0), ("x", "val", 6, 12, 0), ("y", "train", 6, 9, 0), ("y", "val", 6, 9, 0),
    ]  # fmt: skip
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["expert 1/2", "expert 2/2"]
    assert lines[1].endswith("  0 s left")
    rows, unreadable = read_journal(tmp_path / "expert" / "journal.jsonl")
    assert unreadable == 0
    assert [row["loss"] for row in rows] == [row["loss"] for row in facts["report"]["epochs"]]
    assert Expert.load(space.expert("expert")).layout.outputs == 5


def test_the_limit_picks_what_a_mixture_picks():
    data = grey_levels("x", ("dark", "mid", "bright"), 30)
    cut, _ = limited([data], 10, seed=5)
    picks = stratified(data.split("train"), 10, 5)
    assert [s.id for s in cut[0].split("train")] == [f"x-train-{i}" for i in picks]
    whole = limited([data], None, seed=5)[0][0]
    assert all(whole.split(split) is data.split(split) for split in ("train", "val"))
    assert set(cut[0].splits) == {"train", "val"}  # an expert is fitted on nothing else
    with pytest.raises(UsageError, match="limit=0"):
        limited([data], 0, seed=5)


def test_the_learning_rate_follows_the_source():
    assert FitExpert(name="e", data=()).rate == 1e-3
    assert FitExpert(name="e", data=(), source="timm:resnet18").rate == 5e-5
    assert FitExpert(name="e", data=(), source="timm:resnet18", lr=0.1).rate == 0.1


def test_a_source_is_opened_before_anything_trains(tmp_path):
    data = grey_levels("x", ("dark", "bright"), 4)
    space = workspace(tmp_path / "run", data)
    tiny_vit(tmp_path / "vit")
    for source, words in (
        (str(tmp_path / "vit"), f"{tmp_path / 'vit'} (vit), 2 outputs"),
        ("timm:test_resnet,pretrained", "timm:test_resnet,pretrained at 160 pixels, 2 outputs"),
    ):
        assert words in FitExpert(name="e", data=("x",), source=source).plan(space)[-1]
    for source, message in (
        ("smal", "No expert 'smal' on this machine"),
        ("timm:resnet81", "timm has no model 'resnet81'"),
        ("timm:test_resnet,trained", "Unknown option 'trained'"),
    ):
        with pytest.raises(UsageError, match=message):
            FitExpert(name="e", data=("x",), source=source).check(space)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ()}, "no closed label set"),
        ({"splits": {"train": (), "val": ()}}, "split 'train' of data set 'x' is empty"),
        ({"splits": {}}, "no split 'train'"),
    ],
)
def test_unfit_data_is_refused_before_anything_trains(change, message, tmp_path):
    data = replace(grey_levels("x", ("dark", "bright"), 4), **change)
    with pytest.raises(UsageError, match=message):
        FitExpert(name="e", data=("x",)).check(workspace(tmp_path, data))
    good = workspace(tmp_path, grey_levels("x", ("dark", "bright"), 4))
    with pytest.raises(UsageError, match="epochs=0"):
        FitExpert(name="e", data=("x",), epochs=0).check(good)


# --- augmentation -----------------------------------------------------------------------------


def test_augmentation_moves_and_brightens_by_no_more_than_it_says():
    ramp = torch.arange(20, dtype=torch.uint8).expand(6, 3, 20, 20).contiguous() * 5 + 40
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(augmented(ramp, STILL, generator), ramp.float())
    moved = augmented(ramp, replace(STILL, shift=0.1), generator)
    steps = (moved[:, 0, 0, 10] - ramp[:, 0, 0, 10].float()) / 5
    assert torch.equal(steps, steps.round())
    assert steps.abs().max() <= 2
    assert steps.unique().numel() > 1
    bright = augmented(ramp, replace(STILL, brightness=0.1), generator) - ramp
    assert 0 < bright.abs().max() <= 25.5 + 1e-3
    flat = bright.flatten(1)
    torch.testing.assert_close(flat.amax(1), flat.amin(1))
    stretched = augmented(ramp, replace(STILL, contrast=0.1), generator)
    torch.testing.assert_close(stretched.mean((1, 2, 3)), ramp.float().mean((1, 2, 3)))


# --- real radiographs -------------------------------------------------------------------------


@pytest.mark.shared_data
@pytest.mark.slow
def test_small_learns_real_chest_radiographs(shared_data):
    path = shared_data / "medmnist" / "pneumoniamnist.npz"
    if not path.is_file():
        pytest.skip(f"no {path.name} among the real images")
    labels = ("normal", "pneumonia")
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}

    def split(which, count):
        pixels, truth = arrays[f"{which}_images"], arrays[f"{which}_labels"][:, 0]
        keep = np.concatenate([np.flatnonzero(truth == k)[: count // 2] for k in (0, 1)])
        return tuple(
            Sample(
                id=f"{which}-{i}", dataset="pneumonia", task="classification",
                answer=labels[truth[i]], options=labels,
                images=(Picture(key=f"{which}-{i}", load=lambda i=i: Image.fromarray(pixels[i])),),
            )
            for i in keep
        )  # fmt: skip

    data = named("pneumonia", labels, train=split("train", 320), val=split("val", 120))
    expert = Expert.create("small", [data], image_size=32, seed=0)
    report = fit(expert, [data], epochs=6, lr=3e-3, batch_size=16, seed=0)
    assert report.epochs[report.best - 1]["val_accuracy"] > 0.75  # chance is 0.5
