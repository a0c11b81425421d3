"""The encoding of text: files and their names are UTF-8 in any locale; a terminal gets the characters that it has."""

import codecs
import io
import json
import os
import sys
from pathlib import Path

from loopda.errors import ConfigError, DataError, LoopdaError
from loopda.text.names import printable

# ASCII for characters that a terminal may not have; "?" replaces all others
REPLACEMENTS = {"…": ".", "±": "+-", "−": "-", "–": "-", "·": ".", "×": "x", "τ": "tau", "→": "->", "“": '"', "”": '"'}

REPLACE = "loopda.replace"  # value of `errors` for text that people read: unencodable characters are replaced


def begin_program() -> None:
    """Prepare the encodings of a program; call it first in `main`, before the program reads or prints.

    If the locale does not encode names of files as UTF-8, restart the program in Python's UTF-8 mode: a table that one
    machine writes must be valid on another. Characters that the terminal cannot show are replaced from then on.
    """
    if codecs.lookup(sys.getfilesystemencoding()).name != "utf-8" and not sys.flags.utf8_mode:
        os.environ["PYTHONUTF8"] = "1"  # for child processes too
        os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)  # the terminal stays what it is
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    replace_what_cannot_be_shown()


def replace_what_cannot_be_shown() -> None:
    """Printing replaces characters that the terminal does not have, instead of raising an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=REPLACE)


def check_encoding(values: object) -> None:
    """ConfigError where the locale does not encode names of files as UTF-8 and `values` has letters beyond ASCII."""
    encoding = codecs.lookup(sys.getfilesystemencoding()).name
    if encoding != "utf-8" and not json.dumps(values, ensure_ascii=False, default=str).isascii():
        raise ConfigError(
            f"the locale's encoding is {encoding}, but the configuration has letters beyond ASCII, which become"
            " names of files; start it as `PYTHONUTF8=1 snakemake ...`, or choose a UTF-8 locale"
        )


def read_text(path: Path, kind: type[LoopdaError] = DataError) -> str:
    """The text of the UTF-8 file `path`, without a byte order mark; every line ends in a line feed.

    A file in another encoding raises an error of this `kind`, which names the line and the remedy. OSError passes.
    """
    content = Path(path).read_bytes()
    remedy = "save it as UTF-8"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise kind(f"{path}: a text in UTF-16; {remedy}")
    if b"\0" in content:
        raise kind(f"{path}: not a text (it has a zero byte), or one in UTF-16; {remedy}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        wrong = content[error.start]
        raise kind(f"{path}, line {line}: not UTF-8 (the byte 0x{wrong:02x}, as in Latin-1); {remedy}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _replacement(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    shown = []
    for character in error.object[error.start : error.end]:
        surrogate = 0xD800 <= ord(character) < 0xE000
        shown.append(printable(character) if surrogate else REPLACEMENTS.get(character, "?"))
    return "".join(shown), error.end


codecs.register_error(REPLACE, _replacement)
