"""Vision-FLAN: 191 human-labelled tasks with short answers, up to a thousand each (Xu et al., 2024).

Source: huggingface.co/datasets/Vision-Flan/vision-flan_191-task_1k, licence per task, open
download. On disk, as published: `annotation_191-task_1k.json` (AdaMLLM calls it
`vflan_metadata.json`), a list of {id, image, conversations of two turns, task_name}; the images in
`images_191task_1k/`. AdaMLLM's synthesizer is trained on these answers as the precise ones.

tested on: fixture
"""

from residency.data.dialogues import Conversations, Variant
from residency.data.published import Published

SET = Conversations(
    about=Published(
        name="vision_flan",
        title="Vision-FLAN (191 tasks, 1k)",
        task="vqa",
        sizes={},
        metric="training only",
        source="huggingface.co/datasets/Vision-Flan/vision-flan_191-task_1k",
        licence="per task",
        access="open download",
        tested_on="fixture",
    ),
    files={
        "annotation_191-task_1k.json": Variant(name="191task_1k"),
        "vflan_metadata.json": Variant(name="191task_1k"),
    },
    folders=("images_191task_1k", "images"),
    facts=("task_name",),
)
ABOUT, recognises, load = SET.about, SET.recognises, SET.load
