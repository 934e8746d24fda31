"""The image's own task, served for real: a small artifact with random weights."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from ogiri.artifact import write_manifest
from ogiri.captioning.model.tokenizer import train_tokenizer
from tests.captioning.serving import tiny
from tests.contract.server import SERVE, Reply, Server, Starter

LINES = ["犬も歩けば棒に当たる。", "猫が「ごはん」と言った!", "吾輩は猫である。", "a dog and a cat"]


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("opt_ml")
    tokenizer = train_tokenizer(LINES * 5, 400)
    tiny.write_artifact(folder / "model", tokenizer.model, tokenizer.vocabulary)
    return folder


@pytest.fixture(scope="module")
def server(base_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    starter = Starter(tmp_path_factory)
    try:
        server = starter(base_dir, program=SERVE)
        server.wait_for_ping(200)
        yield server
    finally:
        starter.stop()


def picture(kind: str = "png") -> bytes:
    data = io.BytesIO()
    Image.effect_noise((64, 48), 90).convert("RGB").save(data, kind)
    return data.getvalue()


def post(server: Server, body: bytes, content_type: str, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.request("POST", "/invocations", body, {"Content-Type": content_type, **named})


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "gif", "bmp"])
def test_answers_a_picture(server: Server, kind: str):
    reply = post(server, picture(kind), f"image/{kind}")
    assert reply.status == 200
    assert reply.json().keys() == {"captions", "model"}
    (caption,) = reply.json()["captions"]
    assert caption["text"]
    assert post(server, picture(kind), "application/x-image").status == 200


def test_parameters_come_in_custom_attributes(server: Server):
    attributes = "trace=9,num_candidates=3,seed=7,banned_words=%E7%8A%AC"
    reply = post(server, picture(), "image/png", X_Amzn_SageMaker_Custom_Attributes=attributes)
    assert len(reply.json()["captions"]) == 3
    assert "犬" not in reply.body.decode()
    assert reply.headers["X-Amzn-SageMaker-Custom-Attributes"] == attributes
    refused = post(server, picture(), "image/png", X_Amzn_SageMaker_Custom_Attributes="num_candidates=17")
    assert refused.status == 400
    assert "num_candidates" in refused.error()["message"]


def test_answers_json_alone_in_plain_text_and_in_instances(server: Server):
    instance = {"image": base64.b64encode(picture()).decode(), "parameters": {"seed": 3}}
    alone = post(server, json.dumps(instance).encode(), "application/json")
    plain = post(server, json.dumps(instance).encode(), "application/json; charset=utf-8", Accept="text/plain")
    several = post(server, json.dumps({"instances": [instance, instance]}).encode(), "application/json")
    assert plain.body.decode() == alone.json()["captions"][0]["text"]
    assert several.json() == {"predictions": [alone.json()] * 2}


def test_json_lines_are_answered_as_each_alone(server: Server):
    instances = [
        {"image": base64.b64encode(picture()).decode(), "parameters": {"seed": seed, "num_candidates": 1 + seed % 3}}
        for seed in range(20)
    ]
    instances[7]["image"] = "%"
    lines = b"".join(json.dumps(instance).encode() + b"\n" for instance in instances)
    found = [json.loads(line) for line in post(server, lines, "application/jsonlines").body.splitlines()]
    assert len(found) == 20
    assert "image is not valid base64" in found.pop(7)["error"]["message"]
    del instances[7]
    assert found == [server.invoke(instance).json() for instance in instances]


@pytest.mark.parametrize("parameters", [{"seed": 5}, {"seed": 5, "num_candidates": 3}, {"num_beams": 3}])
def test_the_pieces_of_a_stream_are_its_best_line(server: Server, parameters: dict[str, int]):
    instance = {"image": base64.b64encode(picture()).decode(), "parameters": parameters}
    alone = server.invoke(instance).json()
    instance["parameters"] = {**parameters, "stream": True}
    streamed = server.invoke(instance)
    *pieces, last = streamed.body.decode().removesuffix("\n\n").split("\n\n")
    assert json.loads(last.removeprefix("event: answer\ndata: ")) == alone
    texts = [json.loads(piece.removeprefix("data: "))["text"] for piece in pieces]
    assert "".join(texts) == alone["captions"][0]["text"]
    assert "\ufffd" not in "".join(texts)
    if parameters == {"seed": 5}:
        assert len(texts) > 1


def test_a_raw_picture_is_streamed_where_events_are_asked_for(server: Server):
    attributes = {"X_Amzn_SageMaker_Custom_Attributes": "seed=5"}
    data = picture()
    alone = post(server, data, "image/png", **attributes).json()
    events = post(server, data, "image/png", Accept="text/event-stream", **attributes).body.decode()
    assert events.count("data: ") > 2
    assert json.loads(events.partition("event: answer\ndata: ")[2]) == alone


def test_a_stream_of_several_pictures_is_refused(server: Server):
    member = {"image": base64.b64encode(picture()).decode(), "parameters": {"stream": True}}
    reply = server.invoke({"instances": [member]})
    assert reply.status == 400
    assert "instances[0]: stream is true" in reply.error()["message"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"no picture", "image/png"),
        (picture()[:200], "image/png"),
        (b"[1]", "application/json"),
        (b"{", "application/json"),
        (b'{"image": "%%%"}', "application/json"),
        (b'{"instances": [{"image": ""}]}', "application/json"),
    ],
)
def test_a_bad_body_is_400(server: Server, body: bytes, content_type: str):
    reply = post(server, body, content_type)
    assert reply.status == 400
    assert reply.error()["message"]


def test_no_process_has_loaded_torch(server: Server):
    maps = [Path(f"/proc/{pid}/maps").read_text() for pid in (server.process.pid, *server.descendants())]
    assert any("onnxruntime" in each for each in maps)  # or this test would not see torch either
    assert not any("torch" in each for each in maps)


def test_is_ready_within_two_seconds(start: Starter, base_dir: Path):
    seconds = []
    while not seconds or (seconds[-1] > 2.0 and len(seconds) < 4):  # the machine may be busy with something else
        began = time.monotonic()
        start(base_dir, program=SERVE).wait_for_ping(200)
        seconds.append(time.monotonic() - began)
    assert min(seconds) < 2.0


def test_a_broken_graph_ends_the_server_and_the_log_names_it(start: Starter, tmp_path: Path):
    tokenizer = train_tokenizer(LINES * 5, 400)
    model = tiny.write_artifact(tmp_path / "model", tokenizer.model, tokenizer.vocabulary)
    (model / "decoder.onnx").write_bytes(b"no graph")
    write_manifest(model, tiny.manifest(tokenizer.vocabulary))
    server = start(tmp_path, program=SERVE)
    assert server.exit_code() == 3
    entry = server.wait_for_log("cannot be served")
    assert entry["level"] == "critical"
    assert "decoder.onnx" in entry["message"]
