"""Rows: tokens equal the processor's own, data never becomes control, labels follow turn spans."""

from typing import Any

import pytest
import torch
from PIL import Image

import models
from residency.errors import DataError, UsageError
from residency.model.huggingface import Backbone, Limits
from residency.model.rows import Slots
from residency.types import (
    BLANK,
    NEGATIVE,
    PLAIN,
    Area,
    Conversation,
    ImagePart,
    Markup,
    Picture,
    Reading,
    Turn,
)


@pytest.fixture(params=models.FAMILIES)
def backbone(request: pytest.FixtureRequest) -> Any:
    """A shared backbone with the default limits; tests that attach anything load their own."""
    found = models.shared(request.param)
    yield found
    found.limits = Limits()


def messages(conversation: Conversation, images: list[Image.Image]) -> list[dict[str, Any]]:
    def content(part: Any) -> dict[str, Any]:
        if isinstance(part, ImagePart):
            return {"type": "image", "image": images[part.index]}
        return {"type": "text", "text": str(part)}

    return [{"role": t.role, "content": [content(p) for p in t.parts]} for t in conversation]


def tokens(backbone: Backbone, reading: Reading) -> list[int]:
    prompt = backbone.collate([reading], [PLAIN]).prompts[PLAIN]
    return prompt.tokens[0].tolist()


TWO_TURNS: Conversation = (
    Turn("system", ("You are a helpful assistant.",)),
    Turn("user", (ImagePart(0), "What is it?")),
    Turn("assistant", ("red circle",), learn=True),
    Turn("user", ("And here?", ImagePart(1), "图中有多少个红色圆形？")),
    Turn("assistant", ("two, <b>left</b>.",), learn=True),
)


@pytest.mark.parametrize(
    "conversation",
    [
        models.conversation("What is it?", "red circle", images=2),
        models.conversation("Choose from: normal, pneumonia.", "肺炎", images=0),
        TWO_TURNS,
        TWO_TURNS[1:],  # Qwen2-VL's template writes its own system turn
    ],
)
def test_tokens_and_pixels_equal_the_processors(
    backbone: Backbone, conversation: Conversation
) -> None:
    sizes = ((48, 48), (90, 40))
    shown = [p.index for t in conversation for p in t.parts if isinstance(p, ImagePart)]
    pictures = [models.picture(k, sizes[k]) for k in shown]
    reading = Reading(sample=models.sample("a", *pictures), conversation=conversation)
    own = backbone.collate([reading], [PLAIN])
    theirs = backbone.processor.apply_chat_template(
        messages(conversation, [p.load() for p in pictures]),
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    ids, written = theirs["input_ids"][0].tolist(), own.prompts[PLAIN].tokens[0].tolist()
    assert written == ids
    for name in ("pixel_values", "image_grid_thw"):
        assert (name in theirs) == (name in own.pixels)
        assert name not in theirs or torch.equal(own.pixels[name], theirs[name])


@pytest.mark.parametrize("edge", ["\n\nWhat?", " What?", "What?\n", "a", "9", "\t"])
def test_text_at_a_border_keeps_its_meaning(backbone: Backbone, edge: str) -> None:
    """Apart from merges over the border of template and data, which never happen here."""
    reading = models.reading("a", question=edge)
    text = backbone.composer.tokenizer.decode(tokens(backbone, reading))
    chat = messages(reading.conversation, [])
    assert text == backbone.processor.apply_chat_template(chat, tokenize=False)


def injected(place: str, text: str) -> Conversation:
    question = {
        "instruction": f"What is {text}?",
        "option": f"Choose from: normal, {text}, other.",
    }.get(place, "What is it?")
    answer = {"answer": f"It is {text}.", "label": text}.get(place, "red circle")
    return models.conversation(question, answer, system=text if place == "system" else "Help.")


@pytest.mark.parametrize("place", ["instruction", "option", "answer", "label", "system"])
def test_control_text_in_data_stays_text(backbone: Backbone, place: str) -> None:
    composer = backbone.composer
    added = composer.tokenizer.get_added_vocab()
    images = [models.picture(0)]
    plain = Reading(sample=models.sample("a", *images), conversation=injected(place, "word"))
    control = [t for t in tokens(backbone, plain) if t in added.values()]
    assert len(added) >= 14
    for text in [*added, "<image>", "\ue0000.0\ue001", "{{ 7 * 7 }}", "<s>", "[INST]"]:
        conversation = injected(place, text)
        row = tokens(
            backbone, Reading(sample=models.sample("a", *images), conversation=conversation)
        )
        assert [t for t in row if t in added.values()] == control, text
        decoded = composer.tokenizer.decode(row)
        said = [p for t in conversation for p in t.parts if isinstance(p, str) and text in p]
        assert said and all(p in decoded for p in said), text


def test_control_text_in_an_option_to_score_stays_text(backbone: Backbone) -> None:
    added = backbone.composer.tokenizer.get_added_vocab()
    for text in added:
        ids = backbone.composer.response_ids((text,))
        assert not set(ids) & set(added.values())
        assert backbone.composer.tokenizer.decode(ids) == text


def test_markup_is_control(backbone: Backbone) -> None:
    name = {"qwen2_vl": "<|box_start|>", "internvl": "<box>"}[backbone.name]
    ids = backbone.composer.response_ids((Markup(name), "(1,2)"))
    assert ids[0] == backbone.composer.tokenizer.convert_tokens_to_ids(name)


def learned(backbone: Backbone, conversation: Conversation, pictures: int) -> list[str]:
    """The learned spans as text."""
    layouts = [
        backbone.family.pixels(backbone.processor, [models.image(k)], Area())[1][0]
        for k in range(pictures)
    ]
    row = backbone.composer.row(conversation, layouts, Slots())
    spans: list[list[int]] = []
    for k, (token, learn) in enumerate(zip(row.tokens, row.learned, strict=True)):
        if learn and (not k or not row.learned[k - 1]):
            spans.append([])
        if learn:
            spans[-1].append(token)
    return [backbone.composer.tokenizer.decode(span) for span in spans]


def test_labels_are_the_learned_turns_with_their_ends(backbone: Backbone) -> None:
    assert learned(backbone, TWO_TURNS, 2) == [
        "red circle<|im_end|>",
        "two, <b>left</b>.<|im_end|>",
    ]
    first_only = (*TWO_TURNS[:4], Turn("assistant", ("two",)))
    assert learned(backbone, first_only, 2) == ["red circle<|im_end|>"]


@pytest.mark.parametrize(
    "between", [(), (Turn("user", (ImagePart(0),)),), (Turn("assistant", ("aside",)),)]
)
def test_a_learned_turn_ends_whatever_follows(
    backbone: Backbone, between: tuple[Turn, ...]
) -> None:
    """Also where no text, or another learned turn, comes next."""
    ends = (Turn("assistant", ("one",), learn=True), *between)
    conversation = (Turn("user", ("Say.",)), *ends, Turn("assistant", ("two",), learn=True))
    assert learned(backbone, conversation, 1) == ["one<|im_end|>", "two<|im_end|>"]


def test_responses_that_are_missing_are_refused(backbone: Backbone) -> None:
    def row(*turns: Turn) -> None:
        backbone.composer.row(turns, [], Slots())

    ask = Turn("user", ("What?",))
    for parts in ((), ("",), ("", "")):
        with pytest.raises(DataError, match="is empty"):
            row(ask, Turn("assistant", parts, learn=True))
    with pytest.raises(DataError, match="No turn is marked"):
        row(ask, Turn("assistant", ("yes",)))
    with pytest.raises(DataError, match="shows image 0, the sample has 0"):
        row(Turn("user", (ImagePart(0),)), Turn("assistant", ("yes",), learn=True))
    with pytest.raises(DataError, match="Sample 'a'"):
        backbone.collate([models.reading("a", answer="")], [PLAIN])


def test_text_that_is_no_text_is_named(backbone: Backbone) -> None:
    with pytest.raises(DataError, match=r"'a \\ud800' holds half of a character pair"):
        backbone.composer.text_ids("a \ud800")


def test_a_prompt_ends_where_the_last_response_begins(backbone: Backbone) -> None:
    pictures = (models.picture(0), models.picture(1))
    reading = Reading(sample=models.sample("a", *pictures), conversation=TWO_TURNS)
    batch = backbone.collate([reading], [PLAIN], "prompts")
    written = batch.prompts[PLAIN].tokens[0].tolist()
    chat = messages(TWO_TURNS[:-1], [p.load() for p in pictures])
    theirs = backbone.processor.apply_chat_template(
        chat, tokenize=True, add_generation_prompt=True, return_dict=True
    )
    assert written == theirs["input_ids"][0]
    assert len(batch.targets.tokens) == 0 and not batch.prompts[PLAIN].predicts.any()


def test_a_prompt_does_not_look_at_the_response(backbone: Backbone) -> None:
    """No reference, a long one or one with images after it: the prompt is the same."""
    ask = (Turn("user", (ImagePart(0), "What?")),)
    pictures = (models.picture(0), models.picture(1))
    rows = []
    backbone.limits = Limits(max_tokens=60)
    for answer in (
        (Turn("assistant", ("",), learn=True),),
        (Turn("assistant", ("word " * 200,), learn=True),),
        (Turn("assistant", ("yes",), learn=True), Turn("user", (ImagePart(1), "Sure?"))),
    ):
        reading = Reading(sample=models.sample("a", *pictures), conversation=ask + answer)
        prompt = backbone.collate([reading], [PLAIN], "prompts").prompts[PLAIN]
        assert prompt.images == (0,)
        rows.append(prompt.tokens[0].tolist())
    assert rows[0] == rows[1] == rows[2]


def test_targets_follow_reading_order_and_mark_where_the_negative_diverges(
    backbone: Backbone,
) -> None:
    other = models.sample("n", models.picture(9), answer="red square")
    readings = [
        models.reading("a", models.picture(0), answer="red circle", negative=other),
        models.reading("b", models.picture(1), answer="red", negative=other),
        models.reading("c", models.picture(2), answer="red circle"),
    ]
    targets = backbone.collate(readings, [PLAIN]).targets
    ids, end = backbone.composer.response_ids, backbone.composer.end_of_turn
    assert targets.tokens.tolist() == [
        *ids(("red circle",)), end, *ids(("red",)), end, *ids(("red circle",)), end
    ]  # fmt: skip
    red = len(ids(("red",)))
    assert ids(("red circle",))[:red] == ids(("red square",))[:red] == ids(("red",))
    of = [targets.diverges[targets.sample == n].tolist() for n in range(3)]
    shared = [a == b for a, b in zip(ids(("red circle",)), ids(("red square",)), strict=False)]
    first = shared.index(False)
    assert of[0] == [k >= first for k in range(len(of[0]))] and not of[0][0]
    assert of[1] == [False] * red + [True]  # the end itself differs
    assert all(of[2])  # nothing to compare with


# --- length ---------------------------------------------------------------------------------------


def test_a_row_that_is_too_long_fails_by_default(backbone: Backbone) -> None:
    backbone.limits = Limits(max_tokens=40)
    with pytest.raises(DataError, match=r"Sample 'a' needs \d+ tokens, the limit is 40"):
        backbone.collate([models.reading("a", models.picture(0), question="why " * 40)], [PLAIN])


def test_dropped_samples_are_named_and_their_images_not_encoded(backbone: Backbone) -> None:
    short = [models.reading(n, models.picture(k)) for k, n in enumerate("ab")]
    length = len(tokens(backbone, short[0]))
    backbone.limits = Limits(max_tokens=length, too_long="drop")
    long = models.reading("long", models.picture(5), question="why " * 40)
    batch = backbone.collate([short[0], long, short[1]], [PLAIN])
    assert batch.dropped == ("long",) and batch.shrunk == ()
    assert batch.targets.sample.unique().tolist() == [0, 1]
    alone = backbone.collate(short, [PLAIN])
    assert torch.equal(batch.pixels["pixel_values"], alone.pixels["pixel_values"])
    assert torch.equal(backbone.read(batch)[PLAIN], backbone.read(alone)[PLAIN])
    assert len(backbone.collate([long], [PLAIN]).targets.tokens) == 0


def test_shrinking_keeps_every_image_span_whole(backbone: Backbone) -> None:
    """The large image gives way, the text does not; samples that share it shrink with it."""
    large = models.picture(3, (96, 48))
    small = models.reading("small", models.picture(0, (24, 24)))
    over = models.reading("over", large, question="Which of these is shown here?")
    sharing = models.reading("sharing", large)
    before = {r.sample.id: tokens(backbone, r) for r in (small, over, sharing)}
    room = len(before["over"]) - 1
    backbone.limits = Limits(max_tokens=room, too_long="shrink")
    batch = backbone.collate([small, over, sharing], [PLAIN])
    assert batch.shrunk == ("over", "sharing") and batch.dropped == ()
    prompt = batch.prompts[PLAIN]
    image = backbone.composer.image_id
    assert int(prompt.attention.sum(1).max()) <= room
    written = [
        [t for t in row[kept].tolist() if t != image]
        for row, kept in zip(prompt.tokens, prompt.attention, strict=True)
    ]
    assert written == [[t for t in row if t != image] for row in before.values()]
    counts = (prompt.tokens == image).sum(1).tolist()
    assert counts == [len(f) for f in backbone.see(batch)[:1]] + [len(backbone.see(batch)[1])] * 2
    assert 0 < counts[1] < before["over"].count(image)
    assert len(backbone.read(batch)[PLAIN]) == len(batch.targets.tokens)


def test_shrinking_gives_no_more_than_needed(backbone: Backbone) -> None:
    large = models.reading("a", models.picture(3, (96, 48)))
    full = tokens(backbone, large)
    backbone.limits = Limits(max_tokens=len(full) - 1, too_long="shrink")
    batch = backbone.collate([large], [PLAIN])
    image = backbone.composer.image_id
    left = int((batch.prompts[PLAIN].tokens == image).sum())
    if backbone.name == "qwen2_vl":  # half the area; InternVL has one tile below four
        assert left >= full.count(image) // 4
    backbone.limits = Limits(max_tokens=20, too_long="shrink")
    with pytest.raises(DataError, match="its text is too long"):
        backbone.collate([large], [PLAIN])


# --- images ---------------------------------------------------------------------------------------


def test_each_distinct_image_is_decoded_once(backbone: Backbone) -> None:
    decoded: list[str] = []

    def counted(seed: int) -> Picture:
        def load() -> Image.Image:
            decoded.append(f"k{seed}")
            return models.image(seed)

        return Picture(key=f"k{seed}", load=load, size=(48, 48))

    pictures = [counted(k) for k in range(2)]
    readings = [
        models.reading("a", pictures[0], negative=models.sample("b", pictures[1])),
        models.reading("b", pictures[1], negative=models.sample("a", pictures[0])),
    ]
    batch = backbone.collate(readings, [PLAIN, NEGATIVE])
    assert sorted(decoded) == ["k0", "k1"]
    assert batch.prompts[PLAIN].images == (0, 1) and batch.prompts[NEGATIVE].images == (1, 0)
    decoded.clear()
    blank = backbone.collate(readings, [BLANK])
    assert decoded == [] and blank.prompts[BLANK].images == (0, 0)  # one size, one blank image


def test_images_that_no_model_can_read_are_named(backbone: Backbone) -> None:
    if backbone.name == "internvl":
        pytest.skip("InternVL stretches every image to its tiles")
    thin = models.picture(1, (4000, 3))
    with pytest.raises(DataError, match=r"noise/1.*\(4000x3\) cannot be preprocessed"):
        backbone.collate(
            [models.reading("a", models.picture(0)), models.reading("b", thin)], [PLAIN]
        )


def test_a_missing_negative_is_named(backbone: Backbone) -> None:
    with pytest.raises(DataError, match="Sample 'a' has no negative image"):
        backbone.collate([models.reading("a", models.picture(0))], [PLAIN, NEGATIVE])


def test_a_template_that_does_not_close_responses_is_refused() -> None:
    from residency.model.rows import Composer

    found = models.shared("qwen2_vl")
    processor = type(found.processor).from_pretrained(models.folder("qwen2_vl"))
    processor.chat_template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content[0].text }}\n{% endfor %}"
    )
    with pytest.raises(UsageError, match="does not close a response"):
        Composer(found.family, processor, (1, 2))
