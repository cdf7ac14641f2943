"""Readers of published sets on real files: counts, answers, and every known defect by its number."""

from pathlib import Path

import pytest

from residency.catalog import find
from residency.codec import Qwen2VLCodec
from residency.data.check import check
from residency.data.overview import abouts
from residency.dataset import Dataset, open_dataset
from residency.errors import UsageError
from residency.task import task, text_of
from residency.types import Box, Point

pytestmark = pytest.mark.shared_data


PLACES = {
    "bccd": "bccd",
    "cephalometric": "cephalometric",
    "food_101": "food-101",
    "iu_xray": "iu_xray",
    "nutrition5k": "nutrition5k",
    "rocov2": "rocov2",
    "skincon": "skincon",
    "slake": "slake",
    "vqa_rad": "vqa_rad",
    "wbcatt": "wbcatt",
}


def found(shared_data: Path, place: str) -> Path:
    path = shared_data / place
    if not path.exists():
        pytest.skip(f"no real files at {path}")
    return path


def opened(shared_data: Path, name: str) -> Dataset:
    return open_dataset(f"{name}:{found(shared_data, PLACES[name])}")


def sizes(dataset: Dataset) -> dict[str, int]:
    return {split: len(samples) for split, samples in dataset.splits.items()}


def note(dataset: Dataset, part: str) -> str:
    """The one note that says `part`."""
    lines = [line for line in dataset.notes if part in line]
    assert len(lines) == 1, (part, dataset.notes)
    return lines[0]


def survives_reading(dataset: Dataset, count: int = 40) -> None:
    """What is written is read back as the sample's answer, for words (the codec rounds places)."""
    for samples in dataset.splits.values():
        for sample in samples[: count * 7 : 7]:
            worded = task(sample.task)
            text = text_of(worded.write(sample, Qwen2VLCodec()))
            assert worded.read(text, sample, Qwen2VLCodec()) == sample.answer, sample.id


@pytest.mark.parametrize("name", PLACES)
def test_one_published_layout_alone_is_recognised(shared_data, name):
    path = found(shared_data, PLACES[name])
    readers = {entry: find("datasets", entry) for entry, about in abouts().items() if about}
    assert [entry for entry, reader in readers.items() if reader.recognises(path)] == [name]


def test_vqa_rad_has_the_official_split_and_its_defects(shared_data):
    dataset = opened(shared_data, "vqa_rad")
    assert dataset.name == "vqa_rad"
    assert sizes(dataset) == {"train": 1797, "test": 451}
    note(dataset, "202 of 203 test images are also training images")
    assert note(dataset, "Answer types with spaces").endswith(": 2.")
    assert note(dataset, "Answers that are numbers").endswith(": 5.")
    assert note(dataset, 'whose rephrasing is "NULL"').endswith(": 463.")
    test = dataset.split("test")[:]
    closed = [sample for sample in test if sample.attributes["answer_type"] == "CLOSED"]
    assert (len(closed), len(test) - len(closed)) == (272, 179)
    assert sum(str(sample.answer).lower() in ("yes", "no") for sample in test) == 251
    assert sum(sample.options == ("yes", "no") for sample in closed) == 248
    assert sum(bool(sample.options) for sample in closed) == 268
    assert note(dataset, "outside the options of the rule").endswith(": 32.")
    assert all(sample.answer in sample.options for sample in closed if sample.options)
    survives_reading(dataset)


def test_vqa_rad_leak_is_found_by_check(shared_data):
    findings = check(opened(shared_data, "vqa_rad"), limit=12)
    assert {"group_crosses"} <= {problem.code for problem in findings.problems}
    assert not [p for p in findings.problems if p.code.startswith(("image", "label", "empty"))]


def test_slake_reads_both_languages_and_counts_what_is_missing(shared_data):
    dataset = opened(shared_data, "slake")
    assert sizes(dataset) == {"train": 9834, "val": 2099}
    note(dataset, "Rows: train 9,835, val 2,099; published")
    assert note(dataset, "Rows without answer").endswith(": 1.")
    note(dataset, "130 of 174 val images are also train images")
    languages = [sample.language for sample in dataset.split("val")]
    assert (languages.count("en"), languages.count("zh")) == (1053, 1046)
    chinese = next(
        sample
        for sample in dataset.split("val")[1053:]
        if sample.attributes["answer_type"] == "CLOSED" and sample.options
    )
    assert chinese.answer in chinese.options and chinese.images[0].key.endswith("source.jpg")
    survives_reading(dataset)
    findings = check(dataset, limit=10)
    assert [(p.code, p.count) for p in findings.problems] == [("image_missing", 20)]


def test_slake_reads_one_language_alone(shared_data):
    english = open_dataset(f"slake:{shared_data / 'slake'}:language=en")
    assert len(english.split("val")) == 1053
    assert {sample.language for sample in english.split("train")} == {"en"}
    assert english.digest.endswith(":language=en") and english.name == "slake"
    with pytest.raises(UsageError, match="expected en or zh"):
        open_dataset(f"slake:{shared_data / 'slake'}:language=de")


def test_slake_closed_questions_name_their_options(shared_data):
    samples = opened(shared_data, "slake").split("val")
    asked = "Which is bigger in this image, kidney or liver?"
    bigger = next(sample for sample in samples if sample.question == asked)
    assert (set(bigger.options), bigger.answer) == ({"Kidney", "Liver"}, "Kidney")


def test_bccd_counts_its_two_boxes_without_area(shared_data):
    dataset = opened(shared_data, "bccd")
    assert sizes(dataset) == {"train": 205, "val": 87, "test": 72}
    assert note(dataset, "Boxes that are empty").endswith(": 2.")
    boxes = [box for split in dataset.splits.values() for s in split[:] for box in s.answer]
    assert len(boxes) == 4155 + 372 + 361 - 2
    assert {box.name for box in boxes} == set(dataset.labels)
    first = next(s for s in dataset.split("train")[:] if s.id.endswith("BloodImage_00001"))
    assert isinstance(first.answer[0], Box) and first.images[0].size == (640, 480)
    assert first.images[0].load().size == (640, 480)
    assert check(dataset, limit=5).ok


def test_cephalometric_points_and_the_repeated_image(shared_data):
    dataset = opened(shared_data, "cephalometric")
    assert sizes(dataset) == {"train": 40 * 19, "test": 20 * 19}
    assert note(dataset, "repeat an image").endswith(": 3.")
    sella, nasion = dataset.split("train")[:2]
    assert sella.answer == (Point(name="Sella", x=832.0, y=994.0),)
    assert (nasion.question, nasion.attributes["spacing_mm"]) == ("Nasion", "0.1")
    parts = [sample.attributes["part"] for sample in dataset.split("test")[:]]
    assert (parts.count("test1"), parts.count("test2")) == (190, 190)
    assert sella.images[0].load().size == sella.images[0].size == (1935, 2400)


def test_rocov2_captions(shared_data):
    dataset = opened(shared_data, "rocov2")
    assert sizes(dataset) == {"train": 120, "val": 30, "test": 30}
    note(dataset, "published: train 59,958, val 9,904, test 9,927")
    assert all("  " not in sample.answer for sample in dataset.split("train")[:])
    assert check(dataset, limit=4).ok
    survives_reading(dataset)


def test_iu_xray_keeps_the_studies_whose_images_are_there(shared_data):
    dataset = opened(shared_data, "iu_xray")
    assert sizes(dataset) == {"val": 1, "test": 1}
    note(dataset, "Rows: train 3,062, val 382, test 382; published: train 2,069")
    note(dataset, "Left out, because an image is absent: train 3,062 of 3,062, val 381 of 382")
    study = dataset.split("test")[0]
    assert len(study.images) == 2 and study.group and study.answer
    assert check(dataset).ok


def test_iu_xray_blank_split_key_is_read_from_the_entries(shared_data):
    path = found(shared_data, "iu_xray") / "annotation_blank_split_key.json"
    dataset = open_dataset(f"iu_xray:{path}")
    assert sizes(dataset) == {"train": 2069, "val": 296, "test": 590}
    note(dataset, "'    ' is blank or unknown")
    assert len(dataset.split("test")[0].images) == 2


def test_openi_in_chinese_has_a_study_in_one_split(shared_data):
    dataset = open_dataset(str(found(shared_data, "iu_xray") / "bilingual"))
    assert dataset.name == "openi_zh" and sum(sizes(dataset).values()) == 5
    assert dataset.defects == {"Samples whose image is absent (left out)": 6418}
    samples = [sample for split in dataset.splits.values() for sample in split]
    assert {sample.language for sample in samples} == {"zh"}
    pair = [sample for sample in samples if sample.group == "2"]
    assert len(pair) == 2 and len({sample.id.split("/")[1] for sample in pair}) == 1
    assert check(dataset).ok


def test_iu_xray_pair_of_tables(shared_data):
    path = found(shared_data, "iu_xray") / "indiana_reports.csv"
    dataset = open_dataset(str(path))
    assert sum(sizes(dataset).values()) == 3851 - 514
    note(dataset, "Rows without text (left out): 514")
    note(dataset, "no split: studies were split 70/10/20")
    first = next(sample for sample in dataset.split("train") if sample.group == "1")
    assert first.answer.startswith("The cardiac silhouette")
    frontal, lateral = (Path(picture.key).name for picture in first.images)
    assert (frontal, lateral) == ("1_IM-0001-4001.dcm.png", "1_IM-0001-3001.dcm.png")
    groups = [{sample.group for sample in dataset.split(name)} for name in dataset.splits]
    assert len(set.union(*groups)) == sum(map(len, groups))


def test_wbcatt_follows_instfree(shared_data):
    dataset = opened(shared_data, "wbcatt")
    assert sizes(dataset) == {"train": 6169, "val": 1030, "test": 3099}
    assert not [line for line in dataset.notes if line.startswith("Rows")]
    first = dataset.split("train")[0]
    assert first.answer == (
        "big cell size, round cell shape, unsegmented-band nucleus shape, low nuclear cytoplasmic "
        "ratio, densely chromatin density, clear cytoplasm texture, light blue cytoplasm colour, "
        "granularity, small granule type, pink granule colour, Neutrophil"
    )
    asked = dataset.split("test")[:600]
    assert {sample.task for sample in asked} == {"mcq"}
    assert len({sample.question for sample in asked}) == 12
    assert all(s.answer in s.options and "nil" not in s.options for s in asked)
    survives_reading(dataset)


def test_skincon_leaves_out_what_is_marked(shared_data):
    dataset = opened(shared_data, "skincon")
    assert sizes(dataset) == {"train": 2584, "val": 323, "test": 323}
    assert note(dataset, "Do not consider this image").endswith(": 460.")
    for sample in dataset.split("test")[:]:
        assert len(set(sample.options)) == 5 and sample.answer in sample.options
    everything = [s.attributes["concepts"] for split in dataset.splits.values() for s in split[:]]
    assert len({name for text in everything for name in text.split(", ")}) == 48
    survives_reading(dataset)


def test_food_101_takes_the_three_classes_that_are_there(shared_data):
    dataset = opened(shared_data, "food_101")
    assert sum(sizes(dataset).values()) == 180 and len(dataset.labels) == 101
    note(dataset, "3 of 101 classes have a folder of images")
    note(dataset, "classes.txt names 3 of the 101 classes")
    note(dataset, "Left out, because an image is absent")
    assert {s.answer for s in dataset.split("train")[:]} == {
        "macaroni and cheese",
        "paella",
        "waffles",
    }
    assert check(dataset, limit=3).ok


def test_nutrition5k_reads_ragged_rows(shared_data):
    dataset = opened(shared_data, "nutrition5k")
    assert sizes(dataset) == {"train": 18, "test": 2}
    note(dataset, "train 2,740 of 2,758, test 505 of 507")
    assert note(dataset, "total calories are 0").endswith(": 240.")
    dish = next(s for s in dataset.split("train")[:] if s.id.endswith("dish_1559233144"))
    assert dish.answer == ("garden salad", "scrambled eggs", "bacon") and dish.task == "ingredients"
    assert set(dish.answer) < set(dataset.labels) and len(dataset.labels) == 249
    assert "" not in dataset.labels and note(dataset, "Ingredients without a name").endswith(
        ": 79."
    )
    assert float(dish.attributes["mass_g"]) > 0
    assert check(dataset, limit=3).ok
    survives_reading(dataset)
