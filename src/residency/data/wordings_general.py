"""How the general world is put into words, in English and in Chinese."""

from collections.abc import Mapping, Sequence

from residency.types import Language

CHINESE: Mapping[str, str] = {
    "circle": "圆形", "square": "方形", "triangle": "三角形", "star": "星形", "cross": "十字形",
    "ring": "圆环", "diamond": "菱形", "heart": "心形", "object": "物体", "objects": "物体",
    "dot": "圆点", "dots": "圆点", "spot": "斑点", "spots": "斑点", "lines": "线条",
    "red": "红色", "orange": "橙色", "yellow": "黄色", "green": "绿色", "cyan": "青色",
    "blue": "蓝色", "purple": "紫色", "pink": "粉色", "white": "白色", "black": "黑色",
    "plain": "纯色", "striped": "条纹", "dotted": "点状", "checked": "格子",
    "small": "小", "large": "大", "thin": "细", "thick": "粗",
    "horizontal": "水平", "vertical": "垂直", "rising": "上升", "falling": "下降",
    "left": "左", "right": "右", "top": "上", "bottom": "下", "centre": "中间",
    "above": "上方", "below": "下方",
    "top left": "左上", "top right": "右上", "bottom left": "左下", "bottom right": "右下",
    "stripes": "条纹图案", "checks": "格子图案", "noise": "噪声", "blobs": "斑块",
    "gradient": "渐变", "rings": "同心圆", "sharp": "清晰", "blurred": "模糊",
    "dark": "暗", "bright": "亮", "colour": "彩色", "greyscale": "灰度",
    "yes": "是", "no": "否",
}  # fmt: skip

QUESTIONS: Mapping[str, Mapping[Language, Sequence[str]]] = {
    "colour": {
        "en": (
            "What colour is the {it}?",
            "What is the colour of the {it}?",
            "The {it} is which color?",
        ),
        "zh": ("{it}是什么颜色的？", "{it}的颜色是什么？"),
    },
    "hue": {
        "en": ("What colour are the {it}?", "What is the color of the {it}?"),
        "zh": ("{it}是什么颜色的？",),
    },
    "shape": {
        "en": ("What shape is the {it}?", "What is the shape of the {it}?"),
        "zh": ("{it}是什么形状的？", "{it}的形状是什么？"),
    },
    "texture": {
        "en": ("What is the texture of the {it}?", "Which texture does the {it} have?"),
        "zh": ("{it}的纹理是什么？",),
    },
    "size": {
        "en": ("How big is the {it}?", "Is the {it} small or large?"),
        "zh": ("{it}是大还是小？", "{it}有多大？"),
    },
    "count": {
        "en": ("How many {it} are there?", "How many {it} are in the picture?", "Count the {it}."),
        "zh": ("图中有多少个{it}？", "有几个{it}？"),
    },
    "place": {
        "en": ("Where is the {it}?", "In which part of the picture is the {it}?"),
        "zh": ("{it}在哪里？", "{it}位于图片的哪个位置？"),
    },
    "relation": {
        "en": (
            "Where is the {it} relative to the {other}?",
            "On which side of the {other} is the {it}?",
        ),
        "zh": ("{it}在{other}的哪个方向？", "{it}相对于{other}在哪里？"),
    },
    "which": {
        "en": (
            "What is in the picture?",
            "What can be seen in the image?",
            "Which object is shown?",
        ),
        "zh": ("图中有什么？", "图片中可以看到什么？"),
    },
    "orientation": {
        "en": ("Which way do the lines run?", "What is the orientation of the lines?"),
        "zh": ("线条是什么方向的？", "线条的方向是什么？"),
    },
    "thickness": {
        "en": ("How thick are the lines?", "Are the lines thin or thick?"),
        "zh": ("线条是粗还是细？",),
    },
    "half": {
        "en": ("Which half of the picture is brighter?", "Which half is brighter?"),
        "zh": ("图片的哪一半更亮？", "哪一半更亮？"),
    },
    "pattern": {
        "en": ("What pattern does the picture show?", "Which pattern is it?"),
        "zh": ("图片显示什么图案？", "这是什么图案？"),
    },
    "sharpness": {
        "en": ("Is the picture sharp or blurred?", "How sharp is the image?"),
        "zh": ("图片是清晰还是模糊？",),
    },
    "brightness": {
        "en": ("Is the picture dark or bright?", "How bright is the image?"),
        "zh": ("图片是亮还是暗？",),
    },
    "tone": {
        "en": ("Is the spot dark or bright?", "How bright is the {it}?"),
        "zh": ("{it}是亮还是暗？",),
    },
    "palette": {
        "en": ("Is the picture in colour or greyscale?", "Which kind of picture is it?"),
        "zh": ("图片是彩色还是灰度？",),
    },
}

CLAIMS: Mapping[str, Mapping[Language, Sequence[str]]] = {
    "colour": {
        "en": ("Is the {it} {value}?", "Is the colour of the {it} {value}?"),
        "zh": ("{it}是{value}的吗？",),
    },
    "hue": {"en": ("Are the {it} {value}?",), "zh": ("{it}是{value}的吗？",)},
    "shape": {
        "en": ("Is the {it} a {value}?", "Is the shape of the {it} a {value}?"),
        "zh": ("{it}是{value}吗？",),
    },
    "texture": {
        "en": ("Is the {it} {value}?", "Is the texture of the {it} {value}?"),
        "zh": ("{it}的纹理是{value}吗？",),
    },
    "size": {
        "en": ("Is the {it} {value}?", "Is this a {value} {it}?"),
        "zh": ("{it}是{value}的吗？",),
    },
    "count": {
        "en": ("Is the number of {it} {value}?", "Does the picture show {value} {it}?"),
        "zh": ("图中有{value}个{it}吗？",),
    },
    "place": {
        "en": ("Is the {it} at the {value}?", "Is the {it} in the {value} of the picture?"),
        "zh": ("{it}在图片的{value}吗？",),
    },
    "relation": {
        "en": ("Is the {it} {value} the {other}?", "Does the {it} lie {value} the {other}?"),
        "zh": ("{it}在{other}的{value}吗？",),
    },
    "which": {
        "en": ("Is there {value}?", "Does the picture show {value}?", "Can {value} be seen?"),
        "zh": ("图中有{value}吗？", "图片中是否有{value}？"),
    },
    "orientation": {"en": ("Are the lines {value}?",), "zh": ("线条是{value}的吗？",)},
    "thickness": {"en": ("Are the lines {value}?",), "zh": ("线条是{value}的吗？",)},
    "half": {
        "en": ("Is the {value} half brighter?", "Is the picture brighter at the {value}?"),
        "zh": ("{value}半边更亮吗？",),
    },
    "pattern": {
        "en": ("Does the picture show {value}?", "Is the pattern {value}?"),
        "zh": ("图案是{value}吗？",),
    },
    "sharpness": {
        "en": ("Is the picture {value}?", "Is the image {value}?"),
        "zh": ("图片是{value}的吗？",),
    },
    "brightness": {
        "en": ("Is the picture {value}?", "Is the image {value}?"),
        "zh": ("图片是{value}的吗？",),
    },
    "tone": {"en": ("Is the {it} {value}?",), "zh": ("{it}是{value}的吗？",)},
    "palette": {"en": ("Is it a {value} picture?",), "zh": ("图片是{value}的吗？",)},
}

# A list of answers is part of the question; the last form leaves the question itself out.
CHOICES: Mapping[Language, Sequence[str]] = {
    "en": ("{question} Choose from: {list}.", "{question}\nThe possible answers are: {list}."),
    "zh": ("{question}请从以下选项中选择：{list}。", "{question}\n可能的答案是：{list}。"),
}
ANALYSES: Mapping[Language, Sequence[str]] = {
    "en": (
        "Analyze the given picture.\nThe possible answers are: {list}.",
        "Classify the image. The possible answers are: {list}.",
    ),
    "zh": ("分析给定的图片。\n可能的答案是：{list}。", "对图片进行分类。可能的答案是：{list}。"),
}
CODES: Mapping[Language, str] = {
    "en": "{question} If it is {first}, answer {code}; if it is {second}, answer {other}.",
    "zh": "{question}如果是{first}，回答{code}；如果是{second}，回答{other}。",
}
COMMA: Mapping[Language, str] = {"en": ", ", "zh": "、"}
DESCRIBE: Mapping[Language, Sequence[str]] = {
    "en": ("Describe the picture.", "What does the image show? Describe it.", "Write a caption."),
    "zh": ("描述这张图片。", "请描述图中的内容。"),
}
CAPTIONS: Mapping[str, Mapping[Language, str]] = {
    "dots": {"en": "{count} {hue} dots", "zh": "{count}个{hue}圆点"},
    "dot": {"en": "one {hue} dot", "zh": "一个{hue}圆点"},
    "spots": {"en": "{count} {tone} spots", "zh": "{count}个{tone}斑点"},
    "spot": {"en": "a {tone} spot at the {place}", "zh": "{place}有一个{tone}斑点"},
    "lines": {
        "en": "{thickness} {orientation} {hue} lines",
        "zh": "{thickness}的{orientation}{hue}线条",
    },
    "halves": {"en": "the {half} half is brighter", "zh": "{half}半边更亮"},
    "pattern": {"en": "a {brightness} picture, {pattern}", "zh": "{brightness}的{pattern}"},
}


def say(words: str, language: Language) -> str:
    """A value or a noun phrase of known words in that language; other text stays as it is."""
    if language == "en":
        return words
    if words in CHINESE:
        return CHINESE[words]
    return "".join(CHINESE.get(word, word) for word in words.split())


def article(phrase: str) -> str:
    """The English phrase behind its indefinite article."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def enumerate_phrases(phrases: Sequence[str], language: Language) -> str:
    """One sentence part that names every phrase once, in the given order."""
    if language == "zh":
        return "、".join(f"一个{say(phrase, 'zh')}" for phrase in phrases)
    named = [article(phrase) for phrase in phrases]
    return " and ".join([", ".join(named[:-1]), named[-1]] if named[1:] else named)
