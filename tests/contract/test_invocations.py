"""POST /invocations, and every way for it to go wrong, through nginx."""

from __future__ import annotations

import json

import pytest

from tests.contract.server import Server, Starter

MEGABYTE = 2**20


def test_answers_a_request(echo: Server):
    reply = echo.invoke({"text": "犬も歩けば"})
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json() == {"captions": [{"text": "犬も歩けば", "score": -0.5}], "model": "echo"}
    assert "犬も歩けば".encode() in reply.body  # not \u-escaped


@pytest.mark.parametrize(
    ("accept", "content_type", "body"),
    [
        ("text/plain", "text/plain; charset=utf-8", "犬"),
        ("text/plain; charset=utf-8", "text/plain; charset=utf-8", "犬"),
        ("application/json;q=0.2, text/plain;q=0.9", "text/plain; charset=utf-8", "犬"),
        ("image/png, */*;q=0.1", "application/json", None),
        ("*/*", "application/json", None),
        ("application/*", "application/json", None),
    ],
)
def test_answers_with_the_type_that_the_caller_likes_best(echo: Server, accept: str, content_type: str, body: str):
    reply = echo.invoke({"text": "犬"}, Accept=accept)
    assert (reply.status, reply.headers["Content-Type"]) == (200, content_type)
    assert body is None or reply.body.decode() == body


def test_an_accept_that_cannot_be_met_is_406(echo: Server):
    reply = echo.invoke({"text": "犬"}, Accept="image/png, text/plain;q=0")
    assert reply.status == 406
    assert reply.error()["code"] == "not_acceptable"
    assert "application/json" in reply.error()["message"]


def test_the_content_type_may_have_parameters(echo: Server):
    reply = echo.request("POST", "/invocations", b'{"text": "a"}', {"Content-Type": "Application/JSON; charset=utf-8"})
    assert reply.status == 200


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/x-npy"}, {"Content-Type": "nonsense"}])
def test_another_content_type_is_415_and_names_those_that_are_taken(echo: Server, headers: dict[str, str]):
    reply = echo.request("POST", "/invocations", b"{}", headers)
    assert reply.status == 415
    assert "application/json, text/plain, image/png" in reply.error()["message"]


def test_a_body_that_the_model_cannot_read_is_400(echo: Server):
    reply = echo.request("POST", "/invocations", b'{"text": ', {"Content-Type": "application/json"})
    assert reply.status == 400
    assert reply.error()["code"] == "invalid_json"


def test_an_empty_body_is_400(echo: Server):
    reply = echo.request("POST", "/invocations", b"", {"Content-Type": "application/json"})
    assert (reply.status, reply.error()["code"]) == (400, "empty_body")


def test_an_error_of_the_model_is_500_without_its_cause_which_is_in_the_log(echo: Server):
    reply = echo.invoke({"text": None})
    assert reply.status == 500
    assert "TypeError" not in reply.body.decode()
    entry = echo.wait_for_log("failed", request_id=reply.error()["request_id"])
    assert "TypeError" in entry["traceback"]


def test_a_long_message_is_cut_to_what_sagemaker_passes_on(echo: Server):
    reply = echo.invoke({"message": 'だ"' * 3000})
    assert reply.status == 400
    assert 1000 < len(reply.body) <= 2048
    assert reply.error()["message"].startswith('だ"だ"')


def test_a_model_that_is_busy_says_when_to_come_back(echo: Server):
    reply = echo.invoke({"message": "too much", "status": 429})
    assert (reply.status, reply.headers["Retry-After"]) == (429, "1")


@pytest.mark.parametrize("size", [25 * MEGABYTE + 1, 26 * MEGABYTE + 1, 40 * MEGABYTE])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_25_megabytes_is_413(echo: Server, size: int, chunked: bool):
    headers = {"Content-Type": "image/png", "X-Amzn-SageMaker-Custom-Attributes": "trace=1"}
    if chunked:
        reply = echo.request("POST", "/invocations", iter([bytes(size)]), headers, encode_chunked=True)
    else:
        reply = echo.request("POST", "/invocations", bytes(size), headers)
    assert reply.status == 413
    assert "25 MB" in reply.error()["message"]
    assert reply.headers["X-Amzn-SageMaker-Custom-Attributes"] == "trace=1"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_25_megabytes_is_taken(echo: Server, chunked: bool):
    data = bytes(25 * MEGABYTE)
    body = iter([data]) if chunked else data
    headers = {"Content-Type": "image/png", "Accept": "text/plain"}
    reply = echo.request("POST", "/invocations", body, headers, encode_chunked=chunked)
    assert (reply.status, reply.body) == (200, b"26214400 bytes")


def test_a_large_body_of_an_unknown_type_gets_its_answer_all_the_same(echo: Server):
    headers = {"Content-Type": "application/x-npy"}
    sizes = list(range(MEGABYTE, 25 * MEGABYTE, MEGABYTE))  # nginx may be cut off at any point
    assert [echo.request("POST", "/invocations", bytes(size), headers).status for size in sizes] == [415] * len(sizes)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/invocations/", 404),
        ("GET", "/ping/x", 404),
        ("GET", "/.error", 404),
        ("GET", "/invocations", 405),
        ("PUT", "/invocations", 405),
        ("POST", "/ping", 405),
        ("TRACE", "/invocations", 405),
    ],
)
def test_unknown_paths_and_methods_are_errors_in_json(echo: Server, method: str, path: str, status: int):
    reply = echo.request(method, path, headers={"X-Amzn-SageMaker-Custom-Attributes": "trace=1"})
    assert reply.status == status
    assert reply.error()["code"] == {404: "not_found", 405: "method_not_allowed"}[status]
    assert reply.headers["X-Amzn-SageMaker-Custom-Attributes"] == "trace=1"
    assert bool(reply.headers["Allow"]) == (status == 405)


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/" + "a" * 8000, {}), ("/", {"X-Long": "a" * 8000}), ("/", {f"X-{number}": "a" for number in range(300)})],
)
def test_what_nginx_lets_through_gunicorn_does_not_refuse(echo: Server, path: str, headers: dict[str, str]):
    reply = echo.request("GET", path, headers=headers)
    assert (reply.status, reply.error()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET /ping HTTP/7.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /ping HTTP/1.1\r\n\r\n", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET /ping HTTP/1.1\r\nHost: a\r\nX-Long: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (b"POST /invocations HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: odd\r\nConnection: close\r\n\r\n", 501),
        (b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\nConnection: close\r\n\r\n", 400),
    ],
)
def test_what_is_not_http_is_an_error_in_json(echo: Server, request_text: bytes, status: int):
    head, _, body = echo.raw(request_text).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert json.loads(body)["error"].keys() == {"code", "message", "request_id"}


@pytest.mark.parametrize("path", ["/invocations", "/nowhere"])
def test_custom_attributes_come_back_unchanged(echo: Server, path: str):
    attributes = "trace-0815, times=2,suffix=%E7%8C%AB%2C, broken=%ff"
    headers = {"Content-Type": "application/json", "X-Amzn-SageMaker-Custom-Attributes": attributes}
    reply = echo.request("POST", path, b'{"text": "a"}', headers)
    assert reply.headers["X-Amzn-SageMaker-Custom-Attributes"] == attributes
    if path == "/invocations":
        assert reply.json()["captions"][0]["text"] == "aa猫,"


@pytest.mark.parametrize("attributes", ["times=9", "times=a", "suffix=%ff"])
def test_a_bad_value_in_custom_attributes_is_400(echo: Server, attributes: str):
    reply = echo.invoke({"text": "a"}, **{"X-Amzn-SageMaker-Custom-Attributes": attributes})
    assert reply.status == 400
    assert attributes.partition("=")[0] in reply.error()["message"]


@pytest.mark.parametrize("name", ["X-Request-Id", "X-Amzn-SageMaker-Inference-Id"])
@pytest.mark.parametrize("path", ["/invocations", "/nowhere"])
def test_the_id_of_the_caller_is_in_the_answer_and_in_the_log(echo: Server, name: str, path: str):
    given = f"{name}:{path}".replace("/", "_")
    reply = echo.request("POST", path, b'{"text": "a"}', {"Content-Type": "application/json", name: given})
    assert reply.headers["X-Request-Id"] == given
    entry = echo.wait_for_log(request_id=given, status=reply.status)
    assert entry["path"] == path
    assert entry["milliseconds"] >= 0


@pytest.mark.parametrize("given", ['a"b', "a\\b", "a b", "a" * 129, "犬"])
@pytest.mark.parametrize("method", ["POST", "TRACE"])
def test_an_id_that_cannot_be_used_is_replaced(echo: Server, given: str, method: str):
    headers = {"Content-Type": "application/json", "X-Request-Id": given.encode()}
    reply = echo.request(method, "/invocations", b"{", headers)
    assert len(reply.error()["request_id"]) == 32


def test_the_log_has_no_body_and_no_successful_ping(echo: Server):
    secret = "誰にも言わないで"
    assert echo.ping() == 200
    assert echo.invoke({"text": secret}, **{"X-Request-Id": "secret-1"}).status == 200
    echo.request("POST", "/invocations", secret.encode(), {"Content-Type": "application/json"})
    echo.request("POST", "/invocations", secret.encode(), {"Content-Type": "application/x-secret"})
    echo.request("TRACE", "/invocations", headers={"X-Request-Id": "last"})
    echo.wait_for_log("TRACE /invocations: 405, by nginx")
    assert secret not in echo.log_file.read_text(encoding="utf-8")
    assert not [entry for entry in echo.log() if entry.get("path") == "/ping" and entry["status"] == 200]


def test_a_smaller_limit_is_kept(start: Starter):
    server = start.echo(SAGEMAKER_MAX_PAYLOAD_IN_MB="1", SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT="text/plain")
    headers = {"Content-Type": "image/png"}
    assert server.request("POST", "/invocations", bytes(MEGABYTE), headers).body == b"1048576 bytes"
    for size in (MEGABYTE + 1, 3 * MEGABYTE):
        reply = server.request("POST", "/invocations", bytes(size), headers)
        assert reply.status == 413
        assert "1 MB" in reply.error()["message"]
