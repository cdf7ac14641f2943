"""UMIT: Yu et al., "Unifying medical imaging tasks via vision-language models" (2025), Tables 2 to 9."""

from residency.paper import Column, Mark, Needed, Ours, Paper, Table, Work, lines
from residency.papers.vitask import medmnist

FLAGS = (
    ("PathMNIST", "pathmnist", 7180),
    ("DermaMNIST", "dermamnist", 2005),
    ("OCTMNIST", "octmnist", 1000),
    ("PneumoniaMNIST", "pneumoniamnist", 624),
    ("BreastMNIST", "breastmnist", 156),
    ("BloodMNIST", "bloodmnist", 3421),
    ("OrganCMNIST", "organcmnist", 8216),
)
SMALL = "train=160:val=32:test=60"
SETS = {
    "vqa_rad": Needed(reader="vqa_rad", stand_in=f"phantoms:chest:task=vqa:{SMALL}:seed=31"),
    "slake": Needed(reader="slake", stand_in=f"phantoms:ct:task=vqa:{SMALL}:seed=32"),
    "pathvqa": Needed(reader="pathvqa", stand_in=f"phantoms:smear:task=vqa:{SMALL}:seed=33"),
    "m3d_vqa": Needed(reader="m3d_vqa", stand_in=f"phantoms:ct_volume:task=mcq:{SMALL}:seed=42"),
    "cm_vl_i": Needed(
        reader="chimed_vl", files=("chimed_vl/ChiMed-VL-Instruction",),
        stand_in=f"phantoms:lesion:task=vqa:language=zh:{SMALL}:seed=34",
        get="ChiMed-VL: huggingface.co/datasets/williamliu/ChiMed-VL; UMIT's 2,000 test questions are "
        "not published, so there is no test split",
    ),
    **{flag: medmnist(place, flag) for place, (_, flag, _) in enumerate(FLAGS, 41)},
    "iu_xray": Needed(reader="iu_xray", stand_in=f"phantoms:chest:task=report:{SMALL}:seed=35"),
    "peir_gross": Needed(reader="peir_gross", stand_in=f"phantoms:lesion:task=caption:{SMALL}:seed=36"),
    "m3d_cap": Needed(reader="m3d_cap", stand_in=f"phantoms:ct_volume:task=report:{SMALL}:seed=37"),
    "rsna_pneumonia": Needed(
        reader="rsna_pneumonia", stand_in=f"phantoms:chest:task=detection:{SMALL}:seed=38"
    ),
    "slake_detection": Needed(
        reader="slake_detection", files=("slake_detection", "slake"), splits=("train",),
        stand_in=f"phantoms:smear:task=detection:{SMALL}:seed=38",
    ),
    "m3d_seg": Needed(
        reader="m3d_seg", stand_in=f"phantoms:ct_volume:task=detection3d:{SMALL}:seed=43"
    ),
    "cephalometric": Needed(
        reader="cephalometric", stand_in=f"phantoms:fundus:task=landmark:{SMALL}:seed=39"
    ),
    "pmc_oa": Needed(
        reader="pmc_oa", splits=("train",), stand_in=f"phantoms:smear:task=caption:{SMALL}:seed=40"
    ),
    "chimed_alignment": Needed(
        reader="chimed_vl", files=("chimed_vl/ChiMed-VL-Alignment",), splits=("train",),
        stand_in=f"phantoms:chest:task=caption:language=zh:{SMALL}:seed=41",
        get="ChiMed-VL: huggingface.co/datasets/williamliu/ChiMed-VL",
    ),
}  # fmt: skip
PAIRS = ("pmc_oa", "chimed_alignment")
WORKS = (
    Work(
        name="umit", recipe="umit",
        sets={"data": tuple(key for key in SETS if key not in PAIRS), "pairs": PAIRS},
        settings={"points": "umit"}, optional=("pairs",),
    ),
)  # fmt: skip
GENERALIST = Ours(run="umit", method="generalist")
UMIT_B = Ours(run="umit", method="umit", variant="UMIT-B")
UMIT = Ours(run="umit", method="umit", variant="UMIT")
ALL = {"Qwen2-vl": GENERALIST, "UMIT-B": UMIT_B, "UMIT": UMIT}
ENDS = {"Qwen2-vl": GENERALIST, "UMIT": UMIT}
SIZE = "the paper does not say which size of Qwen2-VL it starts from, nor learning rate or batch"
LABELS = "closed sets of labels are scored by likelihood here; the paper generates the option"


def exact(name: str, key: str, n: int, **where: str) -> Column:
    """Accuracy by the whole text."""
    return Column(name=name, set=key, metric="exact_match", n=n, decimals=2, where=where)


OPEN = (
    "LLaVA-Med's figures for open questions are token recall, and those of the CLIP models choose among "
    "training answers: the other rows count exact matches"
)
OLDER = ("BiomedCLIP", "PubMedCLIP", "LLaVA-Med(LLaVA)", "LLaVA-Med(Vicuna)", "LLaVA-Med(Bio-CLIP)")
TABLE2 = Table(
    title="Table 2: 2D medical VQA",
    columns=(
        exact("SLAKE en open", "slake", 645, answer_type="OPEN", language="en"),
        exact("SLAKE en close", "slake", 416, answer_type="CLOSED", language="en"),
        Column(
            name="SLAKE en total", set="slake", metric="exact_match", decimals=2, n=1061,
            where={"language": "en"},
            mean_of=("SLAKE en open", "SLAKE en close"), weights=(645.0, 416.0),
        ),
        exact("VQA-RAD open", "vqa_rad", 179, answer_type="OPEN"),
        exact("VQA-RAD close", "vqa_rad", 272, answer_type="CLOSED"),
        Column(
            name="VQA-RAD total", set="vqa_rad", metric="exact_match", decimals=2, n=451,
            mean_of=("VQA-RAD open", "VQA-RAD close"), weights=(179.0, 272.0),
        ),
        exact("Path-VQA open", "pathvqa", 3357, answer_type="OPEN"),
        exact("Path-VQA close", "pathvqa", 3362, answer_type="CLOSED"),
        Column(
            name="Path-VQA total", set="pathvqa", metric="exact_match", decimals=2, n=6719,
            mean_of=("Path-VQA open", "Path-VQA close"), weights=(3357.0, 3362.0),
        ),
    ),
    lines=lines(
        """
        Qwen2-vl | 3.3 41.45 19.28 4.35 43.75 21.44 - - 2.15
        BiomedCLIP | 84.3 88.9 86.1 67.0 78.5 72.7 - - -
        PubMedCLIP | 78.4 82.5 80.1 60.1 80.0 72.1 - - -
        LLaVA-Med(LLaVA) | 83.1 85.3 84.0 61.5 84.2 75.2 38.0 91.2 64.7
        LLaVA-Med(Vicuna) | 84.7 83.2 84.1 64.4 82.0 75.0 38.9 91.7 65.3
        LLaVA-Med(Bio-CLIP) | 87.1 86.8 87.0 64.8 83.1 75.8 39.6 91.1 65.4
        PeFoMed | 62.6 87.1 77.4 77.8 88.7 82.1 35.7 91.3 68.6
        BiomedGPT-S | 66.5 73.3 - 57.8 13.4 - 10.7 84.2 -
        BiomedGPT-M | 78.3 86.8 - 53.6 79.8 - 12.5 85.7 -
        BiomedGPT-B | 84.3 89.9 - 60.9 81.3 - 28.0 88.0 -
        UMIT-B | 81.39 93.57 86.71 72.5 93.53 82.29 - - 63.71
        UMIT | 84.47 93.93 89.2 79.87 94.38 86.62 - - 69.29
        """,
        ours=ALL,
    ),
    works=WORKS,
    marks=(
        Mark(
            why=OPEN, lines=OLDER,
            columns=(
                "SLAKE en open", "SLAKE en total", "VQA-RAD open", "VQA-RAD total", "Path-VQA open",
                "Path-VQA total",
            ),
        ),
        Mark(
            why="every question of Path-VQA is treated as open here; other rows are split by question",
            lines=("Qwen2-vl", "UMIT-B", "UMIT"), columns=("Path-VQA total",),
        ),
        Mark(
            why="the totals of these rows are not those of 179 open and 272 closed questions (nor 645 and "
            "416 of SLAKE): which questions count is not said",
            lines=("Qwen2-vl", "UMIT-B", "UMIT"), columns=("SLAKE en total", "VQA-RAD total"),
        ),
    ),
    notes=(SIZE, "Path-VQA's test has 6,719 questions; the paper prints 6,279 for its validation (6,259)"),
)  # fmt: skip

TABLE3 = Table(
    title="Table 3: VQA in Chinese and over volumes",
    columns=(
        exact("SLAKE zh open", "slake", 613, answer_type="OPEN", language="zh"),
        exact("SLAKE zh close", "slake", 420, answer_type="CLOSED", language="zh"),
        exact("CM-VL-I open", "cm_vl_i", 2000),
        Column(
            name="M3D-VQA open", set="m3d_vqa", metric="choice_accuracy@m3d", decimals=2, n=13791,
        ),
    ),
    lines=lines(
        """
        Qwen2-vl | 11.2 25.27 8.13 -
        RadFM | - - - 17.79
        M3D | - - - 75.78
        UMIT | 77.36 93.69 56.35 77.55
        """,
        ours=ENDS,
    ),
    works=WORKS,
    marks=(
        Mark(
            why="printed as open; M3D's 75.78 is its accuracy on closed multiple choice",
            columns=("M3D-VQA open",),
        ),
    ),
    notes=(SIZE,),
)  # fmt: skip

TABLE4 = Table(
    title="Table 4: classification",
    columns=tuple(
        Column(name=name, set=flag, metric="accuracy", decimals=2, n=n) for name, flag, n in FLAGS
    ),
    lines=lines(
        """
        Qwen2-vl | 15.6 11.3 12.1 62.5 30.77 9.07 21.31
        Specialist SOTA | 94.2 79.8 78.2 96.1 91.3 96.6 92.2
        BiomedGPT-S | 89.4 75.2 79.5 91.8 84.6 94.2 92.2
        BiomedGPT-M | 92.1 78.0 81.9 93.4 87.8 97.2 92.3
        BiomedGPT-B | 92.6 78.6 81.6 96.7 87.8 97.7 93.1
        UMIT-B | 85.65 72.37 62.6 84.46 83.97 86.64 83.05
        UMIT | 95.4 82.54 82.9 90.62 87.36 98.46 90.77
        """,
        ours=ALL,
    ),
    works=WORKS,
    marks=(
        Mark(
            why="images of 28 x 28 pixels, one token each; the other rows of the paper see larger ones",
            lines=("UMIT-B",),
        ),
        Mark(
            why="87.36 is no share of 156 test images (136 are 87.18, 137 are 87.82)",
            lines=("UMIT",), columns=("BreastMNIST",),
        ),
    ),
    notes=(SIZE, LABELS),
)  # fmt: skip


def report(name: str, key: str, n: int) -> tuple[Column, ...]:
    """ROUGE-L, METEOR and CIDEr of a set, by pycocoevalcap's definitions."""
    return (
        Column(name=f"{name} ROUGE-L", set=key, metric="rouge_l@coco", n=n),
        Column(name=f"{name} METEOR", set=key, metric="meteor@coco", n=n),
        Column(name=f"{name} CIDEr", set=key, metric="cider_d@iu-xray", scale=1.0, n=n),
    )


TABLE5 = Table(
    title="Table 5: 2D report generation",
    columns=(*report("IU-Xray", "iu_xray", 296), *report("PEIR GROSS", "peir_gross", 745)),
    lines=lines(
        """
        Qwen2-vl | 6.9 1.6 5.3 6.7 2.1 4.1
        Specialist SOTA | 37.6 18.7 35.1 27.9 14.9 32.9
        PeFoMed | 28.6 15.7 46.2 - - -
        BiomedGPT-S | 26.8 11.0 29.6 25.8 12.0 22.0
        BiomedGPT-M | 28.0 11.0 31.3 24.0 14.7 25.8
        BiomedGPT-B | 28.5 11.0 40.1 36.0 15.4 122.7
        UMIT-B | 29.6 13.9 31.0 38.4 19.5 67.6
        UMIT | 30.3 16.0 34.3 42.6 22.9 107
        """,
        ours=ALL,
    ),
    works=WORKS,
    marks=(
        Mark(
            why="the paper prints 590 validation and 296 test studies; R2Gen's split, which ours is, has "
            "296 and 590: the figures may be of other studies",
            lines=("UMIT-B", "UMIT", "Qwen2-vl"),
            columns=("IU-Xray ROUGE-L", "IU-Xray METEOR", "IU-Xray CIDEr"),
        ),
    ),
    notes=(SIZE, "the paper names no implementation; earlier tables on these sets use pycocoevalcap"),
)  # fmt: skip

M3D = (
    "RadFM's and M3D's rows are copied from M3D, whose code computes BLEU-1, ROUGE-1 and NLTK's METEOR; "
    "which ones UMIT's row has is not said"
)
TABLE6 = Table(
    title="Table 6: 3D report generation on M3D-Cap",
    columns=(
        Column(name="BLEU", set="m3d_cap", metric="bleu1@m3d", decimals=2, n=2000, unlike=M3D),
        Column(name="ROUGE-L", set="m3d_cap", metric="rouge1@m3d", decimals=2, n=2000, unlike=M3D),
        Column(name="METEOR", set="m3d_cap", metric="meteor@nltk", decimals=2, n=2000, unlike=M3D),
    ),
    lines=lines(
        """
        RadFM | 12.23 16.49 11.57
        M3D(linear) | 14.49 19.25 14.11
        M3D(mlp) | 15.15 19.55 14.38
        UMIT | 15.63 18.5 12.22
        """,
        ours={"UMIT": UMIT},
    ),
    works=WORKS,
    marks=(Mark(why=M3D, columns=("ROUGE-L", "BLEU", "METEOR")),),
    notes=(SIZE,),
)

TABLE7 = Table(
    title="Table 7: 2D detection on RSNA",
    columns=(
        Column(
            name="IoU", set="rsna_pneumonia", metric="iou@minigpt-med", scale=1.0, decimals=2,
            unlike="the paper does not say how several boxes are matched, nor which images are its test "
            "(it prints 0 / 32,024 / 0)",
        ),
    ),
    lines=lines(
        """
        Qwen2-vl | 0.10
        MiniGPT-v2 | 0.13
        MiniGPT-Med | 0.26
        UMIT | 0.22
        """,
        ours=ENDS,
    ),
    works=WORKS,
    marks=(
        Mark(
            why="MiniGPT-Med averages all pairs of boxes, with a pixel added to each side, and counts no "
            "missing box",
            lines=("MiniGPT-v2", "MiniGPT-Med"),
        ),
    ),
    notes=(SIZE,),
)  # fmt: skip

TABLE8 = Table(
    title="Table 8: 3D detection on M3D-Seg",
    columns=(
        Column(
            name="score", set="m3d_seg", metric="iou3d_acc25", decimals=2, n=799,
            unlike="the paper does not say what it measures; M3D prints the share of boxes above an IoU of "
            ".25, where the union is the box around both",
        ),
    ),
    lines=lines(
        """
        M3D-F | 30.05
        M3D-U | 49.66
        UMIT | 67.21
        """,
        ours={"UMIT": UMIT},
    ),
    works=WORKS,
    marks=(Mark(why="copied from M3D, by its own code", lines=("M3D-F", "M3D-U")),),
    notes=(SIZE,),
)  # fmt: skip

RADII = (("2mm", "sdr_2mm"), ("2.5mm", "sdr_2_5mm"), ("3mm", "sdr_3mm"), ("4mm", "sdr_4mm"))
PARTS = (("", None, 4750), ("test 1 ", "test1", 2850), ("test 2 ", "test2", 1900))


def landmarks(prefix: str, part: str | None, n: int) -> tuple[Column, ...]:
    """Mean radial error and success rates over both test sets, or one of them."""
    where = {"part": part} if part else {}
    mean = Column(
        name=f"{prefix}MRE",
        set="cephalometric",
        metric="mre_mm",
        scale=1.0,
        decimals=2,
        n=n,
        where=where,
    )
    return (
        mean,
        *(
            Column(
                name=f"{prefix}SDR {name}", set="cephalometric", metric=metric, decimals=2, n=n,
                where=where,
            )
            for name, metric in RADII
        ),
    )  # fmt: skip


APART = "- " * 10
TABLE9 = Table(
    title="Table 9: landmark detection, ISBI 2015 (mm)",
    columns=tuple(column for entry in PARTS for column in landmarks(*entry)),
    lines=lines(
        f"""
        Qwen2-vl | 10.15 12.6 21.91 33.1 39.84 {APART}
        FDGR-Net | 1.45 75.16 82.53 88.56 94.79 {APART}
        UMIT-B | 2.07 57.73 71.84 81.63 92.37 {APART}
        UMIT | 1.97 63.79 76.95 85.32 93.21 {APART}
        """,
        ours=ALL,
    ),
    works=WORKS,
    marks=(
        Mark(
            why="earlier work reports the two test sets apart; which of them this row is of is not said",
            lines=("FDGR-Net",),
        ),
    ),
    notes=(
        SIZE,
        "Table 1 prints 4,750 test landmarks: both test sets together. They stand apart as well, ours only",
        "an answer that cannot be read misses every radius and does not enter the MRE",
    ),
)  # fmt: skip

PAPER = Paper(
    title="UMIT (Yu et al., 2025)",
    bases={"Qwen2-VL": ("Qwen2-VL-2B-Instruct", "Qwen2-VL-7B-Instruct")},
    sets=SETS,
    tables={
        "table2": TABLE2,
        "table3": TABLE3,
        "table4": TABLE4,
        "table5": TABLE5,
        "table6": TABLE6,
        "table7": TABLE7,
        "table8": TABLE8,
        "table9": TABLE9,
    },
)
