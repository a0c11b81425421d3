"""Errors of the operating system, PyTorch and CUDA with a cause outside the code, as a LoopdaError with the remedy."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from loopda.errors import ConfigError, DataError, DeviceError, LoopdaError
from loopda.runtime import processes
from loopda.runtime.files import NO_SPACE, unwritable
from loopda.text.names import printable

# messages of gloo and NCCL where another process has ended; which of them comes depends on what was still to be sent
LOST = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "Connection refused",
    "remote process exited",
)


@contextmanager
def wrapped() -> Iterator[None]:
    """Raise `as_loopda_error` in place of an error that leaves the block, if it gives one."""
    try:
        yield
    except Exception as error:
        fault = as_loopda_error(error)
        if fault is None or fault is error:
            raise
        raise fault from error


def as_loopda_error(error: Exception) -> LoopdaError | None:
    """The LoopdaError for `error`; None where the error is a bug.

    It covers errors of the operating system, a device that is out of memory or lost, an operation without a
    deterministic implementation, and the end of another process of the stage.
    """
    if isinstance(error, LoopdaError):
        return error
    first = str(error).partition("\n")[0]
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return unwritable(error.filename or "a file", error)
    if isinstance(error, OSError) and error.filename:
        return DataError(f"{error.filename}: {error.strerror}; correct that and run the same command again")
    if isinstance(error, UnicodeEncodeError) and "surrogates not allowed" in str(error):
        return DataError(f"{printable(error.object)}: a name that is not UTF-8; rename, and run the same command again")
    if isinstance(error, MemoryError) or _is_torch_error(error, "OutOfMemoryError") or "can't allocate memory" in first:
        return DeviceError(
            f"the memory is too small ({first or 'the process got no more'}{_peak()}); a stage that trains needs less "
            "with compute.memory balanced, small or least (compute.compiled false), and with compute.precision bf16 (a "
            "new training); else choose a smaller batch_size, input.crop or input.size for this stage, or another "
            "device. The same command goes on from the last saved step"
        )
    if "does not have a deterministic implementation" in first:
        return ConfigError(
            f"compute.reproducibility exact: this network cannot be trained so on this device ({first.split('.')[0]}); "
            "choose seeded, or --device cpu"
        )
    if processes.count() > 1 and any(words in str(error) for words in LOST):
        return DeviceError("another process of this stage has ended; what it says is the cause")
    if _is_torch_error(error, "AcceleratorError") or first.startswith("CUDA error"):
        return DeviceError(f"the device failed ({first}); run the same command again: it goes on from the last step")
    return None


def _is_torch_error(error: Exception, name: str) -> bool:
    torch = sys.modules.get("torch")  # not imported here: some stages do not need it
    return hasattr(torch, name) and isinstance(error, getattr(torch, name))


def _peak() -> str:
    """The peak of the GPU memory of tensors, for a message; "" without a GPU."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return f"; at most {cuda.max_memory_allocated() / 1e9:.1f} GB in use" if cuda and cuda.is_initialized() else ""
