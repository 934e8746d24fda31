"""Answers that are none: one picture without lines does not take the others' away, and says why."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from account import picture

from tests.listening import listening

CUT = b'{"captions": ['
GOOD = json.dumps({"captions": [{"text": "猫", "score": -1.0}], "model": "m"}).encode()


@contextlib.contextmanager
def answering(*bodies: bytes | None) -> Iterator[str]:
    """A server that gives these answers one after the other; where one is None it hangs up, where CUT in mid-body."""
    left = list(bodies)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = left.pop(0)
            if body is None:
                self.close_connection = True
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body) + (body == CUT)))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = body == CUT

        def log_message(self, *_: object) -> None:
            pass

    with listening(Handler) as url:
        yield url


@pytest.fixture
def pictures(tmp_path):
    paths = [tmp_path / f"{colour}.png" for colour in ("red", "green")]
    for path in paths:
        path.write_bytes(picture(path.stem))
    return paths


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([b"<html>busy</html>"], "no JSON, it begins with '<html>busy</html>'"),
        ([b'{"labels": []}'], "no captions: is it a caption model?"),
        ([None] * 5, "endpoint some did not answer: "),
        ([CUT], "endpoint some did not answer: "),
    ],
    ids=["html", "another task", "hung up", "cut"],
)
def test_a_picture_that_an_endpoint_does_not_answer_fails_alone(account, pictures, answers, reason):
    with answering(*answers, GOOD) as url:
        done = account.run("caption", *pictures, "--endpoint", "some", AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME=url)
    assert done.returncode == 1
    assert reason in done.stderr
    assert "猫" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(b"<html>busy</html>", "no JSON, it begins with"), (None, " did not answer: "), (CUT, " did not answer: ")],
)
def test_a_picture_that_the_api_does_not_answer_fails_alone(account, pictures, answer, reason):
    with answering(answer, GOOD) as url:
        done = account.run("caption", *pictures, "--api", url)
    assert done.returncode == 1
    assert reason in done.stderr
    assert "猫" in done.stdout
    assert "Traceback" not in done.stderr
