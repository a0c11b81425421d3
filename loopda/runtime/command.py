"""The command line of a stage: its flags are the parameters of the function `run`."""

import argparse
import functools
import inspect
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from loopda.config import Section, expanded, read_section
from loopda.errors import ConfigError, DeviceError, Interrupted, LoopdaError
from loopda.runtime import foreign_errors, processes
from loopda.runtime.fault_list import shortened
from loopda.runtime.files import append_text, resolve_dots, sole_writer
from loopda.runtime.progress import at_work
from loopda.runtime.provenance import write_record
from loopda.runtime.signals import remembered
from loopda.text.encoding import begin_program, replace_what_cannot_be_shown

Run = Callable[..., None]


def command(run: Run, arguments: list[str] | None = None) -> None:
    """Parse `arguments` (default: sys.argv) as the parameters of `run`, call it, and exit with a documented code.

    `run` takes keyword-only parameters: `config` (a Section; the flag names its YAML file) and others of type Path, int
    or str. A list[Path] takes several values. A parameter with a default is optional. Paths may begin with ~ and hold
    variables.

    A LoopdaError prints its message and exits with its code; `foreign_errors` makes one of errors of the system and of
    PyTorch. Any other exception is a bug: it prints its traceback and exits with 1. With a parameter `log`, messages
    are appended to that file, and `loopda.status` sees the running process. A long list of faults is shortened, and the
    complete list is written to a file that the message names (`loopda.runtime.fault_list`).
    """
    hints = get_type_hints(run)
    parser = _parser(run, hints)
    if arguments is None:
        begin_program()
    replace_what_cannot_be_shown()
    defaults = {name: parameter.default for name, parameter in inspect.signature(run).parameters.items()}
    given = vars(parser.parse_args(arguments))
    values = {name: defaults[name] if value is None else value for name, value in given.items()}
    with _warnings_to(values.get("log")):
        _run(run, values, parser.prog, hints)


def _parser(run: Run, hints: dict[str, type]) -> argparse.ArgumentParser:
    """A parser with one flag for each parameter of `run`."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {_module_name(run)}",
        description=inspect.getdoc(run),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, parameter in inspect.signature(run).parameters.items():
        kind, many = _kind(hints[name])
        required = parameter.default is inspect.Parameter.empty
        several = {"nargs": "*", "action": "extend"}  # a repeated flag adds values
        optional = {"nargs": "?", "default": parameter.default, "const": parameter.default}
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=Path if issubclass(kind, Section) else kind,
            required=required,
            metavar=name.upper(),
            **(several if many else {} if required else optional),
        )
    return parser


def _run(run: Run, values: dict[str, Any], program: str, hints: dict[str, type]) -> None:
    """Check `values`, the arguments of `run`, and call it; on an error, print the message and exit with its code."""
    faults = _fault_file(run, values)
    log = None  # nothing is written to the log before it is known not to be an input
    try:
        values = {name: _expanded(value) for name, value in values.items()}
        _check_overwriting(run, values)
        log, faults = values.get("log"), _fault_file(run, values)
        if processes.is_first():
            with suppress(OSError):
                faults.unlink(missing_ok=True)  # from an earlier run
        if log and processes.is_first():  # a resumed stage keeps the log of its first part
            append_text(Path(log), f"---- {time.strftime('%Y-%m-%d %H:%M:%S')} {program}\n")
        with at_work(log), foreign_errors.wrapped():
            _check_counts(values)
            if "config" in values:
                values["config"] = read_section(values["config"], hints["config"])
            with remembered():
                run(**values)
    except LoopdaError as error:
        if processes.is_first() or not isinstance(error, Interrupted):  # a signal interrupts all processes
            _print_and_log(f"{type(error).__name__}: {shortened(str(error), faults)}", log)
        sys.exit(error.exit_code)
    except Exception:
        _print_and_log(traceback.format_exc(), log)
        sys.exit(1)


def records(output: str) -> Callable[[Run], Run]:
    """Decorator of `run`: when it has ended, record beside the file of its parameter `output` what it was made of.

    See `loopda.runtime.provenance`. For trainings, which lock their state folder themselves.
    """

    def decorate(run: Run) -> Run:
        @functools.wraps(run)
        def recorded(**values: Any) -> None:
            run(**values)
            result = Path(values[output])
            if processes.is_first() and result.is_file():
                write_record(result, _files(values))

        recorded.output = output
        return recorded

    return decorate


def writes(output: str) -> Callable[[Run], Run]:
    """Decorator of `run`: as `records`, and lock the file or folder of the parameter `output` while it runs.

    DataError and DeviceError as in `loopda.runtime.files.sole_writer`.
    """

    def decorate(run: Run) -> Run:
        recorded = records(output)(run)

        @functools.wraps(recorded)
        def alone(**values: Any) -> None:
            with sole_writer(Path(values[output])) if processes.is_first() else nullcontext():
                recorded(**values)

        return alone

    return decorate


def _check_counts(values: dict[str, Any]) -> None:
    for name in ("threads", "workers"):
        if (count := values.get(name)) is not None and count < 0:
            raise ConfigError(f"--{name} {count}: choose 1 or more")


def _check_overwriting(run: Run, values: dict[str, Any]) -> None:
    """ConfigError where the log or the output is also a file of another flag, which would be overwritten."""
    for name in ("log", getattr(run, "output", "")):
        for other, given in values.items() if values.get(name) else ():
            for path in given if isinstance(given, list) else [given]:
                named_file = isinstance(path, Path) or (isinstance(path, str) and path and os.path.isfile(path))
                if other != name and named_file and os.path.realpath(path) == os.path.realpath(values[name]):
                    raise ConfigError(
                        f"--{name} and --{other} are one file, {path}, which would be lost; choose another for --{name}"
                    )


def _files(values: dict[str, Any]) -> list[Path]:
    """The files of a run: its paths without the log, and the files that its section names, such as weights."""
    given = [value if isinstance(value, list) else [value] for name, value in values.items() if name != "log"]
    section = values["config"].model_dump() if isinstance(values.get("config"), Section) else {}
    in_section = [Path(text) for text in _texts(section) if text and os.path.isfile(text)]
    return [path for paths in given for path in paths if isinstance(path, Path)] + in_section


def _texts(value: Any) -> Iterator[str]:
    """All texts and paths in nested dicts and lists."""
    if isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
    elif isinstance(value, str | Path):
        yield str(value)


def _kind(hint: type) -> tuple[type, bool]:
    """The element type of a parameter, and whether it takes several values: `list[Path] | None` -> (Path, True)."""
    if get_origin(hint) is list:
        return get_args(hint)[0], True
    options = [option for option in get_args(hint) if option is not type(None)]
    return _kind(options[0]) if options else (hint, False)


@contextmanager
def _warnings_to(log: Path | None) -> Iterator[None]:
    """Write the package's warnings to standard error and to `log`."""
    logger, handler = logging.getLogger("loopda"), logging.Handler(logging.WARNING)
    handler.emit = lambda record: _print_and_log(f"warning: {record.getMessage()}", log)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _print_and_log(message: str, log: Path | None) -> None:
    if not processes.is_first():
        message = f"process {processes.rank()}: {message}"
    print(message, file=sys.stderr, flush=True)
    if log:
        with suppress(DeviceError):  # the message may be about a full disk
            append_text(Path(log), f"{message}\n")


def _expanded(value: Any) -> Any:
    """A path, or a list of paths, with ~ and variables expanded."""
    if isinstance(value, list):
        return [_expanded(item) for item in value]
    return expanded(value) if isinstance(value, Path) else value


def _fault_file(run: Run, values: dict[str, Any]) -> Path:
    """The file for a long list of faults: beside the log, else beside the output, else in the working directory."""
    beside = values.get("log") or values.get(getattr(run, "output", "")) or _module_name(run).rpartition(".")[-1]
    beside = resolve_dots(Path(beside))
    return beside.parent / f"{beside.stem}.faults.txt"


def _module_name(run: Callable[..., None]) -> str:
    specification = sys.modules["__main__"].__spec__ if run.__module__ == "__main__" else None
    return specification.name if specification else run.__module__
