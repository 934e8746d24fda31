from __future__ import annotations

import itertools
import random

import pytest

from ogiri.sagemaker.hosting.body import MAX_PARTS, parts
from ogiri.task import Part, RequestError

BOUNDARY = "b"


def form(*fields: Part) -> bytes:
    body = b""
    for part in fields:
        file = "" if part.filename is None else f'; filename="{part.filename}"'
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{part.name}"{file}\r\n\r\n'
        body += head.encode() + part.data + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


@pytest.mark.parametrize("data", [b"", b"\r\n", b"x--b", b"\r\n--c\r\n", b"-b--", b"\n\n", b"\r\n-", bytes(range(256))])
def test_the_bytes_of_a_part_come_back(data: bytes):
    sent = (Part("a", data), Part("犬", data, "猫.png"), Part("c", b"end"))
    assert parts(form(*sent), BOUNDARY) == sent


def test_a_form_that_is_cut_off_anywhere_is_refused():
    whole = form(Part("a", b"0123456789"), Part("b", b"x\r\ny", "f"))
    last = whole.rindex(b"--")  # what is left of the end is enough to tell that it is one
    for end in range(last):
        with pytest.raises(RequestError):
            parts(whole[:end], BOUNDARY)


def test_a_form_may_have_as_many_parts_as_that_and_no_more():
    assert len(parts(form(*[Part("a", b"")] * MAX_PARTS), BOUNDARY)) == MAX_PARTS
    with pytest.raises(RequestError, match=f"more than {MAX_PARTS} parts"):
        parts(form(*[Part("a", b"")] * (MAX_PARTS + 1)), BOUNDARY)


@pytest.mark.parametrize("boundary", ["", "犬", "(", "a" * 1000, "\x00"])
def test_an_odd_boundary_is_refused_or_taken_literally(boundary: str):
    with pytest.raises(RequestError):
        parts(form(Part("a", b"1")), boundary)


def test_damaged_forms_are_refused_and_nothing_else_happens():
    rng = random.Random(0)
    whole = form(Part("a", b"0123456789"), Part("b", b"x" * 40, "f"))
    for _ in itertools.repeat(None, 3000):
        damaged = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        assert status_of(bytes(damaged)) in (200, 400)


def status_of(data: bytes) -> int:
    try:
        parts(data, BOUNDARY)
    except RequestError as error:
        return error.status
    return 200
