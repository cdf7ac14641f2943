"""ChiMed-VL: Chinese captions and questions about biomedical figures (Liu et al., Qilin-Med-VL, 2023).

Source: huggingface.co/datasets/williamliu/ChiMed-VL, no licence stated, open download. On disk, as
published: `ChiMed-VL-Alignment/stage1_data.json` (580,014) and
`ChiMed-VL-Instruction/stage2_data.json` (469,441), lists of {id, image, conversations}, the images
in zip files unpacked to `images/`. The hub shows them as `ChiMed-VL-Alignment.jsonl` and
`ChiMed-VL-Instruction.json` since; they are read as the same form, which could not be verified.
UMIT takes 150,603 of the instructions for training and 2,000 for its test; which ones is not
published, so everything is train here.

tested on: fixture
"""

from residency.data.dialogues import Conversations, Variant
from residency.data.published import Published

SET = Conversations(
    about=Published(
        name="chimed_vl",
        title="ChiMed-VL alignment and instruction",
        task="vqa",
        sizes={"alignment": 580_014, "instruction": 469_441},
        metric="accuracy by exact match (UMIT)",
        source="huggingface.co/datasets/williamliu/ChiMed-VL",
        licence="not stated",
        access="open download",
        tested_on="fixture",
        modality={"en": "biomedical", "zh": "生物医学"},
    ),
    files={
        "stage1_data.json": Variant(name="alignment", count=580_014, language="zh"),
        "stage2_data.json": Variant(name="instruction", count=469_441, language="zh"),
        "ChiMed-VL-Alignment.jsonl": Variant(name="alignment", count=580_014, language="zh"),
        "ChiMed-VL-Instruction.json": Variant(name="instruction", count=469_441, language="zh"),
    },
)
ABOUT, recognises, load = SET.about, SET.recognises, SET.load
