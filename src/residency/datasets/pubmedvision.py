"""PubMedVision: figures of PubMed re-described by a larger model (Chen et al., HuatuoGPT-Vision, EMNLP 2024).

Source: huggingface.co/datasets/FreedomIntelligence/PubMedVision, Apache-2.0, open download. On
disk, as published: `PubMedVision_Alignment_VQA.json` and `PubMedVision_InstructionTuning_VQA.json`
(647,031 entries each, 1,294,062 together), `PubMedVision_Chinese.json`, lists of {id, image:
[paths], conversations, modality, body_part}; the images in `images/`. AdaMLLM keeps entries of one
image. One file at a time; no validation or test split.

tested on: fixture
"""

from residency.data.dialogues import Conversations, Variant
from residency.data.published import Published

SET = Conversations(
    about=Published(
        name="pubmedvision",
        title="PubMedVision",
        task="caption",
        sizes={"alignment": 647_031, "instruction": 647_031},
        metric="training only",
        source="huggingface.co/datasets/FreedomIntelligence/PubMedVision",
        licence="Apache-2.0",
        access="open download",
        tested_on="fixture",
        modality={"en": "biomedical", "zh": "生物医学"},
    ),
    files={
        "PubMedVision_Alignment_VQA.json": Variant(name="alignment", count=647_031),
        "PubMedVision_InstructionTuning_VQA.json": Variant(name="instruction", count=647_031),
        "PubMedVision_Chinese.json": Variant(name="chinese", language="zh"),
    },
    facts=("body_part",),
)
ABOUT, recognises, load = SET.about, SET.recognises, SET.load
