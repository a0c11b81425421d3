"""Published weights: by a name of the catalogue, a local path, or an address with its SHA-256.

    python -m loopda.runtime.downloads resnet101-v1      # fetches, verifies, prints where the file is

Nothing is fetched unless a configuration or a command names it. Files lie in `weights/` of the working folder, or where
the environment variable LOOPDA_WEIGHTS says; a file that somebody puts there by hand is used like a fetched one.
"""

import argparse
import http.client
import itertools
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from loopda.config import expanded
from loopda.errors import ConfigError, DataError, LoopdaError
from loopda.runtime import locks
from loopda.runtime.files import move_into_place, sha256
from loopda.runtime.signals import interruptible
from loopda.runtime.weight_files import described
from loopda.text.encoding import begin_program
from loopda.text.names import bounded

ATTEMPTS = 3  # of a download; each goes on where the one before broke off
PAUSE = 2.0  # seconds between them
LOOK = 0.5  # seconds between two looks whether another job has fetched a file
TIMEOUT = 30.0  # seconds without a byte
CHUNK = 1 << 20
CONTINUES = "the same command goes on with the download where it is"

_TORCHVISION = "https://download.pytorch.org/models"
_ADAPTSEGNET = "http://vllab.ucmerced.edu/ytsai/CVPR18"
_ADVENT = "https://github.com/valeoai/ADVENT/releases"


class Published(NamedTuple):
    """One entry of the catalogue.

    sha256: the digest or its first eight digits, which authors of PyTorch weights put into the file's name; empty where
    nobody published one: such a file is not fetched, because it could not be verified, but taken from the folder.
    source: what to fetch by hand where the address is empty, cannot be verified or does not answer.
    """

    file: str
    address: str
    sha256: str
    source: str


CATALOGUE = {
    "resnet50-v1": Published(
        "resnet50-0676ba61.pth",
        f"{_TORCHVISION}/resnet50-0676ba61.pth",
        "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
        "torchvision, ResNet50_Weights.IMAGENET1K_V1",
    ),
    "resnet50-v2": Published(
        "resnet50-11ad3fa6.pth",
        f"{_TORCHVISION}/resnet50-11ad3fa6.pth",
        "11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca",
        "torchvision, ResNet50_Weights.IMAGENET1K_V2",
    ),
    "resnet101-v1": Published(
        "resnet101-63fe2227.pth",
        f"{_TORCHVISION}/resnet101-63fe2227.pth",
        "63fe2227b86e8f1f2063f43a75c84d195911b6a0eace650907dd3dc62dd49a0a",
        "torchvision, ResNet101_Weights.IMAGENET1K_V1",
    ),
    "resnet101-v2": Published(
        "resnet101-cd907fc2.pth",
        f"{_TORCHVISION}/resnet101-cd907fc2.pth",
        "cd907fc2",
        "torchvision, ResNet101_Weights.IMAGENET1K_V2",
    ),
    "alexnet": Published(
        "alexnet-owt-7be5be79.pth",
        f"{_TORCHVISION}/alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        "torchvision, AlexNet_Weights.IMAGENET1K_V1",
    ),
    "vgg16": Published(
        "vgg16-397923af.pth",
        f"{_TORCHVISION}/vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        "torchvision, VGG16_Weights.IMAGENET1K_V1",
    ),
    "deeplab-init": Published(
        "DeepLab_resnet_pretrained_init-f81d91e8.pth",
        f"{_ADAPTSEGNET}/DeepLab_resnet_pretrained_init-f81d91e8.pth",
        "f81d91e8",
        "the caffe-style initialisation (ImageNet and COCO), from AdaptSegNet's repository or its mirrors",
    ),
    "deeplab-init-imagenet": Published(
        "DeepLab_resnet_pretrained_imagenet.pth",
        f"{_ADVENT}/download/v0.1/DeepLab_resnet_pretrained_imagenet.pth",
        "",
        f"the caffe-style initialisation, from {_ADVENT}",
    ),
    "simclrv2-r101": Published(
        "r101_1x_sk0.pth",
        "",
        "",
        "SimCLRv2 r101_1x_sk0 for PyTorch: ProDA's file (see its README), or as Separius/SimCLRv2-Pytorch converts it",
    ),
    "mit-b5": Published(
        "mit_b5.pth", "", "", "the folder of ImageNet weights that the README of SegFormer, and DAFormer's, link to"
    ),
    "loopda-student": Published(
        "student.pth", "", "", "LoopDA's authors: their repository fy-vision/LoopDA names the file but links none"
    ),
    "adaptsegnet-gta": Published(
        "GTA2Cityscapes_multi-ed35151c.pth",
        f"{_ADAPTSEGNET}/GTA2Cityscapes_multi-ed35151c.pth",
        "ed35151c",
        "AdaptSegNet's repository, multi-level GTA5-to-Cityscapes model",
    ),
    "advent-gta": Published(
        "gta2cityscapes_advent.pth",
        f"{_ADVENT}/download/v0.1/gta2cityscapes_advent.pth",
        "",
        f"AdvEnt from {_ADVENT}",
    ),
}

# what is no backbone alone
USES = {
    "a trunk of LPIPS": ("alexnet", "vgg16"),
    "a whole network": ("loopda-student", "adaptsegnet-gta", "advent-gta"),
}


def fault(reference: str) -> str:
    """What is wrong with a reference to weights, or "": a check without network, before any job starts."""
    address, digest = _split(reference)
    if digest is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        return f"{reference}: a SHA-256 has 64 hexadecimal digits"
    if _is_address(address):
        return "" if digest else f"{reference}: an address needs its SHA-256: {address}#sha256=<64 digits>"
    if reference in CATALOGUE:
        return ""
    try:
        path = expanded(address)
    except ConfigError as error:
        return str(error)
    if path.exists():
        try:
            wrong = described(path)
        except OSError as error:
            return f"{address}: {error.strerror}; mend that"
        return f"{address}: no weights that can be read: {wrong}" if wrong else ""
    return (
        f"no such file: {address}; put the weights there, name some of {', '.join(CATALOGUE)}, "
        "give an address with #sha256=, or set it to an empty string"
    )


def misplaced(reference: str, key: str) -> str:
    """Why a name of the catalogue cannot be what the key `key` (its last two words) wants, or ""."""
    if reference not in CATALOGUE:
        return ""
    use = next((use for use, names in USES.items() if reference in names), "a backbone")
    wanted = {"convert.weights": ("a whole network",), "decoders.lpips_weights": ("a trunk of LPIPS",)}
    fitting = wanted.get(key, ("a backbone", "a whole network"))
    if use in fitting:
        return ""
    names = [name for name in CATALOGUE if any(name in USES.get(use, _backbones()) for use in fitting)]
    return f"{reference} is {use}, {fitting[0]} is wanted: name one of {', '.join(names)}, or a path"


def _backbones() -> tuple[str, ...]:
    return tuple(name for name in CATALOGUE if not any(name in names for names in USES.values()))


def locate(reference: str, say: Callable[[str], None] = print) -> Path:
    """The local file of a reference, fetched and verified where need be; `say` is told what is done.

    A reference is a name of CATALOGUE, a path, or an http(s) address; the last two may end in `#sha256=<64 digits>`,
    and an address must. DataError when there is no such file, it cannot be fetched, or its SHA-256 is another.
    """
    wrong = fault(reference)
    if wrong:
        raise DataError(wrong)
    address, digest = _split(reference)
    if reference in CATALOGUE:
        entry = CATALOGUE[reference]
        return _fetched(entry.address, folder() / entry.file, entry.sha256, entry.source, say)
    if _is_address(address):
        name = Path(urllib.parse.unquote(urllib.parse.urlsplit(address).path)).name
        target = folder() / (bounded(name) or str(digest))
        return _fetched(address, target, str(digest), address, say)
    path = expanded(address)
    if digest:
        _verify(path, digest, "fetch it again, or correct the digest")
    return path


def folder() -> Path:
    """Where fetched weights lie."""
    return Path(os.environ.get("LOOPDA_WEIGHTS") or "weights")


def _split(reference: str) -> tuple[str, str | None]:
    address, mark, digest = reference.rpartition("#sha256=")
    return (address, digest) if mark else (reference, None)


def _is_address(text: str) -> bool:
    return text.startswith(("https://", "http://"))


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
    """The lock of the file `path`: of two jobs that want it, the second waits, and finds it there."""
    place = path.with_name(f".{path.name}.lock")
    for _ in interruptible(itertools.repeat(None), CONTINUES):
        try:
            return locks.take(place, watch=0)
        except locks.Held:
            time.sleep(LOOK)
    raise AssertionError("it repeats for ever")


def _fetch(address: str, path: Path, digest: str, by_hand: str, say: Callable[[str], None]) -> None:
    """Make `path` the verified content of `address`; what a broken attempt leaves in `.part` is not fetched twice."""
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
            if error.code == 416:  # the part is longer than the file: it belongs to another one
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
        problem = f"its SHA-256 is {found}, expected {digest}{_told(part)}"
        part.unlink()
        if not begun:
            break  # no leftover of another file spoilt it: the server's file is not the published one
    raise DataError(f"cannot fetch {address}: {problem}. {by_hand}")


def _append(address: str, part: Path, begun: int) -> None:
    """Fetch what `part`, of `begun` bytes, lacks; OSError when the connection ends before the file does."""
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
        raise DataError(f"{path}: its SHA-256 is {found}, expected {digest}: {remedy}{_told(path)}")


def _told(path: Path) -> str:
    """What a file is that is not the one that was wanted, for the end of a message, or ""."""
    known = described(path)
    return f"; {known}" if known else ""


def main() -> None:
    """Fetch what the command line names, and print the files' paths."""
    names = "\n".join(f"  {name:22} {entry.source}" for name, entry in CATALOGUE.items())
    parser = argparse.ArgumentParser(
        prog="python -m loopda.runtime.downloads",
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
