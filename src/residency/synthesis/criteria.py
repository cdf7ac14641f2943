"""What synthetic tasks are judged by: types, domains of images and three marks (AdaMLLM, appendix D).

The names and the wording are ours; the lists and their order are the paper's.
"""

from collections.abc import Mapping
from typing import Literal

# Appendix D's list; Table 8 divides by 17, the types of Figure 5: all but the last three.
TYPES = (
    "domain classification", "object recognition", "pose and activity recognition", "logo detection",
    "face and expression classification", "scene classification", "sentiment analysis",
    "caption generation", "text detection", "image-text matching", "anomaly detection",
    "style classification", "attribute and context recognition", "task-oriented recognition",
    "step-by-step guidance", "data representation", "utility and affordance recognition",
    "visual grounding", "segmentation", "visual storytelling",
)  # fmt: skip
Sizes = Literal["table8", "appendix_d"]
COUNTS: Mapping[str, int] = {"table8": 17, "appendix_d": 20}
# Figure 5's domains of seed images.
DOMAINS = (
    "general objects", "animals", "people", "nature", "art and culture", "vehicles", "diagrams",
    "landmarks", "food", "sketches", "emotions", "text", "education", "software", "history",
    "transportation", "architecture", "medicine", "sports", "fashion",
)  # fmt: skip
CRITERIA: Mapping[str, str] = {
    "knowledge": (
        "How much of the image does the task use? 1: it has nothing to do with the image. 2: it can be "
        "done without looking. 3: looking is needed, but the question is vague. 4: it is clear and about "
        "one detail. 5: it is about details and the whole."
    ),
    "complexity": (
        "How hard is the task? 1: copying from the caption is enough. 2: a glance is enough. 3: details "
        "have to be considered. 4: details and the whole have to be reasoned about. 5: that, and the "
        "answer must follow a required form."
    ),
    "accuracy": (
        "How right is the response? 1: it misses the task. 2: reasons and conclusion are wrong. 3: only "
        "the reasons are right. 4: only the conclusion is right. 5: both are right."
    ),
}
MARKS = ("1", "2", "3", "4", "5")
