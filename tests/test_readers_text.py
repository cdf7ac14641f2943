"""Readers of question, caption and dialogue sets, on fixtures in the exact published layout.

Every fixture is made up: words and pixels come from a counter, never from the sets.
"""

import io
import json
from pathlib import Path

import PIL.Image
import pyarrow as pa
import pyarrow.parquet
import pytest

from residency.codec import Qwen2VLCodec
from residency.data.check import check
from residency.data.show import show
from residency.dataset import Dataset, open_dataset
from residency.errors import DataError
from residency.task import task, text_of


def paint(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("L", (16, 12), value % 256).save(path)


def png(value: int) -> bytes:
    stream = io.BytesIO()
    PIL.Image.new("L", (16, 12), value).save(stream, "PNG")
    return stream.getvalue()


def write_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def sizes(dataset: Dataset) -> dict[str, int]:
    return {split: len(samples) for split, samples in dataset.splits.items()}


def note(dataset: Dataset, part: str) -> str:
    found = [line for line in dataset.notes if part in line]
    assert len(found) == 1, (part, dataset.notes)
    return found[0]


def survives_reading(dataset: Dataset) -> None:
    for samples in dataset.splits.values():
        for sample in samples:
            for one in (sample, *sample.also):
                worded = task(one.task)
                text = text_of(worded.write(one, Qwen2VLCodec()))
                assert worded.read(text, one, Qwen2VLCodec()) == one.answer, one.id
    assert dataset.name in show(dataset)


def turns(*words: str) -> list[dict[str, str]]:
    return [
        {"from": "gpt" if place % 2 else "human", "value": text} for place, text in enumerate(words)
    ]


def llava_med(root: Path) -> list[dict]:
    entries = [
        {
            "id": f"{place:08}",
            "image": f"{place:08}_F1.jpg",
            "conversations": turns(
                f"What is shown in {place}?\n<image>", f"A cell.\nNumber {place}."
            ),
        }
        for place in range(6)
    ]
    entries[1]["conversations"] += turns("And why?", "Because.")
    entries[2]["conversatons"] = entries[2].pop("conversations")
    entries[3]["conversations"] = turns("Only a question?")
    entries[4].pop("image")
    for place in range(5):
        paint(root / "images" / f"{place:08}_F1.jpg", place)
    write_json(root / "llava_med_alignment_500k.json", entries)
    return entries


def test_llava_med_counts_what_is_misspelt_broken_or_absent(tmp_path):
    llava_med(tmp_path)
    dataset = open_dataset(f"llava_med:{tmp_path}")
    assert dataset.name == "llava_med_alignment" and sizes(dataset) == {"train": 3}
    assert note(dataset, "misspell the key").endswith(": 1.")
    assert note(dataset, "do not alternate").endswith(": 1.")
    assert note(dataset, "Rows without images").endswith(": 1.")
    assert note(dataset, "Rows without exchanges").endswith(": 1.")
    note(dataset, "train 1 of 4")
    first, second, _ = dataset.split("train")
    assert (first.question, first.answer) == ("What is shown in 0?", "A cell.\nNumber 0.")
    assert [one.answer for one in second.also] == ["Because."]
    assert check(dataset).ok
    survives_reading(dataset)


def test_a_folder_of_several_releases_asks_for_one(tmp_path):
    llava_med(tmp_path)
    write_json(tmp_path / "llava_med_instruct_10k.json", [])
    with pytest.raises(DataError, match="holds several of llava_med_alignment_500k"):
        open_dataset(f"llava_med:{tmp_path}")
    with pytest.raises(DataError, match="instruct_10k has no usable rows"):
        open_dataset(f"llava_med:{tmp_path / 'llava_med_instruct_10k.json'}")
    odd = write_json(tmp_path / "odd.json", [])
    with pytest.raises(DataError, match=r"odd\.json is not a released file"):
        open_dataset(f"llava_med:{odd}")


def test_visual_instructions_ask_for_a_caption_and_then_a_task(tmp_path):
    paint(tmp_path / "images" / "a.jpg", 3)
    messages = [
        {"content": "<image>Describe the image.", "role": "user"},
        {"content": "A cell.", "role": "assistant"},
        {"content": "Which stain?", "role": "user"},
        {"content": "Giemsa.", "role": "assistant"},
    ]
    entries = [{"images": ["a.jpg"], "messages": messages}]
    write_json(tmp_path / "image_caption_and_synthetic_task.json", entries)
    dataset = open_dataset(str(tmp_path))
    assert dataset.name == "visual_instructions_captions_and_tasks"
    (sample,) = dataset.split("train")
    assert (sample.question, sample.answer) == ("Describe the image.", "A cell.")
    assert [(one.question, one.answer) for one in sample.also] == [("Which stain?", "Giemsa.")]
    assert check(dataset).ok
    survives_reading(dataset)


@pytest.mark.parametrize("listed", [False, True])
def test_the_benchmarks_of_adamllm_are_asked_word_for_word(tmp_path, listed):
    folder = tmp_path / ("FoodSeg103" if listed else "SLAKE")
    folder.mkdir()
    image = io.BytesIO()
    PIL.Image.new("RGB", (8, 8), (200, 10, 10)).save(image, "PNG")
    rows = {
        "image": [{"bytes": image.getvalue(), "path": None}] * 3,
        "input": ["What organ is this?\nAnswer briefly.", "Is it red?", ""],
        "label": [["rice", "egg"], ["tea"], []] if listed else ["Liver", "Yes", "No"],
        "answer_type": ["OPEN", "CLOSED", "OPEN"],
    }
    table = pa.table(rows)
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as writer,
    ):
        writer.write_table(table)
    write_json(folder / "state.json", {"_data_files": []})
    write_json(folder / "dataset_info.json", {"features": {"input": {}, "label": {}}})
    dataset = open_dataset(str(folder))
    assert (dataset.name, sizes(dataset)) == ("adamllm_benchmark", {"test": 2})
    first, second = dataset.split("test")
    assert first.question == "What organ is this?\nAnswer briefly."
    assert (first.answer, second.answer) == (("rice, egg", "tea") if listed else ("Liver", "Yes"))
    assert second.attributes["answer_type"] == "CLOSED"
    assert first.images[0].load().getpixel((0, 0)) == (200, 10, 10)
    note(dataset, "Rows without input")
    with pytest.raises(DataError, match=r"no data-\*\.arrow"):
        open_dataset(f"adamllm_benchmark:{tmp_path}")


def test_chimed_vl_is_chinese(tmp_path):
    paint(tmp_path / "images" / "a.jpg")
    entry = {
        "id": "1",
        "image": "images/a.jpg",
        "conversations": turns("<image>\n图中是什么？", "细胞"),
    }
    write_json(tmp_path / "stage2_data.json", [entry])
    dataset = open_dataset(f"chimed_vl:{tmp_path}")
    sample = dataset.split("train")[0]
    assert dataset.name == "chimed_vl_instruction"
    assert (sample.language, sample.question, sample.answer) == ("zh", "图中是什么？", "细胞")
    note(dataset, "published: train 469,441")
    assert check(dataset).ok
    survives_reading(dataset)


def test_pubmedvision_has_several_images_and_its_own_modality(tmp_path):
    for place in range(2):
        paint(tmp_path / "images" / f"p_{place}.png", place)
    entry = {
        "id": "a_0",
        "image": ["images/p_0.png", "images/p_1.png"],
        "conversations": turns("What is it?", "A scan."),
        "modality": "Computed Tomography",
        "body_part": "Chest",
    }
    path = write_json(tmp_path / "PubMedVision_Alignment_VQA.json", [entry])
    dataset = open_dataset(f"pubmedvision:{path}")
    sample = dataset.split("train")[0]
    assert len(sample.images) == 2 and sample.modality == "Computed Tomography"
    assert sample.attributes == {"body_part": "Chest"}
    survives_reading(dataset)


@pytest.mark.parametrize(
    ("name", "file", "variant"),
    [
        ("allava_vflan", "ALLaVA-Caption-VFLAN-4V.json", "caption"),
        ("allava_vflan", "ALLaVA-Instruct-VFLAN-4V.json", "instruct"),
        ("vision_flan", "annotation_191-task_1k.json", "191task_1k"),
        ("vision_flan", "vflan_metadata.json", "191task_1k"),
    ],
)
def test_seed_sets_share_their_images(tmp_path, name, file, variant):
    paint(tmp_path / "images_191task_1k" / "x.jpg")
    entry = {
        "id": "x",
        "image": "x.jpg",
        "conversations": turns("<image>\nWhich colour?", "Grey"),
        "task_name": "colours",
    }
    path = write_json(tmp_path / file, [entry])
    dataset = open_dataset(f"{name}:{path}")
    assert dataset.name == f"{name}_{variant}"
    sample = dataset.split("train")[0]
    assert (sample.question, sample.answer) == ("Which colour?", "Grey")
    assert (name == "vision_flan") == (sample.attributes == {"task_name": "colours"})
    assert check(dataset).ok
    survives_reading(dataset)


def test_pmc_oa_reads_lines(tmp_path):
    folder = tmp_path / "caption_T060_filtered_top4_sep_v0_subfigures"
    lines = []
    for place in range(3):
        paint(folder / f"PMC{place}_F1.jpg", place)
        lines.append(
            {"image": f"PMC{place}_F1.jpg", "caption": f" Figure\u2028{place} ", "x": None}
        )
    lines[2]["caption"] = ""
    text = "\n".join(json.dumps(one, ensure_ascii=False) for one in lines)
    (tmp_path / "pmc_oa.jsonl").write_text(text, encoding="utf-8")
    dataset = open_dataset(f"pmc_oa:{tmp_path}")
    assert [s.answer for s in dataset.split("train")] == ["Figure 0", "Figure 1"]
    assert note(dataset, "Rows without text").endswith(": 1.")
    assert check(dataset).ok
    survives_reading(dataset)
    (tmp_path / "pmc_oa.jsonl").write_text(text + "\n{", encoding="utf-8")
    with pytest.raises(DataError, match=r"pmc_oa.jsonl line 4 is not JSON"):
        open_dataset(f"pmc_oa:{tmp_path}")


def pathvqa(root: Path, named: bool = True) -> Path:
    for split, count in (("train", 7), ("validation", 3), ("test", 4)):
        images = [
            {"bytes": png(10 * place), "path": f"{split}_{place:04}.jpg" if named else None}
            for place in range(count)
        ]
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        table = pa.table(
            {
                "image": pa.array(images, kind),
                "question": [f"is this  cell {place}?" for place in range(count)],
                "answer": ["yes" if place % 2 else f"a cell {place}" for place in range(count)],
            }
        )
        path = root / "data" / f"{split}-00000-of-00001-abcdef.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(table, path, row_group_size=2)
    return root


@pytest.mark.parametrize("named", [True, False])
def test_pathvqa_decodes_embedded_images_by_row_group(tmp_path, named):
    dataset = open_dataset(f"pathvqa:{pathvqa(tmp_path / 'path-vqa', named)}")
    assert dataset.name == "pathvqa" and sizes(dataset) == {"train": 7, "val": 3, "test": 4}
    note(dataset, "published: train 19,654, val 6,259, test 6,719")
    note(dataset, "Test: 2 open and 2 closed questions")
    for place, sample in enumerate(dataset.split("train")):
        assert sample.images[0].load().getpixel((0, 0)) == (10 * place,) * 3
    closed, opened = dataset.split("test")[1], dataset.split("test")[2]
    assert (closed.options, closed.answer) == (("yes", "no"), "yes")
    assert (opened.options, opened.answer, opened.question) == ((), "a cell 2", "is this cell 2?")
    assert bool(opened.group) == named
    survives_reading(dataset)
    # The fixture repeats colours across its splits, as a leak would.
    assert {p.code for p in check(dataset).problems} == {"leak"}


def test_pathvqa_never_opens_pickles(tmp_path):
    (tmp_path / "qas").mkdir()
    (tmp_path / "qas" / "train_vqa.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match="are pickles, which can run code and are not opened"):
        open_dataset(f"pathvqa:{tmp_path}")


HEADER = "Figure_path,Question,Answer,Choice A,Choice B,Choice C,Choice D,Answer_label"


def pmc_rows(count: int) -> list[str]:
    return [
        f'F{place}.jpg,"What, in figure {place}?",Lung,A:Heart,B:Lung,C: Liver ,D:C. difficile,B'
        for place in range(count)
    ]


def pmc_vqa(root: Path, second: bool = False) -> Path:
    tail = "_2" if second else ""
    names = ("train", "test") if second else ("train", "test", "test_clean")
    header = HEADER.replace("Answer,", "Anwser,") if second else HEADER
    for name in names:
        rows = pmc_rows(2 if name == "test_clean" else 3)
        (root / f"{name}{tail}.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    for place in range(3):
        paint(root / f"images{tail}" / f"F{place}.jpg", place)
    return root


@pytest.mark.parametrize("second", [False, True])
def test_pmc_vqa_chooses_by_letter_in_both_versions(tmp_path, second):
    dataset = open_dataset(f"pmc_vqa:{pmc_vqa(tmp_path, second)}")
    assert dataset.name == ("pmc_vqa_2" if second else "pmc_vqa")
    assert sizes(dataset) == {"train": 3, "test": 3 if second else 2}
    sample = dataset.split("test")[0]
    assert sample.options == ("Heart", "Lung", "Liver", "C. difficile")
    assert (sample.answer, sample.question) == ("Lung", "What, in figure 0?")
    survives_reading(dataset)
    # The fixture asks about the same figures in both splits.
    assert {p.code for p in check(dataset).problems} == {"group_crosses", "leak"}


def test_pmc_vqa_leaves_out_what_cannot_be_chosen(tmp_path):
    root = pmc_vqa(tmp_path)
    rows = [
        *pmc_rows(1),
        "F1.jpg,Which?,Lung,A:Lung,B:Lung,C:x,D:y,A",
        "F2.jpg,Which?,Lung,A:w,B:x,C:y,D:Lung,A",
    ]
    (root / "train.csv").write_text("\n".join([HEADER, *rows]), encoding="utf-8")
    dataset = open_dataset(f"pmc_vqa:{root}")
    assert sizes(dataset)["train"] == 1
    assert note(dataset, "four different choices").endswith(": 1.")
    assert note(dataset, "a right choice").endswith(": 1.")


def test_umit_finds_images_by_the_end_of_their_path(tmp_path):
    root = tmp_path / "IU-Xray"
    machine = root / "home" / "someone" / "iu_xray" / "images"  # as image.zip unpacks
    for study in ("CXR1_IM-0001", "CXR2_IM-0002"):
        for view in range(2):
            paint(machine / study / f"{view}.png", view + 3)
    paint(root / "other" / "images" / "CXR2_IM-0002" / "0.png", 9)  # another file that ends so

    def line(study: str, response: str) -> str:
        images = [f"/iu_xray/image/{study}/{view}.png" for view in range(2)]
        query = "<image><image>Please review the views and write a report."
        return json.dumps({"query": query, "response": response, "images": images}) + "\n"

    root.mkdir(exist_ok=True)
    (root / "train.jsonl").write_text(line("CXR1_IM-0001", "The heart is normal. No effusion."))
    (root / "test.jsonl").write_text(
        line("CXR2_IM-0002", "Clear.") + line("CXR9_IM-0009", "Gone.") + line("CXR1_IM-0001", "")
    )
    dataset = open_dataset(str(root))
    assert (dataset.name, sizes(dataset)) == ("umit_IU-Xray", {"train": 1, "test": 1})
    sample = dataset.split("train")[0]
    assert sample.question == "Please review the views and write a report."
    assert sample.answer == "The heart is normal. No effusion."
    assert [one.load().getpixel((0, 0)) for one in sample.images] == [(3, 3, 3), (4, 4, 4)]
    note(dataset, "image 1, empty_answer 1")  # two files end alike; an empty response
    kept = dataset.split("test")[0]
    assert kept.answer == "Gone." and not check(dataset).ok  # its images are in no folder
    survives_reading(dataset)
    assert open_dataset(f"umit:{root / 'train.jsonl'}").split("train")[0].answer == sample.answer
    with pytest.raises(DataError, match=r"no train\.jsonl"):
        open_dataset(f"umit:{tmp_path}")
