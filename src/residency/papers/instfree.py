"""InstFree: Kang et al., "Instruction-free tuning of large vision language models", tables and figures."""

from collections.abc import Sequence

from residency.paper import Column, Mark, Needed, Ours, Paper, Table, Work, lines, unprinted

SMALL = "train=160:val=32:test=60"
SETS = {
    "skincon": Needed(
        reader="skincon", protocol="published", stand_in=f"phantoms:lesion:{SMALL}:seed=51"
    ),
    "wbcatt": Needed(reader="wbcatt", protocol="published", stand_in=f"phantoms:smear:{SMALL}:seed=52"),
    "cbis_ddsm": Needed(
        reader="cbis_ddsm", protocol="published", stand_in=f"phantoms:chest:{SMALL}:seed=53"
    ),
    "mimic": Needed(
        reader="medical_cxr_vqa", protocol="published", reports="llava_rad",
        stand_in=f"phantoms:ct:{SMALL}:seed=54",
        get="Medical-CXR-VQA and the LLaVA-Rad annotation of MIMIC-CXR, with its images: physionet.org "
        "(credentialed)",
    ),
}  # fmt: skip
LLAMA, MEDGEMMA, QWEN = "LLaMA-3.2-11B-Vision", "MedGemma-4B", "Qwen2.5-VL-3B"
PRINTED = (("SKINCON", "skincon", 323), ("WBCAtt", "wbcatt", 3099), ("CBIS", "cbis_ddsm", None))
THREE = tuple(key for _, key, _ in PRINTED)


def accuracy(name: str, key: str, n: int | None) -> Column:
    """Accuracy of the generated letter; one that cannot be read is wrong."""
    return Column(name=name, set=key, metric="accuracy", n=n)


def columns(names: Sequence[str] = ("SKINCON", "WBCAtt", "CBIS")) -> tuple[Column, ...]:
    """The three sets, named as a table prints them, and their average."""
    found = tuple(accuracy(name, key, n) for name, (_, key, n) in zip(names, PRINTED, strict=True))
    return (*found, Column(name="Avg.", mean_of=tuple(names)))


def grid(*tables: str, **settings: object) -> tuple[Work, ...]:
    """The rows of some tables over three seeds."""
    own = {"tables": tables, "seeds": 3, **settings}
    return (
        Work(
            name=f"grid{''.join(tables)}",
            recipe="instfree_grid",
            sets={"data": THREE},
            settings=own,
        ),
    )


def row(table: str, variant: str, method: str = "instfree", label: str = "") -> Ours:
    """A row of the grid, by the words of its results."""
    return Ours(run=f"grid{table}", method=method, variant=variant, label=label)


SEEDS = "mean of three runs; single runs and other models as printed, without spread"
FORMAT = "an answer in another format than the asked one counts as wrong, in the paper as here"
NONE, FT = row("1", "", "none"), row("1", "vision", "ft")
TABLE1 = Table(
    title="Table 1: multiple-choice accuracy",
    columns=columns(),
    lines=(
        *lines("BLIP-2 (w/o FT) | 8.7 35.2 4.6 16.1"),
        *lines(
            "MedGemma-4B (w/o FT) | 14.3 37.3 39.2 30.2",
            ours={"MedGemma-4B (w/o FT)": NONE}, base=MEDGEMMA,
        ),
        *lines("PubMedVision-7B (w/o FT) | 47.0 36.3 40.6 41.3"),
        *lines(
            "Qwen2.5-VL-3B (w/o FT) | 37.7 32.8 36.0 35.5",
            ours={"Qwen2.5-VL-3B (w/o FT)": NONE}, base=QWEN,
        ),
        *lines(
            "LLaMA-3.2-11B-Vision (w/o FT) | 39.9 34.6 43.0 39.1",
            ours={"LLaMA-3.2-11B-Vision (w/o FT)": NONE}, base=LLAMA,
        ),
        *lines("MedGemma-4B (FT) | 8.9±1.76 45.9±1.18 42.5±2.23 32.4", base=MEDGEMMA),
        *lines("Qwen2.5-VL-3B (FT) | 42.0±0.42 39.4±0.19 39.3±0.12 40.2", base=QWEN),
        *lines(
            """
            LLaMA-3.2-11B-Vision (FT) | 59.4±3.85 61.7±3.72 63.9±0.3 61.6
            InstFree | 69.8±0.75 68.4±0.61 65.0±0.37 67.7
            InstFree w/ RS | 75.2±0.9 65.2±1.39 68.3±0.37 69.5
            """,
            ours={
                "LLaMA-3.2-11B-Vision (FT)": FT,
                "InstFree": row("1", ""),
                "InstFree w/ RS": row("1", "w/ RS"),
            },
            base=LLAMA,
        ),
    ),
    works=grid("1"),
    marks=(
        Mark(
            why="fine-tuned as its own paper says, not as the rows of LLaMA are",
            lines=("MedGemma-4B (FT)", "Qwen2.5-VL-3B (FT)"),
        ),
        Mark(
            why="below chance on five options: it measures the answer's format as well",
            lines=("BLIP-2 (w/o FT)", "MedGemma-4B (w/o FT)", "MedGemma-4B (FT)"),
            columns=("SKINCON",),
        ),
    ),
    notes=(SEEDS, FORMAT),
)  # fmt: skip

TABLE2 = Table(
    title="Table 2: variants of the proxy instruction",
    columns=columns(),
    lines=(
        *lines(
            """
            Fix | 63.9±1.52 65.1±0.97 61.7±1.49 63.5
            Update | 66.4±2.55 63.6±0.83 63.7±0.49 64.5
            InstFree | 69.8±0.75 68.4±0.61 65.0±0.37 67.7
            """,
            ours={
                "Fix": row("2", "Fix"),
                "Update": row("2", "Update"),
                "InstFree": row("2", ""),
            },
        ),
        unprinted("InstFree, as equation 3 reads (moco)", 4, row("2", "moco")),
    ),
    works=grid("2"),
    notes=(SEEDS, "the printed Algorithm 1 is training with steps a thousandth as long; see docs/papers.md"),
)  # fmt: skip

TABLE3 = Table(
    title="Table 3: MIMIC-CXR",
    columns=(accuracy("Accuracy", "mimic", None),),
    lines=(
        *lines(
            "LLaMA-3.2-11B-Vision (w/o FT) | 46.9",
            ours={"LLaMA-3.2-11B-Vision (w/o FT)": row("mimic", "", "none")}, base=LLAMA,
        ),
        *lines(
            "MedGemma-4B | 44.7",
            ours={"MedGemma-4B": row("mimic", "", "none")}, base=MEDGEMMA,
        ),
        *lines(
            """
            InstFree | 58.9±0.29
            InstFree w/ RS | 59.3±0.12
            """,
            ours={"InstFree": row("mimic", ""), "InstFree w/ RS": row("mimic", "w/ RS")}, base=LLAMA,
        ),
    ),
    works=(
        Work(
            name="gridmimic", recipe="instfree_grid", sets={"data": ("mimic",)},
            settings={"tables": ("3",), "seeds": 3, "shuffle": "sections"},
        ),
    ),
    marks=(Mark(why="MedGemma was tuned on MIMIC-CXR with instructions", lines=("MedGemma-4B",)),),
    notes=(SEEDS, "wrong options are drawn anew here: the paper's are not released"),
)  # fmt: skip

TABLE4 = Table(
    title="Table 4: response shuffling",
    columns=columns(("SKN.", "WBC.", "CBIS")),
    lines=lines(
        """
        InstFree w/ Bal | 65.4 63.4 60.8 63.2
        InstFree w/ RS (" ") | 67.9 57.9 67.2 64.3
        InstFree w/ RS | 75.2 65.2 68.3 69.5
        FT w/ RS | 74.1 62.0 67.3 67.8
        FT w/ Rand | 3.1 27.5 27.9 19.5
        """,
        ours={
            "InstFree w/ Bal": row("4", "w/ Bal"),
            'InstFree w/ RS (" ")': row("4", 'w/ RS (" ")'),
            "InstFree w/ RS": row("4", "w/ RS"),
            "FT w/ RS": row("4", "vision w/ RS", "ft"),
            "FT w/ Rand": row("4", "vision w/ Rand", "ft"),
        },
    ),
    works=grid("4"),
    notes=(
        SEEDS,
        "the paper's 58 instructions of FT w/ Rand are not released: ours are 60 of our own",
    ),
)

# The attributes of WBCAtt and CBIS as the benchmark asks them (`data/benchmark_forms.py`).
WBC = (
    "cell_size", "cell_shape", "nucleus_shape", "nuclear_cytoplasmic_ratio", "chromatin_density",
    "cytoplasm_vacuole", "cytoplasm_texture", "cytoplasm_colour", "granularity", "granule_type",
    "granule_colour", "label",
)  # fmt: skip
CBIS = (
    "abnormality type", "mass shape", "mass margins", "calc type", "calc distribution", "pathology",
)  # fmt: skip


def spokes(title: str, key: str, attributes: Sequence[str]) -> tuple[Column, ...]:
    """A column per attribute."""
    return tuple(
        Column(
            name=f"{title} {name.replace('_', ' ')}", set=key, metric="accuracy",
            where={"attribute": name.replace("_", " ")},
        )
        for name in attributes
    )  # fmt: skip


SPOKES = (*spokes("WBCAtt", "wbcatt", WBC), *spokes("CBIS", "cbis_ddsm", CBIS))
FIGURE5 = Table(
    title="Figure 5: accuracy by attribute (radar charts)",
    columns=SPOKES,
    lines=(
        unprinted("w/o FT", len(SPOKES), NONE),
        unprinted("FT", len(SPOKES), FT),
        unprinted("InstFree", len(SPOKES), row("1", "")),
        unprinted("InstFree w/ RS", len(SPOKES), row("1", "w/ RS")),
    ),
    works=grid("1"),
    notes=(
        "the paper draws these and prints no numbers; chance, charts and parse rates are on the page of "
        "the run",
    ),
)  # fmt: skip


def curve(title: str, kind: str, values: Sequence[str], said: str, **settings: object) -> Table:
    """A figure over one parameter, whose numbers are drawn and not printed."""
    name = f"grid{kind}"
    own = {"tables": ("2",), "seeds": 3, **settings}
    return Table(
        title=title,
        columns=columns(),
        lines=tuple(
            unprinted(value, 4, Ours(run=name, method="instfree", variant=value))
            for value in values
        ),
        works=(Work(name=name, recipe="instfree_grid", sets={"data": THREE}, settings=own),),
        notes=(f"the paper draws this curve and prints no numbers; its text says: {said}",),
    )


MOMENTA, SIZES = (0.9, 0.99, 0.999, 0.9999), (1, 2, 4, 8, 16, 32)
FIGURE6 = curve(
    "Figure 6: momentum coefficient",
    "momenta",
    tuple(f"alpha {value:g}" for value in MOMENTA),
    "0.999 is best",
    momenta=MOMENTA,
)
FIGURE7 = curve(
    "Figure 7: number of instruction vectors",
    "sizes",
    tuple(f"N {value}" for value in SIZES),
    "8 is best, 32 is worse",
    sizes=SIZES,
)

PAPER = Paper(
    title="InstFree (Kang et al.)",
    bases={
        LLAMA: ("Llama-3.2-11B-Vision-Instruct",),
        MEDGEMMA: ("medgemma-4b-it",),
        QWEN: ("Qwen2.5-VL-3B-Instruct",),
    },
    sets=SETS,
    tables={
        "table1": TABLE1,
        "table2": TABLE2,
        "table3": TABLE3,
        "table4": TABLE4,
        "figure5": FIGURE5,
        "figure6": FIGURE6,
        "figure7": FIGURE7,
    },
)
