"""AdaMLLM's released training data: captions and synthetic tasks of a domain (Cheng et al., 2024).

Source: huggingface.co/datasets/AdaptLLM/biomed-visual-instructions and food-visual-instructions,
Apache-2.0, open download. On disk, as published: `image_caption_pairs.json`,
`synthetic_visual_tasks.json` and `image_caption_and_synthetic_task.json` (what the paper trains on:
a caption and, where one passed the filter, a task about the same image), lists of {images: [path],
messages: [{role: user|assistant, content}]} with `<image>` in the first question; the images in
`images/`. The form is that of github.com/bigai-ai/QA-Synthesizer (docs/Post_Train.md). One file at a
time: `visual_instructions:FOLDER/FILE`. There is no validation or test split.

tested on: fixture
"""

from residency.data.dialogues import Conversations, Variant
from residency.data.published import Published

SET = Conversations(
    about=Published(
        name="visual_instructions",
        title="AdaMLLM visual instructions (biomedicine, food)",
        task="caption",
        sizes={},
        metric="training only",
        source="huggingface.co/datasets/AdaptLLM/biomed-visual-instructions",
        licence="Apache-2.0; images per source",
        access="open download",
        tested_on="fixture",
    ),
    files={
        "image_caption_pairs.json": Variant(name="captions"),
        "synthetic_visual_tasks.json": Variant(name="tasks"),
        "image_caption_and_synthetic_task.json": Variant(name="captions_and_tasks"),
    },
)
ABOUT, recognises, load = SET.about, SET.recognises, SET.load
