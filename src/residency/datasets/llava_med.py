"""LLaVA-Med: figure captions of PubMed Central as dialogues (Li et al., NeurIPS 2023).

Source: github.com/microsoft/LLaVA-Med, CC BY-NC 4.0, open download; the images are fetched from the
addresses in `llava_med_image_urls.jsonl`, some of which are dead. On disk, as published:
`llava_med_alignment_500k.json` (one exchange per image; about 467,000 pairs remain available),
`llava_med_instruct_{10k,60k,60k_inline_mention}.json` (several exchanges), lists of {id, image,
conversations}, some entries with the key misspelt `conversatons`; the images in `images/`. One file
at a time: `llava_med:FOLDER/FILE`. There is no validation or test split.

tested on: fixture
"""

from residency.data.dialogues import Conversations, Variant
from residency.data.published import Published

SET = Conversations(
    about=Published(
        name="llava_med",
        title="LLaVA-Med alignment and instruct",
        task="caption",
        sizes={},
        metric="training only",
        source="github.com/microsoft/LLaVA-Med",
        licence="CC BY-NC 4.0",
        access="open download; images by URL",
        tested_on="fixture",
        modality={"en": "biomedical", "zh": "生物医学"},
    ),
    files={
        "llava_med_alignment_500k.json": Variant(name="alignment"),
        "llava_med_instruct_10k.json": Variant(name="instruct_10k"),
        "llava_med_instruct_60k.json": Variant(name="instruct_60k"),
        "llava_med_instruct_60k_inline_mention.json": Variant(name="instruct_60k_im"),
    },
)
ABOUT, recognises, load = SET.about, SET.recognises, SET.load
