from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from local import interruption, program
from local.step import Steps

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    interruption.install()
    for number, handler in before.items():
        signal.signal(number, handler)


class Finaliser:
    def __init__(self, number: signal.Signals) -> None:
        self.number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)
        for _ in range(1000):  # Python looks for signals between its instructions
            pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("where", ["progress", "next step"])
def test_a_signal_that_comes_in_a_finaliser_still_ends_the_program(
    number: signal.Signals, where: str, capsys: pytest.CaptureFixture[str]
):
    reached = []

    def work() -> None:
        steps = Steps(2)
        with steps.step("first") as step:
            Finaliser(number)
            reached.append("after the signal")
            if where == "progress":
                step.progress(1, 2)
                reached.append("after progress")
        with steps.step("second"):
            reached.append("second")

    assert program.run("test", work) == 130
    assert reached == ["after the signal"]
    assert "test: interrupted" in capsys.readouterr().err


def test_without_a_signal_nothing_is_raised():
    interruption.install()
    interruption.check()
