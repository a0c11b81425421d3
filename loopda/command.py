"""One command line for every stage: the parameters of its `run` are the flags."""

import argparse
import inspect
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import get_args, get_type_hints

from loopda.config import Section, read_section
from loopda.errors import LoopdaError
from loopda.progress import at_work


def command(run: Callable[..., None], arguments: list[str] | None = None) -> None:
    """Parse `arguments` (default: the process's own) for `run`, call it, and exit with a documented code.

    `run` takes keyword-only parameters: `config` (a Section: the flag names its YAML file), and others of type Path,
    int or str; a list[Path] takes several values, a parameter with a default may be left out.
    A LoopdaError prints its message alone and exits with its code; anything else is a bug and shows its traceback.
    With a `log` parameter, the message is appended there too, and `loopda.status` sees the process at work.
    """
    hints = get_type_hints(run)
    parser = argparse.ArgumentParser(
        prog=f"python -m {_module_name(run)}",
        description=inspect.getdoc(run),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, parameter in inspect.signature(run).parameters.items():
        kind, many = _kind(hints[name])
        required = parameter.default is inspect.Parameter.empty
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=Path if issubclass(kind, Section) else kind,
            nargs="*" if many else None if required else "?",
            required=required,
            default=None if required else parameter.default,
            metavar=name.upper(),
        )
    values = vars(parser.parse_args(arguments))
    log = values.get("log")
    if log:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a", encoding="utf-8") as file:  # a stage that is resumed keeps the story of its first part
            print(f"---- {time.strftime('%Y-%m-%d %H:%M:%S')} {parser.prog}", file=file)
    try:
        with at_work(log):
            if "config" in values:
                values["config"] = read_section(values["config"], hints["config"])
            run(**values)
    except LoopdaError as error:
        _complain(f"{type(error).__name__}: {error}", log)
        sys.exit(error.exit_code)
    except Exception:
        _complain(traceback.format_exc(), log)
        sys.exit(1)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


def _kind(hint: type) -> tuple[type, bool]:
    """The element type of a parameter, and whether it takes several values: `Path | None` -> (Path, False)."""
    options = [option for option in get_args(hint) if option is not type(None)]
    if not options:
        return hint, False
    return options[0], getattr(hint, "__origin__", None) is list


def _complain(message: str, log: Path | None) -> None:
    print(message, file=sys.stderr, flush=True)
    if log:
        with open(log, "a", encoding="utf-8") as file:
            print(message, file=file)


def _module_name(run: Callable[..., None]) -> str:
    specification = sys.modules["__main__"].__spec__ if run.__module__ == "__main__" else None
    return specification.name if specification else run.__module__
