"""The command line: words in, one function called, errors out as one line and an exit code."""

import argparse
import inspect
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from residency import catalog, cli_data
from residency.errors import ResidencyError, UsageError
from residency.parameters import arguments, describe, parameters

# Heavy modules are imported by the command that needs them: help must answer at once.

SUMMARY = {
    "demo": "specialise the embedded model on synthetic images and show the table",
    "run": "run a recipe: train, evaluate, report",
    "plan": "say what a recipe would do, and refuse what cannot work, without doing it",
    "evaluate": "score a model on a data set",
    "score": "score predictions that anyone made, with intervals",
    "compare": "compare two models on the samples that both answered",
    "seeds": "mean and standard deviation over runs that differ by seed",
    "reproduce": "run a published table on the data that is here, our figures beside the paper's",
    "report": "write runs as one HTML page that opens offline, and their model cards",
    "synthesize": "write tasks about image-caption pairs, with any engine",
    "data": "list, show, check or convert data sets, or make a benchmark of one",
    "doctor": "print versions, devices, memory and what is missing",
}


SCORE_OPTIONS = ("metrics", "out", "map", "by", "labels", "task", "method", "seed")


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is a `UsageError`, like every other."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and leaving."""
        raise UsageError(f"{message}. See `{self.prog} --help`.")


def entry() -> NoReturn:
    """Run the command line of this process and leave with its exit code."""
    signal.signal(signal.SIGTERM, _terminated)
    sys.exit(main(sys.argv[1:]))


def main(words: Sequence[str]) -> int:
    """Run one command; returns its exit code (0 done, 1 failed, 2 usage, 3 checkpoint, 130)."""
    try:
        return _command(list(words))
    except ResidencyError as error:
        if os.environ.get("RESIDENCY_DEBUG") == "1":
            traceback.print_exc()
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of a pipe left, as `head` does; what is left in the buffer has no reader.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a full disk, a lost mount: not a defect of ours
        if os.environ.get("RESIDENCY_DEBUG") == "1":
            traceback.print_exc()
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except Exception:
        traceback.print_exc()
        return 1


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    # SystemExit unwinds the stack, so files in the making are cleaned up.
    print("terminated", file=sys.stderr)
    sys.exit(128 + number)


def _command(words: list[str]) -> int:
    parser = _parser()
    if not words:
        parser.print_help(sys.stderr)
        return 2
    if not words[0].startswith("-") and words[0] not in SUMMARY:
        hint = catalog.suggest(words[0], list(SUMMARY))
        raise UsageError(f"No command {words[0]!r}.{hint} Commands: {', '.join(SUMMARY)}.")
    # argparse gives up on `a=1 --config f b=2`: what it leaves over are words like the others.
    options, rest = parser.parse_known_args(words)
    unknown = [word for word in rest if word.startswith("-")]
    if unknown:
        raise UsageError(
            f"Unknown option {unknown[0]!r}. Parameters are written key=value, without dashes; "
            f"see `{getattr(options, 'parser', parser).prog} --help`."
        )
    options.words = [*getattr(options, "words", []), *rest]
    return int(options.run(options))


def _parser() -> Parser:
    parser = Parser(
        prog="residency",
        description="Turn a generalist vision-language model into a specialist, and prove it.",
        epilog="RESIDENCY_DEBUG=1 shows where an error comes from.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"residency {version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)

    def command(name: str, run: Callable[[argparse.Namespace], int]) -> Parser:
        # Help is ours where it must list the parameters of what is named.
        one: Parser = commands.add_parser(
            name, help=SUMMARY[name], description=SUMMARY[name], add_help=False, allow_abbrev=False
        )
        one.add_argument("-h", "--help", action="store_true", help="show this and leave")
        one.set_defaults(run=run, parser=one)
        return one

    for name, run in (("run", _run), ("plan", _plan), ("demo", _demo)):
        one = command(name, run)
        if name != "demo":
            one.add_argument("name", nargs="?", metavar="RECIPE")
        _parameters(one)
    one = command("evaluate", _evaluate)
    one.add_argument(
        "model", nargs="?", metavar="MODEL", help="nano, a folder, a hub id, or a server's address"
    )
    _parameters(one)
    one = command("synthesize", _synthesize)
    one.add_argument("model", nargs="?", metavar="MODEL", help="a tuned synthesizer")
    _parameters(one)
    one = command("score", _score)
    one.add_argument("file", nargs="?", metavar="FILE", help="JSON lines, or a JSON array")
    for key in SCORE_OPTIONS:
        one.add_argument(f"--{key}", action="append", default=[], metavar="X", help=f"as {key}=X")
    _parameters(one)
    one = command("compare", _compare)
    one.add_argument("first", nargs="?", metavar="A", help="a run folder or a predictions file")
    one.add_argument("second", nargs="?", metavar="B", help="another one, of the same samples")
    _parameters(one)
    one = command("seeds", _seeds)
    one.add_argument("words", nargs="*", metavar="RUN", help="run folders, then key=value")
    one = command("reproduce", _reproduce)
    one.add_argument("paper", nargs="?", metavar="PAPER", help="vitask, instfree, adamllm or umit")
    one.add_argument("table", nargs="?", metavar="TABLE", help="table1, figure2, ...")
    _parameters(one)
    one = command("report", _report)
    one.add_argument("words", nargs="*", metavar="RUN", help="folders of runs; then key=value")
    one.add_argument("--config", type=Path, metavar="FILE", help="flat YAML file of parameters")
    one = command("data", cli_data.run)
    one.add_argument("action", nargs="?", metavar="list|show|check|convert|benchmark")
    one.add_argument("name", nargs="?", metavar="NAME_OR_PATH", help="data set, NAME:VARIANT, path")
    one.add_argument("words", nargs="*", metavar="[OUT] key=value", help="of the action; see below")
    command("doctor", _doctor)
    return parser


def _parameters(parser: Parser) -> None:
    parser.add_argument("words", nargs="*", metavar="key=value", help="parameters")
    parser.add_argument("--config", type=Path, metavar="FILE", help="flat YAML file of parameters")


def version() -> str:
    """The version of the installed package."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("residency")
    except PackageNotFoundError:
        return "(not installed: run from source)"


def _demo(options: argparse.Namespace) -> int:
    options.name = "demo"
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    if _helped(options):
        return 0
    recipe = _recipe(options)
    from residency.recipe import execute

    _quiet_loading()
    execute(recipe)
    return 0


def _plan(options: argparse.Namespace) -> int:
    if _helped(options):
        return 0
    recipe = _recipe(options)
    from residency.recipe import plan

    print(plan(recipe))
    return 0


def _recipe(options: argparse.Namespace) -> Any:
    if options.name is None:
        have = ", ".join(catalog.names("recipes"))
        raise UsageError(f"Name a recipe: residency run RECIPE key=value ... Recipes: {have}.")
    function = catalog.find("recipes", options.name).recipe
    owner = f"recipe {options.name!r}"
    return function(**arguments(function, options.words, config=options.config, owner=owner))


def _helped(options: argparse.Namespace) -> bool:
    """Print the help of a recipe, or the list of recipes, where help was asked for."""
    if not options.help:
        return False
    if options.name is None:
        options.parser.print_help()
        print("\nrecipes (`residency run RECIPE --help` lists the parameters):")
        for name in catalog.names("recipes"):
            print(f"  {name:<16} {_first_line(catalog.find('recipes', name))}")
        return True
    function = catalog.find("recipes", options.name).recipe
    print(f"residency run {options.name} [key=value ...] [--config FILE]\n")
    print(f"{_doc(function)}\n\nparameters:\n{describe(function)}")
    return True


def _explained(options: argparse.Namespace, function: Callable[..., Any]) -> bool:
    """Print the help of a command, with what its function says and takes, where help was asked for."""
    if options.help:
        options.parser.print_help()
        print(f"\n{_doc(function)}\n\nparameters:\n{describe(function)}")
    return bool(options.help)


def _evaluate(options: argparse.Namespace) -> int:
    if not options.help and options.model is None:
        raise UsageError("Name a model: residency evaluate MODEL data=NAME_OR_PATH out=FOLDER.")
    from residency.evaluation import evaluate

    if _explained(options, evaluate):
        return 0
    given = arguments(evaluate, options.words, config=options.config, owner="evaluate")
    _quiet_loading()
    evaluate(options.model, **given)
    return 0


def _synthesize(options: argparse.Namespace) -> int:
    if not options.help and (options.model is None or _is_parameter(options.model)):
        raise UsageError("Name a model: residency synthesize MODEL data=NAME_OR_PATH out=FOLDER.")
    from residency.synthesizing import synthesize

    if _explained(options, synthesize):
        return 0
    given = arguments(synthesize, options.words, config=options.config, owner="synthesize")
    _quiet_loading()
    synthesize(options.model, **given)
    return 0


def _score(options: argparse.Namespace) -> int:
    if not options.help and (options.file is None or _is_parameter(options.file)):
        raise UsageError("Name a file: residency score FILE metrics=accuracy out=FOLDER.")
    from residency.evaluate.scoring import score

    if _explained(options, score):
        return 0
    given = {key: getattr(options, key) for key in SCORE_OPTIONS}
    words = [*options.words, *(f"{key}={','.join(x)}" for key, x in given.items() if x)]
    score(options.file, **arguments(score, words, config=options.config, owner="score"))
    return 0


def _compare(options: argparse.Namespace) -> int:
    named = [one for one in (options.first, options.second) if one and not _is_parameter(one)]
    if not options.help and len(named) < 2:
        raise UsageError("Name two runs or predictions files: residency compare A B.")
    from residency.evaluate.comparison import compare

    if _explained(options, compare):
        return 0
    given = arguments(compare, options.words, config=options.config, owner="compare")
    compare(options.first, options.second, **given)
    return 0


def _seeds(options: argparse.Namespace) -> int:
    from residency.evaluate.seeds import seeds

    if _explained(options, seeds):
        return 0
    runs = [word for word in options.words if not _is_parameter(word)]
    given = arguments(seeds, [w for w in options.words if _is_parameter(w)], owner="seeds")
    seeds(runs, **given)
    return 0


def _reproduce(options: argparse.Namespace) -> int:
    from residency.reproduction import command

    given = [one for one in (options.paper, options.table) if one]
    if _explained(options, command.reproduce):
        print(f"\n{command.listing()}")
        return 0
    if len(given) < 2 or any(map(_is_parameter, given)):
        paper = "" if not given or _is_parameter(given[0]) else given[0]
        raise UsageError(
            "Name a paper and a table: residency reproduce umit table2. "
            f"{f'Tables of {paper}' if paper else 'Papers'}: {command.named(paper)}."
        )
    own = parameters(command.reproduce)
    mine = [word for word in options.words if word.partition("=")[0] in own]
    rest = tuple(word for word in options.words if word not in mine)
    settings = arguments(command.reproduce, mine, config=options.config, owner="reproduce")
    if not settings.get("plan"):
        _quiet_loading()
    command.reproduce(given[0], given[1], rest, **settings)
    return 0


def _report(options: argparse.Namespace) -> int:
    from residency.evaluate.report import report

    if _explained(options, report):
        return 0
    runs = [word for word in options.words if not _is_parameter(word)]
    words = [word for word in options.words if _is_parameter(word)]
    given = arguments(report, words, config=options.config, owner="report")
    print(f"Report: {report(runs, **given)}")
    return 0


def _is_parameter(word: str) -> bool:
    return "=" in word and not Path(word).exists()


def _quiet_loading() -> None:
    """No bars of transformers for the weights it reads and writes; those of downloads stay."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils import logging

    downloads = not are_progress_bars_disabled()
    logging.disable_progress_bar()  # which stops the bars of downloads as well
    if downloads:
        enable_progress_bars()


def _doctor(options: argparse.Namespace) -> int:
    if options.help:
        options.parser.print_help()
        return 0
    if options.words:
        raise UsageError(f"doctor takes no parameters, got {options.words[0]!r}.")
    from residency.doctor import report

    print(report())
    return 0


def _doc(function: Callable[..., Any]) -> str:
    return inspect.getdoc(function) or ""


def _first_line(module: Any) -> str:
    return (inspect.getdoc(module) or "").partition("\n")[0]
