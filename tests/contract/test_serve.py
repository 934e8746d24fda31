"""How `serve` starts, stops and fails."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.contract.server import SERVE, Server, Starter, children, wait_until, write_echo


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as executor:
        yield executor


def test_ping_is_503_until_the_model_has_warmed_up(start: Starter, tmp_path: Path):
    began = time.monotonic()
    server = start(write_echo(tmp_path, warm_up_seconds=1.0))
    server.wait_for_ping(503)
    statuses, waits = [503], []
    while statuses[-1] == 503:
        asked = time.monotonic()
        statuses.append(server.ping() or 0)
        waits.append(time.monotonic() - asked)
        assert time.monotonic() - began < 15
    assert statuses[-1] == 200
    assert time.monotonic() - began > 1.0
    assert max(waits) < 0.8  # each is answered at once, none when the model is ready at last


def test_a_request_while_the_model_is_loading_is_503(start: Starter, tmp_path: Path):
    server = start(write_echo(tmp_path, warm_up_seconds=2.0))
    wait_until_loading(server)
    reply = server.invoke({"text": "a"}, **{"X-Amzn-SageMaker-Custom-Attributes": "trace=1"})
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert reply.headers["X-Amzn-SageMaker-Custom-Attributes"] == "trace=1"


def wait_until_loading(server: Server) -> None:
    """Wait until gunicorn has a worker, whose model is not ready."""
    server.wait_for_ping(503)
    wait_until(lambda: server.invoke({"text": "a"}).error()["code"] == "loading", "the worker answers")


def test_is_ready_within_a_second(start: Starter, tmp_path: Path):
    base_dir = write_echo(tmp_path)
    seconds = []
    while not seconds or (seconds[-1] > 1.0 and len(seconds) < 4):  # the machine may be busy with something else
        began = time.monotonic()
        start(base_dir).wait_for_ping(200)
        seconds.append(time.monotonic() - began)
    assert min(seconds) < 1.0


def test_nothing_loads_torch_and_the_supervisor_loads_next_to_nothing(start: Starter):
    server = start.echo()
    for pid in (server.process.pid, *server.descendants()):
        assert "torch" not in Path(f"/proc/{pid}/maps").read_text()
    size = Path(f"/proc/{server.process.pid}/status").read_text().partition("VmRSS:")[2].split()[0]
    assert int(size) < 40_000  # kB


# --- stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_request_is_finished_before_the_end(start: Starter, pool: ThreadPoolExecutor, number: signal.Signals):
    server = start.echo()
    descendants = server.descendants()
    assert len(descendants) == 4  # nginx and gunicorn, and a worker of each
    running = pool.submit(server.invoke, {"text": "a", "seconds": 1.0})
    wait_until(lambda: len(connections(server)) > 0, "the request has arrived")
    server.process.send_signal(number)
    server.wait_for_ping(None)  # refused
    assert server.process.poll() is None
    assert running.result().status == 200
    assert server.exit_code() == 0
    assert server.left_over() == []
    assert list(server.temporary.iterdir()) == []


def connections(server: Server) -> list[str]:
    """Connections to gunicorn's socket; the socket itself is left out."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    return [line for line in lines if str(server.temporary) in line and line.split()[3] == "00000000"]


def test_sigterm_while_the_model_is_loading_ends_it(start: Starter, tmp_path: Path):
    server = start(write_echo(tmp_path, warm_up_seconds=30))
    wait_until_loading(server)
    server.descendants()
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 5
    assert server.left_over() == []
    messages = [entry["message"] for entry in server.log()]
    stopping = next(index for index, message in enumerate(messages) if message.startswith("stopping"))
    assert not [entry for entry in server.log()[stopping:] if entry["level"] in ("error", "critical")]


def test_sigterm_right_after_the_start_ends_it(start: Starter, tmp_path: Path):
    server = start(write_echo(tmp_path))
    wait_until(lambda: list(server.temporary.iterdir()), "its folder exists")
    assert server.stop() == 0
    assert list(server.temporary.iterdir()) == []


def test_the_children_end_even_if_serve_is_killed(start: Starter):
    server = start.echo()
    server.descendants()
    server.process.kill()
    assert server.exit_code() == -signal.SIGKILL
    wait_until(lambda: server.left_over() == [], "its children are gone", 5)


# --- failing


@pytest.mark.parametrize("name", ["gunicorn", "nginx"])
def test_a_dead_child_ends_the_server(start: Starter, name: str):
    server = start.echo()
    server.descendants()
    os.kill({"gunicorn": server.gunicorn, "nginx": server.nginx}[name](), signal.SIGKILL)
    assert server.exit_code() == 1
    assert server.wait_for_log(f"{name} was killed by SIGKILL")["level"] == "error"
    wait_until(lambda: server.left_over() == [], "nothing is left over", 5)
    assert list(server.temporary.iterdir()) == []


def test_a_worker_that_dies_is_replaced_and_ping_says_so(start: Starter, tmp_path: Path):
    server = start(write_echo(tmp_path, warm_up_seconds=0.5))
    server.wait_for_ping(200)
    first = server.worker()
    reply = server.invoke({"text": "a", "kill": True})
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert reply.error()["code"] == "unavailable"
    assert server.ping() == 503
    server.wait_for_ping(200)
    assert server.worker() != first
    assert server.invoke({"text": "a"}).status == 200
    assert server.wait_for_log("SIGKILL")["level"] == "error"


def test_a_worker_that_dies_while_it_loads_ends_the_server(start: Starter, tmp_path: Path):
    server = start(write_echo(tmp_path, warm_up_kills=True))
    assert server.exit_code() == 3
    server.wait_for_log("the worker died while it loaded the model")


def test_a_damaged_artifact_ends_the_server_and_the_log_names_the_file(start: Starter, tmp_path: Path):
    base_dir = write_echo(tmp_path)
    (base_dir / "model" / "weights.bin").write_bytes(b"012345678X")
    server = start(base_dir)
    assert server.exit_code() == 3
    entry = server.wait_for_log("cannot be served")
    assert entry["level"] == "critical"
    assert str(base_dir / "model" / "weights.bin") in entry["message"]


def test_an_empty_model_folder_ends_the_server(start: Starter, tmp_path: Path):
    (tmp_path / "model").mkdir()
    server = start(tmp_path, program=SERVE)
    assert server.exit_code() == 3
    assert "manifest.json" in server.wait_for_log("cannot be served")["message"]


def test_an_unknown_task_ends_the_server_and_the_log_names_it(start: Starter, tmp_path: Path):
    server = start(write_echo(tmp_path), program=SERVE)  # the image's own table has no `echo`
    assert server.exit_code() == 3
    assert "'echo'" in server.wait_for_log("cannot be served")["message"]


def test_a_port_in_use_ends_it_at_once(start: Starter, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        server = start(write_echo(tmp_path), {"SAGEMAKER_BIND_TO_PORT": port})
        assert server.exit_code() == 1
    (entry,) = server.log()
    assert all(part in entry["message"] for part in (port, "in use", "SAGEMAKER_BIND_TO_PORT"))


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "http", "1 to 65535"),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "0", "1 to 1024"),
        ("MODEL_SERVER_TIMEOUT", "-1", "1 to 3600"),
        ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "image/png", "application/json"),
        ("SAGEMAKER_CONTAINER_LOG_LEVEL", "loud", "info"),
    ],
)
def test_a_bad_setting_ends_it_at_once(start: Starter, tmp_path: Path, name: str, value: str, allowed: str):
    server = start(tmp_path, {name: value})
    assert server.exit_code() == 1
    (entry,) = server.log()
    assert all(part in entry["message"] for part in (name, value, allowed))


def test_says_so_when_there_is_no_nginx(start: Starter, tmp_path: Path):
    server = start(tmp_path, {"PATH": str(tmp_path)})
    assert server.exit_code() == 1
    (entry,) = server.log()
    assert "nginx is not on PATH" in entry["message"]


# --- under load


def test_ping_is_quick_and_more_requests_are_refused_when_all_threads_are_busy(
    start: Starter, pool: ThreadPoolExecutor
):
    server = start.echo(OGIRI_MAX_CONCURRENT_REQUESTS="2")
    done = threading.Event()
    running = [pool.submit(server.invoke, {"text": "a", "seconds": 1.5}) for _ in range(2)]
    for future in running:
        future.add_done_callback(lambda _: done.set())
    wait_until(lambda: len(connections(server)) == 2, "both requests have arrived")
    refused = server.invoke({"text": "a"})
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert refused.error()["code"] == "overloaded"
    server.wait_for_log("POST /invocations: 503, by nginx")  # before its body was read
    assert [server.ping() for _ in range(20)] == [200] * 20
    assert not done.is_set()  # none waited for a thread
    assert [future.result().status for future in running] == [200, 200]


def test_ping_is_503_within_two_seconds_when_the_worker_hangs(start: Starter):
    server = start.echo()
    worker = server.worker()
    os.kill(worker, signal.SIGSTOP)
    asked = time.monotonic()
    reply = server.request("GET", "/ping")
    assert time.monotonic() - asked < 2
    os.kill(worker, signal.SIGCONT)
    assert (reply.status, reply.error()["code"]) == (503, "unavailable")
    server.wait_for_ping(200)


def test_a_worker_that_hangs_for_long_is_replaced(start: Starter):
    server = start.echo(ECHO_HUNG_SECONDS="2")
    worker = server.worker()
    os.kill(worker, signal.SIGSTOP)
    wait_until(lambda: worker not in children(server.gunicorn()), "it is killed")
    server.wait_for_ping(200)
    assert server.worker() != worker
    assert server.invoke({"text": "a"}).status == 200
    server.wait_for_log("WORKER TIMEOUT")


def test_ping_is_quick_while_bodies_of_many_lines_and_streams_take_all_places(start: Starter, pool: ThreadPoolExecutor):
    server = start.echo(OGIRI_MAX_CONCURRENT_REQUESTS="8")
    lines = b'{"text": "a", "seconds": 0.1}\n' * 160
    headers = {"Content-Type": "application/jsonlines"}
    stream = {"pieces": ["a"] * 20, "seconds": 0.1, "stream": True}
    running = [pool.submit(server.request, "POST", "/invocations", lines, headers) for _ in range(4)]
    running += [pool.submit(server.invoke, stream) for _ in range(4)]
    wait_until(lambda: len(connections(server)) == 8, "all requests have arrived")
    assert server.invoke({"text": "a"}).status == 503
    statuses, waits = [], []
    while not any(future.done() for future in running):
        asked = time.monotonic()
        statuses.append(server.ping())
        waits.append(time.monotonic() - asked)
    assert set(statuses) == {200}
    assert max(waits) < 2  # what SageMaker waits
    assert [future.result().status for future in running] == [200] * 8


def test_a_request_that_takes_too_long_is_504(start: Starter):
    server = start.echo(SAGEMAKER_MODEL_SERVER_TIMEOUT="1", MODEL_SERVER_TIMEOUT="50")
    began = time.monotonic()
    reply = server.invoke({"text": "a", "seconds": 20})
    assert (reply.status, reply.error()["code"]) == (504, "deadline_exceeded")
    assert 0.9 < time.monotonic() - began < 5


def test_a_request_is_given_up_when_its_caller_hangs_up(start: Starter):
    server = start.echo(OGIRI_MAX_CONCURRENT_REQUESTS="1")
    body = json.dumps({"text": "a", "seconds": 30})
    with socket.create_connection(("127.0.0.1", server.port)) as caller:
        head = "POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length:"
        caller.sendall(f"{head} {len(body)}\r\n\r\n{body}".encode())
        wait_until(lambda: server.invoke({"text": "a"}).status == 503, "the only place is taken")
    wait_until(lambda: server.invoke({"text": "a"}).status == 200, "the place is free again", 5)


def test_two_servers_run_at_once(start: Starter):
    one, other = start.echo(), start.echo()
    assert one.invoke({"text": "one"}).json()["captions"][0]["text"] == "one"
    assert other.stop() == 0
    assert one.invoke({"text": "one"}).status == 200


# --- in other surroundings


def test_runs_in_a_temporary_folder_with_a_space_in_its_name(start: Starter, tmp_path: Path):
    temporary = tmp_path / "my files"
    temporary.mkdir()
    server = start(write_echo(tmp_path), {"TMPDIR": str(temporary)})
    server.wait_for_ping(200)
    assert server.invoke({"text": "a"}).status == 200


READ_ONLY = """
set -e
mount -t tmpfs -o ro none /dev/shm
mount -o remount,bind,ro /
mount -t tmpfs none "$TMPDIR"
! touch /dev/shm/x "$SAGEMAKER_BASE_DIR/x" 2>/dev/null
exec "$@"
"""


def runs(*command: str) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(not runs("unshare", "--mount", "true"), reason="needs the right to mount")
def test_writes_nowhere_but_to_its_temporary_folder(start: Starter, tmp_path: Path):
    server = start(write_echo(tmp_path), prefix=("unshare", "--mount", "sh", "-c", READ_ONLY, "sh"))
    server.wait_for_ping(200)
    data = bytes(3 * 2**20)  # more than nginx keeps in memory
    reply = server.request("POST", "/invocations", data, {"Content-Type": "image/png", "Accept": "text/plain"})
    assert reply.body == b"3145728 bytes"
    assert server.stop() == 0


NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.mark.skipif(not runs(*NOBODY, sys.executable, "-c", ""), reason="needs root, and a Python for everybody")
def test_runs_as_another_user_than_root(start: Starter):
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are for one user alone
        folder = Path(name)
        write_echo(folder)
        (folder / "tmp").mkdir()
        for path in (folder, folder / "tmp"):
            path.chmod(0o777)
        server = start(folder, {"TMPDIR": str(folder / "tmp")}, prefix=NOBODY)
        server.wait_for_ping(200)
        data = bytes(3 * 2**20)
        reply = server.request("POST", "/invocations", data, {"Content-Type": "image/png", "Accept": "text/plain"})
        assert reply.body == b"3145728 bytes"
        assert server.request("TRACE", "/").status == 405
        server.wait_for_log("TRACE /: 405, by nginx")
        assert server.stop() == 0
