import socket

import pytest
from stand_ins import picture

from ogiri_aws.addresses import ForbiddenAddressError, check_address
from ogiri_aws.clients import connect
from ogiri_aws.pictures import Limits, PictureError, PictureSource


@pytest.fixture
def source(aws):
    clients = connect(threads=2, networks=("127.0.0.2/32",))
    yield PictureSource(clients.s3, clients.http, limits=Limits(read_seconds=1))
    clients.close()


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.169.254"),
        *("224.0.0.1", "255.255.255.255", "240.0.0.1", "::1", "::", "fe80::1%eth0", "fc00::1", "fd00:ec2::254"),
        *("::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "ff02::1", "2001:db8::1"),
    ],
)
def test_an_address_that_is_not_public_is_refused(address):
    with pytest.raises(ForbiddenAddressError, match="no public address"):
        check_address(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111"])
def test_a_public_address_is_taken(address):
    assert check_address(address) == address


def test_a_network_that_was_named_is_taken_and_its_neighbours_are_not(outside, web, source):
    assert source.fetch(outside.add("/a.jpg", picture())) == picture()
    with pytest.raises(PictureError, match=r"127\.0\.0\.1 is no public address"):
        source.fetch(web.add("/a.jpg", picture()))
    assert not web.requests


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "169.254.169.254", "[::1]", "2130706433", "0x7f.1"])
def test_a_redirect_never_leads_inside(outside, web, source, host):
    port = web.url.rpartition(":")[2]
    start = outside.add("/start", status=302, Location=f"http://{host}:{port}/secret.jpg")
    web.add("/secret.jpg", picture())
    with pytest.raises(PictureError, match="/start cannot be fetched"):
        source.fetch(start)
    assert not web.requests


def test_a_refused_address_is_not_tried_again(outside, source, monkeypatch):
    asked = []
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *more, **options: (asked.append(host), real(host, *more, **options))[1]
    )
    with pytest.raises(PictureError):
        source.fetch("http://127.0.0.1:9/a.jpg")
    assert asked == ["127.0.0.1"]


def test_a_name_that_changes_its_address_cannot_lead_elsewhere(outside, web, source, monkeypatch):
    port = int(outside.url.rpartition(":")[2])
    real = socket.getaddrinfo
    answers = iter(["127.0.0.2", "127.0.0.1"])

    def changing(host, *more, **options):
        return real(next(answers) if host == "changing.example" else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", changing)
    outside.add("/a.jpg", picture())
    assert source.fetch(f"http://changing.example:{port}/a.jpg") == picture()
    assert next(answers) == "127.0.0.1"  # it was asked for once


def test_a_name_that_changes_its_address_between_two_hops_does_not_lead_inside(outside, web, source, monkeypatch):
    real = socket.getaddrinfo
    answers = iter(["127.0.0.2", "127.0.0.1"])

    def changing(host, *more, **options):
        return real(next(answers) if host == "changing.example" else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", changing)
    secret = web.add("/secret.jpg", picture()).replace("127.0.0.1", "changing.example")
    start = outside.add("/start", status=302, Location=secret).replace("127.0.0.2", "changing.example")
    with pytest.raises(PictureError, match=r"127\.0\.0\.1 is no public address"):
        source.fetch(start)
    assert outside.requests == {"/start": 1}
    assert not web.requests
    assert next(answers, None) is None  # each hop asked for once, and went to what it was told then


def test_a_name_with_one_private_address_among_others_is_refused(outside, source, monkeypatch):
    port = int(outside.url.rpartition(":")[2])
    real = socket.getaddrinfo

    def both(host, *more, **options):
        return [entry for address in ("127.0.0.2", "10.0.0.1") for entry in real(address, *more, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    with pytest.raises(PictureError, match=r"10\.0\.0\.1 is no public address"):
        source.fetch(f"http://both.example:{port}/a.jpg")


def test_an_address_that_does_not_answer_is_passed_over_for_the_next(outside, source, monkeypatch):
    port = int(outside.url.rpartition(":")[2])
    real = socket.getaddrinfo
    monkeypatch.setattr("ogiri_aws.addresses.check_address", lambda address, _: address)

    def both(host, *more, **options):
        addresses = ("127.0.0.3", "127.0.0.2") if host == "both.example" else (host,)
        return [entry for address in addresses for entry in real(address, *more, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    outside.add("/a.jpg", picture())
    assert source.fetch(f"http://both.example:{port}/a.jpg") == picture()


def test_a_proxy_of_the_environment_is_not_asked(outside, source, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    assert source.fetch(outside.add("/a.jpg", picture())) == picture()
