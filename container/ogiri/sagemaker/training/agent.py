"""torchrun's agent, which starts the processes of a host, with what a job of SageMaker asks of it.

A request to end is passed on to the processes, which then keep what is best so far; the agent by itself would kill them
after 30 seconds. And the end of one process, on whatever host, ends all others at once, with its cause.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import Popen
from typing import Any

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs

from ogiri.sagemaker.training import signals
from ogiri.sagemaker.training.failure import LOST_CONTACT, RankError
from ogiri.sagemaker.training.pulse import FAILED, STOP, Pulse

GRACE_SECONDS = 5.0  # for the others of a host to say what they have to say, once one has failed
CAUSE_SECONDS = 10.0  # for another host to tell the cause, where ours only lost contact
POLL_SECONDS = 0.1

_KILLED = "most likely it ran out of memory, or its machine was lost: take a larger instance type, or lower batch_size"

_log = logging.getLogger(__name__)


class HostAgent(LocalElasticAgent):
    """The processes of this host."""

    def __init__(self, spec: WorkerSpec, logs: Path, hosts: Sequence[str], rank: int, failures: Path) -> None:
        """Start nothing yet.

        Args:
            spec: what to start.
            logs: a folder for torchrun's own files.
            hosts: the names of all hosts of the job.
            rank: of this host among them.
            failures: the folder in which each process leaves why it failed, in a file called after its rank.
        """
        super().__init__(spec, DefaultLogsSpecs(str(logs)), shutdown_timeout=int(GRACE_SECONDS))
        self._hosts, self._rank, self._failures = hosts, rank, failures
        self._pulse: Pulse | None = None
        self._told_to_stop = False

    def close(self) -> None:
        """Take leave of the other hosts."""
        if self._pulse is not None:
            self._pulse.leave()

    def _rendezvous(self, worker_group: WorkerGroup) -> None:
        super()._rendezvous(worker_group)
        if len(self._hosts) > 1 and self._store is not None:
            self._pulse = Pulse(self._store.clone(), self._hosts, self._rank)

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        with signals.held():  # until the new process has a handler
            started: dict[int, Any] = super()._start_workers(worker_group)
        return started

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        self._pass_on_stop()
        self._heed_own(worker_group)
        self._heed_others()
        result: RunResult = super()._monitor_workers(worker_group)
        self._heed_own(worker_group)
        return result

    def _exit_barrier(self) -> None:
        """Wait for the other hosts, however long the first one takes to export and evaluate."""
        if self._pulse is None:
            return
        self._pulse.tell(f"done/{self._rank}")
        while not self._pulse.all_done():
            self._pass_on_stop()
            self._heed_others()
            time.sleep(POLL_SECONDS)

    def _workers(self) -> dict[int, Popen[bytes]]:
        """Local rank → its process, asked how it is."""
        started: Any = self._pcontext  # of processes, where a program is started
        handlers = started.subprocess_handlers
        for handler in handlers.values():
            handler.proc.poll()
        return {local_rank: handler.proc for local_rank, handler in handlers.items()}

    def _pass_on_stop(self) -> None:
        stop = signals.stopping()
        if stop and self._pulse is not None and not self._pulse.stop:
            self._pulse.tell(STOP)
        if self._told_to_stop or not (stop or (self._pulse is not None and self._pulse.stop)):
            return
        self._told_to_stop = True
        self._signal(signal.SIGTERM)

    def _heed_own(self, worker_group: WorkerGroup) -> None:
        if not any(worker.returncode for worker in self._workers().values()):
            return
        cause = self._local_cause(worker_group)
        if self._pulse is not None:
            cause = self._agreed(cause)
        self._end_workers()
        raise RankError(cause)

    def _heed_others(self) -> None:
        if self._pulse is None:
            return
        cause = self._pulse.failed
        if not cause and (lost := self._pulse.lost()):
            cause = self._agreed(f"PlatformError: host {lost} gives no sign of life any more: {_KILLED}")
        if cause:
            self._end_workers()
            raise RankError(cause)

    def _local_cause(self, group: WorkerGroup) -> str:
        """Why the job failed, as far as this host knows: not what failed because another had."""
        causes = []
        for local_rank, worker in self._workers().items():
            if worker.returncode:
                rank = group.workers[local_rank].global_rank
                causes.append(self._cause(rank, worker.returncode))
        return min(causes, key=lambda cause: LOST_CONTACT in cause)

    def _cause(self, rank: int, code: int) -> str:
        who = f"rank {rank} on {self._hosts[self._rank]}"
        if code < 0:
            name = signal.Signals(-code).name
            if -code == signal.SIGKILL:
                return f"PlatformError: {who} was killed by {name}: {_KILLED}"
            return f"AlgorithmError: {who} was ended by {name}"
        try:
            first_line, *_ = (self._failures / str(rank)).read_text(encoding="utf-8").splitlines()
            kind, _, said = first_line.partition(": ")
        except OSError:
            return f"AlgorithmError: {who} ended with exit code {code} and without a word"
        return f"{kind}: {who}: {said}"

    def _agreed(self, cause: str) -> str:
        """What all hosts say: the cause that was told first; one that only lost contact waits for a better one."""
        assert self._pulse is not None  # noqa: S101
        deadline = time.monotonic() + CAUSE_SECONDS
        if LOST_CONTACT not in cause:
            self._pulse.tell(FAILED, cause)
            deadline = time.monotonic() + POLL_SECONDS * 30
        while not self._pulse.failed and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        if not self._pulse.failed:
            self._pulse.tell(FAILED, cause)
        return self._pulse.failed or cause

    def _end_workers(self) -> None:
        """Give those that have noticed by themselves a moment to say so, and end the others."""
        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline and any(w.returncode is None for w in self._workers().values()):
            time.sleep(POLL_SECONDS)
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        for local_rank, worker in self._workers().items():
            if worker.returncode is None:
                _log.info("%s to process %d, local rank %d", number.name, worker.pid, local_rank)
                worker.send_signal(number)
