"""What all readers of published sets share: tables as they are found in the wild, and absent images."""

from pathlib import Path

import pytest

from residency.data import published
from residency.data.choices import bare, chosen
from residency.data.published import Defects, Published, assemble
from residency.data.questions import Question, closed_options, taught
from residency.data.records import line, read_records, read_table
from residency.errors import DataError
from residency.types import Sample

ABOUT = Published(
    name="made_up", title="Made up", task="vqa", sizes={"train": 3}, metric="none", source="here",
    licence="none", access="none", tested_on="fixture",
)  # fmt: skip


def table(tmp_path: Path, text: str, name: str = "t.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,x y\n2,\n",
        "\ufeffA , B \r\n1, x y \r\n\r\n2\r\n",
        "b;a\nx y;1\n;2\n",
        'a\tb\n1\t"x y"\n2\t\t\n',
    ],
)
def test_a_table_is_read_however_it_was_saved(tmp_path, text):
    assert read_table(table(tmp_path, text), ("a", "b"), Defects()) == [("1", "x y"), ("2", "")]


def test_rows_of_another_width_are_counted(tmp_path):
    defects = Defects()
    rows = read_table(table(tmp_path, "a,b\n1\n2,3,4\n5,6,\n"), ("b", "c|", "z|a"), defects)
    assert rows == [("", "", "1"), ("3", "", "2"), ("6", "", "5")]
    assert defects.lines() == ("Rows of another width than the header: 2.",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "labels,image\n1,2\n",
            "lacks the column label; found: labels, image. Did you mean 'labels'",
        ),
        ("", "is empty"),
        ('label\n"open\n', "line 2: unexpected end of data. Check the quotes"),
        ("version https://git-lfs.github.com/spec/v1\nsize 3\n", "is a Git LFS pointer"),
    ],
)
def test_what_is_no_table_says_why(tmp_path, text, message):
    with pytest.raises(DataError) as raised:
        read_table(table(tmp_path, text), ("label",), Defects())
    assert message in str(raised.value)


def test_keys_are_trimmed_and_entries_that_are_no_objects_counted(tmp_path):
    defects = Defects()
    path = table(tmp_path, '[{" id ": 1}, 2, {"id": null}]', "t.json")
    assert read_records(path, defects) == [{"id": 1}, {"id": None}]
    assert defects.counts.total() == 1
    with pytest.raises(DataError, match="expected a list of objects"):
        read_records(table(tmp_path, "{}", "o.json"), defects)


def test_values_become_one_line():
    assert [line(value) for value in (4, " a\n b ", None, ["x"], 1.5)] == [
        "4",
        "a b",
        "",
        "",
        "1.5",
    ]


def build(split: str, row: str) -> Sample:
    return Sample(id=row, dataset="made_up", task="vqa", answer=row)


def assembled(tmp_path: Path, *names: str, **others: object) -> object:
    index = table(tmp_path, "index", "index.txt")
    return assemble(
        ABOUT, {"train": list(names)}, build, files=[index], defects=Defects(),
        images=(tmp_path, lambda row: (f"{row}.png",)), **others,
    )  # fmt: skip


def test_a_partial_download_is_what_is_there(tmp_path):
    (tmp_path / "b.png").touch()
    dataset = assembled(tmp_path, "a", "b", "c")
    assert [sample.id for sample in dataset.split("train")] == ["b"]
    assert dataset.notes == ("Left out, because an image is absent: train 2 of 3 samples.",)


def test_annotations_alone_keep_every_sample(tmp_path):
    dataset = assembled(tmp_path, "a", "b")
    assert len(dataset.split("train")) == 2
    assert dataset.notes[0] == "Rows: train 2; published: train 3."
    assert "None of the images is on disk: 2 samples" in dataset.notes[1]


def test_too_many_folders_are_not_looked_into(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "LISTED_FOLDERS", 1)
    dataset = assembled(tmp_path, "x/a", "y/b", "z/c")
    assert len(dataset.split("train")) == 3
    assert "looked for when they are read" in dataset.notes[0]


def test_a_set_without_usable_rows_is_refused(tmp_path):
    with pytest.raises(DataError, match="made_up has no usable rows"):
        assembled(tmp_path)


@pytest.mark.parametrize(
    ("question", "answer", "language", "options"),
    [
        ("Is it there?", "Yes.", "en", ("yes", "no")),
        ("图像包含肝脏吗？", "不包含", "zh", ("包含", "不包含")),
        ("Which is bigger, lung or heart?", "Heart", "en", ("Lung", "Heart")),
        ("Which is bigger?", "Heart", "en", ()),
        ("Which is bigger, lung or liver?", "Heart", "en", ()),
    ],
)
def test_closed_questions_get_the_options_that_they_name(question, answer, language, options):
    rows = [
        Question("1", "i", "q", answer, "CLOSED") for answer in ("Lung", "Heart", "Liver", "yes")
    ]
    asked = Question("2", "i", question, answer, "CLOSED", language)
    assert closed_options(asked, taught(rows)) == options
    assert closed_options(asked._replace(answer_type="OPEN"), taught(rows)) == ()


@pytest.mark.parametrize(
    ("letter", "answer", "right"),
    [
        ("B", "", "y"),
        ("", " X.", "x"),
        ("b", "y", "y"),
        ("A", "y", ""),
        ("E", "", ""),
        ("", "", ""),
    ],
)
def test_a_letter_and_an_answer_must_agree(letter, answer, right):
    assert chosen(("x", "y"), letter, answer) == right
    assert [bare(c) for c in ("A: x", " B:y", "Vitamin D: low")] == ["x", "y", "Vitamin D: low"]
