"""Images and label maps that were decoded and resized once, kept on the disk as arrays: off unless a folder is named.

Decoding a PNG of 2048x1024 and halving it takes 60 ms, mapping the result 0.2 ms. A set that fits into memory gains
only the start of each stage by it (`loopda.data.dataset.MEMORY`); a larger one is otherwise decoded in every epoch.
"""

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray

from loopda.errors import DataError
from loopda.runtime.files import written

Array = NDArray[np.uint8]


def cached(source: Path, settings: str, make: Callable[[], Array]) -> Array:
    """`make()`, the array of the file `source` under `settings`, from the folder LOOPDA_CACHE if it lies there.

    Without that environment variable nothing is kept. An entry is found by the file's path, size and time of change, by
    the settings, and by Pillow's version, which decodes and resizes: a changed file makes a new one, and old ones stay
    until the folder is deleted. The result is mapped, not read, so that a crop costs its own bytes. DataError where an
    entry is damaged.
    """
    folder = os.environ.get("LOOPDA_CACHE")
    if not folder or not source.is_file():
        return make()
    status = source.stat()
    key = "|".join(map(str, (source.absolute(), status.st_size, status.st_mtime_ns, settings, PIL.__version__)))
    name = hashlib.sha256(key.encode()).hexdigest()
    entry = Path(folder) / name[:2] / f"{name}.npy"
    if not entry.is_file():
        with written(entry) as temporary:
            np.save(temporary, make())
    try:
        return _mapped(entry)
    except (ValueError, EOFError) as error:
        raise DataError(f"{entry}: a damaged entry of the image cache ({error}); delete it, it is made again") from None


def _mapped(entry: Path) -> Array:
    """The array of a file, mapped into memory; read as a whole where the file system cannot map."""
    try:
        return np.load(entry, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        if error.errno not in (errno.ENODEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EACCES, errno.EPERM):
            raise
        return np.load(entry, allow_pickle=False)
