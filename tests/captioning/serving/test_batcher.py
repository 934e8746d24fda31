from __future__ import annotations

import itertools
import queue
import threading

import numpy as np
import pytest

from ogiri.captioning.serving.batcher import Batcher, Ticket
from ogiri.captioning.serving.captioner import Captioner
from ogiri.captioning.serving.decoding import Decoding
from ogiri.captioning.serving.parameters import Parameters
from tests.contract.server import wait_until

SECONDS = 30.0


def ticket(captioner: Captioner, maps: np.ndarray, stream: bool = False, **how: object) -> Ticket:
    known = captioner.conditions((), "")
    return Ticket(captioner.writing(maps[:1], known, Parameters(seed=1, **how)), stream)


def expected(captioner: Captioner, maps: np.ndarray, **how: object) -> list[tuple[int, ...]]:
    found = captioner.caption(maps[:1], captioner.conditions((), ""), Parameters(seed=1, **how))
    return [caption.tokens for caption in found]


def tokens(one: Ticket) -> list[tuple[int, ...]]:
    return [caption.tokens for caption in one.writing.search.captions()]


def test_what_is_settled_is_told_as_it_comes(captioner: Captioner, maps: np.ndarray):
    batcher, one = Batcher(captioner.decoding), ticket(captioner, maps, stream=True, min_length=12)
    batcher.submit(one)
    told = []
    while (news := one.wait(SECONDS)) is not None:
        told.append(news)
    assert len(told) > 3
    assert all(len(after) > len(before) and after.startswith(before) for before, after in itertools.pairwise(told))
    assert one.writing.search.captions()[0].text.startswith(told[-1])
    batcher.close()


def test_tickets_from_many_threads_all_get_their_lines(captioner: Captioner, maps: np.ndarray):
    batcher, tickets = (
        Batcher(captioner.decoding),
        [ticket(captioner, maps, num_candidates=1 + n % 3) for n in range(24)],
    )
    threads = [threading.Thread(target=batcher.submit, args=(one,)) for one in tickets]
    for thread in threads:
        thread.start()
    assert [one.wait(SECONDS) for one in tickets] == [None] * 24
    for number, one in enumerate(tickets):
        assert tokens(one) == expected(captioner, maps, num_candidates=1 + number % 3)
    assert batcher.statistics()["pictures"] == 24
    batcher.close()


def test_it_rests_at_once_where_it_is_told_to(captioner: Captioner, maps: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ogiri.captioning.serving.batcher.REST_SECONDS", 10 * SECONDS)
    rested = threading.Event()

    class Resting(Decoding):
        def rest(self) -> None:
            assert not self.tasks
            rested.set()

    batcher = Batcher(lambda: Resting(captioner.engine, captioner.tokenizer.bos, captioner.max_tokens + 1))
    for _ in range(2):  # beside a line, and while it waits
        one = ticket(captioner, maps)
        batcher.submit(one)
        batcher.rest()
        assert one.wait(SECONDS) is None
        assert rested.wait(SECONDS)
        rested.clear()
    batcher.rest()
    assert rested.wait(SECONDS)
    batcher.close()


def test_a_ticket_that_is_given_up_is_told_nothing_more(captioner: Captioner, maps: np.ndarray):
    batcher, one, other = Batcher(captioner.decoding), ticket(captioner, maps), ticket(captioner, maps)
    one.give_up()
    for each in (one, other):
        batcher.submit(each)
    assert other.wait(SECONDS) is None
    with pytest.raises(queue.Empty):
        one.wait(0.05)
    batcher.close()


class Slow(Decoding):
    """Does not get on until it may."""

    may = threading.Event()

    def step(self):
        type(self).may.wait(SECONDS)
        return super().step()


def test_says_for_how_long_it_has_stood_still(captioner: Captioner, maps: np.ndarray):
    batcher = Batcher(lambda: Slow(captioner.engine, captioner.tokenizer.bos, 32))
    assert batcher.stuck_seconds() == 0
    one = ticket(captioner, maps)
    batcher.submit(one)
    wait_until(lambda: batcher.stuck_seconds() > 0.2, "it has stood still")
    Slow.may.set()
    assert one.wait(SECONDS) is None
    wait_until(lambda: batcher.stuck_seconds() == 0, "it has nothing to do")
    batcher.close()


class Failing(Decoding):
    """Fails once in a way that nobody has thought of."""

    failed = False

    def step(self):
        if not type(self).failed:
            type(self).failed = True
            raise ArithmeticError("something")
        return super().step()


def test_an_error_nobody_thought_of_reaches_its_caller_and_not_the_next(captioner: Captioner, maps: np.ndarray):
    batcher = Batcher(lambda: Failing(captioner.engine, captioner.tokenizer.bos, 32))
    one, other = ticket(captioner, maps), ticket(captioner, maps)
    batcher.submit(one)
    with pytest.raises(ArithmeticError, match="something"):
        one.wait(SECONDS)
    batcher.submit(other)
    assert other.wait(SECONDS) is None
    assert tokens(other) == expected(captioner, maps)
    batcher.close()


def test_closing_waits_for_what_has_begun_and_takes_nothing_more(captioner: Captioner, maps: np.ndarray):
    before = threading.active_count()
    batcher, one = Batcher(captioner.decoding), ticket(captioner, maps, min_length=20)
    batcher.submit(one)
    batcher.close()
    assert one.wait(0.0) is None
    with pytest.raises(RuntimeError):
        batcher.submit(ticket(captioner, maps))
    assert threading.active_count() == before
