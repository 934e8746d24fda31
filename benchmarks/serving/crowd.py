"""Clients that know the right answers, and clients that hang up."""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from benchmarks.serving.mix import REFUSALS, Query, same

ROUNDS = 5  # of all requests side by side, to learn what they mean
TIMEOUT_SECONDS = 90  # longer than the server's deadline
PAUSE_SECONDS = 0.05  # after a refusal
PATIENCE_SECONDS = 0.05  # of one who hangs up, at most
SHOWN_BYTES = 160
PATH = "/invocations"
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close at once, as a crash does


@dataclass
class Seen:
    """What clients saw.

    Attributes:
        statuses: status, or the name of what the connection met → how often.
        wrong: what was answered as right and is not, or refused as wrong and is not; the first few.
        wrongs: how many.
        unanswered: when each request was begun that met no answer at all, on the monotonic clock.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    wrongs: int = 0
    unanswered: list[float] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """How many were begun."""
        return sum(self.statuses.values())

    def told(self) -> str:
        """The statuses in words."""
        return ", ".join(f"{count:,} × {name}" for name, count in sorted(self.statuses.items()))

    def note(self, status: str, wrong: str | None, begun: float) -> None:
        """Count one request."""
        self.statuses[status] += 1
        if not status.isdigit():
            self.unanswered.append(begun)
        if wrong is not None:
            self.wrongs += 1
            self.wrong = [*self.wrong, wrong][:5]


class Crowd:
    """Clients of one server, which ask what is in a queue and compare the answers with the known ones."""

    def __init__(self, port: int, known: Mapping[Query, list[Any]], clients: int) -> None:
        """Args: known: what each request may mean on an undisturbed server (`learned`)."""
        self._port, self._known, self._clients = port, known, clients
        self._lock = threading.Lock()

    def ask(self, queries: Iterable[Query], meanwhile: Callable[[], object] | None = None) -> Seen:
        """Ask all of them; with `meanwhile`, until that has returned at the latest."""
        seen, waiting, over = Seen(), iter(queries), threading.Event()
        threads = [threading.Thread(target=self._client, args=(waiting, over, seen)) for _ in range(self._clients)]
        for thread in threads:
            thread.start()
        try:
            if meanwhile is not None:
                meanwhile()
                over.set()
        except BaseException:
            over.set()
            raise
        finally:
            for thread in threads:
                thread.join()
        return seen

    def _client(self, waiting: Any, over: threading.Event, seen: Seen) -> None:
        connection: http.client.HTTPConnection | None = None
        while not over.is_set():
            with self._lock:
                query = next(waiting, None)
            if query is None:
                break
            connection = connection or http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_SECONDS)
            begun = time.monotonic()
            try:
                status, content = ask(connection, query)
                found, wrong = str(status), self._judged(query, status, content)
            except (OSError, http.client.HTTPException) as error:
                found, wrong = type(error).__name__, None
            with self._lock:
                seen.note(found, wrong, begun)
            if not found.isdigit() or int(found) in REFUSALS:
                connection.close()
                connection = None
                time.sleep(PAUSE_SECONDS)
        if connection is not None:
            connection.close()

    def _judged(self, query: Query, status: int, content: bytes) -> str | None:
        """What is wrong with an answer; None where it is right, or says that there is none."""
        if status in REFUSALS and status != query.status:
            return None
        try:
            right = status == query.status and _is_among(query.meaning(content), self._known[query])
        except ValueError as error:
            return f"{query.name}: {status}, {error}"
        return None if right else f"{query.name}: {status} {content[:SHOWN_BYTES]!r}"


def learned(port: int, queries: Sequence[Query], clients: int) -> dict[Query, list[Any]]:
    """What each request means to a server that is not disturbed: alone, and beside the others.

    A line is made of sums in floating point, whose last digit may depend on how many lines are written together; 8-bit
    activations make a thousandth of it. Where a model is undecided to that digit, there are two right answers.

    Raises:
        RuntimeError: its status is another one, or twice alone it means two things.
    """
    known: dict[Query, list[Any]] = {}
    for query in [*queries, *queries]:
        found = _meaning(port, query)
        if query in known and not same(known[query][0], found):
            raise RuntimeError(f"{query.name}: {known[query][0]}, then {found}")
        known.setdefault(query, [found])
    mixed = random.Random(0).choices(queries, k=ROUNDS * len(queries))  # noqa: S311
    with ThreadPoolExecutor(clients) as pool:
        for query, found in zip(mixed, pool.map(lambda query: _meaning(port, query), mixed), strict=True):
            if not _is_among(found, known[query]):
                known[query].append(found)
    return known


def _meaning(port: int, query: Query) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    with contextlib.closing(connection):
        status, content = ask(connection, query)
    if status != query.status:
        raise RuntimeError(f"{query.name}: {status}, not {query.status}: {content[:SHOWN_BYTES]!r}")
    return query.meaning(content)


def _is_among(found: Any, known: list[Any]) -> bool:
    return any(same(found, each) for each in known)


def ask(connection: http.client.HTTPConnection, query: Query) -> tuple[int, bytes]:
    """Status and body."""
    connection.request("POST", PATH, query.body, dict(query.headers))
    answer = connection.getresponse()
    return answer.status, answer.read()


def hang_up(port: int, queries: Iterable[Query], phase: str, clients: int) -> int:
    """Begin requests and go away: in the middle of `sending`, while `waiting`, or in the middle of `reading`.

    Returns:
        How many were left.
    """
    waiting, lock, left = iter(queries), threading.Lock(), Counter[str]()

    def client(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311
        while True:
            with lock:
                query = next(waiting, None)
            if query is None:
                return
            with contextlib.suppress(OSError):
                _leave(port, query, phase, chance)
            with lock:
                left[phase] += 1

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return left[phase]


def _leave(port: int, query: Query, phase: str, chance: random.Random) -> None:
    lines = [f"POST {PATH} HTTP/1.1", "Host: a", *(f"{name}: {value}" for name, value in query.headers.items())]
    message = "\r\n".join([*lines, f"Content-Length: {len(query.body)}", "", ""]).encode() + query.body
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS) as connection:
        if chance.random() < 0.5:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.sendall(message[: chance.randrange(1, len(message))] if phase == "sending" else message)
        if phase == "reading":
            connection.recv(1)
        else:
            time.sleep(chance.uniform(0, PATIENCE_SECONDS))
