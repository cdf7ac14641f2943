"""Other ways to put the questions of the general world, none of which nano was trained on (ours)."""

from collections.abc import Mapping

from residency.types import Language

Words = Mapping[Language, str]

# Full questions that mean the same as `wordings_general.QUESTIONS`.
PARAPHRASES: Mapping[str, Words] = {
    "colour": {"en": "Name the colour that the {it} has.", "zh": "说出{it}所具有的颜色。"},
    "hue": {"en": "Name the colour of all the {it}.", "zh": "说出所有{it}的颜色。"},
    "shape": {"en": "Tell me the form of the {it}.", "zh": "告诉我{it}的外形。"},
    "texture": {"en": "Tell me how the {it} is filled.", "zh": "告诉我{it}是怎样填充的。"},
    "size": {"en": "Tell me the size of the {it}.", "zh": "告诉我{it}的大小。"},
    "count": {"en": "Give me the number of {it} you see.", "zh": "说出你看到的{it}的数量。"},
    "place": {"en": "Tell me the position of the {it}.", "zh": "告诉我{it}的位置。"},
    "relation": {
        "en": "Seen from the {other}, in which direction lies the {it}?",
        "zh": "从{other}看，{it}在哪一边？",
    },
    "which": {"en": "Name the thing you see.", "zh": "说出你看到的东西。"},
    "orientation": {
        "en": "Tell me the direction in which the lines go.",
        "zh": "告诉我线条的走向。",
    },
    "thickness": {"en": "Tell me the width of the lines.", "zh": "告诉我线条的粗细。"},
    "half": {"en": "Name the half with more light.", "zh": "说出更亮的半边。"},
    "pattern": {"en": "Name the pattern you see.", "zh": "说出你看到的图案。"},
    "sharpness": {"en": "Tell me how clear the edges are.", "zh": "告诉我边缘是否清楚。"},
    "brightness": {"en": "Tell me how much light there is.", "zh": "告诉我画面的明暗。"},
    "tone": {"en": "Tell me how light the spot is.", "zh": "告诉我斑点的明暗。"},
    "palette": {"en": "Tell me whether there are colours.", "zh": "告诉我画面有没有颜色。"},
}
# Only the words that matter, as people type them.
KEYWORDS: Mapping[str, Words] = {
    "colour": {"en": "colour, {it}", "zh": "{it} 颜色"},
    "hue": {"en": "colour, {it}", "zh": "{it} 颜色"},
    "shape": {"en": "shape, {it}", "zh": "{it} 形状"},
    "texture": {"en": "texture, {it}", "zh": "{it} 纹理"},
    "size": {"en": "size, {it}", "zh": "{it} 大小"},
    "count": {"en": "number of {it}", "zh": "{it} 数量"},
    "place": {"en": "place, {it}", "zh": "{it} 位置"},
    "relation": {"en": "{it}, which side of {other}", "zh": "{it} 在{other}的方向"},
    "which": {"en": "object", "zh": "物体"},
    "orientation": {"en": "orientation, lines", "zh": "线条 方向"},
    "thickness": {"en": "thickness, lines", "zh": "线条 粗细"},
    "half": {"en": "brighter half", "zh": "更亮的半边"},
    "pattern": {"en": "pattern", "zh": "图案"},
    "sharpness": {"en": "sharp or blurred", "zh": "清晰或模糊"},
    "brightness": {"en": "dark or bright", "zh": "亮或暗"},
    "tone": {"en": "spot, dark or bright", "zh": "斑点 亮或暗"},
    "palette": {"en": "colour or greyscale", "zh": "彩色或灰度"},
}
CLAIM: Words = {"en": "Say yes or no. {question}", "zh": "请回答是或否。{question}"}
CHOICE: Words = {
    "en": "{question} One of these is right: {list}.",
    "zh": "{question}其中一个正确：{list}。",
}
DESCRIBE: Words = {"en": "Tell me everything you see.", "zh": "告诉我你看到的一切。"}
