"""References to weights, as the configuration and `convert` name them: a name of the catalogue, a path, or an address.

What can be checked of a reference before any job starts is checked here, without a network and without PyTorch.
"""

import re

from loopda.config import expanded
from loopda.errors import ConfigError
from loopda.weights.catalogue import CATALOGUE
from loopda.weights.formats import described

# keys of the configuration, and what they take of the catalogue; all others take a backbone or a whole network
_USES = {"convert.weights": ("a whole network",), "decoders.lpips_weights": ("a trunk of LPIPS",)}


def fault(reference: str) -> str:
    """What is wrong with a reference to weights, or "" where nothing is: a check without a network."""
    address, digest = split_digest(reference)
    if digest is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        return f"{reference}: a SHA-256 has 64 hexadecimal digits"
    if is_address(address):
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
            return f"{address}: {error.strerror}; make the file readable"
        return f"{address}: no weights that can be read: {wrong}" if wrong else ""
    return (
        f"no such file: {address}; put the weights there, name some of {', '.join(CATALOGUE)}, "
        "give an address with #sha256=, or set it to an empty string"
    )


def misplaced(reference: str, key: str) -> str:
    """Why the name `reference` of the catalogue does not fit the configuration key `key`, or "" where it fits.

    key: its last two words, as in convert.weights.
    """
    if reference not in CATALOGUE:
        return ""
    fitting = _USES.get(key, ("a backbone", "a whole network"))
    use = CATALOGUE[reference].use
    if use in fitting:
        return ""
    names = [name for name, entry in CATALOGUE.items() if entry.use in fitting]
    return f"{reference} is {use}, {fitting[0]} is wanted: name one of {', '.join(names)}, or a path"


def split_digest(reference: str) -> tuple[str, str | None]:
    """A reference without its `#sha256=<digits>`, and these digits, or None where it has none."""
    address, mark, digest = reference.rpartition("#sha256=")
    return (address, digest) if mark else (reference, None)


def is_address(text: str) -> bool:
    """Whether a reference is an http(s) address."""
    return text.startswith(("https://", "http://"))
