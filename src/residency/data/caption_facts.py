"""Facts that a radiology caption states of its own image: modality, plane, region.

A question set for instruction-free tuning can be made of them without any annotation (ours). A fact
is taken only where exactly one value of it is named; a caption that names two says nothing, and one
that is silent denies nothing: an arrow is often drawn and not mentioned.
"""

import re
from collections.abc import Mapping

# Fact -> value -> pattern over the lower-case caption.
FACTS: Mapping[str, Mapping[str, str]] = {
    "imaging modality": {
        "CT": r"\b(?:ct|cbct|cect|hrct|cta|computed tomograph\w*|computer tomograph\w*)\b",
        "MRI": r"\b(?:mri|mr|mra|mrcp|t[12][ -]?w(?:i|eighted)?|flair|magnetic resonance)\b",
        "ultrasound": (
            r"\b(?:ultra-?so(?:und|no)\w*|(?:endo)?sonogra\w+|eus|echocardiogra\w+|tte|tee|doppler"
            r"|echograph\w*|usg|us scan)\b"
        ),
        "X-ray": r"\b(?:x-?rays?|radiogra\w+|cxr|orthopantomogra\w+|panoramic)\b",
        "angiography": r"\b(?:(?:arterio|angio|aorto|veno)gra(?:m|ms|phy|phic))\b",
        "nuclear imaging": r"\b(?:pet|positron emission|scintigra\w+|bone scan|spect|fdg)\b",
    },
    "imaging plane": {
        "axial": r"\b(?:axial|transverse)\b",
        "coronal": r"\bcoronal\b",
        "sagittal": r"\b(?:mid-?)?sagittal\b",
    },
    "body region": {
        "head": (
            r"\b(?:brain|heads?|skull|cerebr\w+|cerebell\w+|intracranial|orbit\w*|pituitary"
            r"|sinus(?:es|itis)|(?:maxillary|frontal|sphenoid|ethmoid|cavernous) sinus"
            r"|(?:lateral|third|fourth) ventric\w+|ventriculomegaly)\b"
        ),
        "mouth": (
            r"\b(?:tooth|teeth|dental|molars?|premolars?|mandib\w+|maxilla\w*|incisors?|root canal"
            r"|panoramic|orthopantomogra\w+)\b"
        ),
        "chest": r"\b(?:chest|lungs?|pulmonary|pleural|thorax|thoracic|mediastin\w+|bronch\w+|cxr)\b",
        "heart": (
            r"\b(?:hearts?|cardiac|(?:left|right|inter|intra)[ -]?ventric\w+|atri(?:um|al|a)"
            r"|(?:aortic|mitral|tricuspid|heart) valves?|coronary|(?:\w+ )?echocardio\w+|tte|tee)\b"
        ),
        "abdomen": (
            r"\b(?:abdom\w+|livers?|hepat\w+|kidneys?|renal|pancrea\w+|bowels?|spleen|splenic"
            r"|bile|biliary|gall-?bladder|duoden\w+|colon|colonic|stomach|gastric)\b"
        ),
        "pelvis": r"\b(?:pelvi\w+|uter(?:us|ine)|ovar\w+|(?:urinary )?bladder|prostat\w+|hips?)\b",
        "spine": r"\b(?:spine|spinal|vertebra\w*|lumbar|cobb)\b",
        "limb": (
            r"\b(?:knees?|femur|femoral|tibia\w*|hands|wrists?|foot|ankles?|humer(?:us|al)|shoulders?"
            r"|elbows?|forearms?)\b"
        ),
    },
}
_PATTERNS = {
    fact: {value: re.compile(pattern) for value, pattern in values.items()}
    for fact, values in FACTS.items()
}


def caption_facts(caption: str) -> dict[str, str]:
    """The facts that a caption states; what it does not name, or names twice, is absent."""
    text = caption.casefold()
    found: dict[str, str] = {}
    for fact, values in _PATTERNS.items():
        named = [value for value, pattern in values.items() if pattern.search(text)]
        if len(named) == 1:
            found[fact] = named[0]
    return found
