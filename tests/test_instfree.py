"""Instruction-free tuning as a recipe: rows, habits, attributes, probes, the grid's tables."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import models
import test_readers_clinical
from residency import cli, line_instfree
from residency.catalog import find
from residency.data.retelling import Retelling
from residency.errors import UsageError
from residency.evaluate.attributes import cells_of, controls, section, table
from residency.evaluate.habits import in_report_style, measured, pieces_of, stated
from residency.evaluate.layout import laid_out
from residency.evaluate.probes import probes_of
from residency.evaluate.results import Estimate, Row, read_results
from residency.instructions import FIXED, POOL
from residency.journals import read_journal
from residency.model import store
from residency.recipe import execute, plan
from residency.train.stage import Stage
from residency.train.trainable import fingerprint
from residency.types import PROXY, Prediction, Sample

SPLIT = Retelling(shuffle="separator")
made = find("recipes", "instfree").recipe


def asked(number: int = 0, answer: str = "round", **changes: Any) -> Sample:
    facts = {
        "shape": answer, "attribute": "shape", "key": "shape", "report": f"big size, {answer} shape",
        "told": "round shape | oval shape",
    }  # fmt: skip
    settings: dict[str, Any] = {"options": ("round", "oval"), "attributes": facts, **changes}
    return Sample(
        id=f"q{number}", dataset="d", task="mcq", answer=answer, question="What is the shape?",
        images=(models.picture(number),), **settings,
    )  # fmt: skip


def said(sample: Sample, text: str, answer: str | None) -> Prediction:
    return Prediction(
        sample=sample.id, dataset="d", task="mcq", view="plain", text=text, answer=answer,
        reference=sample.answer, unit=sample.id,
    )  # fmt: skip


# --- rows -----------------------------------------------------------------------------------------


def test_the_pool_has_more_wordings_than_the_papers_58():
    for language in ("en", "zh"):
        assert len(set(POOL[language])) == len(POOL[language]) == 60
        assert FIXED[language][0] not in POOL[language]


def stages(*rows: str, **settings: Any) -> dict[str, Stage]:
    recipe = made(rows=rows, **settings)
    return {step.name: step for step in recipe.steps if isinstance(step, Stage)}


def test_rows_share_a_warm_up_where_it_is_the_same_and_train_what_they_say():
    found = stages(
        "ft", "ft_lm", "fix", "update", "instfree", "moco", "instfree_rs", "alpha_0.9", "n_16"
    )
    assert [name for name in found if name.endswith("_warmup")] == [
        "fix_warmup", "instfree_rs_warmup", "n_16_warmup",
    ]  # fmt: skip
    assert found["fix_warmup"].proxy == 8 and found["n_16_warmup"].proxy == 16
    assert set(found["fix_warmup"].train) == {"proxy_instruction"}
    vision = {"vision_encoder", "connector"}
    assert set(found["ft"].train) == set(found["fix"].train) == vision
    assert set(found["ft_lm"].train) == {"language_model"}
    assert set(found["instfree"].train) == vision | {"proxy_instruction"}
    proxies = {name: found[name].train.get("proxy_instruction") for name in found}
    assert proxies["update"].momentum is None and proxies["instfree"].momentum == 0.999
    assert proxies["moco"].momentum_form == "moco" and proxies["alpha_0_9"].momentum == 0.9
    assert found["instfree"].after == "fix_warmup" and found["instfree"].objective.views == (PROXY,)
    assert found["ft"].retelling.instructions == FIXED
    assert found["instfree_rs_warmup"].retelling.shuffle == "separator"


def test_the_rows_of_table_4():
    found = stages("ft_rs", "ft_rand", "instfree_bal", "instfree_wrong", shuffle="sentences")
    assert found["ft_rs"].retelling.shuffle == "sentences"
    assert found["ft_rand"].retelling.instructions == POOL
    assert found["instfree_bal"].retelling.draw == "rare_words"
    wrong = found["instfree_wrong"].retelling
    assert (wrong.shuffle, wrong.separator) == ("separator", " ")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (("instfre",), "Did you mean 'instfree'"),
        (("alpha_x",), "No row 'alpha_x'"),
        (("ft", "ft"), "named twice"),
    ],
)
def test_wrong_rows_are_refused(rows, said):
    with pytest.raises(UsageError, match=said):
        made(rows=rows)


def test_sets_with_attributes_become_benchmarks_and_others_stay():
    assert line_instfree.as_benchmark("phantoms") == "benchmark:phantoms"
    assert line_instfree.as_benchmark("benchmark:phantoms:chest") == "benchmark:phantoms:chest"


# --- habits ---------------------------------------------------------------------------------------


def test_a_report_states_an_option_and_silence_is_the_one_that_is_not_told():
    one = asked()
    assert stated("big size, oval shape", one, SPLIT) == "oval"
    assert stated("oval shape, round shape", one, SPLIT) is None
    assert stated("a round one", one, SPLIT) is None
    whether = asked(
        attributes={"told": "vacuole | ", "attribute": "vacuole"}, options=("yes", "no")
    )
    assert stated("big size, vacuole", whether, SPLIT) == "yes"
    assert stated("big size", whether, SPLIT) == "no"
    lists = asked(
        attributes={"told": "plaque, scale | plaque", "attribute": "x"}, options=("both", "one")
    )
    assert stated("scale, plaque", lists, SPLIT) == "both"
    assert stated("plaque", lists, SPLIT) == "one"


def test_captions_are_searched_for_the_fact():
    one = asked(attributes={"told": "", "attribute": "imaging modality"}, options=("CT", "MRI"))
    assert stated("Axial CT of the chest", one, SPLIT) == "CT"
    assert stated("A picture", one, SPLIT) is None
    free = asked(attributes={"told": "", "attribute": "shape"})
    assert stated("A large, round thing.", free, SPLIT) == "round"
    assert stated("Neither round nor oval; rounded", free, SPLIT) is None


def test_report_style_is_recognised():
    train = [
        Sample(id="t", dataset="d", task="caption", answer="big size, round shape, oval shape")
    ]
    known, one = pieces_of(train, SPLIT), asked()
    assert known == {"big size", "round shape", "oval shape"}
    assert in_report_style(said(one, "big size, round shape", "round"), one, known, SPLIT)
    assert in_report_style(said(one, "big size", None), one, known, SPLIT)
    assert not in_report_style(said(one, "A", "round"), one, known, SPLIT)
    assert not in_report_style(said(one, "round", "round"), one, known, SPLIT)
    assert not in_report_style(said(one, "something else", None), one, known, SPLIT)


def test_the_two_habits_are_shares_and_differences():
    samples = [asked(k) for k in range(4)]
    answers = {
        s.id: said(s, text, answer)
        for s, (text, answer) in zip(
            samples,
            [("A", "round"), ("B", "oval"), ("big size, x", None), ("big size, round shape", None)],
            strict=True,
        )
    }
    reports = {s.id: "big size, round shape" for s in samples[:3]} | {"q3": "oval shape"}
    known = {"big size", "round shape"}
    found = measured(samples, answers, reports, known, SPLIT, seed=0)
    assert {name: value.estimate for name, value in found.items()} == {
        "report_accuracy": 0.75, "image_dependence": 0.5, "instruction_dependence": 0.5,
    }  # fmt: skip
    assert found["instruction_dependence"].low <= 0.5 <= found["instruction_dependence"].high


# --- attributes -----------------------------------------------------------------------------------


def test_accuracy_per_attribute_beside_chance_and_likelihood():
    samples = [asked(k) for k in range(6)]
    samples += [asked(9, options=("round", "oval", "flat", "long"), attributes={"attribute": "b"})]
    answers = [said(s, "A", ("round", "oval", None)[k % 3]) for k, s in enumerate(samples)]
    scored = [said(s, "A", "round") for s in samples]
    first, second = cells_of("m", "d", samples, answers, scored, seed=0)
    values = {name: value.estimate for name, value in first.metrics.items()}
    assert (first.attribute, first.n, first.chance) == ("shape", 6, 0.5)
    assert values == pytest.approx(
        {
            "accuracy": 1 / 3, "parse_rate": 2 / 3, "accuracy_given_parsed": 1 / 2,
            "likelihood_accuracy": 1.0,
        }
    )  # fmt: skip
    assert second.chance == 0.25 and "| b | 1 | 25.0 |" in table([first, second])


def test_the_section_tells_how_answers_were_read_and_leaves_the_chart_to_the_page():
    cells = []
    for method in ("ft", "instfree & <co>"):
        for name in "abc":
            some = [asked(k, attributes={"attribute": name}) for k in range(3)]
            cells += cells_of(method, "d", some, [said(s, "A", "round") for s in some], (), seed=0)
    html = section(cells)
    assert html.count("read 100, of these right") == 6 and "<svg" not in html
    assert "instfree &amp; &lt;co&gt;" in html and "<co>" not in html


def test_the_blind_control_answers_with_the_most_frequent_value():
    told = [
        Sample(id=f"t{k}", dataset="d", task="caption", answer="x", attributes={"shape": value})
        for k, value in enumerate(("oval", "oval", "round"))
    ]
    dataset = find("datasets", "phantoms").load("smear:train=1:val=1:test=1")
    object.__setattr__(dataset, "splits", {"train": told})
    majority, chance = controls([asked(0), asked(1, "oval")], dataset, seed=0)
    assert majority.metrics["accuracy"].estimate == 0.5 == chance.metrics["accuracy"].estimate


# --- tables and probes ----------------------------------------------------------------------------


def row(seed: int, dataset: str, value: float, variant: str = "") -> Row:
    return Row(
        method="instfree", variant=variant, view="plain", dataset=dataset, task="mcq", seed=seed,
        n=9, n_unparsed=0,
        metrics={"accuracy": Estimate(estimate=value, low=value - 0.1, high=value + 0.1)},
    )  # fmt: skip


def test_tables_are_laid_out_as_in_the_paper():
    rows = [row(seed, d, 0.5 + seed / 10) for seed in (0, 1) for d in ("SKINCON", "WBCAtt")]
    rows += [row(seed, "mean", 0.5 + seed / 10) for seed in (0, 1)]
    text = laid_out(
        "Table 1", "accuracy", rows,
        [("InstFree", ("instfree", "")), ("InstFree w/ RS", ("instfree", "w/ RS"))],
    ).splitlines()  # fmt: skip
    assert text[0] == "| Table 1, accuracy %, seeds: 2 | SKINCON | WBCAtt | Avg. |"
    assert text[2] == "| InstFree | " + " | ".join(["55.0 ± 7.1 [45.0, 65.0]"] * 3) + " |"
    assert text[3] == "| InstFree w/ RS | – | – | – |"


def test_the_grid_names_every_row_once_and_lays_out_every_table():
    grid = find("recipes", "instfree_grid").recipe(
        tables=("1", "2", "4"), momenta=(0.9, 0.999), sizes=(1, 32), seeds=2, seed=5
    )
    first, second, laid = grid.steps
    rows = dict(first.settings)["rows"]
    assert len(rows) == len(set(rows)) and {"none", "ft_rand", "alpha_0.9", "n_32"} <= set(rows)
    assert (first.seed, second.seed) == (5, 6)
    titles = [title for title, _, _ in laid.tables]
    assert "Table 2, generated" in titles and "Figure 6 (momentum), letters" in titles
    beside = find("recipes", "instfree_grid").recipe(
        tables=("1", "2"), others=("org/other",), seeds=1
    )
    lines = {title: [name for name, _ in rows] for title, _, rows in beside.steps[-1].tables}
    assert lines["Table 1, generated"][:2] == ["other (w/o FT)", "w/o FT"]
    assert "other (w/o FT)" not in lines["Table 2, generated"]
    with pytest.raises(UsageError, match="have the same name"):
        made(others=("a/one", "b/one"))
    with pytest.raises(UsageError, match="No table '9'"):
        find("recipes", "instfree_grid").recipe(tables=("9",))


def test_the_four_probes_ask_about_the_attribute():
    for language in ("en", "zh"):
        found = probes_of(asked(language=language))
        assert [one.id for one in found] == [f"q0#{kind}" for kind in "abcd"]
        assert all("shape" in one.question for one in found[1:])
        assert {one.answer for one in found} == {"big size, round shape"}


# --- the whole line -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("family", models.MORE)
def test_every_family_is_tuned_without_instructions(family, tmp_path):
    """From a checkpoint on disk: the loss falls in both stages, and only the named parts move."""
    base = str(models.folder(family))
    recipe = made(
        base=base, out=str(tmp_path / "run"), data=("phantoms:smear:size=32:train=4:val=2:test=2",),
        rows=("instfree",), epochs=6.0, warmup_epochs=6.0, batch_size=4, lr=3e-3, proxy_lr=0.03,
        momentum=0.9, vectors=3,
    )  # fmt: skip
    stages = tuple(step for step in recipe.steps if isinstance(step, Stage))
    execute(replace(recipe, steps=stages))
    fixed = {part: fingerprint(of) for part, of in store.load(base).parts().items() if of}
    moving = {"vision_encoder", "connector"} | ({"cross_attention"} & fixed.keys())
    proxies = []
    for stage, trained in zip(stages, (set(), moving), strict=True):
        journal, _ = read_journal(tmp_path / "run" / stage.name / "journal.jsonl")
        losses = [row["loss"] for row in journal]
        assert len(losses) == 6 and losses[-1] < losses[0] - 0.01, losses
        parts = store.load(str(tmp_path / "run" / stage.name / "model")).parts()
        proxies.append(fingerprint(parts["proxy_instruction"]))
        assert {part for part in fixed if fingerprint(parts[part]) != fixed[part]} == trained
    assert proxies[0] != proxies[1]


@pytest.mark.slow
def test_the_recipe_runs_resumes_and_leaves_its_evidence(tmp_path, capsys):
    settings: dict[str, Any] = {
        "base": str(models.folder("qwen2_vl")), "out": str(tmp_path / "run"),
        "data": ("phantoms:smear:size=32:train=6:val=2:test=6",), "rows": ("none", "instfree_rs"),
        "epochs": 1.0, "batch_size": 3, "probes": 1, "vectors": 2, "lr": 1e-3, "retention": False,
    }  # fmt: skip
    recipe = made(**settings)
    assert "proxy_instruction  full, momentum 0.999 printed, created" in plan(recipe)
    rows = execute(recipe)
    kinds = {(r.method, r.variant, r.task) for r in rows}
    assert {("none", "", "mcq"), ("instfree", "w/ RS (letters)", "mcq"), ("majority", "", "mcq"),
            ("instfree", "w/ RS", "habits")} <= kinds  # fmt: skip
    # A tiny model says no letter at all, so nothing is given that could be right.
    silent = {"accuracy_given_parsed"}
    for one in rows:
        unknown = {name for name, m in one.metrics.items() if not math.isfinite(m.estimate)}
        assert not unknown or (unknown == silent and one.n_unparsed == one.n), (one, unknown)
    probes = json.loads((tmp_path / "run" / "probes" / "probes.json").read_text())
    assert [one["probe"] for one in probes] == ["a", "b", "c", "d"]
    assert probes[0]["answers"].keys() == {"none", "instfree w/ RS"}
    page = (tmp_path / "run" / "report.html").read_text()
    for title in ("Read and scored, by attribute (attributes)", "Probes (probes)"):
        assert f"<h2>{title}</h2>" in page
    capsys.readouterr()
    execute(made(**settings))
    assert capsys.readouterr().out.count("already done") == len(recipe.steps)


@pytest.mark.slow
def test_the_grid_runs_and_prints_its_tables(tmp_path, capsys):
    words = [
        "run", "instfree_grid", f"base={models.folder('qwen2_vl')}", f"out={tmp_path / 'grid'}",
        "data=phantoms:smear:size=32:train=4:val=2:test=4", "tables=2", "epochs=1", "batch_size=4",
        "seeds=2", "vectors=2",
    ]  # fmt: skip
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert "| Table 2, generated, accuracy %, seeds: 2 |" in said
    assert {r.seed for r in read_results(tmp_path / "grid" / "results.json")} == {0, 1}
    assert Path(tmp_path / "grid" / "tables" / "tables.md").is_file()


@pytest.mark.slow
def test_table_3_asks_another_model_too_by_type_of_question(tmp_path, capsys):
    """Reports and questions of MIMIC-CXR as the published benchmark; Llama is tuned, Gemma is not."""
    vqa = test_readers_clinical.medical_cxr_vqa(tmp_path / "vqa")
    rad = test_readers_clinical.llava_rad(tmp_path / "rad")
    made = [f"medical_cxr_vqa:{vqa}", f"{tmp_path / 'mimic'}", f"reports=llava_rad:{rad}"]
    assert cli.main(["data", "benchmark", *made, "protocol=published"]) == 0
    words = [
        "run", "instfree_grid", f"base={models.folder('mllama')}", f"out={tmp_path / 'grid'}",
        f"data={tmp_path / 'mimic'}", "tables=3", f"others={models.folder('gemma3')}", "seeds=1",
        "shuffle=sections", "epochs=1", "batch_size=3", "vectors=2",
    ]  # fmt: skip
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    table = said[said.index("| Table 3, generated, accuracy") :].splitlines()
    rows = ["gemma3 (w/o FT)", "w/o FT", "InstFree", "InstFree w/ RS"]
    assert [line.split(" | ")[0] for line in table[2:6]] == [f"| {name}" for name in rows]
    cells = json.loads((tmp_path / "grid/seed_0/run/attributes/attributes.json").read_text())
    assert {cell["method"] for cell in cells} == {"gemma3", "none", "instfree", "instfree w/ RS"}
    assert {cell["attribute"] for cell in cells} == {"presence", "location", "abnormality"}
