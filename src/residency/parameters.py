"""Turn `key=value` words and a flat YAML file into arguments of a function, by its signature."""

import inspect
import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from residency.catalog import suggest
from residency.errors import UsageError

REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True, slots=True)
class Parameter:
    """One keyword of a function; `default` is `REQUIRED` where there is none."""

    name: str
    type: Any
    default: Any

    @property
    def choices(self) -> tuple[Any, ...]:
        """The types this parameter may take, `none` aside."""
        if get_origin(self.type) in (Union, types.UnionType):
            return tuple(kind for kind in get_args(self.type) if kind is not type(None))
        return (self.type,)

    @property
    def optional(self) -> bool:
        """Whether `none` is a value."""
        return type(None) in get_args(self.type)

    @property
    def expects(self) -> str:
        """What may be written, in words."""
        words = [_words(kind) for kind in self.choices]
        return " or ".join([*words, "none"] if self.optional else words)


def parameters(function: Callable[..., Any]) -> dict[str, Parameter]:
    """The keyword-only parameters of a function, in order; annotations may be strings."""
    plain = inspect.unwrap(function)
    keywords = {
        name: parameter
        for name, parameter in inspect.signature(plain).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }

    # The return annotation stays out: it may name a class that only the type checker imports.
    def carrier() -> None: ...

    carrier.__annotations__ = {name: keywords[name].annotation for name in keywords}
    hints = get_type_hints(carrier, globalns=plain.__globals__)
    return {name: Parameter(name, hints[name], keywords[name].default) for name in keywords}


def arguments(
    function: Callable[..., Any], words: Sequence[str], *, config: Path | None = None, owner: str
) -> dict[str, Any]:
    """Read `words` and the YAML file `config` as arguments of `function`; the words win.

    `owner` names the function in messages, for example `recipe 'vitask'`.

    Raises:
        UsageError: an unknown or repeated key, a value of the wrong type, a missing required key,
            or a file that is not a flat mapping.
    """
    known = parameters(function)
    given: dict[str, Any] = {}
    for key, value in _file(config).items() if config else ():
        given[key] = _convert(_lookup(known, key, f"{owner} (in {config})"), value)
    for key, text in _split(words).items():
        given[key] = _convert(_lookup(known, key, owner), text)
    missing = [name for name, p in known.items() if p.default is REQUIRED and name not in given]
    if missing:
        wanted = " ".join(f"{name}=..." for name in missing)
        raise UsageError(f"Missing for {owner}: {', '.join(missing)}. Add {wanted}")
    return given


def describe(function: Callable[..., Any]) -> str:
    """A table of the parameters: key, default, what may be written."""
    rows = [(f"{p.name}={_shown(p.default)}", p.expects) for p in parameters(function).values()]
    width = max((len(left) for left, _ in rows), default=0)
    return "\n".join(f"  {left:<{width}}  {right}" for left, right in rows)


def _split(words: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"Expected key=value, got {word!r}. Write for example seed=1")
        if key in found:
            raise UsageError(f"{key!r} is given twice: {found[key]!r} and {value!r}. Keep one.")
        found[key] = value
    return found


def _file(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}. Give a YAML file.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{path} is not YAML: {reason}") from error
    if tree is None:
        return {}
    if not isinstance(tree, yaml.MappingNode):
        raise UsageError(f"{path} must hold lines `key: value`, not one value or a list.")
    keys = [str(key.value) for key, _ in tree.value]
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError(f"{path} gives {key!r} twice. Keep one.")
    for key, value in values.items():
        if not isinstance(key, str):
            raise UsageError(f"{path}: the key {key!r} is not text. Write `key: value`.")
        flat = not isinstance(value, dict)
        if isinstance(value, list):
            flat = not any(isinstance(entry, dict | list) for entry in value)
        if not flat:
            raise UsageError(f"{path}: {key!r} is nested. The file is flat: `key: value` lines.")
    return dict(values)


def _lookup(known: Mapping[str, Parameter], key: str, owner: str) -> Parameter:
    if key in known:
        return known[key]
    raise UsageError(
        f"Unknown parameter {key!r} of {owner}.{suggest(key, list(known))} "
        f"Available: {', '.join(known)}."
    )


def _convert(parameter: Parameter, value: Any) -> Any:
    if value is None or value == "none":
        if parameter.optional:
            return None
        if value is None:
            raise _wrong(parameter, value)
    for kind in parameter.choices:
        try:
            return _as(kind, value)
        except (TypeError, ValueError):
            continue
    raise _wrong(parameter, value)


def _wrong(parameter: Parameter, value: Any) -> UsageError:
    hint = ""
    if get_origin(parameter.choices[0]) is Literal:
        hint = suggest(str(value), [str(one) for one in get_args(parameter.choices[0])])
    elif str in parameter.choices:
        hint = " Quote it in the file."
    shown = (
        f" The default is {_shown(parameter.default)}." if parameter.default is not REQUIRED else ""
    )
    return UsageError(
        f"{parameter.name}={_shown(value)}: expected {parameter.expects}.{hint}{shown}"
    )


def _as(kind: Any, value: Any) -> Any:
    """`value` as `kind`; text is read, other YAML values must have the type already."""
    if get_origin(kind) is Literal:
        return {str(one): one for one in get_args(kind)}[_key(value, get_args(kind))]
    if get_origin(kind) is tuple:
        parts = value.split(",") if isinstance(value, str) else list(value)
        parts = [part.strip() if isinstance(part, str) else part for part in parts]
        if "" in parts and parts != [""]:
            raise ValueError("an empty entry between commas")
        return tuple(_as(get_args(kind)[0], part) for part in parts if part != "")
    if kind is bool:
        if isinstance(value, str):
            return {"true": True, "false": False}[_key(value.lower(), ("true", "false"))]
        return _typed(value, bool)
    if kind is int:
        return int(value) if isinstance(value, str) else _typed(value, int)
    if kind is float:
        number = float(value) if isinstance(value, str) else float(_typed(value, int, float))
        if not math.isfinite(number):
            raise ValueError("not a finite number")
        return number
    return _typed(value, kind)


def _key(value: Any, allowed: Sequence[Any]) -> str:
    if str(value) not in [str(one) for one in allowed]:
        raise ValueError(f"not one of {allowed}")
    return str(value)


def _typed(value: Any, *kinds: type) -> Any:
    # bool is an int to Python, never to a user.
    if isinstance(value, bool) and bool not in kinds:
        raise TypeError("a truth value where a number or text is expected")
    if not isinstance(value, kinds):
        raise TypeError(f"not a {kinds[0].__name__}")
    return value


def _words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(str(one) for one in get_args(kind))
    if get_origin(kind) is tuple:
        return f"{_words(get_args(kind)[0])} values separated by commas"
    return {bool: "true or false"}.get(kind, getattr(kind, "__name__", str(kind)))


def _shown(value: Any) -> str:
    if value is REQUIRED:
        return "..."
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return str(value)
