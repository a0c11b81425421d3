"""Fetching and verifying weights: a name of the catalogue, a path, or an address with its SHA-256 becomes a file.

    python -m loopda.weights.downloads resnet101-v1      # fetches, verifies, prints where the file is

Nothing is fetched unless a configuration or a command names it. Files lie in `weights/` of the working folder, or where
the environment variable LOOPDA_WEIGHTS says. A file that somebody puts there by hand is used like a fetched one.
"""

import argparse
import http.client
import importlib.util
import itertools
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

from loopda.config import expanded
from loopda.errors import DataError, LoopdaError
from loopda.runtime import locks
from loopda.runtime.files import move_into_place, sha256
from loopda.runtime.signals import interruptible
from loopda.text.encoding import begin_program
from loopda.text.names import bounded
from loopda.weights.catalogue import CATALOGUE, PublishedWeights
from loopda.weights.formats import described
from loopda.weights.references import fault, is_address, split_digest

ATTEMPTS = 3  # to download a file; each goes on where the previous one broke off
PAUSE = 2.0  # seconds between them
POLL = 0.5  # seconds between two looks whether another job has fetched a file
TIMEOUT = 30.0  # seconds without a byte
CHUNK = 1 << 20
CONTINUES = "the same command continues the download where it stopped"


def locate(reference: str, say: Callable[[str], None] = print) -> Path:
    """The local file of a reference, fetched and verified where needed; `say` gets a line about each action.

    A reference is a name of CATALOGUE, a path, or an http(s) address; a path may end in `#sha256=<64 digits>`, and an
    address must. DataError when there is no such file, it cannot be fetched, or its SHA-256 is another.
    """
    wrong = fault(reference)
    if wrong:
        raise DataError(wrong)
    address, digest = split_digest(reference)
    if reference in CATALOGUE:
        entry = CATALOGUE[reference]
        if installed := _installed(entry):
            _verify(installed, entry.sha256, f"reinstall its package ({entry.source})")
            return installed
        return _fetched(entry.address, folder() / entry.file, entry.sha256, entry.source, say)
    if is_address(address):
        name = Path(urllib.parse.unquote(urllib.parse.urlsplit(address).path)).name
        target = folder() / (bounded(name) or str(digest))
        return _fetched(address, target, str(digest), address, say)
    path = expanded(address)
    if digest:
        _verify(path, digest, "fetch it again, or correct the digest")
    return path


def _installed(entry: PublishedWeights) -> Path | None:
    """The file of an entry of the catalogue in the installed package that holds it, or None; nothing is imported."""
    package, _, inside = entry.package.partition("/")
    found = importlib.util.find_spec(package) if package else None
    folders = (found.submodule_search_locations or ()) if found else ()
    paths = [Path(place, inside, entry.file) for place in folders]
    return next((path for path in paths if path.is_file()), None)


def folder() -> Path:
    """The folder of fetched weights."""
    return Path(os.environ.get("LOOPDA_WEIGHTS") or "weights")


def _fetched(address: str, path: Path, digest: str, source: str, say: Callable[[str], None]) -> Path:
    if not path.is_file():
        by_hand = (
            f"Without a network here: fetch it elsewhere ({source})"
            + (f", check that its SHA-256 begins with {digest}" if digest else "")
            + f", and put it there as {path}, or give its own path instead of the name."
        )
        if not (address and digest):
            why = "nobody published its SHA-256, so it is not fetched unverified" if address else "no address is public"
            raise DataError(f"{path}: no such weights file, and {why}. {by_hand}")
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _lock(path)
        try:
            if not path.is_file():
                _fetch(address, path, digest, by_hand, say)
        finally:
            lock.release()
    if digest:
        _verify(path, digest, "remove it, and the next run fetches it again")
    else:
        say(f"{path}: SHA-256 {sha256(path)}; nobody published one to compare it with")
    return path


def _lock(path: Path) -> locks.Lock:
    """The lock of the file `path`: of two jobs that want it, the second waits, and then finds it there."""
    place = path.with_name(f".{path.name}.lock")
    for _ in interruptible(itertools.repeat(None), CONTINUES):
        try:
            return locks.take(place, watch=0)
        except locks.Held:
            time.sleep(POLL)
    raise AssertionError("the loop has no end")


def _fetch(address: str, path: Path, digest: str, by_hand: str, say: Callable[[str], None]) -> None:
    """Make `path` the verified content of `address`. A broken attempt leaves `.part`, where the next one goes on."""
    part = path.with_name(f"{path.name}.part")
    problem = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE)
        begun = part.stat().st_size if part.is_file() else 0
        say(f"fetching {address}" + (f" from byte {begun} on" if begun else ""))
        try:
            _append(address, part, begun)
        except urllib.error.HTTPError as error:
            problem = f"the server answers {error.code} {error.reason}"
            if error.code == 416:  # the part is longer than the file, so it is of another file
                part.unlink()
                continue
            if error.code < 500:
                break
            continue
        except (OSError, http.client.HTTPException) as error:
            problem = str(getattr(error, "reason", "") or error or type(error).__name__)
            continue
        found = sha256(part)
        if found.startswith(digest.lower()):
            move_into_place(part, path)
            return
        problem = f"its SHA-256 is {found}, expected {digest}{_what_it_is(part)}"
        part.unlink()
        if not begun:
            break  # nothing was left of another file, so the server's file is not the published one
    raise DataError(f"cannot fetch {address}: {problem}. {by_hand}")


def _append(address: str, part: Path, begun: int) -> None:
    """Fetch the rest of a file of which `part` holds `begun` bytes; OSError when the connection ends too early."""
    headers = {"User-Agent": "loopda"} | ({"Range": f"bytes={begun}-"} if begun else {})
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=TIMEOUT) as answer:
        resumed = begun > 0 and answer.status == 206
        length = answer.headers.get("Content-Length")
        with open(part, "ab" if resumed else "wb") as file:
            for piece in interruptible(iter(partial(answer.read, CHUNK), b""), CONTINUES):
                file.write(piece)
    expected = int(length) + (begun if resumed else 0) if length else None
    size = part.stat().st_size
    if expected is not None and size != expected:
        raise OSError(f"the connection ended after {size} of {expected} bytes")


def _verify(path: Path, digest: str, remedy: str) -> None:
    found = sha256(path)
    if not found.startswith(digest.lower()):
        raise DataError(f"{path}: its SHA-256 is {found}, expected {digest}: {remedy}{_what_it_is(path)}")


def _what_it_is(path: Path) -> str:
    """The end of a message about a wrong file: what it is, or "" where that is not known."""
    known = described(path)
    return f"; {known}" if known else ""


def main() -> None:
    """Fetch what the command line names, and print the files' paths."""
    names = "\n".join(f"  {name:22} {entry.source}" for name, entry in CATALOGUE.items())
    parser = argparse.ArgumentParser(
        prog="python -m loopda.weights.downloads",
        description=f"Fetch and verify published weights.\n\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("weights", nargs="+", metavar="WEIGHTS", help="a name above, or address#sha256=digest")
    for reference in parser.parse_args().weights:
        try:
            print(locate(reference, say=lambda text: print(text, file=sys.stderr)))
        except LoopdaError as error:
            print(error, file=sys.stderr)
            sys.exit(error.exit_code)


if __name__ == "__main__":
    begin_program()
    main()
