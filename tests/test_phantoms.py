"""The painted data sets: exact facts, the same in every process, whatever the appearance."""

import hashlib
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from residency.catalog import find, names
from residency.codec import Qwen2VLCodec
from residency.dataset import open_dataset
from residency.datasets import phantoms
from residency.errors import UsageError
from residency.phantoms.case import fill, localise, report, say
from residency.phantoms.modalities import ct
from residency.phantoms.recent import Recent
from residency.task import Wording, task, text_of
from residency.types import Box, Point

KINDS = names("phantoms.modalities")
COUNT = 8
CODEC = Qwen2VLCodec()
PROBE = """
import hashlib, numpy as np
from residency.datasets.phantoms import load
for kind in {kinds!r}:
    sample = load(kind + ":shift=0.5").splits["test"][5]
    pixels = np.asarray(sample.images[0].load()).tobytes()
    print(hashlib.sha256(pixels + repr(sample.attributes).encode()).hexdigest())
"""


def pixels(spec: str, index: int, split: str = "train") -> np.ndarray:
    return np.asarray(phantoms.load(spec).splits[split][index].images[0].load())


def test_five_modalities_and_nothing_on_disk(tmp_path: Path) -> None:
    assert set(KINDS) == {"smear", "chest", "ct", "lesion", "fundus"}
    assert phantoms.recognises(tmp_path) is False
    assert open_dataset("phantoms").labels == phantoms.load(phantoms.DEFAULT).labels


def test_pixels_and_facts_are_equal_in_another_process() -> None:
    probe = PROBE.format(kinds=KINDS)
    env = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(Path("src").resolve())}
    found = subprocess.run(
        [sys.executable, "-c", probe], env=env, capture_output=True, text=True, check=True
    )
    here = []
    for kind in KINDS:
        sample = phantoms.load(f"{kind}:shift=0.5").splits["test"][5]
        content = np.asarray(sample.images[0].load()).tobytes() + repr(sample.attributes).encode()
        here.append(hashlib.sha256(content).hexdigest())
    assert found.stdout.split() == here


@pytest.mark.parametrize("kind", KINDS)
def test_images_differ_between_index_split_and_seed(kind: str) -> None:
    first = pixels(kind, 0)
    assert first.shape == (96, 96, 3) and first.dtype == np.uint8
    assert np.array_equal(first, pixels(kind, 0))
    for other in (pixels(kind, 1), pixels(kind, 0, "test"), pixels(f"{kind}:seed=1", 0)):
        assert not np.array_equal(first, other)
    assert pixels(f"{kind}:size=48", 0).shape == (48, 48, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_patients_stay_on_one_side_and_classes_are_balanced(kind: str) -> None:
    dataset = phantoms.load(f"{kind}:train=26:val=9:test=9")
    groups = {name: [s.group for s in split] for name, split in dataset.splits.items()}
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        assert not set(groups[one]) & set(groups[other])
    images = [groups["train"].count(group) for group in set(groups["train"])]
    assert set(images) <= {1, 2, 3, 4} and max(images) > 1
    answers = [s.answer for s in dataset.splits["train"]]
    counts = [answers.count(label) for label in dataset.labels]
    assert min(counts) > 0 and max(counts) - min(counts) <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_facts_come_from_the_closed_sets_and_labels_from_the_options(kind: str) -> None:
    modality = find("phantoms.modalities", kind)
    split = phantoms.load(kind).splits["train"]
    assert len(modality.TRAITS) >= 8
    for index in range(COUNT):
        case, sample = split.case(index), split[index]
        assert list(case.facts) == list(modality.TRAITS)
        assert all(value in modality.TRAITS[trait] for trait, value in case.facts.items())
        assert sample.answer in sample.options == phantoms.load(kind).labels
        assert len(sample.attributes) == len(modality.TRAITS)
        assert sample.group and sample.images[0].size == (96, 96)


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_and_landmarks_lie_inside_the_image(kind: str) -> None:
    boxes = phantoms.load(f"{kind}:task=detection").splits["train"]
    points = phantoms.load(f"{kind}:task=landmark").splits["train"]
    for index in range(COUNT):
        found, marks = boxes[index].answer, points[index].answer
        assert found and len(marks) >= 3
        for box in found:
            assert isinstance(box, Box)
            assert 0 <= box.x1 < box.x2 <= 96 and 0 <= box.y1 < box.y2 <= 96, box
        for mark in marks:
            assert isinstance(mark, Point)
            assert 0 <= mark.x <= 96 and 0 <= mark.y <= 96, mark
        assert len({mark.name for mark in marks}) == len(marks)


@pytest.mark.parametrize(
    ("kind", "outline"), [("smear", lambda g: g.body), ("lesion", lambda g: g.body),
                          ("fundus", lambda g: g.disc), ("chest", lambda g: g.heart)]
)  # fmt: skip
def test_the_box_covers_what_is_painted_and_no_more(kind: str, outline: object) -> None:
    names_box = {"smear": "cell", "lesion": "lesion", "fundus": "optic disc", "chest": "heart"}
    split = phantoms.load(f"{kind}:task=detection").splits["train"]
    for index in range(COUNT):
        box = next(b for b in split[index].answer if b.name == names_box[kind])
        mask = outline(split.case(index).geometry).mask(96, 0.004) > 0.5  # type: ignore[operator]
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        painted = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        assert np.abs(painted - (box.x1, box.y1, box.x2, box.y2)).max() <= 1.5


def test_what_is_in_the_box_differs_from_what_is_around_it() -> None:
    """The cell is darker than the field around it: the picture shows what the facts say."""
    split = phantoms.load("smear:task=detection").splits["train"]
    for index in range(COUNT):
        sample = split[index]
        grey = np.asarray(sample.images[0].load()).mean(axis=2)
        cell = sample.answer[0]
        x, y = int((cell.x1 + cell.x2) / 2), int((cell.y1 + cell.y2) / 2)
        assert grey[y - 3 : y + 4, x - 3 : x + 4].mean() < np.quantile(grey, 0.8) - 8


@pytest.mark.parametrize("kind", KINDS)
def test_shift_moves_the_pixels_and_nothing_else(kind: str) -> None:
    plain, moved = (phantoms.load(f"{kind}:shift={shift}").splits["val"] for shift in (0, 1))
    gaps = []
    for index in range(3):
        one, other = plain[index], moved[index]
        assert (one.answer, one.attributes, one.group) == (
            other.answer, other.attributes, other.group
        )  # fmt: skip
        assert plain.case(index).boxes == moved.case(index).boxes
        assert one.images[0].key != other.images[0].key
        images = [np.asarray(s.images[0].load()).astype(float) for s in (one, other)]
        gaps.append(np.abs(images[0] - images[1]).mean())
    assert min(gaps) > 5


@pytest.mark.parametrize("kind", KINDS)
def test_chinese_says_the_same_as_english(kind: str) -> None:
    modality = find("phantoms.modalities", kind)
    english, chinese = (phantoms.load(f"{kind}:language={lang}") for lang in ("en", "zh"))
    assert len(english.labels) == len(set(chinese.labels)) == len(modality.LABELS)
    assert english.modality == chinese.modality and set(english.modality) == {"en", "zh"}
    known = {*modality.TRAITS, *modality.LABELS, *sum(modality.TRAITS.values(), ())}
    assert known <= set(modality.WORDS)
    for index in range(COUNT):
        one, other = english.splits["train"][index], chinese.splits["train"][index]
        assert english.labels.index(one.answer) == chinese.labels.index(other.answer)
        case = english.splits["train"].case(index)
        translated = [say(modality, value, "zh") for value in case.facts.values()]
        assert list(localise(modality, case, "zh").values()) == translated
        assert list(one.attributes.values()) == list(case.facts.values())
        assert len(other.attributes) == len(one.attributes)
        assert fill(modality, case, case.caption, "zh").isascii() is False
        for language in ("en", "zh"):
            text = report(modality, case, language)
            assert "{" not in text and len(text.split("\n")) == 2
            assert say(modality, case.label, language).lower() in text.split("\n")[1].lower()


@pytest.mark.parametrize("name", phantoms.TASKS)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_task_asks_and_reads_back_its_answer(name: str, language: str) -> None:
    kinds = ["ct_volume"] if name == "detection3d" else [*KINDS]
    kinds += ["ct_volume"] * (name not in (*phantoms.FLAT, "detection3d"))
    for kind in kinds:
        split = phantoms.load(f"{kind}:task={name}:language={language}").splits["train"]
        for index in range(2):
            sample = split[index]
            assert sample.task == name and sample.language == language
            assert task(name).ask(sample, Wording())
            said = text_of(task(name).write(sample, CODEC))
            assert task(name).read(said, sample, CODEC) is not None
            if isinstance(sample.answer, str):
                assert task(name).read(said, sample, CODEC) == sample.answer


@pytest.mark.parametrize("kind", KINDS)
def test_questions_are_answered_by_the_facts(kind: str) -> None:
    split = phantoms.load(f"{kind}:task=vqa").splits["train"]
    verdicts = []
    for index in range(20):
        sample = split[index]
        if sample.options:
            assert sample.options == ("yes", "no")
            trait = next(t for t in sorted(sample.attributes, key=len, reverse=True)
                         if sample.question.startswith(f"Is the {t} "))  # fmt: skip
            asked = sample.question.removeprefix(f"Is the {trait} ").removesuffix("?")
            assert sample.answer == ("yes" if sample.attributes[trait] == asked else "no")
            verdicts.append(sample.answer)
        else:
            trait = sample.question.removeprefix("What is the ").removesuffix("?")
            assert sample.answer == sample.attributes[trait]
    assert {"yes", "no"} == set(verdicts)


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_the_ct_picture_is_a_cut_of_the_volume(shift: float) -> None:
    cuts = phantoms.load(f"ct:shift={shift}").splits["test"]
    volumes = phantoms.load(f"ct_volume:shift={shift}").splits["test"]
    for index in range(3):
        sample = volumes[index]
        assert sample.volume is not None and len(sample.images) == 12
        voxels = sample.volume.load()
        assert voxels.shape == (ct.DEPTH, 96, 96) and voxels.dtype == np.float32
        assert sample.volume.spacing_mm == ct.spacing_mm(96)
        assert -1024 <= voxels.min() < -900 and voxels.max() > 200
        for number, place in enumerate(range(1, ct.DEPTH, 2)):  # the middles of twelve equal parts
            frame = np.asarray(sample.images[number].load())
            assert np.array_equal(frame, ct.window(voxels[place]))
        cut = ct.window(voxels[cuts.case(index).geometry.slice])
        assert np.array_equal(cut, np.asarray(cuts[index].images[0].load()))
        assert (sample.answer, sample.group) == (cuts[index].answer, cuts[index].group)


def test_every_option_changes_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = [
        "train=9",
        "val=9",
        "test=9",
        "seed=9",
        "shift=0.9",
        "size=64",
        "task=vqa",
        "language=zh",
    ]
    assert {change.split("=")[0] for change in [*changes, "frames=5"]} == {
        f.name for f in fields(phantoms.Options)
    }
    specs = [*phantoms.modalities(), *(f"smear:{change}" for change in changes)]
    specs.append("ct_volume:frames=5")
    digests = [phantoms.load(spec).digest for spec in specs]
    monkeypatch.setattr(phantoms, "VERSION", phantoms.VERSION + 1)
    digests.append(phantoms.load("smear").digest)
    assert len(set(digests)) == len(digests)


def test_a_name_opens_the_same_data_set_again() -> None:
    dataset = phantoms.load("lesion:shift=0.5,train=7,language=zh")
    assert dataset.name == "phantoms:lesion:train=7:shift=0.5:language=zh"
    assert open_dataset(dataset.name).digest == dataset.digest
    assert [len(split) for split in dataset.splits.values()] == [7, 200, 400]
    assert dataset.splits["train"][-1].id == dataset.splits["train"][6].id
    assert [s.id for s in dataset.splits["train"][2:4]] == [
        dataset.splits["train"][i].id for i in (2, 3)
    ]
    with pytest.raises(IndexError):
        dataset.splits["train"][7]


@pytest.mark.parametrize(
    ("spec", "says"),
    [("smaer", "Did you mean 'smear'"), ("smear:shfit=1", "Did you mean 'shift'"),
     ("smear:shift=2", "from 0 to 1"), ("smear:train=many", "whole number"),
     ("smear:task=clasification", "Did you mean 'classification'"), ("smear:seed", "key=value"),
     ("smear:language=fr", "en, zh"), ("smear:seed=1,seed=2", "twice"),
     ("smear:shift=nan", "from 0 to 1"), ("ct_volume:task=detection", "phantoms:ct instead"),
     ("ct:task=detection3d", "ct_volume"), ("ct:frames=3", "one picture"),
     ("ct_volume:frames=25", "from 1 to 24")],
)  # fmt: skip
def test_a_wrong_variant_is_one_clear_line(spec: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        phantoms.load(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_is_what_would_be_painted(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(spec: str) -> list[tuple[str, str, bytes]]:
        samples = phantoms.load(spec).splits["val"][:2]
        pictures = [sample.images[0] for sample in samples]
        return [
            (repr(s.answer) + repr(s.attributes), p.key, p.load().tobytes())
            for s, p in zip(samples, pictures, strict=True)
        ]

    small = f"{kind}:size=48"
    specs = (
        small,
        f"{small}:task=report",
        f"{kind}:size=40",
        f"{small}:shift=1",
        f"{small}:seed=1",
    )
    kept = [(look(spec), look(spec)) for spec in specs]
    monkeypatch.setattr(phantoms, "_CASES", Recent(budget=0, weigh=lambda case: 1))
    monkeypatch.setattr(phantoms, "_PIXELS", Recent(budget=0, weigh=lambda pixels: 1))
    for spec, (first, second) in zip(specs, kept, strict=True):
        assert first == second == look(spec)
    assert len({pixels for first, _ in kept for *_, pixels in first}) == 2 * (len(specs) - 1)


def test_a_picture_that_is_changed_does_not_change_the_next_one() -> None:
    sample = phantoms.load("smear").splits["test"][0]
    before = sample.images[0].load()
    before.paste(0, (0, 0, 20, 20))
    assert sample.images[0].load().tobytes() != before.tobytes()


def test_the_least_recent_is_forgotten_by_weight() -> None:
    made: list[str] = []

    def give(word: str) -> str:
        return recent.get(word, lambda: made.append(word) or word)

    recent = Recent[str](budget=5, weigh=len)
    for word in ("ab", "cd", "ab", "ef", "ab", "cd"):  # "ef" pushes "cd" out
        assert give(word) == word
    assert made == ["ab", "cd", "ef", "cd"] and recent.held == 4 and len(recent) == 2
    assert give("heavier") == "heavier" and recent.held == 0  # more than there is room for
