import threading
import time

import pytest

from ogiri.captioning.serving.turns import Turns
from tests.waiting import until


def test_those_who_wait_come_in_their_order_and_nobody_overtakes_them():
    turns, came, waiting = Turns(1), list[int](), list[threading.Thread]()

    def come(number: int) -> None:
        with turns:
            came.append(number)

    with turns:
        for number in range(8):
            waiting.append(threading.Thread(target=come, args=(number,)))
            waiting[-1].start()
            until(lambda number=number: len(turns._waiting) == number + 1)
    come(8)  # at the moment at which the place is handed over
    for thread in waiting:
        thread.join()
    assert came == list(range(9))


def test_no_more_at_a_time_than_there_are_places():
    turns, inside, most = Turns(3), set[int](), list[int]()

    def come(number: int) -> None:
        for _ in range(20):
            with turns:
                inside.add(number)
                most.append(len(inside))
                time.sleep(0.0005)
                inside.discard(number)

    threads = [threading.Thread(target=come, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 200
    assert max(most) == 3


def test_an_error_leaves_the_place_free():
    turns = Turns(1)
    with pytest.raises(KeyError), turns:
        raise KeyError("inside")
    with turns:
        pass
