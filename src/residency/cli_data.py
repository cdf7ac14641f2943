"""The command `data`: its actions, each a function whose parameters are those of the command line."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from residency import catalog
from residency.errors import UsageError
from residency.parameters import arguments, describe


def run(options: argparse.Namespace) -> int:
    """One action, or the help of all."""
    if options.help:
        options.parser.print_help()
        for action in (_show, _check, _convert, _benchmark):
            print(f"\nparameters of {action.__name__.strip('_')}:\n{describe(action)}")
        print(f"\ndata sets: {', '.join(catalog.names('datasets'))}, or a path")
        return 0
    takes: dict[str | None, int] = {"list": 0, "show": 1, "check": 1, "convert": 2, "benchmark": 2}
    words = [*([options.name] if options.name else []), *options.words]
    count = takes.get(options.action, 0)
    if options.action not in takes or len(words) < count:
        unknown = options.action is not None and options.action not in takes
        hint = catalog.suggest(options.action, list(map(str, takes))) if unknown else ""
        raise UsageError(
            f"{f'No action {options.action!r}.{hint} ' if unknown else ''}"
            "Write `residency data show NAME_OR_PATH`, `residency data check NAME_OR_PATH`, "
            "`residency data convert NAME_OR_PATH OUT`, `residency data benchmark TABLE OUT` or "
            "`residency data list`."
        )
    actions: tuple[Callable[..., int], ...] = (_list, _show, _check, _convert, _benchmark)
    action = actions[list(takes).index(options.action)]
    owner = f"`data {options.action}`"
    return action(*words[:count], **arguments(action, words[count:], owner=owner))


def _list() -> int:
    from residency.data.overview import listing

    print(listing())
    return 0


def _show(name: str, *, page: str | None = None) -> int:
    from residency.data.show import show
    from residency.dataset import find_reader, open_dataset

    dataset = open_dataset(name)
    print(show(dataset, find_reader(name)[0]))
    if page is not None:
        from residency.evaluate.data_page import write_data_page

        write_data_page(Path(page), dataset)
        print(f"\npage: {page}")
    return 0


def _convert(name: str, out: str, *, limit: int | None = None) -> int:
    if limit is not None and limit < 1:
        raise UsageError(f"limit={limit}: expected at least 1, or none for every sample.")
    from residency.data.convert import convert
    from residency.dataset import open_dataset

    print(convert(open_dataset(name), Path(out), limit=limit))
    return 0


def _benchmark(
    name: str,
    out: str,
    *,
    protocol: Literal["published", "ours"] = "ours",
    seed: int = 0,
    choices: int = 5,
    every: bool = False,
    bare: tuple[str, ...] = (),
    reports: str | None = None,
    image: str | None = None,
    text: str | None = None,
    group: str | None = None,
    split: str | None = None,
    language: Literal["en", "zh"] = "en",
) -> int:
    if choices < 2:
        raise UsageError(f"choices={choices}: a question needs at least 2 options.")
    from residency.data.benchmark_files import write

    made, plan = catalog.find("datasets", "benchmark").made(
        name,
        protocol=protocol,
        seed=seed,
        choices=choices,
        every=every,
        bare=bare,
        reports=reports,
        columns={"image": image, "text": text, "group": group, "split": split},
        language=language,
    )
    print(write(Path(out), made, plan))
    return 0


def _check(name: str, *, strict: bool = False, limit: int | None = None) -> int:
    if limit is not None and limit < 1:
        raise UsageError(f"limit={limit}: expected at least 1, or none for every sample.")
    from residency.data.check import check
    from residency.dataset import open_dataset

    findings = check(open_dataset(name), strict=strict, limit=limit)
    print(findings)
    return 0
