"""Augmented images show the same answer; boxes and points lie on what they name."""

from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest
from PIL.Image import Image

from residency.data.augment import Augment, mirrors
from residency.errors import UsageError
from residency.types import Box, Picture, Point, Sample, Volume

EVERYTHING = ("rotate:15", "shift:0.1", "zoom:0.2", "brightness:0.2", "contrast:0.2", "flip:0.5")


def shown(draw: Callable[[PIL.ImageDraw.ImageDraw], None], **facts: Any) -> Sample:
    image = PIL.Image.new("RGB", (80, 60))
    draw(PIL.ImageDraw.Draw(image))
    facts = {"task": "detection", "answer": "yes"} | facts
    picture = Picture(key="k", load=lambda: image.copy(), size=image.size)
    return Sample(id="s", dataset="d", images=(picture,), **facts)


def bright(image: Image, level: int = 60) -> np.ndarray:
    return np.argwhere(np.asarray(image)[..., 0] > level)[:, ::-1]


@pytest.mark.parametrize("words", [("shift:0.2", "zoom:0.3", "flip:0.5"), EVERYTHING])
def test_boxes_move_with_what_they_frame(words):
    box = Box(name="cell", x1=30.0, y1=20.0, x2=50.0, y2=32.0)
    sample = shown(lambda d: d.rectangle((30, 20, 49, 31), fill=(200, 0, 0)), answer=(box,))
    augment, changed = Augment.of(words), 0
    for index in range(40):
        new = augment(sample, 3, 0, index)
        pixels = bright(new.images[0].load(), 105)
        (low_x, low_y), (high_x, high_y) = pixels.min(0), pixels.max(0) + 1
        moved = new.answer[0]
        found = np.array([moved.x1, moved.y1, moved.x2, moved.y2])
        assert np.abs(found - (low_x, low_y, high_x, high_y)).max() <= 1.0
        changed += moved != box
    assert changed > 30


def test_points_move_with_what_they_name():
    point = Point(name="tip", x=25.0, y=15.0)
    sample = shown(
        lambda d: d.rectangle((24, 14, 26, 16), fill=(200, 0, 0)), answer=(point,), task="landmark"
    )
    augment, turned = Augment.of(("rotate:40", "shift:0.1", "zoom:0.2", "flip:1")), 0
    for index in range(40):
        new = augment(sample, 0, 1, index)
        moved = new.answer[0]
        middle = bright(new.images[0].load()).mean(0)
        assert np.abs(middle - (moved.x, moved.y)).max() < 0.75
        turned += moved != point
        assert 0 <= moved.x < 80 and 0 <= moved.y < 60
    assert turned > 20


def test_what_would_leave_the_picture_stays_where_it_is():
    box = Box(name="cell", x1=0.0, y1=0.0, x2=80.0, y2=60.0)
    sample = shown(lambda d: None, answer=(box,))
    for index in range(20):
        new = Augment.of(("shift:0.3", "brightness:0.2"))(sample, 0, 0, index)
        assert new.answer == (box,)
        level = np.asarray(new.images[0].load())
        assert level.min() == level.max(), "no border was drawn in"


@pytest.mark.parametrize(
    ("facts", "safe"),
    [
        ({"task": "classification", "options": ("normal", "pneumonia"), "answer": "normal"}, True),
        ({"task": "classification", "options": ("kidney-left", "liver"), "answer": "liver"}, False),
        ({"task": "classification", "question": "Which side is affected?"}, False),
        ({"task": "classification", "question": "病变在哪一侧？", "language": "zh"}, False),
        ({"task": "vqa", "question": "Is the heart enlarged?"}, False),
        ({"task": "report", "answer": "The heart is normal."}, False),
        ({"answer": (Box(name="left lung", x1=1.0, y1=1.0, x2=2.0, y2=2.0),)}, False),
        ({"answer": (Box(name="cleft", x1=1.0, y1=1.0, x2=2.0, y2=2.0),)}, True),
    ],
)
def test_nothing_is_mirrored_where_sides_matter(facts, safe):
    sample = shown(lambda d: None, **facts)
    assert mirrors(sample) is safe
    sample = shown(lambda d: d.rectangle((0, 0, 39, 59), fill=(200, 0, 0)), **facts)
    pixels = np.asarray(Augment.of(("flip:1",))(sample, 0, 0, 0).images[0].load())
    assert (pixels[30, 60, 0] > 100) is np.bool_(safe)


def test_a_question_about_sides_keeps_all_that_share_its_image():
    also = shown(lambda d: None, task="classification", answer="left", options=("left", "right"))
    sample = shown(lambda d: None, task="classification", answer="a", also=(also,))
    new = Augment.of(("flip:1",))(sample, 0, 0, 0)
    assert not np.asarray(new.images[0].load()).any()
    assert mirrors(sample) and not mirrors(also)
    assert new.images[0].load().size == (80, 60)


def test_volumes_change_in_brightness_alone():
    volume = Volume(
        key="v", load=lambda: np.zeros((2, 2, 2), np.float32), spacing_mm=(1.0, 1.0, 1.0)
    )
    grey = (100, 100, 100)
    sample = shown(lambda d: d.rectangle((0, 0, 9, 9), fill=grey), task="report", volume=volume)
    new = Augment.of(("shift:0.4", "brightness:0.1"))(sample, 0, 0, 3)
    level = int(np.asarray(new.images[0].load())[5, 5, 0])
    assert level != 100
    assert len(bright(new.images[0].load(), 50)) == 100


def test_changes_follow_from_seed_epoch_and_sample():
    sample = shown(lambda d: d.ellipse((10, 10, 30, 30), fill=(200, 9, 9)), task="vqa")
    augment = Augment.of(EVERYTHING)
    keys = [augment(sample, *at).images[0].key for at in ((0, 0, 0), (0, 0, 0), (1, 0, 0))]
    assert keys[0] == keys[1] != keys[2]
    assert len({augment(sample, 0, epoch, 5).images[0].key for epoch in range(9)}) == 9
    assert Augment.of(())(sample, 0, 0, 0) is sample
    assert augment.describe.startswith("rotate 15, shift 0.1")


@pytest.mark.parametrize("words", [("rotat:3",), ("flip",), ("zoom:2",), ("flip:1", "flip:1")])
def test_changes_that_mean_nothing_are_refused(words):
    with pytest.raises(UsageError, match="augment"):
        Augment.of(words)
