"""AdaMLLM: Cheng et al., "On domain-specific post-training for multimodal large language models" (2024)."""

from residency.paper import Column, Line, Mark, Needed, Ours, Paper, Table, Work, headed, lines
from residency.paper_adamllm import BLOCKS, MODELS

SMALL = "train=160:val=32:test=60"
GET = "huggingface.co/datasets/AdaptLLM ({}), or the set itself"


def tested(reader: str, kind: str, task: str, seed: int) -> Needed:
    """A set that models are only asked about."""
    return Needed(
        reader=reader, splits=("test",), stand_in=f"phantoms:{kind}:task={task}:{SMALL}:seed={seed}"
    )


def learned(reader: str, files: tuple[str, ...], seed: int, get: str = "") -> Needed:
    """Captions or tasks to learn from."""
    stand_in = f"phantoms:smear:task=report:{SMALL}:seed={seed}"
    return Needed(reader=reader, files=files, splits=("train",), stand_in=stand_in, get=get)


SETS = {
    "slake": tested("slake", "ct", "vqa", 61),
    "pathvqa": tested("pathvqa", "smear", "vqa", 62),
    "vqa_rad": tested("vqa_rad", "chest", "vqa", 63),
    "pmc_vqa": tested("pmc_vqa", "lesion", "vqa", 64),
    "recipe1m": tested("recipe1m", "smear", "caption", 65),
    "nutrition5k": tested("nutrition5k", "fundus", "vqa", 66),
    "food_101": tested("food_101", "smear", "classification", 67),
    "foodseg103": tested("foodseg103", "chest", "vqa", 68),
    "recipes": learned("recipe1m", (), 69),
    "pmc_raw": learned("llava_med", ("llava_med/llava_med_alignment_500k.json",), 70),
    "pmc_refined": learned("pubmedvision", ("pubmedvision/PubMedVision_Alignment_VQA.json",), 71),
    "gpt4": learned("llava_med", ("llava_med/llava_med_instruct_60k.json",), 72),
    "gpt4v": learned("pubmedvision", ("pubmedvision/PubMedVision_InstructionTuning_VQA.json",), 73),
    "seed": Needed(
        reader="seed_vflan", splits=("train",), stand_in="seed_general:600",
        get="Vision-FLAN (191 tasks, 1k) and ALLaVA-4V in one folder `seed_vflan`",
    ),
}  # fmt: skip
BIOMEDICINE = ("slake", "pathvqa", "vqa_rad", "pmc_vqa")
FOOD = ("recipe1m", "nutrition5k", "food_101", "foodseg103")
QUESTIONS: tuple[tuple[str, str, int, int, dict[str, str]], ...] = (
    ("SLAKE", "slake", 645, 416, {"language": "en"}),
    ("PathVQA", "pathvqa", 3357, 3362, {}),
    ("VQA-RAD", "vqa_rad", 179, 272, {}),
)
BIO_COLUMNS = (
    *(
        Column(
            name=f"{name} {kind}", set=key, metric=f"{metric}@llava-med", n=n,
            where={**where, "answer_type": kind},
        )
        for name, key, opened, closed, where in QUESTIONS
        for kind, metric, n in (("OPEN", "open_recall", opened), ("CLOSED", "closed_accuracy", closed))
    ),
    Column(name="PMC-VQA", set="pmc_vqa", metric="choice_accuracy@mmmu", n=2000),
)  # fmt: skip
FOOD_COLUMNS = (
    Column(name="Recipe", set="recipe1m", metric="rouge_l@pypi-rouge", n=1000),
    Column(name="Nutrition", set="nutrition5k", metric="ingredient_recall@nutrition5k", n=507),
    Column(name="Food101", set="food_101", metric="accuracy@food101", n=25250),
    Column(name="FoodSeg", set="foodseg103", metric="samples_f1@foodseg103", n=2135),
)
AVERAGES = (
    Column(name="food AVERAGE", mean_of=tuple(one.name for one in FOOD_COLUMNS)),
    Column(name="biomed. AVERAGE", mean_of=tuple(one.name for one in BIO_COLUMNS)),
)
QWEN, LLAVA, LLAMA = "Qwen2-VL-2B", "LLaVA-v1.6-8B", "Llama-3.2-11B"


def seen(*columns: str) -> tuple[Mark, ...]:
    """Columns whose training part is among the paper's sources."""
    return (
        Mark(why="partially seen: its training part is among the paper's sources", columns=columns),
    )


SEEN_BIO, SEEN_FOOD = ("VQA-RAD OPEN", "VQA-RAD CLOSED"), ("Recipe",)
NOTES = (
    "open questions: LLaVA-Med's recall, in which a repeated right word counts again; closed ones: a hit "
    "also where `no` is part of `normal`; an unreadable choice is guessed: the paper's rules, in the ids",
)


def asked(name: str, domain: tuple[str, ...], after: str = "") -> Work:
    """The benchmark of a domain put to the base, or to the model of a run."""
    return Work(name=name, recipe="adamllm_benchmark", sets={"data": domain}, after=after)


def trained(
    name: str, source: str, domain: tuple[str, ...], tasks: str = "", **settings: object
) -> tuple[Work, Work]:
    """A post-training and the benchmark put to its model; `tasks` are other people's, '' for ours."""
    sets: dict[str, tuple[str, ...]] = {"data": (source,), "test": domain}
    if tasks in SETS:
        sets["tasks"] = (tasks,)
    else:
        settings |= {"tasks": (tasks or "ours",)}
    if settings.get("tasks") == ("ours",):
        sets["seeds"] = ("seed",)
    own = {"baselines": False, **settings}
    return Work(name=name, recipe="adamllm", sets=sets, settings=own), asked(
        f"{name}_test", domain, name
    )


def model(run: str) -> Ours:
    """What a benchmark says of its model, whether or not a set is partially seen."""
    return Ours(run=run, method="model", variant=None)


def group(base: str, rows: str, **ours: Ours) -> tuple[Line, ...]:
    """The printed rows of one base; `ours` by the kind of row: untouched, or the source of captions."""
    size = base.rpartition("-")[2]
    names = {
        "untouched": base,
        "food": f"AdaMLLM-{size}",
        "raw": f"AdaMLLM-{size} from PMCRaw",
        "refined": f"AdaMLLM-{size} from PMCRefined",
    }
    return lines(rows, ours={names[kind]: own for kind, own in ours.items()}, base=base)


BIO = {"untouched": model("biomed"), "raw": model("raw_test"), "refined": model("refined_test")}
TABLE2 = Table(
    title="Table 2: biomedicine",
    columns=BIO_COLUMNS,
    lines=(
        *lines("GPT-4o | 59.1 71.6 24.1 76.0 51.6 64.0 56.7"),
        *group(
            LLAVA,
            """
            LLaVA-v1.6-8B | 49.2 62.3 15.2 47.7 45.9 56.3 36.5
            LLaVA-Med-8B | 43.4 50.2 10.1 59.2 35.0 62.5 37.1
            PubMedVision-8B | 50.0 68.3 17.0 67.5 43.3 67.3 40.4
            AdaMLLM-8B from PMCRaw | 56.8 76.4 19.7 79.3 51.0 80.5 44.3
            AdaMLLM-8B from PMCRefined | 58.0 73.3 22.9 78.6 59.8 81.3 47.9
            """,
            **BIO,
        ),
        *group(
            QWEN,
            """
            Qwen2-VL-2B | 50.0 52.4 17.8 38.7 37.0 46.7 45.8
            LLaVA-Med-2B | 43.4 55.5 11.8 60.1 37.1 58.8 41.2
            PubMedVision-2B | 45.2 63.2 18.2 64.7 41.3 67.3 43.2
            AdaMLLM-2B from PMCRaw | 53.2 75.2 20.1 63.8 49.8 74.6 43.5
            AdaMLLM-2B from PMCRefined | 60.2 75.0 20.6 53.6 58.0 76.1 46.5
            """,
            **BIO,
        ),
        *group(
            LLAMA,
            """
            Llama-3.2-11B | 56.2 63.9 22.7 72.1 46.9 63.6 51.9
            LLaVA-Med-11B | 47.6 58.7 14.6 69.5 38.0 69.1 47.5
            PubMedVision-11B | 49.1 74.3 19.3 70.9 46.2 73.9 47.1
            AdaMLLM-11B from PMCRaw | 56.7 77.6 22.2 87.3 55.0 76.1 49.9
            AdaMLLM-11B from PMCRefined | 59.5 76.4 24.3 84.9 57.4 79.8 51.9
            """,
            **BIO,
        ),
    ),
    works=(
        asked("biomed", BIOMEDICINE),
        *trained("raw", "pmc_raw", BIOMEDICINE),
        *trained("refined", "pmc_refined", BIOMEDICINE),
    ),
    marks=seen(*SEEN_BIO),
    notes=NOTES,
)

DISHES = {"untouched": model("food"), "food": model("recipes_test")}
TABLE3 = Table(
    title="Table 3: food",
    columns=FOOD_COLUMNS,
    lines=(
        *lines("GPT-4o | 26.1 46.6 89.4 61.9"),
        *group(
            LLAVA,
            """
            LLaVA-v1.6-8B | 18.6 29.6 47.9 38.9
            LLaVA-Chef-8B | 23.1 29.1 46.8 14.5
            AdaMLLM-8B | 24.8 36.1 65.3 42.0
            """,
            **DISHES,
        ),
        *group(
            QWEN,
            """
            Qwen2-VL-2B | 18.2 36.4 73.9 19.9
            LLaVA-Chef-2B | 24.1 24.5 68.8 7.7
            AdaMLLM-2B | 24.0 41.2 72.0 23.9
            """,
            **DISHES,
        ),
        *group(
            LLAMA,
            """
            Llama-3.2-11B | 23.7 40.0 80.8 47.6
            LLaVA-Chef-11B | 25.7 26.2 82.1 16.7
            AdaMLLM-11B | 26.1 41.0 82.2 42.0
            """,
            **DISHES,
        ),
    ),
    works=(asked("food", FOOD), *trained("recipes", "recipes", FOOD)),
    marks=seen(*SEEN_FOOD),
    notes=NOTES,
)

# Tables 4 and 14: source of captions, who wrote the tasks that are compared with ours, their domain.
SOURCES = {
    "Recipe1M": ("recipes", "Rule", "rules", FOOD),
    "PMCRaw": ("pmc_raw", "GPT-4", "gpt4", BIOMEDICINE),
    "PMCRefined": ("pmc_refined", "GPT-4V", "gpt4v", BIOMEDICINE),
}
PIPELINES = {"Two-Stage": "two_stage", "Single-Stage": "single"}
GRID = tuple(
    work
    for source, other, tasks, domain in SOURCES.values()
    for pipeline in PIPELINES.values()
    for kind in (tasks, "")
    for work in trained(f"{source}_{pipeline}_{kind or 'ours'}", source, domain, kind, pipeline=(pipeline,))
)  # fmt: skip


def block(title: str, text: str) -> tuple[Line, ...]:
    """Rows of Table 14 under a source of captions."""
    source, other, tasks, domain = SOURCES[title]
    ours = {
        f"{base}, {pipeline}, {who}": model(
            f"{source}_{PIPELINES[pipeline]}_{'ours' if who == 'Ours' else tasks}_test"
        )
        for base in MODELS
        for pipeline in PIPELINES
        for who in (other, "Ours")
    }
    food = domain == FOOD
    made = []
    for line in lines(text, ours=ours):
        blank = (None,) * (len(BIO_COLUMNS) + 1 if food else len(FOOD_COLUMNS) + 1)
        values = (*line.values, *blank) if food else (*blank, *line.values)
        base = line.name.partition(",")[0]
        made.append(Line(name=line.name, values=values, ours=line.ours, base=base))
    return headed(title, made)


BOTH = (*FOOD_COLUMNS, AVERAGES[0], *BIO_COLUMNS, AVERAGES[1])
TABLE14 = Table(
    title="Table 14: post-training with different tasks and pipelines",
    columns=BOTH,
    lines=tuple(line for title, text in BLOCKS.items() for line in block(title, text)),
    works=GRID,
    marks=seen(*SEEN_BIO, *SEEN_FOOD),
    notes=NOTES,
)


def averages(food: float | None, biomed: float | None) -> tuple[float | None, ...]:
    """A row of which the paper prints an average alone."""
    return (*(None,) * len(FOOD_COLUMNS), food, *(None,) * len(BIO_COLUMNS), biomed)


# Table 4 as printed: a row per model; under each source two stages and one, of others' tasks and of ours.
TABLE4_ROWS = {
    LLAVA: "28.4 29.0 34.1 42.0 42.5 55.6 46.1 58.3 50.5 58.6 55.5 60.3",
    QWEN: "31.3 38.2 31.9 40.3 44.0 55.5 41.3 54.3 49.0 59.5 51.6 55.7",
    LLAMA: "37.7 40.9 36.6 47.8 49.3 59.2 48.8 60.7 54.4 60.3 53.7 62.0",
}


def table4_lines() -> tuple[Line, ...]:
    """A line per model, source, pipeline and writer of tasks."""
    beside = {line.name: line for line in TABLE14.lines}
    made = []
    for base, row in TABLE4_ROWS.items():
        printed = iter(map(float, row.split()))
        for title, (_, other, _, domain) in SOURCES.items():
            for pipeline in PIPELINES:
                for who in (other, "Ours"):
                    name, value = f"{title}, {base}, {pipeline}, {who}", next(printed)
                    values = averages(value, None) if domain == FOOD else averages(None, value)
                    made.append(Line(name=name, values=values, ours=beside[name].ours, base=base))
    return tuple(made)


TABLE4 = Table(
    title="Table 4: averages by source, pipeline and tasks",
    columns=BOTH,
    lines=table4_lines(),
    works=GRID,
    marks=seen(*SEEN_BIO, *SEEN_FOOD),
    notes=NOTES,
)

# Table 5: printed name, column of the recipe, biomedicine (PMCRaw), food (Recipe1M).
ABLATIONS = (
    ("Ours", "ours", 58.3, 42.0),
    ("w/o Blank Image", "no_blank", 55.8, 35.9),
    ("w/o Consistency Filter, Precise", "precise_only", 31.2, 37.9),
    ("w/o Consistency Filter, Informative", "informative_only", 44.4, 37.6),
    ("w/o Synthetic Task", "no_task", 26.7, 25.6),
    ("w/o Image Caption", "no_caption", 54.2, 36.8),
    ("General Task", "general_task", 49.8, 36.0),
    ("General Task + Domain Caption", "general_task_caption", 55.3, 38.6),
)
TABLE5 = Table(
    title="Table 5: ablations",
    columns=BOTH,
    lines=tuple(
        Line(
            name=f"{domain}, {name}", values=values, base=LLAVA,
            ours=(model(f"{source}_{column}_test"),),
        )
        for name, column, biomed, food in ABLATIONS
        for domain, source, values in (
            ("BioMed.", "pmc_raw", averages(None, biomed)), ("Food", "recipes", averages(food, None)),
        )
    ),
    works=tuple(
        work
        for _, column, _, _ in ABLATIONS
        for source, domain in (("pmc_raw", BIOMEDICINE), ("recipes", FOOD))
        for work in trained(f"{source}_{column}", source, domain, column=(column,))
    ),
    marks=seen(*SEEN_BIO, *SEEN_FOOD),
    notes=NOTES,
)  # fmt: skip

PEOPLE = "people judge in the paper; a model judges here, by our own wording"
CRITERIA = ("Diversity", "Knowledge", "Complexity", "Accuracy")
QUALITY = tuple(Column(name=name, metric=name.lower(), unlike=PEOPLE) for name in CRITERIA)
SYNTHESIZERS = {
    "not tuned": "untuned", "Image": "image", "Caption": "caption", "Image+Caption": "both",
    "Image+Caption, blank images": "both_blank",
}  # fmt: skip
TABLE6 = Table(
    title="Table 6: quality of the tasks of different synthesizers",
    columns=QUALITY,
    lines=lines(
        """
        not tuned | 52.5 72.5 43.8 63.8
        Image | 68.0 95.0 77.9 60.0
        Caption | 75.2 93.8 75.3 65.6
        Image+Caption | 81.0 97.5 80.0 66.3
        Image+Caption, blank images | 85.5 98.1 83.2 71.3
        """,
        ours={
            name: Ours(run="five", method="quality", variant=f"quality_{variant}", view=None)
            for name, variant in SYNTHESIZERS.items()
        },
        base=LLAVA,
    ),
    works=(
        Work(
            name="five", recipe="synthesizer", sets={"data": ("seed",)},
            settings={"baselines": True, "quality": 200},
        ),
    ),
    marks=(Mark(why=PEOPLE),),
)  # fmt: skip
TABLE7 = Table(
    title="Table 7: responses without and with the consistency filter",
    columns=(
        Column(name="w/o Consist.", metric="consistent", variant="before filter"),
        Column(name="w/o Precise Acc", metric="precise_true", variant="before filter"),
        Column(name="w/o Info. Acc", metric="informative_true", variant="before filter"),
        Column(
            name="w/ Consist.", variant="after filter",
            unlike="what passes our judge is consistent by definition; the paper has people judge it again",
        ),
        Column(name="w/ Acc", metric="combined_true", variant="after filter"),
    ),
    lines=lines(
        """
        BioMed. | 30.3 64.3 61.0 92.2 75.1
        Food | 35.7 77.2 75.5 97.1 84.3
        """,
        ours={
            "BioMed.": Ours(run="raw", method="filter", view=None),
            "Food": Ours(run="recipes", method="filter", view=None),
        },
        base=LLAVA,
    ),
    works=(trained("raw", "pmc_raw", BIOMEDICINE)[0], trained("recipes", "recipes", FOOD)[0]),
    marks=(
        Mark(why="judged by people; ours are exact, from facts, and only where samples have facts"),
    ),
)  # fmt: skip
WRITERS = {
    f"{title}, {who}": (title, who) for title, row in SOURCES.items() for who in (row[1], "Ours")
}


def judged(title: str, who: str) -> str:
    """The run whose tasks are judged."""
    return f"{SOURCES[title][0]}_quality_{'ours' if who == 'Ours' else SOURCES[title][2]}"


TABLE8 = Table(
    title="Table 8: quality of synthetic tasks",
    columns=QUALITY,
    lines=lines(
        """
        Recipe1M, Rule | 23.5 20.9 38.4 98.7
        Recipe1M, Ours | 52.9 21.9 69.9 84.3
        PMCRaw, GPT-4 | 47.1 44.9 41.7 84.4
        PMCRaw, Ours | 58.8 58.9 83.2 75.1
        PMCRefined, GPT-4V | 64.7 67.7 49.6 87.5
        PMCRefined, Ours | 76.5 63.2 80.5 79.6
        """,
        ours={
            name: Ours(run=judged(*who), method="quality", variant=None, view=None)
            for name, who in WRITERS.items()
        },
        base=LLAVA,
    ),
    works=tuple(
        trained(
            judged(title, who), SOURCES[title][0], SOURCES[title][3],
            "" if who == "Ours" else SOURCES[title][2], quality=200,
        )[0]
        for title, who in WRITERS.values()
    ),
    marks=(Mark(why=PEOPLE),),
)  # fmt: skip

PAPER = Paper(
    title="AdaMLLM (Cheng et al., 2024)",
    bases={
        QWEN: ("Qwen2-VL-2B-Instruct",),
        LLAVA: ("open-llava-next-llama3-8b", "llama3-llava-next-8b-hf", "llama3-llava-next-8b"),
        LLAMA: ("Llama-3.2-11B-Vision-Instruct",),
    },
    sets=SETS,
    tables={
        "table2": TABLE2,
        "table3": TABLE3,
        "table4": TABLE4,
        "table5": TABLE5,
        "table6": TABLE6,
        "table7": TABLE7,
        "table8": TABLE8,
        "table14": TABLE14,
    },
)
