"""A job of several processes, on one host or on more: each host starts its own, by torchrun's machinery.

`container/train` is started once on every host. It becomes the launcher there, and starts itself again as the processes
that train, each with its rank in the environment.
https://docs.pytorch.org/docs/stable/elastic/agent.html
"""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ogiri.machine import available_processors
from ogiri.sagemaker.training import signals
from ogiri.sagemaker.training.environment import RANK_FAILURES, Environment
from ogiri.task import UserError

PORT = 29500  # of the store on the first host; the processes find each other by it
LOOPBACK = "lo"
ASK_SECONDS = 30.0  # nvidia-smi

_PR_SET_PDEATHSIG = 1

_log = logging.getLogger(__name__)


def is_worker() -> bool:
    """Whether this process is one of those that a launcher started."""
    return RANK_FAILURES in os.environ


def rank() -> int:
    """Of this process: 0 where it is the only one."""
    return int(os.environ["RANK"]) if is_worker() else 0


def end_with_launcher() -> None:
    """Let the kernel end this process with the one that started it: it would wait for nobody's signal any more."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def processes(hyperparameters: Any) -> int:
    """How many processes train on this host; 0 where the task knows of no others.

    Args:
        hyperparameters: the checked dataclass; a task that several processes can train has `processes_per_host`.

    Raises:
        UserError: there are fewer GPUs than processes.
    """
    asked = getattr(hyperparameters, "processes_per_host", None)
    if asked is None:
        return 0
    gpus = _gpus()
    if gpus and asked > gpus:
        raise UserError(f"processes_per_host is {asked}, and this host has {gpus} GPUs: each process needs its own")
    return int(asked or max(1, gpus))


def run(job: Environment, local: int) -> None:
    """Start the processes of this host, and wait until those of all hosts have ended well.

    Args:
        job: its hosts.
        local: how many processes this host has.

    Raises:
        RankError: a process failed, here or elsewhere.
        PlatformError: the hosts did not find each other.
    """
    _log.info("%d processes on this host, %s, of %s", local, job.current_host, ", ".join(job.hosts))
    os.environ |= settings(job, local)
    from torch.distributed.elastic.agent.server.api import WorkerSpec

    from ogiri.sagemaker.training.agent import HostAgent
    from ogiri.sagemaker.training.rendezvous import HostsRendezvous, Stopped

    logging.getLogger("torch.distributed.elastic").setLevel(logging.ERROR)  # it tells every step of its own
    several = len(job.hosts) > 1
    address, port = (job.hosts[0], PORT) if several else ("127.0.0.1", 0)
    meeting = HostsRendezvous(job.hosts, job.rank, address, port, job.job_name, signals.stopping)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[RANK_FAILURES] = folder
        spec = WorkerSpec(
            role="trainer",
            local_world_size=local,
            entrypoint=sys.executable,
            args=tuple(sys.orig_argv[1:]),
            rdzv_handler=meeting,
            max_restarts=0,
        )
        agent = HostAgent(spec, Path(folder) / "torchrun", job.hosts, job.rank, Path(folder))
        try:
            agent.run()
        except Stopped:
            _log.info("stopped before the first step: %s is empty", job.model)
        finally:
            agent.close()


def settings(job: Environment, local: int) -> dict[str, str]:
    """The environment of the processes of a host, as far as it is not set already."""
    interface = _interface(job)
    wanted = {
        "OMP_NUM_THREADS": str(max(1, available_processors() // local)),
        # what torchrun itself answers with death; SIGTERM is passed on instead
        "TORCHELASTIC_SIGNALS_TO_HANDLE": "SIGHUP,SIGQUIT",
        "GLOO_SOCKET_IFNAME": interface,
        "NCCL_SOCKET_IFNAME": interface,
    }
    return {name: value for name, value in wanted.items() if value and name not in os.environ}


def _interface(job: Environment) -> str:
    """The network interface of the processes; empty = whichever the host's own name leads to."""
    if len(job.hosts) == 1:
        return LOOPBACK
    known = [name for _, name in socket.if_nameindex()]
    if job.network_interface and job.network_interface not in known:
        _log.warning(
            "resourceconfig.json names the network interface %s, and this host has %s: left to gloo and NCCL",
            job.network_interface,
            ", ".join(known),
        )
        return ""
    return job.network_interface


def _gpus() -> int:
    """How many GPUs the processes of this host can have; torch is only asked where there are several."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    try:
        listed = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=ASK_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return 0  # a driver that does not answer: the trainer says what is wrong with it
    count = sum(line.startswith("GPU ") for line in listed.splitlines())
    if count < 2:
        return count
    import torch

    return torch.cuda.device_count()
