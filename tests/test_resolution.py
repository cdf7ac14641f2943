"""How large a model sees the images of a data set: one token for 28 x 28 pixels, or as many as asked for."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import Qwen2VLImageProcessor, Qwen2VLVideoProcessor

import models
from residency.backbones import qwen2_vl
from residency.data.mixture import Mixture
from residency.dataset import Sized, open_dataset
from residency.errors import DataError, UsageError
from residency.step import Workspace
from residency.task import PAPER
from residency.train.estimate import _spans
from residency.train.stage import Stage
from residency.train.values import Full
from residency.types import BLANK, PLAIN, Area

SMEAR = "phantoms:smear:train=4:val=2:test=2:size=32"


@pytest.fixture(scope="module")
def published() -> Any:
    """The processor of Qwen2-VL as released: 14 pixels a patch, 2 x 2 patches a token."""
    processor: Any = copy.deepcopy(models.shared("qwen2_vl").processor)
    processor.image_processor = Qwen2VLImageProcessor()
    processor.video_processor = Qwen2VLVideoProcessor()
    return processor


def test_a_28_x_28_image_is_one_token_only_where_the_least_area_says_so(published: Any) -> None:
    def tokens(area: Area, *size: int) -> int:
        return qwen2_vl.pixels(published, [Image.new("RGB", size)], area)[1][0].tokens

    assert tokens(Area(), 28, 28) == 4  # the processor enlarges it to 56 x 56
    assert tokens(Area(least=28 * 28), 28, 28) == 1  # the paper's one token
    assert tokens(Area(least=112 * 112), 28, 28) == 16
    assert tokens(Area(most=28 * 28), 224, 224) == 1
    assert tokens(Area(least=56 * 56, most=112 * 112), 224, 224) == 16


def test_slices_of_a_volume_take_the_area_of_a_frame(published: Any) -> None:
    clip = [Image.new("RGB", (28, 28))] * 4
    values, layouts = qwen2_vl.clips(published, [clip], Area(least=784, most=784))
    assert values["image_grid_thw"].tolist() == [[2, 2, 2]] and layouts[0].tokens == 2
    assert layouts[0].times == 2


def test_each_data_set_of_a_mixture_keeps_its_own_area() -> None:
    backbone = models.shared("qwen2_vl")  # 12 pixels a patch, 24 a token; 32 x 32 as it is: 1 token
    specs = (
        f"{SMEAR}:min_pixels=2304",
        "phantoms:lesion:train=4:val=2:test=2:size=32:min_pixels=576",
    )
    mixture = Mixture.of(
        [open_dataset(spec) for spec in specs], "train", wording=PAPER, codec=backbone.codec
    )
    batch = backbone.collate([mixture.reading(k) for k in (0, 4, 1)], [PLAIN])
    assert _spans(backbone, batch.prompts[PLAIN].tokens) == [4, 1, 4]
    alone = [backbone.collate([mixture.reading(k)], [PLAIN]) for k in (0, 4, 1)]
    together = torch.cat([one.pixels["pixel_values"] for one in alone])
    assert torch.equal(batch.pixels["pixel_values"], together)
    blank = backbone.collate([mixture.reading(k) for k in (0, 4)], [BLANK])
    assert _spans(backbone, blank.prompts[BLANK].tokens) == [4, 1]


def test_the_option_is_part_of_name_and_identity() -> None:
    plain, sized = open_dataset(SMEAR), open_dataset(f"{SMEAR}:min_pixels=784:max_pixels=3136")
    assert (
        sized.area == Area(784, 3136)
        and sized.name == f"{plain.name}:min_pixels=784:max_pixels=3136"
    )
    assert sized.digest != plain.digest and open_dataset(sized.name).digest == sized.digest
    sample = sized.split("train")[-1]
    assert sample.dataset == sized.name and sample.images[0].area == sized.area
    assert [s.id for s in sized.split("train")[1:3]] == [s.id for s in plain.split("train")[1:3]]
    for wrong, says in (
        ("min_pixels=0", "1 or more"),
        ("max_pixels=x", "whole numbers"),
        ("min_pixels=1:min_pixels=2", "given twice"),
    ):
        with pytest.raises(UsageError, match=says):
            open_dataset(f"{SMEAR}:{wrong}")
    with pytest.raises(UsageError, match="above max_pixels"):
        open_dataset(f"{SMEAR}:min_pixels=9:max_pixels=8")


def test_boxes_in_pixels_of_the_resized_image_refuse_an_area() -> None:
    backbone = models.backbone("qwen2_vl")
    from residency.codec_pixels import Qwen25VLCodec

    backbone.family = type("Other", (), {**vars(backbone.family), "codec": Qwen25VLCodec()})
    backbone.composer.family = backbone.family
    dataset = open_dataset("phantoms:smear:task=detection:train=2:val=2:test=2:min_pixels=9000")
    mixture = Mixture.of([dataset], "train", wording=PAPER, codec=backbone.codec)
    with pytest.raises(DataError, match="cannot have an area of its own"):
        backbone.collate([mixture.reading(0)], [PLAIN])


def test_the_plan_says_how_much_of_an_image_is_seen_and_warns_under_four(tmp_path) -> None:
    from residency.objectives.likelihood import Likelihood

    base = str(models.folder("qwen2_vl"))
    stage = Stage(
        name="tune", after="base", data=(SMEAR, f"{SMEAR.replace('smear', 'chest')}:min_pixels=3600"),
        objective=Likelihood(), train={"connector": Full(lr=1e-3)},
    )  # fmt: skip
    place = Workspace(out=tmp_path, base=base, seed=0, limit=None, command="residency run umit")
    lines = stage.plan(place)
    assert any("about 1 image tokens a sample" in line for line in lines)
    (warning,) = [line for line in lines if line.startswith("warning")]
    assert "phantoms:smear" in warning and "becomes 1 token," in warning and "min_pixels" in warning


def test_further_questions_belong_to_the_data_set_of_that_area() -> None:
    sample = open_dataset(SMEAR).split("train")[0]
    (sized,) = Sized((replace(sample, also=(sample,)),), "smear:min_pixels=9", Area(least=9))
    assert [one.dataset for one in (sized, *sized.also)] == ["smear:min_pixels=9"] * 2
