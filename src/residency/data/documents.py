"""Read JSON and JSON lines strictly: every fault has a code, and the file, line and column it is in."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from residency.errors import DataError


class RowError(DataError):
    """A row that cannot be used; `code` says why in one word, `where` in which file and line."""

    def __init__(self, code: str, where: str, message: str) -> None:
        super().__init__(f"{where}: {message}")
        self.code = code
        self.where = where


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, its byte order mark left out.

    Raises:
        DataError: no such file, empty, a Git LFS pointer, not UTF-8 (with the line), or a NUL.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
    if data.startswith(b"version https://git-lfs"):
        raise DataError(f"{path} is a Git LFS pointer. Fetch the file with `git lfs pull`.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RowError(
            "json_encoding",
            f"{path} line {line}",
            f"byte 0x{data[error.start]:02x} is not UTF-8. Save the file as UTF-8.",
        ) from None
    if not text.strip():
        raise DataError(f"{path} is empty. It needs at least one sample.")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path} line {line}: a NUL character. Save it as plain UTF-8 text.")
    return text


def parse_json(text: str, where: str) -> Any:
    """The value that `text` spells, keys without spaces around them.

    Raises:
        RowError: not JSON (`json`, with the position), a key twice or a number that is not finite
            (`json_value`), nested too deeply (`json_depth`), half a character (`json_encoding`).
    """

    def pairs(entries: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in entries:
            key = name.strip()
            if key in found:
                raise RowError("json_value", where, f"the key {key!r} twice. Keep one of them.")
            found[key] = value
        return found

    def constant(name: str) -> float:
        raise RowError("json_value", where, f"{name} is not JSON. Write a number or null.")

    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise RowError("json_depth", where, "nested too deeply for a sample.") from None
    except json.JSONDecodeError as error:
        place = f"column {error.colno}"
        if error.lineno > 1:
            place = f"line {error.lineno} {place}"
        raise RowError("json", where, f"not JSON at {place}: {error.msg}.") from None
    except UnicodeEncodeError:
        raise RowError("json_encoding", where, "half of a character pair. Correct it.") from None
    except ValueError as error:  # an integer of thousands of digits
        raise RowError("json_value", where, f"{error}.") from None
    return value


def read_json(path: Path) -> Any:
    """The value of a JSON file.

    Raises:
        DataError: what `read_text` and `parse_json` refuse.
    """
    return parse_json(read_text(path), str(path))


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Line number and value of each line that is not blank; the `RowError` where a line has none.

    Raises:
        DataError: what `read_text` refuses.
    """
    # Not splitlines(): U+2028 is legal inside a JSON string.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            try:
                yield number, parse_json(line, f"{path} line {number}")
            except RowError as error:
                yield number, error
