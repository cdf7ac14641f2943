"""Tasks and codecs: what is asked, what is written, and that reading gives the answer back."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from residency.catalog import names
from residency.codec import InternVLCodec, Qwen2VLCodec, size_of
from residency.codec_fractions import FractionCodec
from residency.codec_json import JsonCodec
from residency.codec_pixels import Qwen25VLCodec, ResizedCodec, codec_of, described, smart_resize
from residency.errors import CheckpointError, DataError, UsageError
from residency.task import PAPER, Codec, Wording, task, text_of
from residency.text import normalise, read_label, read_labels, words
from residency.types import Answer, Box, Box3D, Markup, Picture, Point, Sample

QWEN, INTERN = Qwen2VLCodec(), InternVLCodec()
PIXELS, LANDMARKS = Qwen25VLCodec(), ResizedCodec()
JSON, GEMMA, LLAVA = JsonCodec(), JsonCodec(box="box_2d", rows_first=True), FractionCodec()
CODECS = pytest.mark.parametrize("codec", [QWEN, INTERN, PIXELS, LANDMARKS, JSON, GEMMA, LLAVA])
SIZE = (640, 480)
BLOOD = (
    "basophil",
    "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)",
    "lymphocyte",
)
BREAST = ("malignant", "normal, benign", "normal")
CHEST = ("atelectasis", "effusion", "pleural effusion, left", "hernia")


def sample(
    kind: str, answer: Answer, *, size: tuple[int, int] | None = SIZE, **fields: object
) -> Sample:
    """A sample of a task with one image."""
    picture = Picture(key="p", load=lambda: Image.new("RGB", SIZE), size=size)
    made = Sample(id="s", dataset="d", task=kind, answer=answer, images=(picture,))
    return replace(made, **fields)  # type: ignore[arg-type]


def said(s: Sample, codec: Codec = QWEN, wording: Wording = PAPER) -> str:
    return text_of(task(s.task).write(s, codec, wording))


def read(text: str, s: Sample, codec: Codec = QWEN) -> Answer | None:
    return task(s.task).read(text, s, codec)


# --- classification


def test_the_papers_instruction_and_response() -> None:
    s = sample(
        "classification", "pneumonia", options=("normal", "pneumonia"), modality="Chest X-Ray"
    )
    ask = task("classification").ask
    assert ask(s, PAPER) == (
        "Analyze the given Chest X-Ray image.\nThe possible diagnoses are: normal, pneumonia."
    )
    assert said(s) == "pneumonia."
    section3 = Wording(template="section3")
    assert ask(s, section3).startswith("Analyze the given Chest X-Ray image for diagnosis. The pos")
    assert said(s, wording=section3) == "pneumonia"
    assert ask(s, Wording(list_options=False)) == "Analyze the given Chest X-Ray image."
    assert ask(replace(s, modality=""), Wording(list_options=False)) == "Analyze the given image."
    assert ask(replace(s, modality="food image"), Wording(list_options=False)).count("image") == 1


def test_chinese_instruction_and_response() -> None:
    s = sample(
        "classification", "肺炎", options=("正常", "肺炎"), modality="胸部X线", language="zh"
    )
    assert (
        task("classification").ask(s, PAPER)
        == "分析给定的胸部X线图像。\n可能的诊断有：正常、肺炎。"
    )
    assert said(s) == "肺炎。"
    assert read("肺炎。", s) == "肺炎"
    assert read("诊断为肺炎", s) == "肺炎"
    assert read("不正常", s) is None
    many = replace(s, answer=("肺炎", "正常"))
    assert said(many) == "正常、肺炎。"
    assert read("正常、肺炎。", many) == ("正常", "肺炎")
    assert said(replace(s, answer=())) == "无异常所见。"
    assert read("无异常所见。", replace(s, answer=())) == ()


@pytest.mark.parametrize("options", [BLOOD, BREAST, CHEST, ("0", "1", "2"), ("+", "-")])
@pytest.mark.parametrize("template", ["paper", "section3", "category", "choose"])
def test_every_label_reads_back(options: tuple[str, ...], template: str) -> None:
    for label in options:
        s = sample("classification", label, options=options)
        assert read(said(s, wording=Wording(template=template)), s) == label


def test_every_label_set_reads_back() -> None:
    for options in (BLOOD, CHEST):
        for mask in range(2 ** len(options)):
            answer = tuple(o for i, o in enumerate(options) if mask >> i & 1)
            s = sample("classification", answer, options=options)
            assert read(said(s), s) == answer, answer
            assert read(said(s, wording=Wording(template="choose")), s) == answer, answer
    assert said(sample("classification", (), options=CHEST)) == "No finding."
    assert "hernia, No finding." in task("classification").ask(
        sample("classification", (), options=CHEST), PAPER
    )


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("NORMAL", "normal"),
        ("  ｎｏｒｍａｌ。 ", "normal"),
        ("Normal, benign.", "normal, benign"),
        ("The tissue is normal, benign", "normal, benign"),
        ("The tissue is malignant.", "malignant"),
        ("abnormal", None),
        ("non-normal", None),
        ("normal or malignant", None),
        ("This is not malignant.", None),
        ("It isn't normal", None),
        ("Malignant, as the margin is not smooth", "malignant"),
        ("unclear", None),
        ("", None),
    ],
)
def test_reading_never_guesses(text: str, label: str | None) -> None:
    assert read_label(text, BREAST) == label


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("effusion, atelectasis", ("atelectasis", "effusion")),
        ("Effusion and hernia.", ("effusion", "hernia")),
        ("pleural effusion, left; hernia", ("pleural effusion, left", "hernia")),
        ("effusion, effusion", ("effusion",)),
        ("effusion, fracture", None),
        ("an effusion", None),
        ("effusions", None),
        ("No findings", ()),
        ("", None),
    ],
)
def test_label_sets_must_be_consumed(text: str, labels: tuple[str, ...] | None) -> None:
    assert read_labels(text, CHEST) == labels


def test_food_is_asked_as_in_adamllms_table_13() -> None:
    choose, food = Wording(template="choose"), ("candy", "egg tart", "ice cream", "rice")
    one = sample("classification", "rice", options=food, modality="food")
    ask = task("classification").ask
    assert ask(one, choose) == (
        "What does this food image show?\nPick one of these: candy, egg tart, ice cream, rice."
    )
    assert said(one, wording=choose) == "rice"
    many = replace(one, answer=("candy", "rice"))
    assert ask(many, choose).splitlines()[1:] == [
        "The choices are: candy, egg tart, ice cream, rice.",
        "Reply with a list of those that can be seen, such as [candy, egg tart, ice cream].",
    ]
    assert said(many, wording=choose) == "[candy, rice]"
    for text in ("[rice, candy]", " [candy, rice]. ", "candy, rice", "[Rice and candy]"):
        assert read(text, many) == ("candy", "rice")
    assert read("[]", many) == () and read("[soup]", many) is None
    zh = replace(many, language="zh")
    assert ask(zh, choose).endswith("例如[candy、egg tart、ice cream]。")
    assert ask(many, replace(choose, list_options=False)).endswith("food image?")


def test_pmc_vqa_is_asked_as_in_adamllms_table_13() -> None:
    s = sample("mcq", "lung", question="Which organ?", options=("heart", "lung"))
    asked = task("mcq").ask(s, Wording(template="choices"))
    assert asked == "Question: Which organ?\nThe choices are:\n(A) heart\n(B) lung"
    assert said(s, wording=Wording(template="choices")) == "B" and read("(B) lung", s) == "lung"


def test_bad_labels_and_wordings_are_one_line_errors() -> None:
    s = sample("classification", "cat", options=("dog",))
    with pytest.raises(DataError, match="outside its options: dog"):
        said(s)
    with pytest.raises(DataError, match="without options"):
        said(replace(s, options=()))
    for name in names("tasks"):
        with pytest.raises(UsageError, match="no wording 'papr'"):
            task(name).ask(s, Wording(template="papr"))


# --- every task


def quantum(codec: Codec, size: tuple[int, int], kind: type = Box) -> np.ndarray:
    """What a codec cannot tell apart, in pixels of the original along x and y."""
    grid = (1000, 1000)
    if isinstance(codec, FractionCodec):
        return np.array([max(size)] * 2) / 1000
    if isinstance(codec, Qwen25VLCodec):
        grid = codec.grid(size)
    if isinstance(codec, ResizedCodec) and kind is Point:
        grid = (codec.width, codec.height)
    return np.array(size) / np.array(grid)


def cases() -> list[Sample]:
    """One sample per task and form of answer."""
    box = Box(name="cell", x1=10.0, y1=20.0, x2=110.5, y2=200.0)
    other = replace(box, name="platelet", x1=300.0, x2=320.0)
    point = Point(name="fovea", x=333.3, y=100.0)
    return [
        sample("classification", "a", options=("a", "b")),
        sample("vqa", "no", question="Is it there?", options=("yes", "no")),
        sample("vqa", "Right Lung", question="Where is it?"),
        sample("vqa", ("left", "right"), question="Which?", options=("left", "right")),
        sample("mcq", "a lung", question="Which?", options=("a lung", "a liver", "B")),
        sample("mcq", "B", question="Which?", options=("a lung", "a liver", "B")),
        sample("caption", "A red circle."),
        sample("report", "Findings: none.\nImpression: normal.", modality="CT"),
        sample("detection", (box,), question="cell"),
        sample("detection", (box, replace(box, x1=50.0)), question="cell"),
        sample("detection", (box, other)),
        sample("detection", (), question="cell"),
        sample("landmark", (point,), question="fovea"),
        sample("landmark", (point, replace(point, name="disc", x=0.0))),
        sample("landmark", (), question="fovea"),
        sample("recipe_generation", "title: Tea\ningredients: tea, water\ninstructions: 1. Boil."),
        sample("ingredients", ("rice", "salt")),
        sample("ingredients", ()),
    ]


@CODECS
@pytest.mark.parametrize("s", cases())
@pytest.mark.parametrize("language", ["en", "zh"])
def test_reading_a_written_answer_gives_it_back(codec: Codec, s: Sample, language: str) -> None:
    s = replace(s, language=language)  # type: ignore[arg-type]
    back = read(said(s, codec), s, codec)
    if isinstance(s.answer, str) or not s.answer or isinstance(s.answer[0], str):
        assert back == s.answer
        return
    assert isinstance(back, tuple) and len(back) == len(s.answer)
    half = quantum(codec, SIZE, type(s.answer[0])) / 2 + 1e-9
    for got, want in zip(back, s.answer, strict=True):
        assert type(got) is type(want) and got.name == want.name  # type: ignore[union-attr]
        for field in {"x1", "y1", "x2", "y2", "x", "y"} & set(type(want).__slots__):  # type: ignore
            assert abs(getattr(got, field) - getattr(want, field)) <= half[int("y" in field)]


@pytest.mark.parametrize("s", cases())
def test_asking_is_a_pure_function_with_several_wordings(s: Sample) -> None:
    module = task(s.task)
    assert module.templates[0] == "paper"
    for language in ("en", "zh"):
        told = replace(s, language=language)  # type: ignore[arg-type]
        asked = [module.ask(told, Wording(template=template)) for template in module.templates]
        assert asked == [module.ask(told, Wording(template=name)) for name in module.templates]
        assert all(asked) and "{" not in "".join(asked)
    if s.task in {"caption", "report", "detection", "landmark", "classification", "ingredients"}:
        assert len(set(asked)) == len(asked)


# --- vqa and mcq


def test_vqa_lists_options_unless_the_question_does() -> None:
    ask = task("vqa").ask
    s = sample("vqa", "yes", question="Is it large?", options=("yes", "no"))
    assert ask(s, PAPER) == "Is it large? Answer with one of: yes, no."
    assert ask(s, Wording(list_options=False)) == "Is it large?"
    left = replace(s, question="Left or right?", options=("left", "right"), answer="left")
    assert ask(left, PAPER) == "Left or right?"
    assert (
        ask(replace(s, options=()), Wording(template="brief"))
        == "Is it large? Answer in a few words."
    )


def test_vqa_reads_open_and_closed() -> None:
    closed = sample("vqa", "no", question="?", options=("yes", "no"))
    assert read("No.", closed) == "no"
    assert read("No, there is nothing.", closed) == "no"
    assert read("It is normal.", closed) is None
    assert read("I cannot say", closed) is None
    opened = replace(closed, options=())
    assert read("  the  Left lung ", opened) == "the Left lung"
    assert read(" ", opened) is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("B", "liver"),
        ("b.", "liver"),
        ("(B)", "liver"),
        ("Ｂ", "liver"),
        ("B. liver", "liver"),
        ("(B) liver", "liver"),
        ("Answer: B", "liver"),
        ("The answer is (B).", "liver"),
        ("答案：B", "liver"),
        ("liver", "liver"),
        ("It is the liver.", "liver"),
        ("A large organ", None),
        ("B. lung", None),
        ("A or B", None),
        ("Answer: A. No, answer: B", None),
        ("E", None),
        ("", None),
    ],
)
def test_mcq_reads_letters(text: str, answer: str | None) -> None:
    s = sample("mcq", "liver", question="Which organ?", options=("lung", "liver", "spleen"))
    assert read(text, s) == answer


def test_mcq_asks_with_lines_and_writes_a_letter() -> None:
    s = sample("mcq", "liver", question="Which organ?", options=("lung", "liver"))
    assert task("mcq").ask(s, Wording(template="plain")) == "Which organ?\nA. lung\nB. liver"
    assert said(s) == "B"
    bare = Wording(list_options=False)
    assert task("mcq").ask(s, bare) == "Which organ?"
    assert said(s, wording=bare) == "liver" and read("liver", s) == "liver"
    with pytest.raises(DataError, match="not among its options"):
        said(replace(s, answer="kidney"))


# --- codecs


def test_qwen_form_marks_only_control_text() -> None:
    box = Box(name="", x1=64.0, y1=48.0, x2=320.0, y2=480.0)
    parts = QWEN.write_boxes([box], SIZE)
    assert text_of(parts) == "<|box_start|>(100,100),(500,1000)<|box_end|>"
    assert [isinstance(part, Markup) for part in parts] == [True, False, True]
    named = QWEN.write_boxes([replace(box, name="<|im_end|>")], SIZE)
    assert [str(p) for p in named if not isinstance(p, Markup)] == [
        "<|im_end|>",
        "(100,100),(500,1000)",
    ]
    assert text_of(QWEN.write_points([Point(name="", x=320.0, y=240.0)], SIZE)) == (
        "<|box_start|>(500,500)<|box_end|>"
    )


def test_intern_form() -> None:
    box = Box(name="cell", x1=64.0, y1=48.0, x2=320.0, y2=480.0)
    text = text_of(INTERN.write_boxes([box], SIZE))
    assert text == "<ref>cell</ref><box>[[100, 100, 500, 1000]]</box>"
    both = "<ref>cell</ref><box>[[100, 100, 500, 1000], [0,0,10,10]]</box>"
    assert [b.name for b in INTERN.read_boxes(both, SIZE)] == ["cell", "cell"]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("<|box_start|>(1,2),(3,4)<|box_end|>", 1),
        ("<|box_start|> ( 1 , 2 ) , ( 3 , 4 )", 1),
        ("(1,2),(3,4)(5,6),(7,8)", 2),
        ("<|box_start|>(1,2),(3,4)<|box_end|><|box_start|>(5,6),(7,", 1),
        ("(3,4),(1,2)", 0),
        ("(1,2),(3,1001)", 0),
        ("(1,2)", 0),
        ("no box", 0),
    ],
)
def test_qwen_reads_only_well_formed_boxes(text: str, count: int) -> None:
    assert len(QWEN.read_boxes(text, SIZE)) == count


def test_points_are_not_corners_of_boxes() -> None:
    assert QWEN.read_points("<|box_start|>(1,2),(3,4)<|box_end|>", SIZE) == ()
    assert len(QWEN.read_points("<|box_start|>(1,2)<|box_end|><|box_start|>(3,4)", SIZE)) == 2
    assert QWEN.read_points("(1,2000)", SIZE) == ()
    assert len(INTERN.read_points("<box>[[1, 2]]</box><box>[[3,4", SIZE)) == 1


@CODECS
def test_random_boxes_round_trip_within_half_a_quantum(codec: Codec) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        size = (int(rng.integers(20, 3000)), int(rng.integers(20, 3000)))
        low, high = rng.uniform(0, 0.49, 2) * size, rng.uniform(0.5, 1, 2) * size
        box = Box(name="n", x1=low[0], y1=low[1], x2=high[0], y2=high[1])
        (back,) = codec.read_boxes(text_of(codec.write_boxes([box], size)), size)
        error = np.abs([back.x1 - box.x1, back.x2 - box.x2, back.y1 - box.y1, back.y2 - box.y2])
        assert (error <= np.repeat(quantum(codec, size), 2) / 2 + 1e-9).all()
        point = Point(name="n", x=high[0], y=low[1])
        (seen,) = codec.read_points(text_of(codec.write_points([point], size)), size)
        assert seen.name == "n"
        error = np.abs([seen.x - point.x, seen.y - point.y])
        assert (error <= quantum(codec, size, Point) / 2 + 1e-9).all()


@CODECS
def test_a_thin_box_keeps_an_area(codec: Codec) -> None:
    for edge in (0.0, 320.0, 640.0):
        thin = Box(name="", x1=edge, y1=0.0, x2=edge, y2=1.0)
        assert len(codec.read_boxes(text_of(codec.write_boxes([thin], SIZE)), SIZE)) == 1


def test_qwen25_form_counts_pixels_of_the_resized_image() -> None:
    box = Box(name="a {cell}", x1=64.0, y1=48.0, x2=320.0, y2=480.0)
    assert PIXELS.grid(SIZE) == (644, 476)
    text = text_of(PIXELS.write_boxes([box, replace(box, name="")], SIZE))
    assert text == (
        '```json\n[\n\t{"bbox_2d": [64, 48, 322, 476], "label": "a {cell}"},\n'
        '\t{"bbox_2d": [64, 48, 322, 476]}\n]\n```'
    )
    for cut, count in ((len(text) - 8, 1), (60, 0), (0, 0)):
        assert len(PIXELS.read_boxes(text[:cut], SIZE)) == count
    assert PIXELS.read_boxes('{"bbox_2d": [1, 2, 645, 4]} {"bbox_2d": [true, 2, 3, 4]}', SIZE) == ()
    assert PIXELS.read_points(text, SIZE) == ()
    small = replace(PIXELS, most=28 * 28 * 16)
    (back,) = small.read_boxes('{"bbox_2d": [0, 0, 56, 28]}', SIZE)
    assert (back.x2, back.y2) == pytest.approx((640 * 56 / 112, 480 * 28 / 84))


def test_gemma_writes_rows_first_and_qwen3_columns() -> None:
    box, point = (
        Box(name="a", x1=64.0, y1=48.0, x2=320.0, y2=480.0),
        Point(name="", x=320.0, y=48.0),
    )
    assert '{"bbox_2d": [100, 100, 500, 1000], "label": "a"}' in text_of(
        JSON.write_boxes([box], SIZE)
    )
    assert '{"box_2d": [100, 100, 1000, 500], "label": "a"}' in text_of(
        GEMMA.write_boxes([box], SIZE)
    )
    assert '{"point_2d": [100, 500]}' in text_of(GEMMA.write_points([point], SIZE))
    assert GEMMA.read_boxes('{"box_2d": [100, 900, 1000, 100]}', SIZE) == ()


def test_llava_measures_in_the_padded_square() -> None:
    box, point = Box(name="", x1=64.0, y1=0.0, x2=320.0, y2=480.0), Point(name="a", x=0.0, y=240.0)
    assert text_of(LLAVA.write_boxes([box], SIZE)) == "[0.100, 0.125, 0.500, 0.875]"
    both = LLAVA.write_boxes([replace(box, name="b"), box], SIZE)
    assert text_of(both) == "b: [0.100, 0.125, 0.500, 0.875]; [0.100, 0.125, 0.500, 0.875]"
    assert text_of(LLAVA.write_points([point], SIZE)) == "a: [0.000, 0.500]"
    (published,) = LLAVA.read_boxes("It is at [0.1, 0.0, .5, 1.0].", SIZE)  # padding is cut off
    assert (published.y1, published.y2, published.x2) == (0.0, 480.0, 320.0)
    assert LLAVA.read_boxes("[0.1, 0.9, 0.5, 0.95] [0.5, 0.2, 0.1, 0.4] [1, 2, 3, 4]", SIZE) == ()
    assert LLAVA.read_points("[0.5, 0.05] [0.1, 0.2, 0.3, 0.4]", SIZE) == ()


def test_resizing_is_that_of_the_processor() -> None:
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize as theirs

    rng = np.random.default_rng(0)
    for _ in range(300):
        width, height = (int(side) for side in rng.integers(10, 1500, 2))
        height = max(height, width // 150 + 1)
        least, most = 56 * 56, int(rng.integers(10_000, 2_000_000))
        ours = smart_resize((width, height), factor=28, least=least, most=most)
        assert ours[::-1] == theirs(height, width, factor=28, min_pixels=least, max_pixels=most)


def test_landmarks_of_umit_are_pixels_after_its_resize() -> None:
    size = (1935, 2400)
    orbitale = Point(name="", x=421 * 1935 / 640, y=435 * 3.0)
    assert text_of(LANDMARKS.write_points([orbitale], size)) == "[421,435]"
    both = [replace(orbitale, name="Orbitale"), replace(orbitale, name="Sella turcica", x=0.0)]
    text = text_of(LANDMARKS.write_points(both, size))
    assert text == "Orbitale: [421,435]; Sella turcica: [0,435]"
    assert [p.name for p in LANDMARKS.read_points(text, size)] == ["Orbitale", "Sella turcica"]
    assert LANDMARKS.read_points("[641,2] [1,2,3] [4", size) == ()


def test_a_codec_survives_the_checkpoint() -> None:
    others = (replace(PIXELS, most=784), ResizedCodec(width=100, height=50), GEMMA, LLAVA)
    for codec in (QWEN, INTERN, JSON, *others):
        assert codec_of(described(codec)) == codec
    with pytest.raises(CheckpointError, match="writes boxes as 'Other'"):
        codec_of({"kind": "Other"})


def test_size_comes_from_the_picture_or_its_pixels() -> None:
    assert size_of(sample("caption", "", size=(3, 4))) == (3, 4)
    assert size_of(sample("caption", "", size=None)) == SIZE
    with pytest.raises(DataError, match="no image"):
        size_of(replace(sample("caption", ""), images=()))
    with pytest.raises(DataError, match="not a tuple of 2D boxes"):
        said(sample("detection", "here"))
    with pytest.raises(DataError, match="not a tuple of points"):
        said(sample("landmark", "here"))


def test_empty_and_unreadable_locations_differ() -> None:
    s = sample("detection", (), question="cell")
    assert said(s) == "None." and read("None.", s) == ()
    assert read("I see one on the left", s) is None
    assert read("无。", replace(s, language="zh")) == ()


def test_normalising_keeps_what_carries_meaning() -> None:
    assert normalise(" Ｇrade  −1. ") == "grade −1"
    assert normalise("(B)") == "(b)"
    assert words("The left-lung, 左肺。") == ["the", "left", "lung", "左", "肺"]


# --- every task on generated answers

NAMES = {
    "en": (
        "a",
        "left lung",
        "St. Mary's",
        "no finding at all",
        "rice (brown)",
        "T2-weighted",
        "B",
        "no",
    ),
    "zh": ("左肺", "右肺上叶", "正常", "结节 3 mm", "是", "否", "T2加权", "米饭"),
}


def generated(name: str, language: str, rng: np.random.Generator) -> Sample:
    """A sample of a task with an answer drawn at random."""
    words = [NAMES[language][i] for i in rng.permutation(8)]
    text = " ".join(words) if language == "en" else "，".join(words)
    some = tuple(words[: int(rng.integers(0, 5))])
    options = tuple(words[: int(rng.integers(2, 6))])
    low, high = rng.uniform(0, 0.49, 3) * 400, rng.uniform(0.5, 1, 3) * 400
    ends = dict(zip(("x1", "y1", "z1", "x2", "y2", "z2"), (*low, *high), strict=True))
    flat = {key: value for key, value in ends.items() if key[0] != "z"}
    named = words[: int(rng.integers(1, 4))]
    answer: Answer
    match name:
        case "classification":
            answer = some if rng.random() < 0.5 else words[0]
            return sample(name, answer, options=tuple(words), language=language)
        case "mcq" | "choice" | "comparison" | "vqa":
            fields = {"question": "Which one?", "options": options, "language": language}
            return sample(name, options[-1], **fields)
        case "detection":
            answer = tuple(Box(name=word, **flat) for word in named)
        case "detection3d":
            whole = {key: float(round(value)) for key, value in ends.items()}
            answer = tuple(
                Box3D(name=word.replace("(", "").replace(")", ""), **whole) for word in named
            )
        case "landmark":
            answer = tuple(Point(name=word, x=low[0], y=high[0]) for word in named)
        case "ingredients":
            return sample(name, some, options=tuple(words), language=language)
        case _:
            answer = text
    return sample(name, answer, language=language)


@pytest.mark.parametrize("name", [name for name in names("tasks") if name != "triplet"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_generated_answers_read_back(name: str, language: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        s = generated(name, language, rng)
        if name == "comparison":
            s = replace(s, images=s.images * 2)
        for codec in (QWEN, INTERN, PIXELS, LANDMARKS):
            back = read(said(s, codec), s, codec)
            if name in ("detection", "landmark"):
                assert isinstance(back, tuple) and isinstance(s.answer, tuple)
                kind = type(s.answer[0])
                assert [b.name for b in back] == [a.name for a in s.answer]  # type: ignore[union-attr]
                apart = np.array([coordinates(b) for b in back]) - [
                    coordinates(a) for a in s.answer
                ]
                bound = quantum(codec, SIZE, kind) / 2 + 1e-9
                assert (np.abs(apart).reshape(len(back), -1, 2) <= bound).all()
            else:
                assert back == s.answer


def coordinates(shape: object) -> list[float]:
    """x, y, x, y of a box, x, y of a point."""
    names = ("x1", "y1", "x2", "y2") if isinstance(shape, Box) else ("x", "y")
    return [getattr(shape, name) for name in names]


def test_two_images_are_compared() -> None:
    s = sample("comparison", "Both show a cell; image 2 is darker.")
    with pytest.raises(DataError, match="compares two images and has 1"):
        task("comparison").ask(s, PAPER)
    two = replace(s, images=s.images * 2)
    assert "image 1 and image 2" in task("comparison").ask(two, PAPER)
    closed = replace(
        two, question="Which is worse?", options=("image 1", "image 2"), answer="image 2"
    )
    asked = task("comparison").ask(closed, PAPER)
    assert asked == "Which is worse? Answer with one of: image 1, image 2."
    assert read("Image 2 is worse.", closed) == "image 2" and read("both", closed) is None
    with pytest.raises(DataError, match="a comparison has image 1, image 2"):
        said(replace(closed, answer="neither"))


def test_ingredients_are_read_as_they_are_listed() -> None:
    s = sample("ingredients", ("rice", "salt"))
    assert said(s) == "rice, salt"
    assert read("1. Rice\n2. olive oil\n- salt and pepper.", s) == (
        "Rice",
        "olive oil",
        "salt",
        "pepper",
    )
    assert read("rice, rice", s) == ("rice",) and read("", s) is None and read("None.", s) == ()
    assert read("米饭、鸡蛋和盐", replace(s, language="zh")) == ("米饭", "鸡蛋", "盐")
    known = replace(
        s, options=("mac and cheese", "rice", "salt"), answer=("mac and cheese", "rice")
    )
    assert (
        said(known) == "mac and cheese, rice"
        and read("RICE, mac and cheese", known) == known.answer
    )
    assert read("rice, unicorn", known) == ("rice", "unicorn")
    with pytest.raises(DataError, match="does not read back"):
        said(replace(s, answer=("mac and cheese",)))
    with pytest.raises(DataError, match="a set of names"):
        said(replace(s, answer="rice"))


def test_every_default_metric_of_a_task_suits_it() -> None:
    first = {name: task(name).metrics[0] for name in names("tasks")}
    assert first["classification"] == first["vqa"] == first["mcq"] == "accuracy"
    assert first["detection3d"] == "iou3d" and first["ingredients"] == "ingredient_recall"
    assert {"mre_mm", "sdr_2mm", "landmarks_found"} < set(task("landmark").metrics)
    assert {"closed_accuracy", "closed_accuracy@llava-med"} < set(task("vqa").metrics)
