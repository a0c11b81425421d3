"""GPU leases, with names in the place of devices and real processes in that of jobs."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import torch

from loopda.errors import DeviceError
from loopda.runtime import device, lease
from loopda.runtime.device import choose_device

GPUS = ["GPU-a", "GPU-b"]
JOB = """
import sys
from loopda.runtime.lease import lease
print(lease(sys.argv[2:], wait=float(sys.argv[1])), flush=True)
sys.stdin.read()
"""

Start = Callable[..., subprocess.Popen]


@pytest.fixture(autouse=True)
def leases(tmp_path, monkeypatch) -> None:
    """A folder of leases for each test, in which this process holds none."""
    monkeypatch.setenv("LOOPDA_LEASES", str(tmp_path / "leases"))
    monkeypatch.setattr(lease, "_held", {})


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a job that leases one of some devices, prints its index, and works until it is ended."""
    jobs = []

    def start(*devices: str, wait: float = 0) -> subprocess.Popen:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        jobs.append(subprocess.Popen([sys.executable, "-c", JOB, str(wait), *devices], **pipes))
        return jobs[-1]

    yield start
    for job in jobs:
        job.kill()
        job.communicate()


def device_of(job: subprocess.Popen) -> int:
    return int(job.stdout.readline())


def test_two_jobs_hold_different_devices_and_a_third_is_refused_with_their_names(start):
    jobs = [start(*GPUS), start(*GPUS)]
    assert {device_of(job) for job in jobs} == {0, 1}
    with pytest.raises(DeviceError, match="all 2 GPUs here are taken") as refused:
        lease.lease(GPUS, wait=0)
    assert refused.value.exit_code == 4
    assert all(f"pid {job.pid} " in str(refused.value) for job in jobs)
    assert "--resources gpu=2" in str(refused.value)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_device_of_a_job_that_was_killed_is_free_again(start, number):
    first = start(*GPUS)
    assert device_of(first) == 0
    assert device_of(start(*GPUS)) == 1
    first.send_signal(number)
    assert first.wait() == -number
    assert lease.lease(GPUS, wait=0) == 0


def test_a_job_waits_for_a_device_that_is_about_to_be_free(start):
    first = start("GPU-a")
    assert device_of(first) == 0
    second = start("GPU-a", wait=60)
    first.kill()
    assert device_of(second) == 0


def test_a_process_that_asks_again_gets_the_device_that_it_has(start):
    assert lease.lease(GPUS, wait=0) == 0
    assert lease.lease(GPUS, wait=0) == 0
    assert device_of(start(*GPUS)) == 1


def test_a_folder_of_leases_that_somebody_else_owns_is_refused(monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(DeviceError, match="somebody else's.*LOOPDA_LEASES"):
        lease.lease(GPUS, wait=0)


@pytest.fixture
def gpus(monkeypatch) -> Callable[..., None]:
    """Let PyTorch see devices of some names, with or without the environment's CUDA_VISIBLE_DEVICES."""

    def see(*names: str, assigned: bool = False) -> None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if assigned:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(str(index) for index in range(len(names))))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=names[index]))
        monkeypatch.setattr(torch.cuda, "set_device", lambda chosen: None)

    monkeypatch.delenv("LOOPDA_DEVICE", raising=False)
    return see


@pytest.mark.parametrize("assigned", [False, True])
def test_the_device_chosen_is_the_first_of_several_that_nobody_holds(gpus, start, assigned):
    assert device_of(start("GPU-a")) == 0
    gpus(*GPUS, assigned=assigned)
    assert choose_device("auto") == torch.device("cuda", 1)
    assert choose_device("auto") == torch.device("cuda", 1)


def test_the_one_device_that_slurm_or_the_user_has_assigned_is_used_whoever_holds_it(gpus, start):
    assert device_of(start("GPU-a")) == 0
    gpus("GPU-a", assigned=True)
    assert choose_device("cuda") == torch.device("cuda", 0)


def test_the_one_assigned_device_is_held_when_it_is_free_so_that_others_go_elsewhere(gpus, start):
    gpus("GPU-a", assigned=True)
    choose_device("cuda")
    assert device_of(start(*GPUS)) == 1


def test_a_device_that_nobody_assigned_and_somebody_holds_is_refused(gpus, start, monkeypatch):
    monkeypatch.setattr(device, "WAIT_SECONDS", 0)
    holder = start("GPU-a")
    assert device_of(holder) == 0
    gpus("GPU-a")
    with pytest.raises(DeviceError, match=f"GPU-a by pid {holder.pid} "):
        choose_device("auto")


def test_a_shared_device_is_the_one_this_process_has_or_else_the_first_and_is_not_held(gpus, start):
    gpus(*GPUS)
    assert choose_device("auto", shared=True) == torch.device("cuda", 0)
    assert device_of(start(*GPUS)) == 0
    choose_device("auto")
    assert choose_device("auto", shared=True) == torch.device("cuda", 1)


def test_without_a_gpu_nothing_is_leased(tmp_path, monkeypatch):
    monkeypatch.delenv("LOOPDA_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    assert not (tmp_path / "leases").exists()
