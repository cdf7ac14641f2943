"""From seed to specialist with a tiny model: every step runs, counts what it drops, and resumes."""

import functools
import json
import os
import signal
import time
from dataclasses import replace
from random import Random

import pytest

import models
from residency import adaptation, adaptation_line, adaptation_presets
from residency.catalog import find
from residency.cli import main
from residency.data.mixture import Mixture
from residency.data.rows import Rows
from residency.dataset import Dataset, open_dataset
from residency.errors import UsageError
from residency.evaluate.results import read_results
from residency.metric import metrics
from residency.model.huggingface import Limits
from residency.recipe import Recipe, execute, plan
from residency.step import Workspace
from residency.synthesis.combining import CAPTION_QUESTIONS, Combine, same_files
from residency.synthesis.engine import Sampling
from residency.synthesis.export import DESCRIPTION, write_files
from residency.synthesis.filtering import Filter
from residency.synthesis.judge import Agreements
from residency.synthesis.losses import Losses, measured
from residency.synthesis.overlap import Seen
from residency.synthesis.pairs import Captions, Found, Pair, pairs, row_key
from residency.synthesis.seed import DESCRIBE, PREFIXES, Seed, conversation
from residency.synthesis.synthesizer import HELD_OUT, Synthesize
from residency.task import PAPER
from residency.triplets import Triplet
from residency.types import Area, ImagePart, Picture, Sample

DATA = ("phantoms:smear:task=report:train=6:val=4:test=0:size=32",)
TEST = ("phantoms:smear:task=vqa:train=4:val=4:test=4:size=32",)


@pytest.fixture
def base():
    return str(models.folder("qwen2_vl"))


def workspace(tmp_path, base="nano", limit=None):
    return Workspace(out=tmp_path, base=base, seed=0, limit=limit, command="test")


def done(work, step):
    work.folder(step.name).mkdir(parents=True, exist_ok=True)
    facts = step.run(work)
    (work.folder(step.name) / "done.json").write_text(json.dumps({"facts": dict(facts)}))
    return facts


# --- seed ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seeded(tmp_path_factory):
    """A seed of 120 pictures with up to three tasks each, three tenths of them blank."""
    work = workspace(tmp_path_factory.mktemp("seed"))
    seed = Seed(name="seed", data=("seed_general:120:3",), blank=0.3)
    return work, seed, done(work, seed)


def test_a_seed_holds_a_tenth_of_every_kind_out_and_blanks_training_images_only(seeded):
    work, seed, facts = seeded
    assert facts["kept"] == facts["train"] + facts["val"] == 120
    made = seed.dataset(work)
    kinds = dict.fromkeys(facts["kinds"], 0)
    for sample in made.splits["val"]:
        kinds[sample.attributes["kind"]] += 1
        assert not sample.images[0].key.startswith("blank")
    assert kinds == {kind: round(n / 10) for kind, n in facts["kinds"].items()}
    train = made.splits["train"]
    blank = sum(train[k].images[0].key.startswith("blank") for k in range(len(train)))
    assert 0.15 * len(train) < blank < 0.45 * len(train)


def test_an_image_stays_on_one_side_of_the_seed_with_all_that_is_asked_about_it(tmp_path):
    asked = [
        Sample(
            id=f"s{n}", dataset="d", task="triplet", answer=("q", "p", "i"),
            images=(Picture(key=f"image {n // 3}", load=models.picture(0).load),),
            attributes={"caption": "c", "kind": f"kind {n % 2}"},
        )
        for n in range(120)
    ]  # fmt: skip
    work, seed = workspace(tmp_path), Seed(name="seed", data=("d",))
    rows = Rows(len(asked), asked.__getitem__)
    work._open["d"] = Dataset(name="d", splits={"train": rows}, digest="d")
    facts = done(work, seed)
    assert 12 <= facts["val"] <= 15, "the last image of a kind may have more than is wanted"
    held = {one.sample.images[0].key for one in seed.held_out(work)}
    assert held.isdisjoint(one.pair.sample.images[0].key for one in seed.found(work))


def test_tasks_about_one_picture_are_learned_together_or_each_in_its_own_conversation(seeded):
    work, seed, facts = seeded
    train = seed.dataset(work).splits["train"]
    told = [one for sample in train for one in (sample, *sample.also)]
    assert facts["train"] < len(told) <= 3 * facts["train"]
    assert len({one.id for one in told}) == len(told) == len(seed.found(work))
    for sample in train:
        questions = [one.answer[0] for one in (sample, *sample.also)]
        assert len(set(questions)) == len(questions)
        assert {one.attributes["caption"] for one in sample.also} <= {sample.attributes["caption"]}
    apart = replace(seed, form="header").dataset(work).splits["train"]
    assert [one.id for one in apart] == [one.id for one in told]
    assert all(len(one.also) == 2 for one in apart)
    hidden = {one.id.split("/")[1]: one.images[0].key.startswith("blank") for one in apart}
    assert all(
        one.images[0].key.startswith("blank") == hidden[one.id.split("/")[1]] for one in apart
    )


def test_the_header_form_is_the_papers_conversation():
    sample = open_dataset("seed_general:3").split("train")[1]
    orders = set()
    for number in range(8):
        one = conversation(sample, "header", "both", 0.0, number)
        mixture = Mixture(
            datasets=(),
            split="train",
            picks=(),
            wording=PAPER,
            codec=models.backbone("qwen2_vl").codec,
            turns="continued",
        )
        turns = mixture._joined(one, (ImagePart(0),), ())
        assert [t.role for t in turns] == ["user", "assistant"] * 3
        assert [t.learn for t in turns] == [False, False, True, True, True, True]
        assert turns[0].parts == (ImagePart(0), DESCRIBE)
        assert turns[1].parts == (sample.attributes["caption"],)
        kinds = tuple(
            next(k for k, p in PREFIXES.items() if t.parts[0].startswith(p)) for t in turns[2::2]
        )
        orders.add(kinds)
        answers = dict(zip(kinds, (turns[3].parts[0], turns[5].parts[0]), strict=True))
        assert (answers["precise"], answers["informative"]) == sample.answer[1:]
    assert orders == {("precise", "informative"), ("informative", "precise")}


def test_a_synthesizer_that_sees_no_image_trains_its_language_model_alone():
    from residency.recipes.synthesizer import recipe

    steps = {step.name: step for step in recipe(baselines=True).steps}
    parts = {name: set(steps[f"synthesizer_{name}"].train) for name in ("image", "caption", "both")}
    assert parts["caption"] == {"language_model"}
    assert parts["image"] == parts["both"] == {"vision_encoder", "connector", "language_model"}


@pytest.mark.parametrize(("sees", "images", "captioned"), [("image", 1, 0), ("caption", 0, 1)])
def test_what_a_variant_does_not_see_is_absent(sees, images, captioned):
    sample = open_dataset("seed_general:3").split("train")[0]
    for form in ("delimited", "header"):
        one = conversation(sample, form, sees, 0.0, 0)
        assert len(one.images) == images
        assert bool(one.attributes["caption"]) == bool(captioned)


def test_images_of_evaluation_splits_leave_the_seed(tmp_path):
    seed_images = open_dataset("seed_general:40").split("train")
    seen = Seen([seed_images[3].images[0]])
    assert seen.has(seed_images[3].images[0]) and not seen.has(seed_images[4].images[0])
    noise = [models.picture(n, (64, 64)) for n in range(20)]
    again = Seen(noise[:10])
    assert len(again) == 10
    copy = models.picture(3, (64, 64))
    assert again.has(type(copy)(key="copy", load=copy.load)), "equal pixels under another name"
    assert not any(again.has(picture) for picture in noise[10:])


@pytest.mark.shared_data
def test_reencoded_radiographs_are_recognised_and_others_are_not(shared_data):
    import io

    import PIL.Image

    files = sorted((shared_data / "rocov2" / "train").glob("*.jpg"))[:24]
    pictures = []
    for path in files:
        image = PIL.Image.open(path).convert("RGB")
        pictures.append((path.name, image))
    seen = Seen([models.picture(0).__class__(key=n, load=lambda i=i: i) for n, i in pictures[:12]])

    def copied(image):
        data = io.BytesIO()
        half = image.resize((max(8, image.width // 2), max(8, image.height // 2)))
        half.save(data, format="JPEG", quality=60)
        return PIL.Image.open(data)

    def has(image):
        return seen.has(models.picture(0).__class__(key="other", load=lambda: image))

    found = sum(has(copied(image)) for _, image in pictures[:12])
    false = sum(has(image) for _, image in pictures[12:])
    assert found >= 11 and false == 0, (found, false)


def test_the_judges_cases_are_balanced_and_wrong_ones_disagree(seeded):
    work, seed, _ = seeded
    cases = Agreements(name="cases", seed=seed)
    facts = done(work, cases)
    assert facts["yes"] > 40 and facts["no"] > 40 and facts["open"] > 10
    truth = {f.pair.key: f.triplet for f in seed.found(work)}
    for key, triplet, label in cases.cases(work, "train"):
        assert (triplet == truth[key]) == (label != "no")
    sample = cases.dataset(work).split("train")[0]
    assert not sample.images and sample.options == ("yes", "no", "open")
    held = cases.cases(work, "val")
    assert held and not {key for key, _, _ in held} & truth.keys()


# --- combination --------------------------------------------------------------------------------

TRIPLET = Triplet("What is the cell size?", "large", "It fills the view.")


class Given:
    """A source of triplets that is at hand."""

    name = "given"

    def __init__(self, found):
        self.list = found

    def found(self, workspace):
        return self.list

    def most(self, workspace):
        return len(self.list)


class Verdicts(Filter):
    def verdicts(self, workspace):
        return dict(GIVEN)


GIVEN = {}


@functools.cache
def smears(n):
    data = open_dataset(f"phantoms:smear:task=report:train={n}:size=32")
    return tuple(pairs([data], "train", limit=None, seed=0)[0])


def given(n=12):
    every = smears(n)
    found = [Found(pair, TRIPLET) for pair in every]
    found[0] = Found(every[0], None, "cut_off")
    GIVEN.clear()
    GIVEN.update({pair.key: ("no" if k == 1 else "yes") for k, pair in enumerate(every)})
    return Given(found)


def combine(source, **settings):
    kept = Verdicts(name="filter", triplets=source)
    return Combine(**{"name": "tasks", "triplets": source, "kept": kept, **settings})


def test_caption_and_task_share_a_conversation_in_either_order(tmp_path):
    work, step = workspace(tmp_path), combine(given())
    assert step.run(work) == {"samples": 12, "caption_alone": 2, "caption_and_task": 10}
    samples = step.dataset(work).split("train")
    assert [len(one.also) for one in samples][:3] == [0, 0, 1]
    orders = {one.id.endswith("#caption") for one in samples[2:]}
    assert orders == {True, False}
    for one in samples[2:]:
        caption = next(s for s in (one, *one.also) if s.id.endswith("#caption"))
        task = next(s for s in (one, *one.also) if s.id.endswith("#task"))
        assert caption.question in CAPTION_QUESTIONS and caption.answer.startswith("Findings")
        assert TRIPLET.instruction in task.question and task.answer.endswith("large")


@pytest.mark.parametrize(
    ("settings", "counts"),
    [
        ({"kept": None}, {"caption_and_task": 11, "caption_alone": 1}),
        ({"caption": False}, {"task_alone": 10, "nothing": 2}),
        ({"tasks": "none"}, {"caption_alone": 12}),
    ],
)
def test_columns_of_table_5(tmp_path, settings, counts):
    facts = combine(given(), **settings).run(workspace(tmp_path))
    assert {name: n for name, n in facts.items() if name != "samples"} == counts


@pytest.mark.slow
def test_a_synthesizer_that_wrote_nothing_is_judged_all_the_same(tmp_path, base, capsys):
    settings = {"data": ("seed_general:20",), "variants": ("untuned",), "reply_tokens": 2}
    made = find("recipes", "synthesizer").recipe(
        base=base, out=str(tmp_path / "run"), quality=3, **settings
    )
    steps = tuple(step for step in made.steps if "retention" not in step.name)
    rows = execute(replace(made, steps=steps))
    judged = {row.variant: (row.n, set(row.metrics)) for row in rows if row.method == "quality"}
    assert judged["quality_untuned"] == (0, set()) and judged["quality_seed"][0] == 3
    assert "type: there is no task" in capsys.readouterr().out
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count("type, 3 judged by the model") == page.count("domain, 3 judged") == 1


@pytest.mark.parametrize("response", ["precise", "informative"])
def test_one_response_alone(tmp_path, response):
    step = combine(given(), kept=None, caption=False, response=response)
    samples = step.dataset(workspace(tmp_path)).split("train")
    assert {one.answer for one in samples} == {getattr(TRIPLET, response)}


def test_tasks_of_others_join_by_image(tmp_path):
    for folder in ("pairs", "others"):
        for place in range(4):
            path = tmp_path / folder / f"case{place}" / "source.png"
            path.parent.mkdir(parents=True)
            models.image(place).save(path)
    images = [[f"case{place}/source.png"] for place in range(4)]
    captions = [{"image": names[0], "caption": f"Caption {n}."} for n, names in enumerate(images)]
    lines = "".join(json.dumps({**row, "split": "train"}) + "\n" for row in captions[:3])
    (tmp_path / "pairs" / "pairs.jsonl").write_text(lines)
    others = _messages(tmp_path / "others", [*images[1:], images[0] + images[1]], "A")
    rows = others.read_text().splitlines()
    left = json.dumps({**json.loads(rows[0]), "split": "test"})
    others.write_text("\n".join([*rows, left]) + "\n")
    source = Captions(name="pairs", data=(f"captions:{tmp_path / 'pairs/pairs.jsonl'}",))
    step = combine(source, tasks="file", file=f"messages:{others}")
    work = workspace(tmp_path / "run")
    assert step.run(work) == {
        "samples": 5, "caption_and_task": 2, "caption_alone": 1, "task_without_pair": 2,
        "left_in_the_files_test_split": 1,
    }  # fmt: skip
    for sample in step.dataset(work).split("train"):
        asked = [sample.answer, *(one.answer for one in sample.also)]
        place = sample.images[0].key.split("/")[-2].removeprefix("case")
        assert {one.split()[1].removesuffix(".") for one in asked} == {place}
    told = {(str(one.answer), caption) for one, caption in step.told(work)}
    assert told == {("A 1.", "Caption 1."), ("A 2.", "Caption 2."), ("A 3.", ""), ("A 0.", "")}


def _messages(folder, images, said):
    rows = []
    for names in images:
        place = names[0].split("/")[0].removeprefix("case")
        asked = "<image>" * len(names) + "What?"
        turns = zip(("user", "assistant"), (asked, f"{said} {place}."), strict=True)
        messages = [{"role": role, "content": text} for role, text in turns]
        rows.append({"messages": messages, "images": names, "split": "train"})
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_what_is_judged_alone_may_be_nothing(tmp_path):
    nothing = Given([Found(pair, None, "cut_off") for pair in smears(3)])
    step = combine(nothing, kept=None, caption=False)
    with pytest.raises(UsageError, match="leaves no sample of 3 pairs"):
        step.run(workspace(tmp_path))
    assert replace(step, needed=False).run(workspace(tmp_path)) == {"samples": 0, "nothing": 3}


def test_rules_need_recipes(tmp_path):
    with pytest.raises(UsageError, match=r"tasks=rules makes tasks of recipes.*recipe1m:FOLDER"):
        combine(given(3), tasks="rules").run(workspace(tmp_path))


def test_losses_need_no_validation_split_and_count_what_is_too_long(tmp_path, base):
    captions = "phantoms:smear:task=report:train=3:val=0:test=0:size=32"
    tasks = "phantoms:smear:task=vqa:train=0:val=0:test=5:size=32"
    step = Losses(name="l", of="base", data=(captions,), tasks=(tasks,), method="m", most=4)
    work = workspace(tmp_path, base)
    assert captions.split(":task")[0] in step.plan(work)[0] and "/train" in step.plan(work)[0]
    assert set(done(work, step)) == {"caption captions of training", f"task {_name(tasks)}"}
    rows = read_results(tmp_path / "l" / "summary.json")
    assert [(row.dataset, row.task, row.n) for row in rows] == [
        ("captions of training", "caption", 3), (_name(tasks), "task", 4),
    ]  # fmt: skip
    short = replace(step, name="s", limits=Limits(max_tokens=30, too_long="drop"))
    assert done(work, short)["caption captions of training, too long"] == 3
    assert not read_results(tmp_path / "s" / "summary.json")[0].metrics
    with pytest.raises(UsageError, match="no samples whose loss"):
        measured(replace(open_dataset(tasks), splits={"test": []}))


def _name(spec):
    return open_dataset(spec).name


def test_files_are_the_same_by_as_many_folders_as_make_names_unique():
    assert same_files(["a/1.png", "a/2.png"], ["b/2.png", "c/3.png"]) == {"a/2.png": "b/2.png"}
    assert same_files(["x/1/s.png"], ["y/1/s.png", "y/2/s.png"]) == {"x/1/s.png": "y/1/s.png"}
    assert same_files(["x/1/s.png"], ["y/0/1/s.png", "y/2/1/s.png"]) == {}
    assert same_files([], []) == {}


def test_export_is_read_back_and_names_its_images(tmp_path):
    step = combine(given(4))
    dataset = step.dataset(workspace(tmp_path / "run"))
    facts = write_files(dataset, tmp_path / "out")
    assert facts == {"rows": 4, "images": 4, "left_out": 0}
    shared = json.loads((tmp_path / "out" / "sharegpt.json").read_text())
    assert set(shared[0]) == {"messages", "images"}
    for row in shared:
        assert (
            sum(m["content"].count("<image>") for m in row["messages"]) == len(row["images"]) == 1
        )
        assert (tmp_path / "out" / row["images"][0]).is_file()
    assert json.loads((tmp_path / "out" / "dataset_info.json").read_text()) == DESCRIPTION
    back = open_dataset(f"messages:{tmp_path / 'out'}").split("train")
    assert [s.answer for s in back] == [s.answer for s in dataset.split("train")]


# --- the whole line -----------------------------------------------------------------------------


def recipe(base, out, **settings):
    given = {
        "base": base, "data": DATA, "test": TEST, "out": str(out), "seeds": ("seed_general:20",),
        "batch_size": 8, "synthesizer_epochs": 0.5, "reply_tokens": 6, "exclude": False,
        "judge": "base", "max_tokens": 480, "baselines": False, "retention": False,
    }  # fmt: skip
    return find("recipes", "adamllm").recipe(**{**given, **settings})


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"judge": "tuned", "export": True, "quality": 3},
        {"pipeline": ("single", "two_stage"), "form": "header"},
        {"column": ("precise_only", "no_task", "no_blank", "general_task_caption")},
    ],
    ids=lambda s: "-".join(map(str, s.values())),
)
def test_the_recipe_runs_to_the_end(tmp_path, base, settings):
    try:
        rows = execute(recipe(base, tmp_path / "run", **settings))
    except UsageError as error:  # a random model writes no triplet
        assert "leaves no sample" in str(error)
        return
    every = adaptation_line.arms(
        ("ours",), settings.get("column", ("ours",)), settings.get("pipeline", ("single",))
    )
    losses = [row for row in rows if row.task == "caption" and "nll" in row.metrics]
    assert len(losses) == len(every) + any(arm.two_stage for arm in every)
    assert {row.variant for row in losses} >= {arm.name for arm in every}
    again = execute(recipe(base, tmp_path / "run", **settings))
    assert [row.as_json() for row in again] == [row.as_json() for row in rows]


def test_the_plan_shows_every_step_and_the_cost(tmp_path, base):
    text = plan(recipe(base, tmp_path / "run", judge="tuned", export=True, quality=5))
    assert "synthesise: Synthesize" in text and "6 pairs" in text and "A100-80G" in text
    assert "the data that seed will leave" in text
    assert "captions of" in text


@pytest.mark.parametrize(
    ("settings", "present", "absent"),
    [
        ({"tasks": ("rules",)}, "pairs rules", "synthesizer"),
        ({"column": ("no_task",)}, "pairs no_task", "seed"),
        ({"column": ("general_task",)}, "seed general_task", "synthesizer"),
        ({"column": ("precise_only",)}, "synthesise precise_only", "filter"),
        ({"judge": "tuned"}, "judge_test pairs ours", "seed_no_blank"),
        ({"engine": "endpoint:http://a"}, "synthesise filter ours", "synthesizer"),
        (
            {"column": ("ours", "no_blank"), "pipeline": ("single", "two_stage")},
            "seed_no_blank synthesizer_no_blank filter_no_blank stage1 ours_two_stage",
            "seed_general",
        ),
    ],
)
def test_a_line_has_only_the_steps_that_its_column_needs(tmp_path, base, settings, present, absent):
    names = [step.name for step in recipe(base, tmp_path, **settings).steps]
    assert set(present.split()) <= set(names) and absent not in names


def test_a_judge_without_images_leaves_quality_to_the_base(base, tmp_path):
    engine = f"text:{base}"
    steps = {s.name: s for s in recipe(base, tmp_path, judge_engine=engine, quality=5).steps}
    assert (steps["filter"].engine, steps["ours_quality"].engine) == (engine, "local")


def test_what_arms_share_is_exported_and_judged_once(base, tmp_path):
    columns = ("ours", "no_caption", "general_task_caption")
    given = {
        "column": columns,
        "pipeline": ("single", "two_stage"),
        "tasks": ("ours", "t/x.y.json"),
    }
    names = {s.name for s in recipe(base, tmp_path, **given, export=True, quality=5).steps}
    assert {n for n in names if n.endswith("_quality")} == {
        "ours_quality", "general_task_quality", "others2_x_quality",
    }  # fmt: skip
    assert names >= {
        "ours_export", "ours_two_stage_export", "captions_export", "no_caption_export",
        "general_task_caption_export", "others2_x_two_stage_export",
    }  # fmt: skip


def test_arms_are_the_combinations_that_exist():
    arms = adaptation_line.arms
    found = arms(("ours", "rules", "f.jsonl"), ("ours", "no_task"), ("single", "two_stage"))
    assert [arm.name for arm in found] == [
        "ours", "ours_two_stage", "no_task", "rules", "rules_two_stage", "others3_f",
        "others3_f_two_stage",
    ]  # fmt: skip
    assert [arm.kind for arm in found[2:4]] == ["none", "rules"] and found[-1].kind == "file"
    with pytest.raises(UsageError, match="two stages need captions and tasks"):
        arms(("ours",), ("no_task",), ("two_stage",))
    with pytest.raises(UsageError, match="of others or by rule"):
        arms(("rules",), ("precise_only",), ("single",))
    with pytest.raises(UsageError, match=r"Did you mean .no_blank"):
        arms(("ours",), ("no_blanc",), ("single",))


def test_rates_are_the_papers_for_its_families(base, monkeypatch):
    assert adaptation.PAPER_RATES["qwen2_vl"].language == 1e-5
    step = adaptation.Plan(base=base).stage("s", (), epochs=1.0)
    assert {part: how.lr for part, how in step.train.items()} == {
        "vision_encoder": 1e-5, "connector": 1e-5, "language_model": 1e-5,
    }  # fmt: skip
    assert (step.schedule.batch_size, step.schedule.weight_decay, step.schedule.warmup) == (
        128,
        0.1,
        0.1,
    )
    nano = adaptation.Plan(base="nano").stage("s", (), epochs=1.0)
    assert nano.train["vision_encoder"].lr == 1e-4 and nano.schedule.batch_size == 16


def written(base, out):
    """A synthesis about six pairs, two at once."""
    step = Synthesize(name="synthesise", of="base", data=DATA, engine="local:2")
    return Recipe(
        name="synthesize tiny", base=base, out=str(out), seed=0,
        steps=(replace(step, sampling=Sampling(max_tokens=12)),),
    )  # fmt: skip


def shards(out):
    return {p.name: p.read_bytes() for p in (out / "synthesise/rows").iterdir() if p.suffix}


def test_a_synthesis_leaves_rows_with_their_provenance(tmp_path, base, monkeypatch):
    monkeypatch.setattr("residency.synthesis.store.SHARD", 4)
    (row,) = execute(written(base, tmp_path / "a"))
    whole = {name: data for name, data in shards(tmp_path / "a").items() if "shard" in name}
    assert len(whole) == 2
    first = json.loads(next(iter(sorted(whole.items())))[1].splitlines()[0])
    assert set(first) == {"key", "id", "said", "finish", "reason", "made"}
    assert set(first["made"]) == {"model", "weights", "prompt", "sees", "sampling"}
    assert (row.n, row.metrics["readable"].estimate) == (6, 0.0), "a random model"


def test_what_variants_write_about_the_same_held_out_pairs_stands_in_one_table(tmp_path, base):
    seed = Seed(name="seed", data=("seed_general:20",))
    few = Sampling(max_tokens=2)
    variants = [
        Synthesize(name=f"{HELD_OUT}{sees}", of="base", held_out=seed, sees=sees, sampling=few)
        for sees in ("both", "caption")
    ]
    rows = execute(
        Recipe(name="x", base=base, out=str(tmp_path / "run"), seed=0, steps=(seed, *variants))
    )
    assert [(row.dataset, row.variant, row.n) for row in rows] == [
        ("seed", "both", rows[0].n),
        ("seed", "caption", rows[0].n),
    ]


@pytest.mark.slow
def test_ten_kills_of_a_synthesis_leave_the_files_of_an_undisturbed_one(
    tmp_path, base, monkeypatch
):
    monkeypatch.setattr("residency.synthesis.store.SHARD", 4)

    def start(out):
        child = os.fork()  # shares what is imported already
        if not child:
            try:
                execute(written(base, out))
            finally:
                os._exit(0)
        return child

    began = time.monotonic()
    os.waitpid(start(tmp_path / "whole"), 0)
    took, draw, killed = time.monotonic() - began, Random(1), 0
    for _ in range(10):
        child = start(tmp_path / "killed")
        time.sleep(draw.uniform(0.05, 0.9) * took)
        os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    os.waitpid(start(tmp_path / "killed"), 0)
    assert killed >= 3, "the others had finished what was left"
    assert shards(tmp_path / "killed") == shards(tmp_path / "whole")


def test_the_command_synthesises_and_refuses_what_it_cannot(tmp_path, base, capsys):
    out = tmp_path / "out"
    words = ["synthesize", base, f"data={DATA[0]}", f"out={out}", "max_tokens=4", "limit=3"]
    assert main(words) == 0
    assert "3 pairs:" in capsys.readouterr().out
    assert main(["synthesize"]) == 2
    assert main(["synthesize", base, "data=phantoms:smear:train=4", f"out={tmp_path / 'x'}"]) == 2
    assert "no image-caption pair" in capsys.readouterr().err


def test_a_run_goes_on_with_the_same_engine_in_another_place(tmp_path, base, capsys, monkeypatch):
    monkeypatch.setattr("residency.synthesis.store.SHARD", 4)
    words = ["synthesize", base, f"data={DATA[0]}", f"out={tmp_path / 'out'}", "max_tokens=4"]
    assert main([*words, "engine=loca"]) == 2, "the folder is not claimed by a mistake"
    assert main([*words, "engine=endpoint:http://127.0.0.1:9?model=m", "form=header"]) == 2
    assert "user header" in capsys.readouterr().err
    assert main([*words, "engine=local:2"]) == 0
    assert main([*words, "engine=local:3"]) == 0
    assert "already done" in capsys.readouterr().out
    assert main([*words, "engine=endpoint:http://127.0.0.1:9?model=m"]) == 2
    assert "holds another run: engine: 'local:3' -> 'endpoint" in capsys.readouterr().err


def test_bad_rows_are_left_out_of_a_synthesis_where_that_is_asked_for(tmp_path, base, capsys):
    models.picture(0).load().save(tmp_path / "a.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    told = [{"image": name, "caption": "red", "split": "train"} for name in ("a.png", "bad.png")]
    (tmp_path / "rows.json").write_text(json.dumps(told))
    words = ["synthesize", base, f"data=captions:{tmp_path / 'rows.json'}", "max_tokens=4"]
    assert main([*words, f"out={tmp_path / 'a'}"]) == 2
    assert "on_bad=skip" in capsys.readouterr().err
    assert main([*words, f"out={tmp_path / 'b'}", "on_bad=skip", "max_bad=0.5"]) == 0
    assert "1 of 2 rows" in capsys.readouterr().out


def test_pairs_of_evaluation_images_are_left_out_and_counted(tmp_path):
    told = [(models.picture(n, (64, 64)), f"caption {n}") for n in range(8)]
    samples = [
        Sample(id=f"s{n}", dataset="d", task="caption", answer=text, images=(picture,))
        for n, (picture, text) in enumerate(told)
    ]
    splits = {"train": Rows(6, samples.__getitem__), "test": Rows(4, lambda n: samples[n + 4])}
    space = workspace(tmp_path)
    space._open["d"] = Dataset(name="d", splits=splits, digest="d")
    step = Captions(name="pairs", data=("d",), exclude=("d",))
    assert "6 pairs; images of d are left out" in step.plan(space)[0]
    facts = done(space, step)
    assert facts["pairs"] == 4 and facts["not_pairs"] == {"in_an_evaluation_split": 2}
    assert [one.pair.caption for one in step.found(space)] == [f"caption {n}" for n in range(4)]
    written = Synthesize(name="s", of="base", about=step)
    assert written.needs == ("base", "pairs") and written.most(space) == 4
    every = replace(step, name="every", exclude=())
    assert done(space, every)["pairs"] == 6


def test_what_another_engine_cannot_read_is_refused_before_it_is_made(tmp_path, base):
    given = {"engine": "vllm", "judge_engine": "vllm"}
    with pytest.raises(UsageError, match="will be a checkpoint of this run"):
        plan(recipe(base, tmp_path, **given))
    with pytest.raises(UsageError, match=r"cannot read it\. Leave judge= out"):
        recipe(base, tmp_path, judge="tuned", judge_engine="endpoint:http://a")
    for engine, tuned in (("local:4", True), ("endpoint:http://a", False)):
        steps = recipe("nano", tmp_path, judge="auto", judge_engine=engine).steps
        assert ("judge_test" in [step.name for step in steps]) == tuned
    with pytest.raises(UsageError, match="by engine=local"):
        recipe(base, tmp_path, engine="endpoint:http://a", column=("no_blank",))


def test_a_row_is_known_by_what_its_image_holds_wherever_it_lies(tmp_path):
    def key(name, seed, caption="red"):
        path = tmp_path / name
        models.picture(seed).load().save(path)
        shown = Picture(key=str(path), load=models.picture(seed).load)
        sample = Sample(id="s", dataset="d", task="caption", answer=caption, images=(shown,))
        return row_key({"model": "m"}, Pair("d/s", sample, caption))

    assert key("a.png", 0) == key("b.png", 0)
    assert len({key("a.png", 0), key("a.png", 1), key("a.png", 0, "blue")}) == 3


def test_pairs_say_what_is_none():
    dataset = open_dataset("phantoms:smear:train=3")
    with pytest.raises(UsageError, match="no_caption 3"):
        pairs([dataset], "train", limit=None, seed=0)


# --- evaluation ---------------------------------------------------------------------------------


def test_presets_ask_and_score_as_the_paper_does(monkeypatch):
    presets = adaptation_presets.PRESETS
    known = {metric for preset in presets.values() for metric in preset.metrics}
    assert known <= set(metrics())
    for name, preset in presets.items():
        papers = [one for one in preset.metrics if "@" in one]
        ours = {one.partition("@")[0] for one in papers}
        assert papers and ours <= {*preset.metrics}, f"{name}: ours beside the paper's"
    assert {name for name, preset in presets.items() if preset.seen} == {"vqa_rad", "recipe1m"}
    short = {name for name, preset in presets.items() if preset.max_tokens == 256}
    assert short == {"nutrition5k", "food_101", "foodseg103"}
    (made,) = adaptation_presets.benchmark(TEST, base="nano", batch_size=4, limits=Limits())
    assert made.metrics == () and made.max_tokens == 64 and made.area == Area()


def test_qwen_sees_images_as_large_as_in_the_paper_and_slake_is_english(
    tmp_path, base, monkeypatch
):
    (made,) = adaptation_presets.benchmark(TEST, base=base, batch_size=4, limits=Limits())
    assert made.area == Area(least=50_176, most=1_003_520)
    (shown,) = made._datasets(workspace(tmp_path))
    assert shown.split("test")[0].images[0].area == made.area
    assert shown.name == open_dataset(TEST[0]).name and shown.digest != open_dataset(TEST[0]).digest
    own = replace(made, data=(f"{TEST[0]}:max_pixels=4096",))._datasets(workspace(tmp_path))
    assert own[0].area == Area(most=4096)
    slake = replace(open_dataset(TEST[0]), name="slake")
    monkeypatch.setattr(adaptation_presets, "open_dataset", lambda spec: slake)
    assert adaptation_presets.asked("D/slake").spec == "D/slake:language=en"
    assert adaptation_presets.asked("D/slake:language=zh").spec == "D/slake:language=zh"


def test_the_recipe_asks_the_papers_sets_by_their_presets(tmp_path, base, monkeypatch):
    food = replace(open_dataset(TEST[0]), name="nutrition5k")
    opened = {"D/nutrition5k": food, TEST[0]: open_dataset(TEST[0])}
    monkeypatch.setattr(adaptation_presets, "open_dataset", opened.__getitem__)
    steps = {
        step.name: step
        for step in recipe(base, tmp_path, test=(*TEST, "D/nutrition5k"), baselines=True).steps
    }
    for name, method in (("generalist", "generalist"), ("ours", "adamllm")):
        column, others = steps[f"{name}_column1"], steps[f"{name}_test"]
        assert column.data == ("D/nutrition5k",) and others.data == TEST
        assert column.metrics == adaptation_presets.PRESETS["nutrition5k"].metrics
        assert column.max_tokens == 256 and column.mode == "generate"
        assert {column.method, others.method} == {method}
