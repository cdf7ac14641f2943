"""Benchmarks of instruction-free tuning: published draws, our balanced places, tables, files, frames."""

import csv
import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import models
import test_readers_clinical
from residency import cli
from residency.catalog import find
from residency.codec import Qwen2VLCodec
from residency.data.benchmark import Attribute, Case, Plan, build, infer, report
from residency.data.benchmark_forms import CBIS
from residency.data.caption_facts import caption_facts
from residency.data.framing import Frame, crop_to_mask, letterbox, stretch
from residency.dataset import Dataset, open_dataset
from residency.errors import DataError, UsageError
from residency.task import Wording
from residency.types import Sample

SIZE = Attribute(key="cell_size", name="cell size", options=("big", "small"))
GRAIN = Attribute(key="granularity", name="granularity", options=("yes", "no"))
KIND = Attribute(key="label", name="cell type", options=("A cell", "B cell", "C cell"), bare=True)
CODEC = Qwen2VLCodec()
made = find("datasets", "benchmark").made


def case(number: int, group: str = "", **facts: str) -> Case:
    return Case(
        key=f"{number}", pictures=(models.picture(number),), group=group,
        facts={"cell_size": "big", "granularity": "no", "label": "A cell", **facts},
    )  # fmt: skip


def test_a_report_follows_the_published_rules():
    attributes = (SIZE, GRAIN, KIND)
    assert report(case(0), attributes) == "big cell size, A cell"
    assert report(case(0, granularity="yes"), attributes) == "big cell size, granularity, A cell"
    assert report(case(0, cell_size="nil"), attributes) == "A cell"
    chinese = Attribute(key="cell_size", name="细胞大小", options=("大", "小"))
    one = Case(key="0", pictures=(), facts={"cell_size": "大", "label": "A cell"}, language="zh")
    assert report(one, (chinese, KIND)) == "细胞大小大，A cell"
    assert chinese.question("zh") == "细胞大小是什么？"


def test_ours_balances_the_place_of_the_right_option_and_keeps_patients_apart():
    plan = Plan(attributes=(KIND,), choices=3)
    cases = {
        "train": [case(0, "p0")],
        "test": [
            case(k, "p0" if k < 5 else f"p{k}", label=f"{'ABC'[k % 3]} cell") for k in range(95)
        ],
    }
    splits, left = build("d", cases, plan)
    places = Counter(s.options.index(s.answer) for s in splits["test"])
    assert len(splits["test"]) == 90 and set(places.values()) == {30}
    assert left == {"Images of patients who are in train (left out)": 5}
    assert splits["train"][0].answer == "A cell" and splits["train"][0].task == "caption"
    one = splits["test"][0]
    assert one.question == "What is the cell type?" and one.attributes["attribute"] == "cell type"
    again, _ = build("d", cases, plan)
    assert [s.options for s in again["test"]] == [s.options for s in splits["test"]]


def test_every_attribute_can_be_asked_and_what_does_not_apply_is_not():
    plan = Plan(attributes=(SIZE, GRAIN, KIND), every=True)
    splits, left = build(
        "d", {"train": [case(0)], "val": [case(1, cell_size="nil"), case(2)]}, plan
    )
    assert [s.question for s in splits["val"]].count("What is the cell size?") == 1
    assert len(splits["val"]) == 5 and not left


def test_a_benchmark_without_questions_is_refused():
    with pytest.raises(DataError, match="needs reports in train and questions in val or test"):
        build("d", {"train": [case(0)]}, Plan(attributes=(KIND,)))


def test_a_number_is_no_yes_and_a_measure_no_attribute():
    grades = [case(k, grade=str(k % 3), size_mm=("1", "1.5", "3")[k % 3]) for k in range(9)]
    found, odd = infer(grades, bare=())
    assert [(a.key, a.options) for a in found] == [("grade", ("0", "1", "2"))]
    assert odd == ("cell_size", "granularity", "label", "size_mm")
    assert [report(one, found) for one in grades[:2]] == ["0 grade", "1 grade"]
    assert found[0].question("en") == "What is the grade?"


def test_attributes_are_inferred():
    cases = [
        case(k, label="AB"[k % 2], granularity=("no", "yes")[k % 2], place=str(k))
        for k in range(30)
    ]
    found, odd = infer(cases, bare=("label",))
    assert [(a.name, a.options, a.bare) for a in found] == [
        ("granularity", ("yes", "no"), False), ("label", ("A", "B"), True),
    ]  # fmt: skip
    assert odd == ("cell_size", "place")
    assert [a.question("en") for a in found] == [
        "Is this present: granularity?", "What is the label?",
    ]  # fmt: skip
    assert found[0].question("zh") == "有没有granularity？"


# --- the published protocol -----------------------------------------------------------------------


def test_published_draws_an_attribute_that_is_not_nil_and_shuffles_what_is_sampled():
    sampled = replace(KIND, sampled=True)
    plan = Plan(attributes=(SIZE, GRAIN, sampled), protocol="published", choices=2, task="choice")
    cases = [case(k, cell_size=("big", "nil")[k % 2], label="B cell") for k in range(30)]
    splits, _ = build("d", {"train": cases, "val": cases, "test": cases}, plan)
    chance = random.Random(0)  # goes on from val to test
    for split in ("val", "test"):
        options = random.Random(1)  # begins anew
        for number, sample in enumerate(splits[split]):
            some = [SIZE, GRAIN, sampled] if number % 2 == 0 else [GRAIN, sampled]
            chance.shuffle(some)
            assert sample.question == some[0].question("en")
            offered = [*some[0].options]
            if some[0].sampled:
                offered = ["B cell", *options.sample(["A cell", "C cell"], 1)]
                options.shuffle(offered)
            assert list(sample.options) == offered
    every, _ = build("d", {"train": cases, "val": cases}, replace(plan, every=True, repeat=3))
    assert len(every["train"]) == 90 and len(every["val"]) == 75


@pytest.fixture(scope="module")
def wbcatt(shared_data: Path) -> tuple[Dataset, Plan]:
    return made(f"wbcatt:{shared_data / 'wbcatt'}", protocol="published")


@pytest.mark.slow
def test_wbcatt_asks_what_the_authors_script_draws(wbcatt, shared_data):
    """The draw written again from `preprocess_att_dataset.py`'s rule, val before test."""
    dataset, plan = wbcatt
    keys, chance = [a.key for a in plan.attributes], random.Random(0)
    for part in ("val", "test"):
        wanted = []
        with (shared_data / "wbcatt" / f"pbc_attr_v1_{part}.csv").open() as file:
            for row in csv.DictReader(file):
                some = [key for key in keys if row[key] != "nil"]
                chance.shuffle(some)
                wanted.append((f"What is the {some[0].replace('_', ' ')}?", row[some[0]]))
        assert [(s.question, s.answer) for s in dataset.split(part)] == wanted
    assert len(dataset.split("train")) == 6169 and dataset.split("val")[0].task == "choice"


@pytest.mark.slow
def test_wbcatt_tells_and_lists_as_published(wbcatt):
    dataset, _ = wbcatt
    assert dataset.split("train")[0].answer == (
        "big cell size, round cell shape, unsegmented-band nucleus shape, low nuclear cytoplasmic "
        "ratio, densely chromatin density, clear cytoplasm texture, light blue cytoplasm colour, "
        "granularity, small granule type, pink granule colour, Neutrophil"
    )
    lists = {s.question: s.options for s in dataset.split("test")}
    assert lists["What is the granularity?"] == ("yes", "no")
    assert lists["What is the label?"][0] == "Basophil" and len(lists) == 12
    assert dataset.split("test")[0].images[0].size == (560, 560)


@pytest.mark.slow
def test_skincon_offers_whole_lists_of_concepts(shared_data):
    dataset, plan = made(f"skincon:{shared_data / 'skincon'}", protocol="published")
    sizes = {split: len(some) for split, some in dataset.splits.items()}
    assert sizes == {"train": 3 * 2584, "val": 323, "test": 323}
    # The nameless index column is a concept where it holds 1, as in the authors' list of options.
    wrong = [text for text in plan.attributes[0].options if text.startswith("unnamed: 0, ")]
    assert wrong == ["unnamed: 0, plaque, crust, erosion, dome-shaped, erythema"]
    assert sum(sample.answer == wrong[0] for sample in dataset.split("train")) == 3
    assert len(plan.attributes[0].options) == 813 and plan.frame == Frame("letterbox")
    stream, texts = random.Random(1), list(plan.attributes[0].options)
    for sample in list(dataset.split("test"))[:20]:
        others = [text for text in texts if text != sample.answer]
        options = [sample.answer, *stream.sample(others, 4)]
        stream.shuffle(options)
        assert list(sample.options) == options


def test_cbis_asks_what_the_authors_script_draws(tmp_path):
    """Rows, splits, texts and options written again from `preprocess_att_dataset.py` and `eval.py`."""
    root = test_readers_clinical.cbis(tmp_path)
    dataset, plan = made(f"cbis_ddsm:{root}", protocol="published")
    with (root / "csv" / "dicom_info.csv").open() as file:
        crops = [r["PatientID"] for r in csv.DictReader(file) if r["SeriesDescription"][0] == "c"]
    patients = sorted({f"P_{name.split('_')[2]}" for name in crops if "-Training_" in name})
    random.Random(0).shuffle(patients)
    held = patients[: int(len(patients) * 0.1)]
    texts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    asked: dict[str, list[tuple[str, str, str]]] = {"train": [], "val": [], "test": []}
    for kind, keys in (
        ("mass", ("mass shape", "mass margins")),
        ("calc", ("calc type", "calc distribution")),
    ):
        for part in ("train", "test"):
            with (root / "csv" / f"{kind}_case_description_{part}_set.csv").open() as file:
                rows = list(csv.DictReader(file))
            for row in rows:
                if row["cropped image file path"].split("/")[0] not in crops:
                    continue
                side = "test" if part == "test" else "val" if row["patient_id"] in held else "train"
                facts = {
                    k: row[k].lower().replace("_", " ").strip() for k in keys if row[k] != "N/A"
                }
                bare = [row["abnormality type"], row["pathology"].lower().split("_")[0]]
                texts[side].append(", ".join([*(f"{v} {k}" for k, v in facts.items()), *bare]))
                facts |= dict(zip(("abnormality type", "pathology"), bare, strict=True))
                for key, value in facts.items():
                    if value in CBIS[key]:
                        asked[side].append((key, value, key.replace("margins", "margin")))
    assert [s.answer for s in dataset.split("train")] == texts["train"] * 3
    for side in ("val", "test"):
        stream, wanted = random.Random(1), []
        for key, value, name in asked[side]:
            options = list(CBIS[key])
            if key not in ("abnormality type", "pathology"):
                options.remove(value)
                options = [value, *stream.sample(options, k=min(len(options), 4))]
                stream.shuffle(options)
            wanted.append((f"What is the {name}?", tuple(options), value))
        assert [(s.question, s.options, s.answer) for s in dataset.split(side)] == wanted
    assert plan.frame == Frame("letterbox") and len(asked["test"]) > 60


def test_only_sets_with_a_published_protocol_have_it():
    with pytest.raises(UsageError, match="has no published protocol; wbcatt, cbis_ddsm, skincon"):
        made("phantoms:smear:train=2:val=2:test=2", protocol="published")


# --- phantoms, tables, files ----------------------------------------------------------------------


def test_phantoms_learn_reports_and_are_asked():
    dataset = open_dataset("benchmark:phantoms:smear:train=40:val=10:test=30")
    told, asked = dataset.split("train")[0], dataset.split("test")[0]
    assert told.task == "caption" and told.answer.endswith(told.attributes["class"])
    assert asked.task == "mcq" and asked.answer in asked.options
    assert asked.id.startswith("benchmark:phantoms:smear") and asked.images[0].load().size == (
        96,
        96,
    )
    chinese = open_dataset("benchmark:phantoms:smear:train=40:val=4:test=4:language=zh")
    assert "，" in chinese.split("train")[0].answer
    assert chinese.split("test")[0].question.endswith("是什么？")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = ["picture,patient_id,shape,border,note"]
    for k in range(40):
        Image.new("RGB", (8, 6), (k, 0, 0)).save(tmp_path / f"{k}.png")
        rows.append(
            f"{k}.png,p{k // 2},{'round' if k % 3 else 'oval'},{'yes' if k % 2 else 'no'},n{k}"
        )
    (tmp_path / "lesions.csv").write_text("\n".join([*rows, ",p9,round,no,x"]))
    return tmp_path / "lesions.csv"


def test_a_users_table_becomes_a_benchmark_on_disk(table, tmp_path, capsys):
    words = ["data", "benchmark", str(table), str(tmp_path / "out"), "image=picture", "choices=3"]
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert "protocol ours" in said and "patients were split 70/10/20" in said
    assert "Rows without an image (left out)" in said and "No attributes" in said and "note" in said
    dataset = open_dataset(str(tmp_path / "out"))
    train = dataset.split("train")[0]
    assert "shape" in str(train.answer) and train.images[0].load().size == (8, 6)
    groups = {split: {s.group for s in some} for split, some in dataset.splits.items()}
    assert not groups["train"] & groups["test"] and "" not in groups["train"]
    card = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert card["attributes"] == {"shape": ["oval", "round"], "border": ["yes", "no"]}
    assert cli.main(words) == 2 and "nothing is written over" in capsys.readouterr().err


def test_a_tables_own_reports_are_learned_and_its_attributes_asked(table, tmp_path, capsys):
    lines = table.read_text().splitlines()
    told = [f"{line},Lesion {k}: seen." for k, line in enumerate(lines[1:])]
    table.write_text("\n".join([f"{lines[0]},report", *told]))
    words = ["data", "benchmark", str(table), str(tmp_path / "out"), "image=picture", "text=report"]
    assert cli.main(words) == 0
    dataset = open_dataset(str(tmp_path / "out"))
    assert {s.answer.split()[0] for s in dataset.split("train")} == {"Lesion"}
    asked = dataset.split("test")
    assert {s.attributes["attribute"] for s in asked} == {"shape", "border"}
    assert all(
        s.attributes["report"].startswith("Lesion") and not s.attributes["told"] for s in asked
    )
    assert len({s.images[0].key for s in asked}) == len(asked)  # one attribute of each image
    assert "No attributes (fewer than 2 or more than 20 values, or measures): note." in (
        capsys.readouterr().out
    )


def test_a_table_without_its_images_says_so(table, tmp_path, capsys):
    for image in tmp_path.glob("*.png"):
        image.unlink()
    assert cli.main(["data", "benchmark", str(table), str(tmp_path / "out"), "image=picture"]) == 0
    assert "A table without its images: 40 of 40 image files are absent." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["image=pictur"], "no column 'pictur'. Did you mean 'picture'?"),
        ([], "has no column for the image; columns: picture"),
        (["image=picture", "choices=1"], "needs at least 2 options"),
        (["image=picture", "split=shape"], "has split 'oval'; expected one of train"),
    ],
)
def test_wrong_tables_are_refused(table, tmp_path, capsys, words, said):
    assert cli.main(["data", "benchmark", str(table), str(tmp_path / "out"), *words]) == 2
    assert said in capsys.readouterr().err


def test_medical_cxr_vqa_offers_answers_of_the_same_type(tmp_path):
    rows = ["subject_id,study_id,question_type,question,answer,split"]
    for k in range(30):
        rows.append(f'1{k},2{k},abnormality,What is seen?,"edema{k % 7}, mass{k % 5}",test')
        rows.append(f"1{k},2{k},presence,Is it there?,{'Yes' if k % 2 else 'No'},test")
        rows.append(f"1{k},2{k},level,How much?,{('mild', 'severe')[k % 2]},val")
    (tmp_path / "medical_cxr_vqa_questions.csv").write_text("\n".join(rows))
    spec = f"medical_cxr_vqa:{tmp_path}"
    with pytest.raises(UsageError, match="Name the reports to learn"):
        made(spec)
    reports = "phantoms:chest:task=report:train=3:val=1:test=1"
    for protocol in ("published", "ours"):
        dataset, _ = made(spec, reports=reports, protocol=protocol)
        asked = list(dataset.split("test"))
        assert len(asked) == 90 and len(dataset.split("train")) == 3
        assert dataset.split("train")[0].task == "report"
        for one in asked:
            if one.attributes["attribute"] == "presence":
                assert set(one.options) == {"yes", "no"}
            else:
                assert len(one.options) == 5 and len(set(one.options)) == 5
                own = {text.strip() for text in one.id and _right(rows, one)}
                assert own & set(one.options) == {one.answer}
        assert all(len(one.options) == 2 for one in dataset.split("val"))


def _right(rows: list[str], sample: Sample) -> list[str]:
    """All right answers of the question that a sample was made from."""
    row = next(csv.reader([rows[int(sample.id.split("/")[2]) + 1]]))
    return row[4].split(",")


def test_captions_yield_facts_only_where_they_are_plain():
    assert caption_facts("Axial T2-weighted MRI of the brain (arrow).") == {
        "imaging modality": "MRI", "imaging plane": "axial", "body region": "head",
    }  # fmt: skip
    assert caption_facts("CT and MRI of the passer.") == {}
    assert caption_facts("Bilateral, on the other hand; T2 to T5, cervical canal.") == {}
    assert caption_facts("PET/CT: positron emission tomography/computed tomography.") == {}
    assert caption_facts("MRI: dilated lateral ventricles.")["body region"] == "head"


def test_rocov2_asks_every_fact_that_its_captions_state(shared_data):
    dataset = open_dataset(f"benchmark:rocov2:{shared_data / 'rocov2'}")
    asked = dataset.split("test")
    assert len(dataset.split("train")) == 120 and len(asked) == 47
    assert {s.question for s in asked} == {
        f"What is the {fact}?" for fact in ("imaging modality", "imaging plane", "body region")
    }  # fmt: skip
    assert len({s.unit for s in asked}) == len({s.images[0].key for s in asked}) == 25


# --- the answer format ----------------------------------------------------------------------------


def test_choice_reads_the_stated_sentence_and_nothing_else():
    choice = find("tasks", "choice")
    one = Sample(id="s", dataset="d", task="choice", answer="oval", question="What is the shape?",
                 options=("round", "oval", "flat"))  # fmt: skip
    asked = choice.ask(one, Wording())
    assert asked.splitlines()[:4] == ["What is the shape?", "A. round", "B. oval", "C. flat"]
    assert '"The correct answer is [A or B or C]."' in asked
    assert choice.ask(one, Wording(list_options=False)) == "What is the shape?"
    assert choice.write(one, CODEC) == ("The correct answer is B.",)
    for said in ("The correct answer is B.", "So: The correct answer is **[b]**.", "B", "B."):
        assert choice.read(said, one, CODEC) == "oval", said
    for said in ("oval", "The correct answer is B. oval", "The correct answer is D.", "B or C", ""):
        assert choice.read(said, one, CODEC) is None, said


# --- frames ---------------------------------------------------------------------------------------


def test_letterbox_keeps_the_aspect_on_black():
    square = np.array(letterbox(Image.new("RGB", (40, 10), (200, 100, 50)), 20))
    assert square.shape == (20, 20, 3)
    assert np.flatnonzero(square[:, 10].any(1)).tolist() == [7, 8, 9, 10, 11]
    assert np.abs(square[9, 10].astype(int) - [200, 100, 50]).max() <= 1


def test_stretch_fills_the_square():
    assert np.array(stretch(Image.new("L", (40, 10), 99), 20)).tolist() == [[[99] * 3] * 20] * 20


def test_a_frame_is_another_picture_decoded_when_needed():
    picture = models.picture(3, (30, 20))
    framed = Frame("letterbox", 24)(picture)
    assert framed.key != picture.key and framed.size == (24, 24) == framed.load().size
    with pytest.raises(UsageError, match="InstFree: 560"):
        Frame("stretch", 1)


def test_a_lesion_is_cropped_to_its_mask():
    mask = np.zeros((20, 30), bool)
    mask[4:8, 10:20] = True
    image = models.image(1, (30, 20))
    assert crop_to_mask(image, mask).size == (10, 4)
    wide = crop_to_mask(image, mask, margin=0.5)
    assert wide.size == (20, 13)  # as far as the image goes
    assert np.array_equal(np.array(wide), np.array(image)[0:13, 5:25])
    with pytest.raises(DataError, match="marks nothing"):
        crop_to_mask(image, np.zeros((20, 30), bool))
    with pytest.raises(DataError, match="mask of this image"):
        crop_to_mask(image, np.zeros((5, 5), bool))
