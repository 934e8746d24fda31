"""How the hosts of a job find each other: a store on the first one, to which all others connect.

torchrun's static rendezvous waits in native code, where no signal is heard; this one waits in Python before it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from torch._C._distributed_c10d import PrefixStore, TCPStore
from torch.distributed import DistError
from torch.distributed.elastic.rendezvous.api import RendezvousInfo
from torch.distributed.elastic.rendezvous.static_tcp_rendezvous import StaticTCPRendezvous

from ogiri.task import PlatformError

FIND_SECONDS = 900.0  # from the first host that is there to the last; each loads the image and the data for itself
POLL_SECONDS = 0.5
ANSWER_SECONDS = 30  # of the store

ARRIVED = "arrived"


class Stopped(Exception):
    """The job was asked to end before all hosts were there."""


class HostsRendezvous(StaticTCPRendezvous):
    """The meeting of all hosts."""

    def __init__(
        self, hosts: tuple[str, ...], rank: int, address: str, port: int, run_id: str, stopping: Callable[[], bool]
    ) -> None:
        """Meet nobody yet.

        Args:
            hosts: the names of all, the first one keeps the store.
            rank: of this host.
            address: of the first host.
            port: of the store; 0 = any that is free, for a job of one host.
            run_id: the same on all hosts.
            stopping: true once the job is asked to end.
        """
        super().__init__(address, port, rank, len(hosts), run_id, ANSWER_SECONDS)
        self._hosts, self._stopping = hosts, stopping

    def next_rendezvous(self) -> RendezvousInfo:
        """Wait until all hosts are there.

        Raises:
            Stopped: the job is asked to end.
            PlatformError: some host did not come in time.
        """
        deadline = time.monotonic() + FIND_SECONDS
        self._store = store = self._serve() if self.rank == 0 else self._connect(deadline)
        self.master_port = store.port
        arrived = PrefixStore(self.run_id, store)
        arrived.set(f"{ARRIVED}/{self.rank}", self._hosts[self.rank])
        while missing := [host for n, host in enumerate(self._hosts) if not arrived.check([f"{ARRIVED}/{n}"])]:
            self._pause(deadline, f"host {missing[0]} of {len(self._hosts)} has not come to the job")
        return super().next_rendezvous()

    def _serve(self) -> TCPStore:
        return TCPStore(self.master_addr, self.master_port, self.world_size, True, self.timeout, wait_for_workers=False)

    def _connect(self, deadline: float) -> TCPStore:
        while True:
            try:
                with socket.create_connection((self.master_addr, self.master_port), POLL_SECONDS):
                    break
            except OSError as error:  # its name may be known late, and it may be slower than this one
                self._pause(deadline, f"{self._hosts[0]}, port {self.master_port}, cannot be reached ({error})")
        try:
            return TCPStore(
                self.master_addr, self.master_port, self.world_size, False, self.timeout, wait_for_workers=False
            )
        except DistError as error:
            raise PlatformError(f"{self._hosts[0]}, port {self.master_port}, does not answer ({error})") from error

    def _pause(self, deadline: float, waited_for: str) -> None:
        if self._stopping():
            raise Stopped
        if time.monotonic() > deadline:
            raise PlatformError(
                f"{waited_for} within {FIND_SECONDS:.0f} s: do the job's security groups allow all traffic between its "
                "hosts?"
            )
        time.sleep(POLL_SECONDS)
