"""Compare and read text: normalisation, which labels a response states, words and their runs."""

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

NOTHING = {"en": "No finding", "zh": "无异常所见"}  # how a multi-label sample without labels reads
_NOTHING_READ = {"no finding", "no findings", "无异常所见", "无异常", "未见异常"}
_OUTER = " \t\r\n.,;:!?\"'`*。、"  # NFKC has already folded the full-width forms of the others
_NEGATION = re.compile(
    r"(?<![\w-])(?:no|not|non|never|without|neither|nor|cannot|\w+n't)(?![\w])|[不无非未没否]"
)
_SEPARATOR = re.compile(r"\s*(?:[,;、/]\s*(?:and\s+|和)?|\s+and\s+|和)\s*")
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
_CHINESE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_BIOCLEAN = (
    dict.fromkeys(map(ord, "\"'/\\.,?;*!%^&_+()]{}")) | dict.fromkeys(range(58, 65)) | {91: None}
)
_13A = (
    (re.compile(r"([{-~\[-` -&(-+:-@/])"), r" \1 "),
    (re.compile(r"([^0-9])([.,])"), r"\1 \2 "),
    (re.compile(r"([.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)
_THOUSANDS = re.compile(r"\d,\d")
_STOP = re.compile(r"\.(?!\d)")
_NUMERALS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_DIGITS = {word: str(number) for number, word in enumerate(_NUMERALS)} | {"none": "0"}
_CONTRACTIONS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't
he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've
mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't
shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's
something'd something'd've something'll that's there'd there'd've there're there's they'd they'd've
they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's
where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've
wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
_APOSTROPHES = (
    {  # every contraction with one apostrophe missing -> the contraction
        word[:i] + word[i + 1 :]: word
        for word in _CONTRACTIONS.split()
        for i, character in enumerate(word)
        if character == "'"
    }
    | {"somebody'd": "somebodyd"}
)


def capital(text: str) -> str:
    """With a capital at the front, all else as it is."""
    return text[:1].upper() + text[1:]


def normalise(text: str) -> str:
    """`text` for comparison: NFKC (full width to ASCII), lower case, single spaces, bare ends.

    Only sentence punctuation is stripped from the ends: signs and brackets can carry meaning.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return " ".join(folded.split()).strip(_OUTER)


def words(text: str) -> list[str]:
    """The words of the normalised text; Chinese and Japanese characters count one by one."""
    return list(_words(text))


@functools.lru_cache(maxsize=1 << 15)  # every text metric asks for the words of the same texts
def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(normalise(text)))


def _joins(character: str) -> bool:
    """Whether a character continues a word: letters, digits, `_` and `-`, but no Chinese ones."""
    if "\u3400" <= character <= "\u9fff":
        return False
    return character.isalnum() or character in "_-"


def _by_norm(options: Sequence[str]) -> dict[str, str]:
    """Options by normalised text, the longest first; one that normalises to nothing is out."""
    normed = {normalise(option): option for option in reversed(options)}
    return {key: normed[key] for key in sorted(normed, key=len, reverse=True) if key}


def mentioned(text: str, options: Sequence[str]) -> list[tuple[str, int, int]]:
    """Options in the normalised text as whole words: `(option, start, end)`, in reading order.

    The longest option wins where several fit, so "normal" is not found inside "normal, benign".
    """
    by_start: dict[str, list[tuple[str, str]]] = {}
    for key, option in _by_norm(options).items():
        by_start.setdefault(key[0], []).append((key, option))
    norm, spans, place = normalise(text), list[tuple[str, int, int]](), 0
    while place < len(norm):
        end = place + 1
        if not (place and _joins(norm[place - 1])):
            for key, option in by_start.get(norm[place], ()):
                after = place + len(key)
                if norm.startswith(key, place) and not _joins(norm[after : after + 1] or " "):
                    spans.append((option, place, after))
                    end = after
                    break
        place = end
    return spans


def read_label(text: str, options: Sequence[str]) -> str | None:
    """The one option that a response states, else None.

    Accepted: the option itself after `normalise`; or a longer sentence in which exactly one option
    occurs as whole words and nothing outside it negates ("no pneumonia" states no label), unless
    the option opens the response and punctuation follows ("Yes, it is not enlarged").
    """
    norm = normalise(text)
    known = _by_norm(options)
    if norm in known:
        return known[norm]
    spans = mentioned(text, options)
    if len({option for option, _, _ in spans}) != 1:
        return None
    option, start, end = spans[0]
    if start == 0 and norm[end : end + 1] in {",", ".", ";", ":"}:
        return option
    rest, last = [], 0
    for _, start, end in spans:
        rest.append(norm[last:start])
        last = end
    rest.append(norm[last:])
    return None if any(_NEGATION.search(piece) for piece in rest) else option


def read_labels(text: str, options: Sequence[str]) -> tuple[str, ...] | None:
    """The set of options that a list states, in canonical order; () for "No finding", else None.

    Labels may contain separators: the longest label is tried first, with backtracking, and the
    whole text must be consumed, so an unknown label makes the response unparsed.
    """
    norm = normalise(text)
    known = _by_norm(options)
    if norm in _NOTHING_READ and norm not in known:
        return ()
    dead: set[int] = set()  # positions from which no list of labels reaches the end

    def consume(position: int) -> list[str] | None:
        if position in dead:
            return None
        for key, option in known.items():
            end = position + len(key)
            if not norm.startswith(key, position):
                continue
            if end == len(norm):
                return [option]
            separator = _SEPARATOR.match(norm, end)
            rest = consume(separator.end()) if separator else None
            if rest is not None:
                return [option, *rest]
        dead.add(position)
        return None

    stated = consume(0)
    return None if stated is None else tuple(o for o in options if o in set(stated))


def ngrams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    """How often every run of `order` tokens occurs."""
    return Counter(zip(*(tokens[start:] for start in range(order)), strict=False))


def common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest common subsequence, a row of the table per machine word.

    Bit-parallel (Hyyrö, 2004): bit i of `row` is 0 where the table grows at the i-th token of `first`.
    """
    places: dict[str, int] = {}
    for i, token in enumerate(first):
        places[token] = places.get(token, 0) | 1 << i
    every = (1 << len(first)) - 1
    row = every
    for token in second:
        matches = row & places.get(token, 0)
        row = ((row + matches) | (row - matches)) & every
    return len(first) - row.bit_count()


def words_bioclean(text: str) -> list[str]:
    """Words as BioASQ's cleaning rule leaves them (R2Gen, BiomedGPT's `_bioclean`), Chinese by character.

    Lower case without quotes, slashes and . , ? ; * ! % ^ & _ + ( ) : < = > @ [ ] { }; a hyphen stays.
    """
    return _CHINESE.sub(r" \g<0> ", text.translate(_BIOCLEAN).lower()).split()


def words_13a(text: str) -> list[str]:
    """Words as mteval-v13a splits them (sacrebleu `13a`), case kept, Chinese by character.

    Punctuation stands alone, except . and , between digits and a hyphen that follows no digit.
    """
    for entity, sign in (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")):
        text = text.replace(entity, sign)
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    text = f" {text} "
    for pattern, spaced in _13A:
        text = pattern.sub(spaced, text)
    return _CHINESE.sub(r" \g<0> ", text).split()


def words_ascii(text: str) -> list[str]:
    """Words as Google's `rouge-score` sees them: lower-case runs of a-z and 0-9; no Chinese at all."""
    return re.findall(r"[a-z0-9]+", text.lower())


def normalise_vqa(text: str) -> str:
    """The normalisation of the VQA challenge as LLaVA-Med v1.0.0 applies it (`normalize_word`).

    Lower case; signs become spaces, or vanish where the text has one beside a space or a comma between
    digits; full stops vanish unless a digit follows, but only the first 32 (a flag passed as a count);
    number words become digits, and "none" 0; articles go; contractions get their apostrophe back.
    """
    joined = bool(_THOUSANDS.search(text))
    spread = text
    for sign in ';/[]"{}()=+\\_-><@`,?!':
        beside = sign + " " in text or " " + sign in text
        spread = spread.replace(sign, "" if beside or joined else " ")
    tokens = _STOP.sub("", spread, count=32).lower().split()
    digits = [_DIGITS.get(token, token) for token in tokens]
    kept = [token for token in digits if token not in {"a", "an", "the"}]
    return " ".join(_APOSTROPHES.get(token, token) for token in kept).replace(",", "")
