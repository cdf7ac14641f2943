"""ALLaVA on Vision-FLAN images: long captions and detailed answers of a larger model (Chen et al., 2024).

Source: huggingface.co/datasets/FreedomIntelligence/ALLaVA-4V, Apache-2.0, open download. On disk,
as published: `ALLaVA-Caption-VFLAN-4V.json` (202,552) and `ALLaVA-Instruct-VFLAN-4V.json`
(203,065), lists of {id, image, conversations, ...}; the images are Vision-FLAN's
`images_191task_1k/`. AdaMLLM's synthesizer is trained on the captions and on these answers as the
informative ones.

tested on: fixture
"""

from residency.data.dialogues import Conversations, Variant
from residency.data.published import Published

SET = Conversations(
    about=Published(
        name="allava_vflan",
        title="ALLaVA on Vision-FLAN",
        task="caption",
        sizes={"caption": 202_552, "instruct": 203_065},
        metric="training only",
        source="huggingface.co/datasets/FreedomIntelligence/ALLaVA-4V",
        licence="Apache-2.0",
        access="open download",
        tested_on="fixture",
    ),
    files={
        "ALLaVA-Caption-VFLAN-4V.json": Variant(name="caption", count=202_552),
        "ALLaVA-Instruct-VFLAN-4V.json": Variant(name="instruct", count=203_065),
    },
    folders=("images_191task_1k", "images/images_191task_1k", "images"),
)
ABOUT, recognises, load = SET.about, SET.recognises, SET.load
