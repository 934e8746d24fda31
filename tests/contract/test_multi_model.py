"""A multi-model endpoint: models come and go while others answer."""

from __future__ import annotations

import itertools
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from ogiri.artifact import write_manifest
from ogiri.captioning.model.tokenizer import train_tokenizer
from tests.captioning.serving import tiny
from tests.contract.server import Reply, Server, Starter, wait_until, write_echo
from tests.contract.test_caption import LINES, picture
from tests.contract.test_serve import connections

MULTI_MODEL = {"SAGEMAKER_MULTI_MODEL": "true"}
MEGABYTE = 2**20
LARGE = 2048, 2
"""Width and number of square weights that make an encoder 32 MB large."""
MANY = 512, 40
"""The same for 40 MB of weights, each too small to be given back by itself."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    starter = Starter(tmp_path_factory)
    yield begin(starter, tmp_path_factory.mktemp("opt_ml"))
    starter.stop()


@pytest.fixture
def server(shared: Server) -> Iterator[Server]:
    """A server with no model, the same for many tests."""
    yield shared
    assert all(unload(shared, name).status == 200 for name in names(shared))


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as executor:
        yield executor


@pytest.fixture(scope="module")
def echo_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_echo(tmp_path_factory.mktemp("echo")) / "model")


@pytest.fixture(scope="module")
def caption_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_caption(tmp_path_factory.mktemp("caption") / "model"))


@pytest.fixture(scope="module")
def large_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(enlarge(write_caption(tmp_path_factory.mktemp("large") / "model"), *LARGE))


def write_caption(folder: Path) -> Path:
    tokenizer = train_tokenizer(LINES * 5, 400)
    return tiny.write_artifact(folder, tokenizer.model, tokenizer.vocabulary)


def enlarge(model: Path, width: int, count: int) -> Path:
    """Put `count` square weights behind the encoder of a caption artifact."""
    graph = onnx.load(model / "encoder.onnx")
    random = np.random.default_rng(0)
    value = graph.graph.node[-1].output[0] = "small"
    widths = (tiny.CHANNELS, *[width] * (count + 1), tiny.CHANNELS)
    for number, (rows, columns) in enumerate(itertools.pairwise(widths)):
        weight = (random.standard_normal((rows, columns)) / rows**0.5).astype(np.float32)
        graph.graph.initializer.append(numpy_helper.from_array(weight, f"large{number}"))
        output = "map" if number == len(widths) - 2 else f"value{number}.large"
        graph.graph.node.append(helper.make_node("MatMul", [value, f"large{number}"], [output]))
        value = output
    onnx.save(graph, model / "encoder.onnx")
    manifest = json.loads((model / "manifest.json").read_text())
    write_manifest(model, {name: manifest[name] for name in manifest if name not in ("files", "format_version")})
    return model


def begin(start: Starter, base_dir: Path, **environ: str) -> Server:
    """A server with no model."""
    server = start(base_dir, {**MULTI_MODEL, **environ})
    server.wait_for_ping(200)
    return server


def load(server: Server, name: str, url: str) -> Reply:
    body = json.dumps({"model_name": name, "url": url}).encode()
    return server.request("POST", "/models", body, {"Content-Type": "application/json"})


def path_of(name: str) -> str:
    return f"/models/{quote(name, safe='')}"


def invoke(server: Server, name: str, content: Any, **headers: str) -> Reply:
    named = {"Content-Type": "application/json", **{key.replace("_", "-"): value for key, value in headers.items()}}
    return server.request("POST", f"{path_of(name)}/invoke", json.dumps(content).encode(), named)


def unload(server: Server, name: str) -> Reply:
    return server.request("DELETE", path_of(name))


def names(server: Server) -> list[str]:
    return [model["modelName"] for model in server.request("GET", "/models").json()["models"]]


def resident_megabytes(server: Server) -> float:
    status = Path(f"/proc/{server.worker()}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


# --- the routes


def test_ping_is_200_with_no_model_and_nothing_is_loaded(start: Starter, tmp_path: Path):
    write_echo(tmp_path)  # what would be served otherwise
    server = begin(start, tmp_path)
    reply = server.request("GET", "/models")
    assert (reply.status, reply.headers["Content-Type"], reply.json()) == (200, "application/json", {"models": []})
    refused = server.invoke({"text": "a"})
    assert (refused.status, refused.error()["code"]) == (404, "not_found")
    assert "/models/NAME/invoke" in refused.error()["message"]


@pytest.mark.parametrize("value", ["", "false"])
def test_there_are_no_such_routes_unless_asked_for(start: Starter, echo_url: str, value: str):
    server = start.echo(SAGEMAKER_MULTI_MODEL=value)
    replies = [
        load(server, "a", echo_url),
        server.request("GET", "/models"),
        server.request("GET", "/models/a"),
        unload(server, "a"),
        invoke(server, "a", {"text": "a"}),
    ]
    assert [(reply.status, reply.error()["code"]) for reply in replies] == [(404, "not_found")] * 5


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [("SAGEMAKER_MULTI_MODEL", "maybe", "true or false"), ("OGIRI_MODEL_MEMORY_MB", "1GB", "1 to 1048576")],
)
def test_a_bad_setting_ends_the_server(start: Starter, tmp_path: Path, name: str, value: str, allowed: str):
    server = start(tmp_path, {**MULTI_MODEL, name: value})
    assert server.exit_code() == 1
    (entry,) = server.log()
    assert all(part in entry["message"] for part in (name, value, allowed))


def test_a_model_is_loaded_listed_asked_and_unloaded(server: Server, echo_url: str):
    described = {"modelName": "m", "modelUrl": echo_url}
    loaded = load(server, "m", echo_url)
    assert (loaded.status, loaded.json()) == (200, described)
    assert server.request("GET", "/models").json() == {"models": [described]}
    assert server.request("GET", "/models/m").json() == described
    assert invoke(server, "m", {"text": "犬"}).json()["captions"][0]["text"] == "犬"
    unloaded = unload(server, "m")
    assert (unloaded.status, unloaded.json()) == (200, described)
    assert names(server) == []
    for reply in (server.request("GET", "/models/m"), unload(server, "m"), invoke(server, "m", {"text": "犬"})):
        assert (reply.status, reply.error()["code"]) == (404, "model_not_found")
        assert "'m'" in reply.error()["message"]


def test_an_invocation_is_what_it_is_at_invocations(server: Server, echo_url: str):
    load(server, "m", echo_url)
    attributes = "trace-1,times=2"
    plain = invoke(server, "m", {"text": "犬"}, Accept="text/plain", X_Amzn_SageMaker_Custom_Attributes=attributes)
    assert (plain.headers["Content-Type"], plain.body.decode()) == ("text/plain; charset=utf-8", "犬犬")
    assert plain.headers["X-Amzn-SageMaker-Custom-Attributes"] == attributes
    path = "/models/m/invoke"
    assert server.request("POST", path, b"{}", {"Content-Type": "application/x-npy"}).status == 415
    assert invoke(server, "m", {"text": "犬"}, Accept="image/png").status == 406
    assert invoke(server, "m", {"message": "no", "status": 429}).status == 429
    too_large = server.request("POST", path, bytes(25 * MEGABYTE + 1), {"Content-Type": "image/png"})
    assert (too_large.status, too_large.error()["code"]) == (413, "payload_too_large")
    wrong_method = server.request("GET", path)
    assert (wrong_method.status, "POST" in wrong_method.headers["Allow"]) == (405, True)


def test_the_log_names_the_model(server: Server, echo_url: str):
    load(server, "犬/猫", echo_url)
    invoke(server, "犬/猫", {"text": "a"}, X_Request_Id="named-1")
    entry = server.wait_for_log(request_id="named-1")
    assert (entry["model"], entry["status"]) == ("犬/猫", 200)
    assert unload(server, "犬/猫").status == 200
    invoke(server, "犬/猫", {"text": "a"}, X_Request_Id="named-2")
    entry = server.wait_for_log(request_id="named-2")
    assert (entry["model"], entry["status"], entry["error"]) == ("犬/猫", 404, "model_not_found")


@pytest.mark.parametrize(
    "name",
    ["8fb1d0", "a/b", "a%2Fb", "a//b", "/", "a/invoke", "invoke", "..", "a/../b", "日本 語", "a?b#c", "a+b;c=d,e", '"'],
)
def test_a_name_may_have_any_characters(server: Server, echo_url: str, name: str):
    assert load(server, name, echo_url).status == 200
    assert names(server) == [name]
    assert server.request("GET", path_of(name)).json()["modelName"] == name
    assert invoke(server, name, {"text": "a"}).status == 200
    assert unload(server, name).status == 200
    assert names(server) == []


# --- what cannot be loaded


def test_a_model_that_is_loaded_already_is_409(server: Server, echo_url: str, caption_url: str):
    load(server, "m", echo_url)
    reply = load(server, "m", caption_url)
    assert (reply.status, reply.error()["code"]) == (409, "conflict")
    assert invoke(server, "m", {"text": "a"}).json()["model"] == "echo"


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"", "not JSON"),
        (b'{"model_name": ', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'["m"]', "model_name"),
        (b'{"url": "/tmp"}', "model_name"),
        (b'{"model_name": 5, "url": "/tmp"}', "model_name is 5"),
        (b'{"model_name": "", "url": "/tmp"}', "model_name"),
        (b'{"model_name": "\\ud800", "url": "/tmp"}', "model_name"),
        (b'{"model_name": "m"}', "url"),
        (b'{"model_name": "m", "url": ["/tmp"]}', "url"),
        (b'{"model_name": "m", "url": "models/m"}', "absolute path"),
        (b'{"model_name": "m", "url": "s3://bucket/m"}', "absolute path"),
    ],
)
def test_a_bad_request_to_load_is_400_and_says_why(server: Server, body: bytes, part: str):
    reply = server.request("POST", "/models", body, {"Content-Type": "application/json"})
    assert reply.status == 400
    assert part in reply.error()["message"]
    assert names(server) == []


def test_a_folder_that_does_not_exist_is_404(server: Server, tmp_path: Path):
    reply = load(server, "m", str(tmp_path / "gone"))
    assert (reply.status, reply.error()["code"]) == (404, "not_found")
    assert str(tmp_path / "gone") in reply.error()["message"]


def test_a_damaged_artifact_is_400_with_the_reason_and_its_name_stays_free(server: Server, tmp_path: Path):
    model = write_echo(tmp_path) / "model"
    (model / "weights.bin").write_bytes(b"012345678X")
    reply = load(server, "m", str(model))
    assert (reply.status, reply.error()["code"]) == (400, "invalid_model")
    assert "'m'" in reply.error()["message"]
    assert str(model / "weights.bin") in reply.error()["message"]
    (model / "weights.bin").write_bytes(b"0123456789")
    assert load(server, "m", str(model)).status == 200


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (lambda model: (model / "manifest.json").unlink(), "manifest.json"),
        (lambda model: write_manifest(model, {"task": "sing", "name": "a"}), "'sing'"),
        (lambda model: write_manifest(model, {"task": "caption", "name": "a"}), "preprocessing"),
    ],
)
def test_what_is_no_model_is_400(server: Server, tmp_path: Path, damage: Callable[[Path], None], part: str):
    model = write_echo(tmp_path) / "model"
    damage(model)
    reply = load(server, "m", str(model))
    assert (reply.status, part in reply.error()["message"]) == (400, True)
    assert names(server) == []


def test_a_broken_graph_is_400_and_other_models_go_on(server: Server, tmp_path: Path, echo_url: str):
    load(server, "good", echo_url)
    model = write_caption(tmp_path / "model")
    (model / "decoder.onnx").write_bytes(b"no graph")
    write_manifest(model, tiny.manifest(400))
    reply = load(server, "bad", str(model))
    assert (reply.status, "decoder.onnx" in reply.error()["message"]) == (400, True)
    assert invoke(server, "good", {"text": "a"}).status == 200


# --- side by side


def test_models_of_two_tasks_answer_as_themselves(server: Server, echo_url: str, caption_url: str):
    assert load(server, "echo", echo_url).status == load(server, "caption", caption_url).status == 200
    image = {"Content-Type": "image/png"}
    for _ in range(3):
        assert invoke(server, "echo", {"text": "犬"}).json()["model"] == "echo"
        caption = server.request("POST", "/models/caption/invoke", picture(), image)
        assert (caption.status, caption.json()["model"]) == (200, "tiny")
        assert caption.json()["captions"][0]["text"]
    assert names(server) == ["caption", "echo"]
    assert unload(server, "caption").status == 200
    assert invoke(server, "echo", {"text": "犬"}).status == 200


def test_a_model_that_is_being_loaded_disturbs_no_other(
    server: Server, pool: ThreadPoolExecutor, tmp_path: Path, echo_url: str
):
    load(server, "quick", echo_url)
    go_on = tmp_path / "go_on"
    slow = str(write_echo(tmp_path, warm_up_until=str(go_on)) / "model")
    loading = pool.submit(load, server, "slow", slow)
    wait_until(lambda: is_loading(server, "slow"), "the slow one is being loaded")
    assert load(server, "slow", slow).error()["code"] == "conflict"
    assert [invoke(server, "quick", {"text": "a"}).status for _ in range(50)] == [200] * 50
    assert server.ping() == 200
    assert invoke(server, "slow", {"text": "a"}).headers["Retry-After"] == "1"
    assert unload(server, "slow").status == 409
    assert server.request("GET", "/models/slow").status == 404
    assert names(server) == ["quick"]
    assert not loading.done()
    go_on.touch()
    assert loading.result().status == 200
    assert invoke(server, "slow", {"text": "a"}).status == 200


def is_loading(server: Server, name: str) -> bool:
    reply = invoke(server, name, {"text": "a"})
    return reply.status == 503 and reply.error()["code"] == "loading"


def test_models_are_loaded_one_after_another(server: Server, pool: ThreadPoolExecutor, tmp_path: Path):
    urls = [str(write_echo(tmp_path / name, warm_up_seconds=0.5) / "model") for name in "abc"]
    began = time.monotonic()
    replies = list(pool.map(lambda url: load(server, url, url), urls))
    assert time.monotonic() - began >= 1.5
    assert [reply.status for reply in replies] == [200] * 3


@pytest.mark.parametrize("slow", [{"text": "a", "seconds": 1.0}, {"pieces": ["a"] * 5, "seconds": 0.2, "stream": True}])
def test_unloading_waits_for_running_requests_and_refuses_new_ones_at_once(
    server: Server, pool: ThreadPoolExecutor, echo_url: str, slow: dict[str, Any]
):
    load(server, "m", echo_url)
    running = pool.submit(invoke, server, "m", slow)
    asked = {"text": "a", "count": True}
    wait_until(lambda: invoke(server, "m", asked).json()["running"] == 2, "the request is under way beside this one")
    unloading = pool.submit(unload, server, "m")
    wait_until(lambda: names(server) == [], "it is being unloaded", 5)
    refused = invoke(server, "m", {"text": "a"})
    assert (refused.status, refused.error()["code"]) == (404, "model_not_found")
    assert load(server, "m", echo_url).status == 409
    assert not running.done()
    assert not unloading.done()
    assert unloading.result().status == 200
    assert b"captions" in running.result().body
    assert load(server, "m", echo_url).status == 200


def test_all_models_share_one_limit_and_models_come_and_go_beyond_it(
    start: Starter, pool: ThreadPoolExecutor, tmp_path: Path, echo_url: str
):
    server = begin(start, tmp_path, OGIRI_MAX_CONCURRENT_REQUESTS="1")
    assert load(server, "a", echo_url).status == load(server, "b", echo_url).status == 200
    done = threading.Event()
    running = pool.submit(invoke, server, "a", {"text": "a", "seconds": 2.0})
    running.add_done_callback(lambda _: done.set())
    wait_until(lambda: connections(server), "the only place is taken")
    assert invoke(server, "b", {"text": "b"}).error()["code"] == "overloaded"
    assert [server.ping() for _ in range(20)] == [200] * 20
    assert names(server) == ["a", "b"]
    assert unload(server, "b").status == 200
    assert load(server, "c", echo_url).status == 200
    assert not done.is_set()
    assert running.result().status == 200


def test_models_that_wait_to_be_loaded_take_no_thread_from_others(
    start: Starter, pool: ThreadPoolExecutor, tmp_path: Path, echo_url: str
):
    server = begin(start, tmp_path, OGIRI_MAX_CONCURRENT_REQUESTS="1")
    load(server, "quick", echo_url)
    go_on = tmp_path / "go_on"
    slow = str(write_echo(tmp_path / "slow", warm_up_until=str(go_on)) / "model")
    loading = [pool.submit(load, server, "slow", slow)]
    wait_until(lambda: is_loading(server, "slow"), "the slow one is being loaded")
    loading += [pool.submit(load, server, f"quick{number}", echo_url) for number in range(15)]
    wait_until(lambda: len(connections(server)) == len(loading), "the others wait for it")
    assert [server.ping() for _ in range(20)] == [200] * 20
    assert invoke(server, "quick", {"text": "a"}).status == 200
    assert not any(future.done() for future in loading)
    go_on.touch()
    assert [future.result().status for future in loading] == [200] * len(loading)


def test_loading_may_take_longer_than_a_request(start: Starter, tmp_path: Path):
    server = begin(start, tmp_path, SAGEMAKER_MODEL_SERVER_TIMEOUT="1")
    slow = str(write_echo(tmp_path / "slow", warm_up_seconds=6.0) / "model")  # nginx gives a request 5 s then
    assert load(server, "slow", slow).status == 200
    assert invoke(server, "slow", {"text": "a", "seconds": 20}).status == 504
    assert unload(server, "slow").status == 200


def test_sigterm_while_a_model_is_being_loaded_lets_it_finish(
    start: Starter, pool: ThreadPoolExecutor, tmp_path: Path, echo_url: str
):
    server = begin(start, tmp_path)
    slow = str(write_echo(tmp_path / "slow", warm_up_seconds=1.0) / "model")
    loading = pool.submit(load, server, "slow", slow)
    wait_until(lambda: is_loading(server, "slow"), "it is being loaded")
    assert server.stop() == 0
    assert loading.result().status == 200


def test_a_worker_that_dies_ends_the_server_since_its_models_are_gone(start: Starter, tmp_path: Path, echo_url: str):
    server = begin(start, tmp_path)
    load(server, "m", echo_url)
    assert invoke(server, "m", {"text": "a", "kill": True}).status == 503
    assert server.exit_code() == 3
    server.wait_for_log("the worker died with the models in it")


# --- memory


@pytest.mark.parametrize("weights", [LARGE, MANY])
def test_memory_is_given_back_when_a_model_is_unloaded(
    server: Server, tmp_path: Path, caption_url: str, weights: tuple[int, int]
):
    url = str(enlarge(write_caption(tmp_path / "model"), *weights))
    image = {"Content-Type": "image/png"}
    # What stays is ONNX Runtime itself, and what a first answer takes.
    assert load(server, "m", caption_url).status == 200
    assert server.request("POST", "/models/m/invoke", picture(), image).status == 200
    assert unload(server, "m").status == 200
    before = resident_megabytes(server)
    assert load(server, "m", url).status == 200
    assert server.request("POST", "/models/m/invoke", picture(), image).status == 200
    assert resident_megabytes(server) > before + 25
    assert unload(server, "m").status == 200
    assert resident_megabytes(server) < before + 10


def test_memory_does_not_grow_with_the_models_that_come_and_go(server: Server, large_url: str):
    sizes = []
    for _ in range(10):
        assert load(server, "m", large_url).status == 200
        assert unload(server, "m").status == 200
        sizes.append(resident_megabytes(server))
    assert max(sizes) < sizes[0] + 10


def test_a_model_that_does_not_fit_is_507_until_another_is_unloaded(start: Starter, tmp_path: Path, large_url: str):
    server = begin(start, tmp_path, OGIRI_MODEL_MEMORY_MB="100")
    assert load(server, "one", large_url).status == 200
    refused = load(server, "other", large_url)
    assert (refused.status, refused.error()["code"]) == (507, "insufficient_memory")
    message = refused.error()["message"]
    assert message.startswith("model 'other' needs ")
    assert "unload other models" in message
    assert names(server) == ["one"]
    assert unload(server, "one").status == 200
    assert load(server, "other", large_url).status == 200


def test_a_model_answers_as_before_when_its_folder_is_changed_and_when_it_is_gone(server: Server, tmp_path: Path):
    model = write_caption(tmp_path / "model")
    load(server, "m", str(model))
    image = {"Content-Type": "image/png", "X-Amzn-SageMaker-Custom-Attributes": "seed=1"}
    sent = picture()
    first = server.request("POST", "/models/m/invoke", sent, image)
    assert first.status == 200
    for path in model.iterdir():
        path.write_bytes(bytes(path.stat().st_size))
    assert server.request("POST", "/models/m/invoke", sent, image).body == first.body
    assert load(server, "changed", str(model)).status == 400
    shutil.rmtree(model)
    assert server.request("POST", "/models/m/invoke", sent, image).body == first.body
    assert unload(server, "m").status == 200
    assert load(server, "m", str(model)).status == 404


def test_the_image_says_that_it_can():
    dockerfile = (Path(__file__).parents[2] / "Dockerfile").read_text()
    for capability in ("multi-models", "accept-bind-to-port"):
        assert f"com.amazonaws.sagemaker.capabilities.{capability}=true" in dockerfile
