"""One command line for every stage: the parameters of its `run` are the flags."""

import argparse
import functools
import inspect
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from loopda.config import Section, expanded, read_section
from loopda.errors import ConfigError, DataError, DeviceError, Interrupted, LoopdaError
from loopda.runtime import processes
from loopda.runtime.fault_list import shortened
from loopda.runtime.files import NO_SPACE, append_text, named, sole_writer, unwritable
from loopda.runtime.progress import at_work
from loopda.runtime.provenance import write_record
from loopda.runtime.signals import remembered
from loopda.text.encoding import begin_program, replace_what_cannot_be_shown
from loopda.text.names import printable

Run = Callable[..., None]

# what gloo and NCCL say where another process has ended: which of them depends on what that had still to send
LOST = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "Connection refused",
    "remote process exited",
)


def command(run: Run, arguments: list[str] | None = None) -> None:
    """Parse `arguments` (default: the process's own) for `run`, call it, and exit with a documented code.

    `run` takes keyword-only parameters: `config` (a Section: the flag names its YAML file), and others of type Path,
    int or str; a list[Path] takes several values, a parameter with a default may be left out.
    A LoopdaError, and what `explained` makes one of, prints its message alone and exits with its code; anything else is
    a bug, shows its traceback and exits with 1. With a `log` parameter, the message is appended there too, and
    `loopda.status` sees the process at work. Paths may begin with ~ and hold variables. Of a long list of faults a
    short one is printed, which names the file that has them all (`loopda.runtime.fault_list`).
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
        several = {"nargs": "*", "action": "extend"}  # a flag that comes twice adds to what it said before
        optional = {"nargs": "?", "default": parameter.default, "const": parameter.default}
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=Path if issubclass(kind, Section) else kind,
            required=required,
            metavar=name.upper(),
            **(several if many else {} if required else optional),
        )
    if arguments is None:
        begin_program()
    replace_what_cannot_be_shown()
    defaults = {name: parameter.default for name, parameter in inspect.signature(run).parameters.items()}
    given = vars(parser.parse_args(arguments))
    values = {name: defaults[name] if value is None else value for name, value in given.items()}
    log = values.get("log")
    faults = _fault_file(run, values)
    with _warnings_to(log):
        _run(run, values, faults, parser.prog, hints)


def _run(run: Run, values: dict[str, Any], faults: Path, program: str, hints: dict[str, type]) -> None:
    log = None  # none is written until it is known to be no input
    try:
        values = {name: _expanded(value) for name, value in values.items()}
        _refuse_one_file_twice(run, values)
        log, faults = values.get("log"), _fault_file(run, values)
        if processes.is_first():
            with suppress(OSError):
                faults.unlink(missing_ok=True)  # of an earlier run
        if log and processes.is_first():  # a stage that is resumed keeps the story of its first part
            append_text(Path(log), f"---- {time.strftime('%Y-%m-%d %H:%M:%S')} {program}\n")
        with at_work(log), _explaining():
            _refuse_fewer_than_none(values)
            if "config" in values:
                values["config"] = read_section(values["config"], hints["config"])
            with remembered():
                run(**values)
    except LoopdaError as error:
        if processes.is_first() or not isinstance(error, Interrupted):  # which all are together
            _complain(f"{type(error).__name__}: {shortened(str(error), faults)}", log)
        sys.exit(error.exit_code)
    except Exception:
        _complain(traceback.format_exc(), log)
        sys.exit(1)


def writes(output: str) -> Callable[[Run], Run]:
    """Of the `run` of a stage: while it works, no other process may write the file or folder of its parameter `output`,
    and when it has ended, what the file was made of is recorded (`records`).

    DataError and DeviceError as in `loopda.runtime.files.sole_writer`.
    """

    def decorate(run: Run) -> Run:
        recorded = records(output)(run)

        @functools.wraps(recorded)
        def alone(**values: Any) -> None:
            if not processes.is_first():
                run(**values)
                return
            with sole_writer(Path(values[output])):
                recorded(**values)

        return alone

    return decorate


def _refuse_fewer_than_none(values: dict[str, Any]) -> None:
    for name in ("threads", "workers"):
        if (count := values.get(name)) is not None and count < 0:
            raise ConfigError(f"--{name} {count}: there must be 1 at least")


def _refuse_one_file_twice(run: Run, values: dict[str, Any]) -> None:
    """ConfigError where the log or the output is a file that another flag names, which it would damage or replace."""
    for name in ("log", getattr(run, "output", "")):
        for other, given in values.items() if values.get(name) else ():
            for path in given if isinstance(given, list) else [given]:
                named_file = isinstance(path, Path) or (isinstance(path, str) and path and os.path.isfile(path))
                if other != name and named_file and os.path.realpath(path) == os.path.realpath(values[name]):
                    raise ConfigError(
                        f"--{name} and --{other} are one file, {path}, which would be lost; choose another for --{name}"
                    )


def records(output: str) -> Callable[[Run], Run]:
    """Of the `run` of a stage: when it has ended, what the file of its parameter `output` was made of is recorded
    beside it (`loopda.runtime.provenance`). For trainings, whose progress has a lock of its own."""

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


def _files(values: dict[str, Any]) -> list[Path]:
    """The paths among the arguments of a run, without its log, and the files that its section names: lists of images, a
    class list, weights."""
    given = [value if isinstance(value, list) else [value] for name, value in values.items() if name != "log"]
    named_here = values["config"].model_dump() if isinstance(values.get("config"), Section) else {}
    in_section = [Path(text) for text in _texts(named_here) if text and os.path.isfile(text)]
    return [path for paths in given for path in paths if isinstance(path, Path)] + in_section


def _texts(value: Any) -> Iterator[str]:
    """The texts and paths in a nested value."""
    if isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
    elif isinstance(value, str | Path):
        yield str(value)


def explained(error: Exception) -> LoopdaError | None:
    """What went wrong outside of the code, with the remedy; None where the error is a bug.

    Errors of the operating system that no module has explained, and a device that is out of memory or lost.
    """
    if isinstance(error, LoopdaError):
        return error
    first = str(error).partition("\n")[0]
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return unwritable(error.filename or "a file", error)
    if isinstance(error, OSError) and error.filename:
        return DataError(f"{error.filename}: {error.strerror}; mend that and run the same command again")
    if isinstance(error, UnicodeEncodeError) and "surrogates not allowed" in str(error):
        return DataError(f"{printable(error.object)}: a name that is not UTF-8; rename, and run the same command again")
    if isinstance(error, MemoryError) or _is_torchs(error, "OutOfMemoryError") or "can't allocate memory" in first:
        return DeviceError(
            f"the memory is too small ({first or 'the process got no more'}{_peak()}); a stage that trains needs less "
            "with compute.memory balanced, small or least (compute.compiled false), and with compute.precision bf16 (a "
            "new training); else "
            "choose a smaller batch_size, input.crop or input.size for this stage, or another device. The same command "
            "goes on from the last saved step"
        )
    if "does not have a deterministic implementation" in first:
        return ConfigError(
            f"compute.reproducibility exact: this network cannot be trained so on this device ({first.split('.')[0]}); "
            "choose seeded, or --device cpu"
        )
    if processes.count() > 1 and any(words in str(error) for words in LOST):
        return DeviceError("another process of this stage has ended; what it says is the cause")
    if _is_torchs(error, "AcceleratorError") or first.startswith("CUDA error"):
        return DeviceError(f"the device failed ({first}); run the same command again: it goes on from the last step")
    return None


@contextmanager
def _explaining() -> Iterator[None]:
    """Raise what is `explained` in the place of the error that it explains."""
    try:
        yield
    except Exception as error:
        fault = explained(error)
        if fault is None or fault is error:
            raise
        raise fault from error


def _is_torchs(error: Exception, name: str) -> bool:
    torch = sys.modules.get("torch")  # not imported for this: some stages live without
    return hasattr(torch, name) and isinstance(error, getattr(torch, name))


def _peak() -> str:
    """The most memory that tensors took on a GPU, in words."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return f"; at most {cuda.max_memory_allocated() / 1e9:.1f} GB in use" if cuda and cuda.is_initialized() else ""


def _kind(hint: type) -> tuple[type, bool]:
    """The element type of a parameter, and whether it takes several values: `list[Path] | None` -> (Path, True)."""
    if get_origin(hint) is list:
        return get_args(hint)[0], True
    options = [option for option in get_args(hint) if option is not type(None)]
    return _kind(options[0]) if options else (hint, False)


@contextmanager
def _warnings_to(log: Path | None) -> Iterator[None]:
    """What the package warns of goes to standard error and to `log`."""
    logger, handler = logging.getLogger("loopda"), logging.Handler(logging.WARNING)
    handler.emit = lambda record: _complain(f"warning: {record.getMessage()}", log)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _complain(message: str, log: Path | None) -> None:
    if not processes.is_first():
        message = f"process {processes.rank()}: {message}"
    print(message, file=sys.stderr, flush=True)
    if log:
        with suppress(DeviceError):  # the message may be about a full disk
            append_text(Path(log), f"{message}\n")


def _expanded(value: Any) -> Any:
    """A path, or those of a list, with ~ and variables filled in."""
    if isinstance(value, list):
        return [_expanded(one) for one in value]
    return expanded(value) if isinstance(value, Path) else value


def _fault_file(run: Run, values: dict[str, Any]) -> Path:
    """Where a long list of faults goes: beside the log, else beside the output, else into the working directory."""
    beside = values.get("log") or values.get(getattr(run, "output", "")) or _module_name(run).rpartition(".")[-1]
    beside = named(Path(beside))
    return beside.parent / f"{beside.stem}.faults.txt"


def _module_name(run: Callable[..., None]) -> str:
    specification = sys.modules["__main__"].__spec__ if run.__module__ == "__main__" else None
    return specification.name if specification else run.__module__
