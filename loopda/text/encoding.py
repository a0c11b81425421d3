"""Text that comes in and goes out. Files and their names are UTF-8, whatever the locale; a terminal is shown what it
can show."""

import codecs
import io
import json
import logging
import os
import sys
from pathlib import Path

from loopda.errors import ConfigError, DataError, LoopdaError
from loopda.text.names import printable

# what stands for a character that a terminal does not have; "?" for all others
ALIKE = {"…": ".", "±": "+-", "−": "-", "–": "-", "·": ".", "×": "x", "τ": "tau", "→": "->", "“": '"', "”": '"'}

FOR_PEOPLE = "loopda.alike"  # how text for people is encoded where it cannot be: an argument `errors`
_warned: set[tuple[str, int]] = set()


def begin_program() -> None:
    """For the entrance of a program, before it reads or prints anything.

    Where the locale would have names of files be anything but UTF-8, the program starts again in Python's UTF-8 mode:
    what one machine writes into a table, another must find. What a terminal cannot show is replaced.
    """
    if codecs.lookup(sys.getfilesystemencoding()).name != "utf-8" and not sys.flags.utf8_mode:
        os.environ["PYTHONUTF8"] = "1"  # of the programs that this one starts, too
        os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)  # the terminal stays what it is
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    replace_what_cannot_be_shown()


def replace_what_cannot_be_shown() -> None:
    """From now on printing never fails for a character that the terminal does not have."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=FOR_PEOPLE)


def check_encoding(values: object) -> None:
    """ConfigError where the locale would have names of files be anything but UTF-8, and `values` holds such names."""
    encoding = codecs.lookup(sys.getfilesystemencoding()).name
    if encoding != "utf-8" and not json.dumps(values, ensure_ascii=False, default=str).isascii():
        raise ConfigError(
            f"the locale's encoding is {encoding}, and the configuration has letters beyond ASCII, of which names of"
            " files are made; start it as `PYTHONUTF8=1 snakemake ...`, or choose a UTF-8 locale"
        )


def read_text(path: Path, kind: type[LoopdaError] = DataError) -> str:
    """The text of the UTF-8 file `path`, without a byte order mark, lines ending in a line feed.

    Where it is in another encoding, an error of this `kind` that names the line and the remedy. OSError passes.
    """
    content = Path(path).read_bytes()
    remedy = "save it as UTF-8"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise kind(f"{path}: a text in UTF-16; {remedy}")
    if b"\0" in content:
        raise kind(f"{path}: no text (a zero byte in it), or one in UTF-16; {remedy}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        wrong = content[error.start]
        raise kind(f"{path}, line {line}: not UTF-8 (the byte 0x{wrong:02x}, as in Latin-1); {remedy}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def warn_once(what: str, folder: Path, text: str) -> None:
    """Say `text` of `folder`, on standard error and in the log of the stage: once in the life of this process for each
    `what` and each file system."""
    if (what, folder.stat().st_dev) not in _warned:
        _warned.add((what, folder.stat().st_dev))
        logging.getLogger("loopda").warning("%s: %s", folder, text)


def _alike(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    shown = []
    for character in error.object[error.start : error.end]:
        surrogate = 0xD800 <= ord(character) < 0xE000
        shown.append(printable(character) if surrogate else ALIKE.get(character, "?"))
    return "".join(shown), error.end


codecs.register_error(FOR_PEOPLE, _alike)
