"""Reading triplets, the wording of the filter, the rule of the chain of thought, and truth by facts."""

import json
from random import Random

import pytest

import models
from residency import triplets
from residency.codec import Qwen2VLCodec
from residency.dataset import Dataset, open_dataset
from residency.synthesis import consistency, cot, forms, rules, truth
from residency.synthesis.pairs import Recipe, pairs, recipe_caption, recipe_of
from residency.synthesis.synthesizer import count
from residency.task import PAPER, task
from residency.triplets import Triplet
from residency.types import Sample

CODEC = Qwen2VLCodec()
ONE = Triplet("What is the border?", "sharp", "The edge is clear all round. The border is sharp.")


def test_a_triplet_is_read_back_in_either_order():
    spoken = {triplets.write(ONE, seed=str(n)) for n in range(20)}
    assert len(spoken) == 2
    assert all(triplets.read(text) == ONE for text in spoken)


def test_marked_up_names_and_chatter_are_read():
    text = "Sure!\n**Instruction:** Where?\n\n- Precise response: left\n### INFORMATIVE: On the left\nside."
    assert triplets.read(text) == Triplet("Where?", "left", "On the left\nside.")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no_instruction"),
        ("Instruction: a\nPrecise: b", "no_informative"),
        ("Instruction: a\nInformative: b", "no_precise"),
        ("Instruction:\nPrecise: b\nInformative: c", "empty_instruction"),
        ("Instruction: a\nPrecise: b\nInformative: c\nPrecise: d", "repeated_precise"),
    ],
)
def test_what_is_no_triplet_says_why(text, reason):
    assert triplets.read(text) == reason


def test_the_task_reads_what_it_wrote_for_every_seed():
    seed = open_dataset("seed_general:100").split("train")
    spoken = task("triplet")
    for sample in seed:
        written = spoken.write(sample, CODEC)
        assert spoken.read(str(written[0]), sample, CODEC) == sample.answer
        assert sample.attributes["caption"] in spoken.ask(sample, PAPER)
    bare = Sample(id="x", dataset="d", task="triplet", answer=ONE)
    assert "Caption" not in spoken.ask(bare, PAPER)


def row(*said, finish="stop"):
    return {"said": list(said), "finish": [finish] * len(said)}


PRECISE, INFORMATIVE = forms.PREFIXES.values()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ((PRECISE + "Q?", "a", INFORMATIVE + "Q?", "long a"), Triplet("Q?", "a", "long a")),
        ((INFORMATIVE + "Q?", "long a", PRECISE + "Q?", "a"), Triplet("Q?", "a", "long a")),
        ((PRECISE + "Q?", "a", INFORMATIVE + "Q!", "long a"), "questions_differ"),
        ((PRECISE + "Q?", "a", PRECISE + "Q?", "b"), "repeated_precise"),
        (("Q?", "a", INFORMATIVE + "Q?", "long"), "no_prefix"),
        ((PRECISE + "Q?", "a", INFORMATIVE + "Q?", ""), "empty_turn"),
        ((PRECISE + "Q?", "a"), "empty_turn"),
        ((PRECISE, "a", INFORMATIVE, "long"), "empty_instruction"),
    ],
)
def test_turns_of_the_header_form(said, expected):
    assert forms.parse(row(*said), "header") == expected


def test_what_the_engine_cut_or_lost_is_no_triplet():
    text = triplets.write(ONE, seed="")
    assert forms.parse(row(text), "delimited") == ONE
    assert forms.parse(row(text, finish="length"), "delimited") == "cut_off"
    assert forms.parse(row("", finish="failed"), "delimited") == "engine_failed"
    counts = count([row(text), row(text, finish="length"), row(text)], "delimited")
    assert counts == {"triplet": 2, "cut_off": 1}


def test_the_prompts_of_the_filter_hold_the_triplet_once_and_have_versions():
    odd = Triplet("Is {c} left?", "{q}", "{a} is right.")
    for kind in ("few_shot", "short"):
        text = consistency.prompt(odd, kind)
        assert text.count("Is {c} left?") == 1 and "Long answer: {a} is right." in text
        assert "Short answer: {q}" in text
    assert consistency.version("short") != consistency.version("few_shot")
    labels = [label for _, label in consistency._EXAMPLES]
    assert {labels.count(label) for label in consistency.LABELS} == {2, 3}


@pytest.mark.parametrize(
    ("said", "label"),
    [
        ("Yes", "yes"),
        (" no.", "no"),
        ("Open\n", "open"),
        ("Yesterday", None),
        ("", None),
        ("maybe yes", None),
    ],
)
def test_a_verdict_is_the_label_that_a_reply_begins_with(said, label):
    assert consistency.verdict(said) == label


@pytest.mark.parametrize(
    ("informative", "kind"),
    [
        ("The edge is clear. Therefore, it is sharp.", "concluding"),
        ("The edge is clear. So the border is sharp.", "concluding"),
        ("It is also seen. Somehow the border is Sharp.", "contains"),
        ("So much for that. The edge is clear all round.", "template"),
        ("Nothing to add", "template"),
    ],
)
def test_the_rule_of_the_chain_of_thought(informative, kind):
    triplet = ONE._replace(informative=informative)
    assert cot.decide(triplet) == kind
    made = cot.combine(triplet, seed="7")
    assert made.kind == kind and ONE.instruction in made.instruction
    if kind == "concluding":
        assert made.response == informative
    elif kind == "contains":
        assert made.response == f"{informative} sharp"
    else:
        assert made.response.startswith(informative) and made.response.endswith("sharp")


def test_inverted_templates_are_an_option_and_come_half_of_the_time():
    triplet = ONE._replace(informative="Nothing to add")
    paper = [cot.combine(triplet, seed=str(n)) for n in range(200)]
    assert all(ONE.instruction in one.instruction for one in paper)
    assert len({one.instruction for one in paper}) == len(cot._COT)
    upstream = [cot.combine(triplet, seed=str(n), pool="upstream") for n in range(400)]
    inverted = sum(
        (one.instruction, one.response)
        in {(cot._fill(a, W), cot._fill(b, W)) for a, b in cot._INVERTED}
        for one in upstream
    )
    assert 150 < inverted < 250


W = {"q": ONE.instruction, "r": "Nothing to add", "c": "Nothing to add", "a": "sharp"}

FACTS = {
    "border": "sharp",
    "main colour": "light brown",
    "cell size": "large",
    "cell shape": "round",
    "granules": "fine",
    "granule colour": "pink",
    "vacuoles": "none",
}


@pytest.mark.parametrize(
    ("triplet", "expected"),
    [
        (("What is the border?", "sharp", "The border is sharp."), (True, True)),
        (("What is the border?", "blurred", "The border is sharp."), (False, True)),
        (("What is the main colour?", "a light brown", "It looks brown."), (True, False)),
        (("Is the border sharp?", "yes", "It is sharp."), (True, True)),
        (("Is the border sharp?", "no", "It is sharp."), (False, True)),
        (("Is the border blurred?", "no", "It is sharp, not blurred."), (True, True)),
        (("How big is it?", "large", "It is large."), (None, None)),
        (("What is the cell?", "large", "It is large."), (True, True)),
        (("How is the cell?", "pink", "The cell is small."), (False, False)),
        (("Is the cell round?", "yes", "It is a large cell."), (True, True)),
        (("Is the cell round?", "no", "It is a square cell."), (False, False)),
        (("What is the size?", "large", "It is small."), (True, False)),
        (("What colour are the granules?", "pink", "They are fine."), (True, False)),
        (("Are the granules pink in colour?", "yes", "They are pink."), (True, True)),
        (("How are the granules?", "fine", "The granules are pink."), (True, False)),
        (("How are the vacuoles?", "absent", "There are no vacuoles."), (True, True)),
        (("Is the vacuole absent?", "yes", "None is seen."), (True, True)),
        (("Are vacuoles present?", "yes", "Vacuoles are present."), (False, False)),
    ],
)
def test_truth_by_facts(triplet, expected):
    assert truth.truth(Triplet(*triplet), FACTS) == expected


def test_accuracy_counts_what_is_undecided():
    judged = [truth.Truth(True, True), truth.Truth(True, False), truth.Truth(None, None)]
    made = truth.added(judged)
    assert (made.n, made.undecided, made.precise, made.informative, made.combined) == (
        3,
        1,
        2,
        1,
        1,
    )
    shares = made.shares()
    assert shares["precise_true"].estimate == 1.0 and shares["combined_true"].estimate == 0.5
    assert 0 < shares["precise_true"].low < 1


def test_facts_leave_out_what_is_none():
    sample = open_dataset("seed_general:3").split("train")[0]
    facts = truth.facts_of(sample.attributes)
    assert facts and not {"caption", "kind"} & facts.keys()


def test_seed_triplets_are_true_by_their_own_facts():
    seed = open_dataset("seed_general:150").split("train")
    judged = [truth.truth(Triplet(*s.answer), truth.facts_of(s.attributes)) for s in seed]
    made = truth.added(judged)
    assert made.undecided < 0.25 * made.n
    assert made.precise > 0.97 * made.decided and made.informative > 0.97 * made.decided


RECIPE = Sample(
    id="r",
    dataset="recipe1m",
    task="recipe_generation",
    answer="title: Soup",
    images=(models.picture(1),),
    attributes={
        "recipe": json.dumps(
            ["Soup", ["2 eggs, beaten", "salt"], ["Use pan 1. 2. will not do.", "Add eggs."]]
        )
    },
)


def test_recipes_become_captions_with_varied_marks_and_order():
    recipe = recipe_of(RECIPE)
    assert recipe == Recipe(
        "Soup", ("2 eggs, beaten", "salt"), ("Use pan 1. 2. will not do.", "Add eggs.")
    )
    told = {recipe_caption(recipe, seed=str(n)) for n in range(60)}
    assert len(told) > 50
    for one in told:
        lines = one.splitlines()
        assert len(lines) == 7 and "Soup" in one, "title, two headings, an entry a line"
        assert [line.partition("2 eggs, beaten")[2] for line in lines if "2 eggs" in line] == [""]
        assert sum(line.endswith("Use pan 1. 2. will not do.") for line in lines) == 1
    assert len({one.index("Add eggs") < one.index("2 eggs") for one in told}) == 2
    assert recipe_of(Sample(id="r", dataset="d", task="caption", answer="x")) is None


def test_a_recipe_is_a_pair_and_no_fact():
    data = Dataset(name="food", splits={"train": [RECIPE]}, digest="d")
    (pair,), lost = pairs([data], "train", limit=None, seed=0)
    assert "2 eggs, beaten" in pair.caption.replace("\n", " ") and not lost
    assert truth.facts_of(pair.sample.attributes) == {}


def test_the_rules_have_102_prompts_in_five_pools():
    assert len(rules.POOLS) == 5
    assert len({one for pool in rules.POOLS.values() for one in pool}) == 102
    made = [rules.task("the whole caption", RECIPE, seed=str(n)) for n in range(80)]
    assert {one.response for one in made} >= {"Soup", "2 eggs, beaten\nsalt", "the whole caption"}
    assert not any("{" in one.instruction for one in made)
    other = Sample(id="r", dataset="d", task="caption", answer="x")
    assert rules.task("x", other, seed=str(Random(0).random())) is None


def test_the_papers_seed_is_joined_by_image_and_question(tmp_path):
    def entry(name, *turns, **more):
        said = [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(turns)]
        return {"id": name, "image": f"{name}.jpg", "conversations": said, **more}

    images = tmp_path / "images_191task_1k"
    images.mkdir()
    for name in "abcd":
        models.image(ord(name)).save(images / f"{name}.jpg")
    files = {
        "annotation_191-task_1k.json": [
            entry("a", "<image>\nWhat breed?", "beagle", task_name="breeds"),
            entry("b", "How many?", "two", task_name="counts"),
            entry("c", "Where?", "left", task_name="places"),
            entry("d", "No caption?", "no", task_name="places"),
        ],
        "ALLaVA-Caption-VFLAN-4V.json": [
            entry(name, "Describe.", f"Caption of {name}.") for name in "abc"
        ],
        "ALLaVA-Instruct-VFLAN-4V.json": [
            entry("a", "what breed?", "It is a beagle."),
            entry("b", "Count them, please.", "There are two."),
            entry("d", "No caption?", "None."),
        ],
    }
    for name, rows in files.items():
        (tmp_path / name).write_text(json.dumps(rows))
    dataset = open_dataset(f"seed_vflan:{tmp_path}")
    first, second = dataset.split("train")
    assert first.answer == ("What breed?", "beagle", "It is a beagle.")
    assert first.attributes == {"caption": "Caption of a.", "kind": "breeds"}
    assert second.answer == ("How many?", "two", "There are two."), "the only question of its image"
    assert dataset.defects == {
        "Questions without a long answer (left out)": 1,
        "Questions without a caption (left out)": 1,
    }
