"""Facts that a radiology caption states of its own image: modality, plane, region, whether an arrow points.

A question set for instruction-free tuning can be made of them without any annotation (ours). A fact
is taken only where exactly one value of it is named; a caption that names two says nothing.
"""

import re
from collections.abc import Mapping

# Fact -> value -> pattern over the lower-case caption.
FACTS: Mapping[str, Mapping[str, str]] = {
    "imaging modality": {
        "CT": r"\b(?:ct|cect|hrct|cta|computed tomograph\w*)\b",
        "MRI": r"\b(?:mri|mr|mra|mrcp|t[12]|t[12]-weighted|flair|magnetic resonance)\b",
        "ultrasound": r"\b(?:ultraso\w+|sonogra\w+|echocardiogra\w+|doppler|echograph\w*)\b",
        "X-ray": r"\b(?:x-?rays?|radiogra\w+|cxr|orthopantomogra\w+|panoramic)\b",
        "angiography": r"\b(?:angiogra(?:m|ms|phy|phic)|arteriogra\w+|venogra\w+)\b",
        "nuclear imaging": r"\b(?:pet|scintigra\w+|bone scan|spect|fdg)\b",
    },
    "imaging plane": {
        "axial": r"\b(?:axial|transverse)\b",
        "coronal": r"\bcoronal\b",
        "sagittal": r"\bsagittal\b",
    },
    "body region": {
        "head": r"\b(?:brain|head|skull|cerebr\w+|intracranial|orbit\w*|pituitary|sinus\w*)\b",
        "mouth": r"\b(?:tooth|teeth|dental|molar\w*|mandib\w+|maxill\w+|incisor\w*|canal)\b",
        "chest": r"\b(?:chest|lungs?|pulmonary|pleural|thorax|thoracic|mediastin\w+|bronch\w+)\b",
        "heart": r"\b(?:heart|cardiac|ventric\w+|atri\w+|valve\w*|coronary|echocardio\w+)\b",
        "abdomen": r"\b(?:abdom\w+|liver|hepatic|kidneys?|renal|pancrea\w+|bowel|splen\w+|bil\w+)\b",
        "pelvis": r"\b(?:pelvi\w+|uter\w+|ovar\w+|bladder|prostat\w+|hip)\b",
        "spine": r"\b(?:spin\w+|vertebra\w*|lumbar|cervical|cobb)\b",
        "limb": r"\b(?:knee|femur|femoral|tibia\w*|hand|wrist|foot|ankle|humerus|shoulder|elbow)\b",
    },
    "arrow": {
        "yes": r"\b(?:arrow\w*)\b",
    },
}
_PATTERNS = {
    fact: {value: re.compile(pattern) for value, pattern in values.items()}
    for fact, values in FACTS.items()
}


def caption_facts(caption: str) -> dict[str, str]:
    """The facts that a caption states; what it does not name is absent, an arrow then is 'no'."""
    text = caption.casefold()
    found: dict[str, str] = {}
    for fact, values in _PATTERNS.items():
        named = [value for value, pattern in values.items() if pattern.search(text)]
        if len(named) == 1:
            found[fact] = named[0]
        elif fact == "arrow":
            found[fact] = "no"
    return found
