"""Single questions: prompt/completion, query/response, instruction/input/output, question/answer.

On disk: a JSON list or JSON lines of {"image": "a.jpg" or "images": [...], "prompt": "...",
"completion": "..."} and the like; prompts may be lists of messages (TRL). Tables with `question`
and `answer` are read by `table`. Source and licence are the owner's.
"""

from pathlib import Path

from residency.data.formats import files_of, first_row, has_shape, load_rows
from residency.data.said import IMAGE_KEYS
from residency.dataset import Dataset

SHAPES = ("prompt", "query", "instruction", "question")


def recognises(path: Path) -> bool:
    """Whether its first row is a question with an answer about an image; never raises.

    Tables of question and answer are left to `table`.
    """
    if not has_shape(path, SHAPES):
        return False
    keys = set(first_row(next(iter(files_of(path).values()))))
    tabular = keys >= {"question", "answer"} and path.suffix != ".json"
    return bool(keys & set(IMAGE_KEYS)) and not tabular


def load(where: str) -> Dataset:
    """Open a file, or a folder with one file per split.

    Raises:
        DataError: no such file, no list of rows, or no row that can be used.
    """
    return load_rows(where, "prompts")
