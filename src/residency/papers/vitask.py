"""VITask: Bai et al., "From generalist to specialist" (2024), Tables 1 to 3 and Figures 2 to 5."""

from residency.paper import Column, Mark, Needed, Ours, Paper, Table, Work, lines, unprinted

# Printed name, flag, test samples (MedMNIST 3.0.2).
MEDMNIST = (
    ("PathMNIST", "pathmnist", 7180),
    ("ChestMNIST", "chestmnist", 22433),
    ("DermaMNIST", "dermamnist", 2005),
    ("OCTMNIST", "octmnist", 1000),
    ("PneumoniaMNIST", "pneumoniamnist", 624),
    ("RetinaMNIST", "retinamnist", 400),
    ("BreastMNIST", "breastmnist", 156),
    ("BloodMNIST", "bloodmnist", 3421),
    ("TissueMNIST", "tissuemnist", 47280),
    ("OrganAMNIST", "organamnist", 17778),
    ("OrganCMNIST", "organcmnist", 8216),
    ("OrganSMNIST", "organsmnist", 8827),
)
FLAGS = tuple(flag for _, flag, _ in MEDMNIST)
KINDS = (("Acc", "accuracy"), ("F1", "macro_f1"))
STAND_INS = ("smear", "chest", "lesion", "fundus", "ct")
GET = "MedMNIST 3.0.2: {}.npz or {}_224.npz from zenodo.org/records/10519652 (open download)"


def medmnist(place: int, flag: str) -> Needed:
    """A MedMNIST file: the largest size that is there, beside the others or in `medmnist/`."""
    sizes = (f"{flag}_224", f"{flag}_128", f"{flag}_64", flag)
    files = tuple(f"{folder}{name}.npz" for name in sizes for folder in ("medmnist/", ""))
    kind = STAND_INS[place % len(STAND_INS)]
    stand_in = f"phantoms:{kind}:train=160:val=32:test=60:seed={place}"
    return Needed(reader="medmnist", files=files, stand_in=stand_in, get=GET.format(flag, flag))


def external(reader: str, place: int) -> Needed:
    """A set of fundus images that no model was tuned on."""
    stand_in = f"phantoms:fundus:train=160:val=32:test=60:shift=0.6:seed={place}"
    return Needed(reader=reader, stand_in=stand_in)


def pair(name: str, key: str, n: int | None, unlike: str = "") -> tuple[Column, ...]:
    """Accuracy and macro-F1 of a set, printed as fractions."""
    return tuple(
        Column(
            name=f"{name} {kind}", set=key, metric=metric, scale=1.0, decimals=3, n=n,
            unlike=unlike if metric == "macro_f1" else "",
        )
        for kind, metric in KINDS
    )  # fmt: skip


def mean(kind: str) -> Column:
    """The average over the twelve sets."""
    parts = tuple(f"{name} {kind}" for name, _, _ in MEDMNIST)
    return Column(name=f"Average {kind}", scale=1.0, decimals=3, mean_of=parts)


BLOOD = (
    "the paper's BloodMNIST F1 is 7/8 of the accuracy for every model its authors tuned, as if one of "
    "the eight classes scored zero; ours is over class indices"
)
TWELVE = tuple(
    column
    for name, flag, n in MEDMNIST
    for column in pair(name, flag, n, BLOOD if flag == "bloodmnist" else "")
)
QUOTED = Mark(
    why="copied by the paper from He et al. (2024): other tuning data, 26B", lines=("MedDr*",)
)
SPLITS = (
    "n of the external test sets is not printed; 103 for IDRiD follows from the printed fractions"
)
JOINT = (
    "the paper trains on all twelve sets; its rows equal those of Table 1, so this table has the "
    "same models",
)
VANILLA = Ours(run="vitask", method="vanilla")

TABLE1 = Table(
    title="Table 1: medical image diagnosis, twelve MedMNIST sets",
    columns=(*TWELVE, mean("Acc"), mean("F1")),
    lines=lines(
        """
        TSM | 0.933 0.926 0.533 0.095 0.846 0.792 0.934 0.941 0.968 0.965 0.472 0.424 0.897 0.866 0.987 0.990 0.697 0.681 0.934 0.950 0.869 0.898 0.726 0.737 0.816 0.772
        MedDr* | - - 0.519 0.134 0.690 0.395 0.692 0.661 0.929 0.926 - - 0.878 0.842 0.955 0.954 - - 0.846 0.822 - - - - - -
        LLaVA 13B | 0.935 0.905 0.535 0.073 0.731 0.355 0.788 0.786 0.881 0.864 0.557 0.279 0.750 0.671 0.951 0.832 0.613 0.497 0.878 0.855 0.796 0.750 0.689 0.621 0.759 0.624
        InternVL 2B | 0.926 0.896 0.523 0.024 0.770 0.499 0.726 0.704 0.886 0.873 0.590 0.370 0.744 0.524 0.931 0.818 0.569 0.419 0.828 0.801 0.778 0.742 0.635 0.578 0.742 0.604
        VITask w/o EP | 0.939 0.911 0.513 0.102 0.810 0.633 0.853 0.846 0.888 0.872 0.625 0.457 0.846 0.798 0.983 0.864 0.643 0.538 0.924 0.917 0.889 0.871 0.758 0.710 0.806 0.710
        VITask w/ EP | 0.953 0.937 0.517 0.129 0.877 0.772 0.952 0.952 0.931 0.923 0.632 0.522 0.865 0.828 0.991 0.870 0.761 0.690 0.955 0.950 0.920 0.908 0.809 0.765 0.847 0.771
        """,  # noqa: E501
        ours={
            "TSM": Ours(run="vitask", method="expert", view=None),
            "InternVL 2B": VANILLA,
            "VITask w/o EP": Ours(run="vitask", method="vitask"),
            "VITask w/ EP": Ours(run="vitask", method="vitask", view="exemplar"),
        },
    ),
    works=(Work(name="vitask", recipe="vitask", sets={"data": FLAGS}),),
    marks=(QUOTED,),
)

FIVE = tuple(entry for entry in MEDMNIST if entry[1] in (
    "chestmnist", "dermamnist", "octmnist", "retinamnist", "tissuemnist",
))  # fmt: skip


def cell(variant: str, view: str) -> Ours:
    """A cell of the ablation."""
    return Ours(run="ablation", method="vitask", variant=variant, view=view)


TABLE2 = Table(
    title="Table 2: ablation without and with exemplar",
    columns=tuple(column for name, flag, n in FIVE for column in pair(name, flag, n)),
    lines=lines(
        """
        w/o EP Vanilla | 0.523 0.024 0.770 0.499 0.726 0.704 0.590 0.370 0.569 0.419
        w/o EP +RDA | 0.517 0.078 0.799 0.585 0.844 0.837 0.615 0.401 0.632 0.523
        w/o EP +CRT | 0.513 0.088 0.786 0.593 0.817 0.810 0.593 0.413 0.622 0.505
        w/o EP +Both | 0.513 0.102 0.810 0.633 0.853 0.846 0.625 0.457 0.643 0.538
        w/ EP Vanilla | 0.514 0.118 0.863 0.725 0.951 0.950 0.608 0.489 0.760 0.689
        w/ EP +RDA | 0.514 0.123 0.873 0.760 0.949 0.950 0.627 0.471 0.761 0.691
        w/ EP +CRT | 0.513 0.122 0.878 0.774 0.949 0.950 0.623 0.509 0.762 0.691
        w/ EP +Both | 0.517 0.129 0.877 0.772 0.952 0.952 0.632 0.522 0.761 0.690
        """,
        ours={
            "w/o EP Vanilla": Ours(run="ablation", method="vanilla"),
            "w/o EP +RDA": cell("+EP+RDA", "plain"),
            "w/o EP +CRT": cell("+EP+CRT", "plain"),
            "w/o EP +Both": cell("+EP+RDA+CRT", "plain"),
            "w/ EP Vanilla": cell("+EP", "exemplar"),
            "w/ EP +RDA": cell("+EP+RDA", "exemplar"),
            "w/ EP +CRT": cell("+EP+CRT", "exemplar"),
            "w/ EP +Both": cell("+EP+RDA+CRT", "exemplar"),
        },
    ),
    works=(Work(name="ablation", recipe="vitask_ablation", sets={"data": FLAGS}),),
    notes=JOINT,
)

EXTERNAL = (("ATPOS", "aptos2019", None), ("IDIRD", "idrid", 103), ("Messidor", "messidor2", None))


def moved(method: str, view: str | None) -> Ours:
    """A model of RetinaMNIST as it is."""
    return Ours(run="plug", method=method, variant="transferred", view=view)


TABLE3 = Table(
    title="Table 3: external sets of diabetic retinopathy (names as printed)",
    columns=tuple(column for entry in EXTERNAL for column in pair(*entry)),
    lines=lines(
        """
        TSM | 0.593 0.377 0.398 0.316 0.584 0.263
        Vanilla | 0.523 0.291 0.417 0.223 0.587 0.212
        VITask | 0.456 0.336 0.379 0.262 0.521 0.321
        VITask plug | 0.668 0.407 0.544 0.359 0.652 0.438
        """,
        ours={
            "TSM": moved("expert", None),
            "Vanilla": moved("vanilla", "plain"),
            "VITask": moved("vitask", "exemplar"),
            "VITask plug": tuple(
                Ours(run="plug", method="vitask", variant=f"plug {kind}", view="exemplar", label=kind)
                for kind in ("fresh", "started")
            ),
        },
    ),
    works=(
        Work(
            name="plug", recipe="vitask_plug",
            sets={"data": ("retinamnist",), "external": ("aptos2019", "idrid", "messidor2")},
        ),
    ),
    notes=(
        SPLITS,
        "the paper says these models were trained on RetinaMNIST; so are ours, alone",
        "the paper does not say how the new expert of `plug` starts: `fresh` and `started` are both run",
    ),
)  # fmt: skip

FIGURE2 = Table(
    title="Figure 2: expert, VLM and VLM with a trainable vision encoder on HAM10000",
    columns=pair("HAM10000", "dermamnist", 2005)[1:],
    lines=lines(
        """
        TSM | 0.790
        VLM | 0.531
        VLM* | 0.658
        """,
        ours={
            "TSM": Ours(run="figure2", method="expert", view=None),
            "VLM": Ours(run="figure2", method="vanilla"),
            "VLM*": Ours(run="figure2", method="vanilla_vision"),
        },
    ),
    works=(
        Work(
            name="figure2", recipe="vitask_ablation", sets={"data": ("dermamnist",)},
            settings={"cells": ("van", "vision")},
        ),
    ),
    notes=(
        "numbers as in section 3; HAM10000 split 70/10/20 is DermaMNIST; one set, unlike Table 1 (0.499)",
    ),
)  # fmt: skip

WIN = "the paper prints densities, no numbers"
FIGURE3 = Table(
    title="Figure 3: is the right response likelier with its own image?",
    columns=(Column(name="accuracy", set="dermamnist", metric="accuracy", scale=1.0, decimals=3),),
    lines=(
        unprinted("generalist", 1, Ours(run="ranking", method="generalist")),
        unprinted("vanilla", 1, Ours(run="ranking", method="vanilla")),
        unprinted("CRT", 1, Ours(run="ranking", method="vanilla", variant="+CRT")),
    ),
    works=(Work(name="ranking", recipe="vitask_ranking", sets={"data": ("dermamnist",)}),),
    notes=(f"{WIN}; ours, with win rates, are on the page of the run (`ranking`)",),
)
LISTED = ("label list", "no label list")
FIGURE4 = Table(
    title="Figure 4: instructions with and without the list of labels, DermaMNIST",
    columns=pair("DermaMNIST", "dermamnist", 2005)[1:],
    lines=(
        *lines(
            """
            vanilla, label list | 0.531
            vanilla, no label list | 0.423
            """,
            ours={
                f"vanilla, {kind}": Ours(run="incomplete", method="vanilla", variant=kind)
                for kind in LISTED
            },
        ),
        *(
            unprinted(f"VITask, {kind}", 1, Ours(run="incomplete", method="vitask", variant=kind))
            for kind in LISTED
        ),
    ),
    works=(Work(name="incomplete", recipe="vitask_incomplete", sets={"data": ("dermamnist",)}),),
    notes=("VITask's bars are in the figure alone: \"only a slight decrease\"",),
)  # fmt: skip
OTHER = ("bloodmnist", "breastmnist")
FIGURE5 = Table(
    title="Figure 5: an expert of another task plugged in",
    columns=tuple(
        column for entry in MEDMNIST if entry[1] in OTHER for column in pair(*entry)
    ),
    lines=(
        unprinted("vanilla, transferred", 4, Ours(run="adapting", method="vanilla", variant="transferred")),
        unprinted(
            "VITask, new expert", 4,
            Ours(run="adapting", method="vitask", variant="plug fresh (ours)", view="exemplar"),
        ),
    ),
    works=(
        Work(
            name="adapting", recipe="vitask_plug",
            sets={"data": ("dermamnist", "retinamnist"), "external": OTHER},
        ),
    ),
    notes=(
        "the figure's content is not in the text of the paper: held-out sets of other tasks, with a new "
        "expert each, are our reading of it",
    ),
)  # fmt: skip

PAPER = Paper(
    title="VITask (Bai et al., 2024)",
    bases={"InternVL2-2B": ("InternVL2-2B", "InternVL2-2B-hf")},
    sets={
        **{flag: medmnist(place, flag) for place, flag in enumerate(FLAGS, 1)},
        **{key: external(key, place) for place, (_, key, _) in enumerate(EXTERNAL, 21)},
    },
    tables={
        "table1": TABLE1,
        "table2": TABLE2,
        "table3": TABLE3,
        "figure2": FIGURE2,
        "figure3": FIGURE3,
        "figure4": FIGURE4,
        "figure5": FIGURE5,
    },
)
