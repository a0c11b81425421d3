"""The device that a stage computes on, and its CPU threads."""

import os

import torch

from loopda.errors import ConfigError, DeviceError
from loopda.runtime import distributed, processes
from loopda.runtime.lease import WAIT_SECONDS, is_mine, lease


def choose_device(name: str = "auto", *, shared: bool = False, several: bool = False) -> torch.device:
    """The device called `name`: "auto" (a CUDA device if there is one, else the CPU), "cpu" or "cuda".

    The environment variable LOOPDA_DEVICE overrides `name`. Of several CUDA devices, the process takes the first that
    no other job on this machine holds, and holds it until it ends. If CUDA_VISIBLE_DEVICES leaves one device (set by
    SLURM or the user), the process uses it even if another job holds it.

    shared: the process may use a device that another job holds. several: the stage may run in several processes of
    torchrun; each takes a device and joins the others here. DeviceError where CUDA is asked for and absent, or all
    devices are taken; ConfigError for torchrun without `several`.
    """
    if processes.count() > 1 and not several:
        raise ConfigError("this stage works in one process; start it without torchrun")
    name = os.environ.get("LOOPDA_DEVICE", name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise DeviceError(f"device {name!r}: choose auto, cpu or cuda (LOOPDA_DEVICE or the flag --device)")
    if name == "cpu":
        device = torch.device("cpu")
        distributed.start(device)
        return device
    if not torch.cuda.is_available():
        raise DeviceError("device cuda: PyTorch sees no CUDA device here; use --device auto or cpu")
    device = torch.device("cuda", _index(shared))
    torch.cuda.set_device(device)
    distributed.start(device)
    return device


def use_threads(threads: int) -> None:
    """Set PyTorch's number of CPU threads to `threads`, divided among the processes of torchrun on this node.

    The order of sums depends on it, so bit-equal runs need equal numbers of threads.
    """
    torch.set_num_threads(max(threads // processes.count_here(), 1))


def _index(shared: bool) -> int:
    visible = [str(torch.cuda.get_device_properties(index).uuid) for index in range(torch.cuda.device_count())]
    if shared:
        return next((index for index, device in enumerate(visible) if is_mine(device)), 0)
    if processes.count_here() > len(visible):
        raise DeviceError(
            f"{processes.count_here()} processes need a GPU each, and there are {len(visible)}: start fewer (the key"
            " processes, torchrun's --nproc-per-node), or ask for more GPUs"
        )
    assigned = len(visible) == 1 and "CUDA_VISIBLE_DEVICES" in os.environ
    try:
        return lease(visible, wait=0 if assigned else WAIT_SECONDS)
    except DeviceError:
        if not assigned:
            raise
        return 0
