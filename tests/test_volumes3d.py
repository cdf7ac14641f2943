"""Phantom volumes under the 3D tasks, and slices read as one clip where a family has a video path."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText

import models
from residency.codec import Qwen2VLCodec
from residency.data.mixture import Mixture
from residency.data.volumes import Grid, Slices
from residency.dataset import Dataset, open_dataset
from residency.errors import DataError
from residency.evaluate.drawing import best_frame, shapes
from residency.model.huggingface import Backbone
from residency.phantoms.brush import grid
from residency.phantoms.modalities import ct
from residency.task import PAPER, task, text_of
from residency.types import BLANK, EXEMPLAR, PLAIN, SHUFFLED, Box3D, Reading

CODEC = Qwen2VLCodec()
ENDS = ("x1", "y1", "z1", "x2", "y2", "z2")
SMALL = "phantoms:ct_volume:size=48:train=12:val=2:test=2"


def readings(spec: str, count: int = 2) -> list[Reading]:
    mixture = Mixture.of([open_dataset(spec)], "train", wording=PAPER, codec=CODEC)
    return [mixture.reading(k, views=[SHUFFLED]) for k in range(count)]


def test_cuboids_are_the_extents_of_what_is_inside_every_outline() -> None:
    """Brute force over all voxels and slices."""
    found = 0
    split = open_dataset(f"{SMALL}:task=detection3d").splits["train"]
    x, y = grid(48)
    for index, sample in enumerate(split):
        organs = dict(zip(ct.ORGANS, split.case(index).geometry.organs, strict=False))
        lesions = split.case(index).geometry.organs[len(ct.ORGANS) :]
        some = lesions if sample.question == "lesion" else (organs[sample.question],)
        expected = []
        for organ in some:
            inside = np.zeros((ct.DEPTH, 48, 48), bool)
            for z in range(ct.DEPTH):
                section = organ.cut(float(z))
                if section is not None:
                    inside[z] = section[0].depth(x, y) > 0
            places = np.argwhere(inside)
            if len(places):
                low, high = places.min(axis=0)[::-1], places.max(axis=0)[::-1] + 1
                expected.append((*map(float, low), *map(float, high)))
        boxes = [(b.x1, b.y1, b.z1, b.x2, b.y2, b.z2) for b in sample.answer]
        assert boxes == expected
        found += len(boxes)
        said = text_of(task("detection3d").write(sample, CODEC))
        assert task("detection3d").read(said, sample, CODEC) == sample.answer
        assert said == "None." if not boxes else said.startswith("[(")
    assert found >= 8


def test_a_volume_without_lesion_has_an_explicit_empty_answer() -> None:
    split = open_dataset(f"{SMALL.replace('train=12', 'train=60')}:task=detection3d").splits
    empty = [s for s in split["train"] if s.question == "lesion" and not s.answer]
    assert empty and all(s.attributes["organ"] == "none" for s in empty)
    assert text_of(task("detection3d").write(empty[0], CODEC)) == "None."


def test_choices_offer_the_truth_among_other_values_of_the_trait() -> None:
    for language in ("en", "zh"):
        split = open_dataset(f"{SMALL}:task=mcq:language={language}").splits["train"]
        for sample in split:
            assert 2 <= len(sample.options) == len(set(sample.options)) <= 4
            assert sample.answer in sample.options and "slice level" not in sample.question
        places = {sample.options.index(sample.answer) for sample in split}
        assert len(places) > 1  # the letter gives nothing away


def test_a_cuboid_is_drawn_on_the_slices_that_it_crosses() -> None:
    split = open_dataset(f"{SMALL}:task=detection3d").splits["train"]
    sample = next(s for s in split if s.answer and s.question == "liver")
    (box,) = sample.answer
    frame = best_frame(sample.answer, sample.attributes)
    (drawn,) = shapes(sample.answer, sample.attributes, frame, (48, 48))
    assert (drawn.x1, drawn.y1, drawn.x2, drawn.y2) == (box.x1, box.y1, box.x2, box.y2)
    kept = Slices.of(sample.attributes)
    assert kept.as_stored and kept.places == tuple(range(1, 24, 2)) and kept.step_mm == -6
    turned = Slices(kept.places, 0.0, 6.0).attributes
    (other,) = shapes(sample.answer, turned, frame, (48, 48))
    assert (other.x1, other.x2) == (48 - box.x2, 48 - box.x1)


def test_answer_text_to_voxels_to_millimetres_to_text_is_exact() -> None:
    """Whole voxels survive any grid that is not oblique, in either direction of every axis."""
    for seed in range(20):
        _round_trip(np.random.default_rng(seed))


def _round_trip(rng: np.random.Generator) -> None:
    shape = tuple(int(n) for n in rng.integers(4, 300, 3))
    signs, sizes = rng.choice((-1, 1), 3), rng.uniform(0.3, 7, 3)
    affine = np.eye(4)
    affine[:3, :3] = np.diag(signs * sizes)
    affine[:3, 3] = rng.uniform(-400, 400, 3)
    lies = Grid(shape, tuple(tuple(map(float, row)) for row in affine))
    corners = [sorted(rng.choice(n + 1, 2, replace=False).tolist()) for n in shape[::-1]]
    (x1, x2), (y1, y2), (z1, z2) = corners
    numbers = map(float, (x1, y1, z1, x2, y2, z2))
    box = Box3D(name="liver", **dict(zip(ENDS, numbers, strict=True)))
    sample = open_dataset(f"{SMALL}:task=detection3d").splits["train"][0]
    said = f"[({x1},{y1},{z1}),({x2},{y2},{z2})]"
    (read,) = task("detection3d").read(said, sample, CODEC)
    millimetres = lies.box_mm(read)
    assert abs(millimetres[3] - millimetres[0]) == pytest.approx((x2 - x1) * sizes[0])
    back = lies.box("liver", millimetres)
    for end in ENDS:
        assert getattr(back, end) == pytest.approx(getattr(box, end), abs=1e-6)
    asked = replace(sample, question="liver", answer=(back,))
    assert text_of(task("detection3d").write(asked, CODEC)) == said


def test_slices_are_one_clip_for_qwen2_vl_and_several_images_elsewhere() -> None:
    pair = readings(f"{SMALL}:frames=4:task=report")
    one, other = models.shared("qwen2_vl"), models.shared("internvl")
    clip = one.collate(pair, [PLAIN, BLANK, SHUFFLED])
    grids = clip.pixels["image_grid_thw"].tolist()
    assert grids == [[2, 8, 8]] * len(grids) and 3 <= len(grids) <= 5  # own, grey, others
    assert len(clip.prompts[PLAIN].images) == 2
    apart = other.collate(pair, [PLAIN])
    assert len(apart.prompts[PLAIN].images) == 8
    assert all(len(r.conversation[0].parts) == 5 for r in pair)


def test_a_clip_is_read_as_transformers_reads_a_video() -> None:
    """The same logits as the family's own model with `pixel_values_videos`, all positions included."""
    backbone = models.backbone("qwen2_vl")
    (asked,) = readings(f"{SMALL}:frames=4:task=mcq", 1)
    batch = backbone.collate([asked], [PLAIN])
    prompt = batch.prompts[PLAIN]
    video = backbone.processor.video_token_id
    tokens = prompt.tokens.clone()
    shown = tokens == backbone.composer.image_id
    tokens[shown] = video
    frames = torch.from_numpy(np.stack([np.asarray(p.load()) for p in asked.sample.images]))
    made = backbone.processor.video_processor(
        videos=[frames.movedim(3, 1)],
        do_sample_frames=False,
        cap_pixels_per_frame=False,
        size=dict(backbone.processor.video_processor.size),
        return_tensors="pt",
    )
    assert torch.equal(made["pixel_values_videos"], batch.pixels["pixel_values"])
    model = AutoModelForImageTextToText.from_pretrained(str(models.folder("qwen2_vl"))).eval()
    with torch.no_grad():
        full = model(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            mm_token_type_ids=shown.long() * 2,
            **made,
        ).logits
        own = backbone.read(batch)[PLAIN]
    torch.testing.assert_close(own, full[0][prompt.predicts[0]], atol=2e-4, rtol=2e-4)


def test_a_clip_moves_the_logits_and_trees_read_it_like_rows() -> None:
    backbone: Backbone = models.shared("qwen2_vl")
    pair = readings(f"{SMALL}:frames=4:task=report")
    with torch.no_grad():
        rows = backbone.read(backbone.collate(pair, [PLAIN, BLANK]))
        trees = backbone.read(backbone.collate(pair, [PLAIN, BLANK], "trees"))
    for view in (PLAIN, BLANK):
        torch.testing.assert_close(rows[view], trees[view], atol=2e-4, rtol=2e-4)
    assert (rows[PLAIN] - rows[BLANK]).abs().max() > 0.05


def test_an_expert_refuses_a_volume() -> None:
    backbone = models.backbone("qwen2_vl")
    backbone.attach(models.expert())
    with pytest.raises(DataError, match="An expert reads images"):
        backbone.collate(readings(f"{SMALL}:frames=4:task=report"), [EXEMPLAR])


def test_a_data_set_of_volumes_is_sampled_like_any_other() -> None:
    dataset: Dataset = open_dataset(f"{SMALL}:task=classification")
    assert dataset.labels and len(dataset.splits["test"][0].images) == 12
    assert len({s.images[0].key for s in dataset.splits["test"]}) == 2
