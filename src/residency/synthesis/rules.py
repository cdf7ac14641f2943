"""Tasks made from recipes by rule: the baseline of LLaVA-Chef, 102 prompts in five pools, our wording."""

from random import Random

from residency.synthesis.cot import Combined
from residency.synthesis.pairs import recipe_of
from residency.types import Sample

_ASKING = (
    "Tell me {x}.", "Please give {x}.", "Can you tell me {x}?", "I would like to know {x}.",
    "Write down {x}.", "Could you list {x}?", "Show me {x}.", "Work out {x} from the photo.",
    "From the picture, state {x}.", "Let me know {x}, please.", "Look at the plate and give {x}.",
    "What would you say is {x}?", "Help me find {x}.", "I am hungry! Share {x} with me.",
    "A guest asks for {x}. Answer.", "Note {x} for my cookbook.", "Provide {x}.",
    "My friend cooked this; guess {x}.", "For the menu I need {x}.", "As a chef, explain {x}.",
    "Judging by the photo, describe {x}.",
)  # fmt: skip
_WANTED = {
    "title": "the name of this dish",
    "ingredients": "the ingredients of this dish",
    "steps": "the way to cook {title}",
    "making": "the ingredients and the way to cook {title}",
    "recipe": "the whole recipe of this dish: its name, its ingredients and its steps",
}
# 21 prompts for the first two pools, 20 for the others: 102.
POOLS = {
    name: tuple(one.replace("{x}", wanted) for one in _ASKING[: 21 if place < 2 else 20])
    for place, (name, wanted) in enumerate(_WANTED.items())
}


def task(caption: str, sample: Sample, *, seed: str) -> Combined | None:
    """A task about a sample of `recipe1m`, its pool and prompt drawn with `seed`; None for others."""
    recipe = recipe_of(sample)
    if recipe is None:
        return None
    rng = Random(seed)
    pool = rng.choice(list(POOLS))
    made_of = "\n".join(recipe.ingredients)
    cooked = "\n".join(f"{number}. {step}" for number, step in enumerate(recipe.steps, 1))
    response = {
        "title": recipe.title,
        "ingredients": made_of,
        "steps": cooked,
        "making": f"Ingredients:\n{made_of}\nSteps:\n{cooked}",
        "recipe": caption,
    }[pool]
    asked = rng.choice(POOLS[pool]).replace("{title}", recipe.title)
    return Combined(asked, response, "concluding")
