"""The thread that decodes: requests hand their pictures in, and all share each step."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

from ogiri.captioning.serving.captioner import Writing
from ogiri.captioning.serving.decoding import Decoding

REST_SECONDS = 1.0  # without a request, until memory is given back

logger = logging.getLogger(__name__)


class Ticket:
    """A picture that waits for its lines."""

    def __init__(self, writing: Writing, stream: bool) -> None:
        """Args: stream: whether it is to be told what is settled after every step."""
        self.writing, self.stream = writing, stream
        self.given_up = False
        self._news: queue.SimpleQueue[str | Exception | None] = queue.SimpleQueue()
        self._told = ""

    def wait(self, seconds: float) -> str | None:
        """What the best line begins with for sure, once there is more of it; None once the lines are there.

        Raises:
            queue.Empty: nothing has happened for so many seconds.
            Exception: what went wrong.
        """
        news = self._news.get(timeout=seconds)
        if isinstance(news, Exception):
            raise news
        return news

    def give_up(self) -> None:
        """Nobody waits for the lines any more."""
        self.given_up = True

    def tell(self) -> None:
        """Tell what is settled, if that is more than before."""
        settled = self.writing.search.settled
        if len(settled) > len(self._told):
            self._told = settled
            self._news.put(settled)

    def end(self, error: Exception | None = None) -> None:
        """Tell that it is over."""
        self._news.put(error)


class Batcher:
    """A thread that takes the lines of all tickets forward, a token at a time."""

    def __init__(self, decoding: Callable[[], Decoding]) -> None:
        """Args: decoding: makes the batch, which only the thread uses and holds."""
        self._condition = threading.Condition()
        self._arrived: list[Ticket] = []
        self._closing = self._resting = False
        self._steps = self._tokens = self._pictures = 0
        self._busy_since: float | None = None  # the last step, or the arrival of the first ticket after none
        self._thread = threading.Thread(target=self._run, args=(decoding,), name="decode", daemon=True)
        self._thread.start()

    def submit(self, ticket: Ticket) -> None:
        """Let a picture's lines be written.

        Raises:
            RuntimeError: the thread has been told to end.
        """
        with self._condition:
            if self._closing:
                raise RuntimeError("nothing is decoded any more")
            self._arrived.append(ticket)
            self._condition.notify()

    def statistics(self) -> dict[str, int]:
        """Since the start: steps, tokens that they took in, pictures that are over."""
        return {"steps": self._steps, "tokens": self._tokens, "pictures": self._pictures}

    def stuck_seconds(self) -> float:
        """How long ago the last step ended, where tickets wait for the next one; 0 where none does."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def rest(self) -> None:
        """Give memory back as soon as nothing is written, without waiting for `REST_SECONDS`."""
        with self._condition:
            self._resting = True
            self._condition.notify()

    def close(self) -> None:
        """End the thread once all tickets have their lines."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join()

    def _run(self, make: Callable[[], Decoding]) -> None:
        decoding, running = make(), dict[int, Ticket]()
        while True:
            with self._condition:
                while not (self._arrived or running or self._closing):
                    self._busy_since = None
                    if self._resting or not self._condition.wait(REST_SECONDS):
                        self._resting = False
                        decoding.rest()
                self._busy_since = time.monotonic()
                arrived, self._arrived = self._arrived, []
            if not (arrived or running):
                return
            running |= {id(ticket.writing): ticket for ticket in arrived}
            try:
                self._step(decoding, arrived, running)
            except Exception as error:  # a bug of ours: those it hit get it, and those who come later do not
                logger.exception("decoding failed")
                for ticket in running.values():
                    ticket.end(error)
                running.clear()
                decoding = make()

    def _step(self, decoding: Decoding, arrived: list[Ticket], running: dict[int, Ticket]) -> None:
        for ticket in arrived:
            decoding.add(ticket.writing)
        for ticket in [ticket for ticket in running.values() if ticket.given_up]:
            decoding.drop(ticket.writing)
            del running[id(ticket.writing)]
        before = decoding.steps, decoding.row_steps
        for ended in decoding.step():
            self._pictures += 1
            running.pop(id(ended.task)).end(ended.error)
        self._steps += decoding.steps - before[0]
        self._tokens += decoding.row_steps - before[1]
        for ticket in running.values():
            if ticket.stream:
                ticket.tell()
