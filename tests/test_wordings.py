"""Pools of wordings: drawn in training, canonical in tests, every one read back."""

from collections import Counter
from dataclasses import replace

import pytest

from residency.codec import Qwen2VLCodec
from residency.data.mixture import Mixture
from residency.dataset import open_dataset
from residency.errors import UsageError
from residency.task import PAPER, Wording, shown, task, text_of

CODEC = Qwen2VLCodec()
SMALL = "train=8:val=2:test=2:size=48"
KINDS = {  # what UMIT's five tasks are asked about, 2D and 3D
    "vqa": "lesion",
    "classification": "smear",
    "report": "chest",
    "detection": "smear",
    "landmark": "fundus",
    "mcq": "ct_volume",
    "detection3d": "ct_volume",
    "caption": "smear",
}


@pytest.mark.parametrize("name", KINDS)
def test_every_wording_of_a_pool_says_something_else_and_is_read_back(name: str) -> None:
    pool = Wording(template="umit*").pool(task(name))
    assert 3 <= len(pool) == len({w.template for w in pool}) and pool[0].template == "umit"
    for language in ("en", "zh"):
        samples = open_dataset(f"phantoms:{KINDS[name]}:task={name}:language={language}:{SMALL}")
        for sample in samples.splits["train"][:2]:
            asked = {task(name).ask(sample, wording) for wording in pool}
            assert len(asked) == len(pool)
            assert all(text.isascii() == (language == "en") for text in asked)
            for wording in pool:
                said = text_of(task(name).write(sample, CODEC, wording))
                read = task(name).read(said, sample, CODEC)
                exact = isinstance(sample.answer, str) or name == "detection3d"
                assert read == sample.answer if exact else read is not None


def test_classification_numbers_its_options_and_answers_with_number_and_label() -> None:
    sample = open_dataset(f"phantoms:smear:{SMALL}").splits["train"][0]
    said = task("classification").ask(sample, Wording(template="umit"))
    numbered = "\n".join(f"{n}:{label}" for n, label in enumerate(sample.options))
    assert numbered in said
    place = sample.options.index(sample.answer)
    written = text_of(task("classification").write(sample, CODEC, Wording(template="umit")))
    assert written == f"{place}:{sample.answer}"
    bare = Wording(template="umit", list_options=False)
    assert "0:" not in task("classification").ask(sample, bare)
    assert text_of(task("classification").write(sample, CODEC, bare)) == f"{sample.answer}."


def test_what_umit_prints_is_asked_as_printed() -> None:
    """Sec. 3.3.1 and its figures; the landmark's "[x,y]" is a convention's own affair."""
    umit = Wording(template="umit")

    def said(spec: str) -> str:
        sample = open_dataset(f"phantoms:{spec}:{SMALL}").splits["train"][0]
        return task(sample.task).ask(
            replace(sample, question="QUESTION", options=sample.options[:2]), umit
        )

    first, second = open_dataset(f"phantoms:smear:{SMALL}").labels[:2]
    start = "Given the image, "
    assert (
        said("smear")
        == f"{start}choose one option from the 0:{first}\n1:{second} to answer: QUESTION"
    )
    bare = open_dataset(f"phantoms:lesion:task=vqa:{SMALL}").splits["train"][0]
    asked = task("vqa").ask(replace(bare, question="QUESTION", options=()), umit)
    assert asked == f"{start}please provide a brief answer to QUESTION"
    assert (
        said("ct_volume:task=detection3d")
        == "Find QUESTION, please respond with a 3D bounding box."
    )
    assert said("fundus:task=landmark").startswith(f"{start}find QUESTION, the response is given ")
    reports = (
        open_dataset(f"phantoms:{kind}:task=report:{SMALL}").splits["train"][0]
        for kind in ("ct", "ct_volume")
    )
    assert [task("report").ask(one, umit) for one in reports] == [
        f"{start}please review the image and create a report that assesses any abnormalities.",
        "Given a series of medical images, generate a report that assesses any abnormalities.",
    ]  # fmt: skip


def test_sets_of_numbered_labels_are_read_back() -> None:
    sample = open_dataset(f"phantoms:smear:{SMALL}").splits["train"][0]
    umit = Wording(template="umit")
    for answer in ((), sample.options[:1], sample.options[1:3]):
        several = replace(sample, answer=answer)
        said = text_of(task("classification").write(several, CODEC, umit))
        assert task("classification").read(said, several, CODEC) == answer


def test_volumes_have_a_report_of_their_own() -> None:
    flat = open_dataset(f"phantoms:ct:task=report:{SMALL}").splits["train"][0]
    volume = open_dataset(f"phantoms:ct_volume:task=report:{SMALL}").splits["train"][0]
    for wording in Wording(template="umit*").pool(task("report")):
        assert task("report").ask(flat, wording) != task("report").ask(volume, wording)
    assert shown(flat) == "the image" and shown(volume) == "this series of slices"


def test_training_draws_from_the_pool_and_a_test_asks_in_canonical_words() -> None:
    data = [open_dataset(f"phantoms:lesion:task=vqa:{SMALL}")]
    mixture = Mixture.of(data, "train", wording=Wording(template="umit*"), codec=CODEC)
    asked = Counter(
        str(mixture.readings(0, (0, epoch, 0))[0].conversation[0].parts[-1]) for epoch in range(60)
    )
    assert len(asked) == len(Wording(template="umit*").pool(task("vqa")))
    assert max(asked.values()) < 30
    said = [mixture.readings(0, (0, 7, 0))[0].conversation for _ in range(2)]
    assert said[0] == said[1]
    assert mixture.wording.canonical == Wording(template="umit")
    assert Wording(template="*").canonical == PAPER and PAPER.canonical is PAPER
    plain = Mixture.of(data, "train", wording=PAPER, codec=CODEC)
    first, other = (plain.readings(0, (0, epoch, 0))[0].conversation for epoch in (1, 2))
    assert first == other


def test_a_pool_that_a_task_does_not_have_is_refused() -> None:
    assert len(Wording(template="*").pool(task("caption"))) == len(task("caption").templates)
    with pytest.raises(UsageError, match="No wording 'umit\\*'"):
        Wording(template="umit*").pool(task("ingredients"))
