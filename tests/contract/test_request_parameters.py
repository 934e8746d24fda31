"""What a request may set, asked for over HTTP: ranges, how many lines come, how long they are, seeds, scores."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from ogiri.artifact import write_manifest
from tests.captioning.serving import tiny
from tests.contract.server import SERVE, Reply, Server, Starter
from tests.contract.test_multi_model import write_caption
from tests.contract.test_openapi import picture

IMAGE = picture()
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
EOS = 2


def ask(server: Server, **parameters: Any) -> list[dict[str, Any]]:
    """The captions of a picture."""
    reply = server.invoke({"image": IMAGE, "parameters": parameters})
    assert reply.status == 200, reply.body
    captions: list[dict[str, Any]] = reply.json()["captions"]
    return captions


def texts(server: Server, **parameters: Any) -> list[str]:
    return [caption["text"] for caption in ask(server, **parameters)]


def ask_raw(server: Server, attributes: str) -> Reply:
    headers = {"Content-Type": "image/png", ATTRIBUTES: attributes}
    return server.request("POST", "/invocations", base64.b64decode(IMAGE), headers)


# --- ranges


BOUNDS: Mapping[str, tuple[list[Any], list[Any]]] = {
    # name: (what is taken, what is refused)
    "num_candidates": ([1, 16], [0, 17, 1.5, "two", True, None]),
    "temperature": ([0, 2, 0.5], [-0.1, 2.1, "warm", True]),
    "top_k": ([0, 10**9], [-1, 0.5]),
    "top_p": ([1e-9, 1], [0, 1.01, -1, "a"]),
    "repetition_penalty": ([1, 2], [0.99, 2.01]),
    "num_beams": ([1, 8], [0, 9, 2.5]),
    "min_length": ([1, 20], [0, -1, "a"]),
    "max_length": ([1, 40], [0, -1, 1.5]),
    "banned_words": ([[], ["犬", "猫"]], ["犬", [1], {"a": 1}]),
    "seed": ([0, 2**63 - 1], [-1, 2**63, 0.5]),
    "stream": ([False, True], ["yes", 2]),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, (taken, _) in BOUNDS.items() for value in taken])
def test_the_ends_of_a_range_are_taken(captions: Server, name: str, value: Any):
    reply = captions.invoke({"image": IMAGE, "parameters": {name: value}}, Accept="application/json")
    assert reply.status == 200, reply.body
    assert reply.json()["captions"]


REFUSED = [(name, value) for name, (_, refused) in BOUNDS.items() for value in refused if value is not None]


@pytest.mark.parametrize(("name", "value"), [*REFUSED, ("num_candidate", 2), ("Seed", 2), ("", 2)])
def test_a_parameter_that_is_unknown_or_of_a_wrong_type_or_out_of_range_is_named(
    captions: Server, name: str, value: Any
):
    reply = captions.invoke({"image": IMAGE, "parameters": {"top_k": 5, name: value}})
    assert (reply.status, reply.error()["code"]) == (400, "invalid_parameter")
    assert f"{name} is " in reply.error()["message"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "-1e999"])
def test_what_is_no_number_is_no_temperature(captions: Server, number: str):
    body = f'{{"image": "{IMAGE}", "parameters": {{"temperature": {number}}}}}'.encode()
    reply = captions.request("POST", "/invocations", body, {"Content-Type": "application/json"})
    assert reply.status == 400


OUT_OF_RANGE = [(name, value) for name, value in REFUSED if isinstance(value, int | float) and name != "banned_words"]


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE)
def test_a_known_attribute_with_a_bad_value_is_named(captions: Server, name: str, value: Any):
    attributes = f"trace=1,{name}={json.dumps(value)},other"
    reply = ask_raw(captions, attributes)
    assert (reply.status, reply.error()["code"]) == (400, "invalid_parameter")
    assert f"{name} is " in reply.error()["message"]
    assert reply.headers[ATTRIBUTES] == attributes


# --- how many, in which order


@pytest.mark.parametrize("count", range(1, 17))
@pytest.mark.parametrize("how", [{"temperature": 1.5}, {"temperature": 0}, {"top_k": 1}, {"max_length": 1}])
def test_exactly_as_many_come_back_as_are_asked_for(captions: Server, count: int, how: dict[str, Any]):
    found = ask(captions, num_candidates=count, **how)
    assert len(found) == count
    assert found == sorted(found, key=lambda caption: -caption["score"])


@pytest.mark.parametrize("count", range(1, 9))
def test_beams_give_exactly_as_many(captions: Server, count: int):
    assert len(ask(captions, num_beams=8, num_candidates=count)) == count


def test_one_comes_back_where_nothing_is_asked_for(captions: Server):
    assert len(ask(captions)) == 1


def test_as_text_the_best_one_comes_alone(captions: Server):
    parameters = {"seed": 4, "num_candidates": 8, "temperature": 2}
    reply = captions.invoke({"image": IMAGE, "parameters": parameters}, Accept="text/plain")
    assert reply.body.decode() == ask(captions, **parameters)[0]["text"]


def test_a_score_has_four_decimals_at_most(captions: Server):
    scores = [caption["score"] for seed in range(8) for caption in ask(captions, seed=seed, num_candidates=8)]
    assert all(len(repr(score).partition(".")[2]) <= 4 for score in scores)
    assert any(len(repr(score).partition(".")[2]) == 4 for score in scores)
    assert all(score < 0 for score in scores)


# --- what fixes a line


def test_temperature_0_is_greedy_whatever_the_seed(captions: Server):
    assert len({str(ask(captions, temperature=0, seed=seed)) for seed in range(4)} | {str(ask(captions, top_k=1))}) == 1


def test_beams_are_deterministic_whatever_the_seed(captions: Server):
    assert len({str(ask(captions, num_beams=4, num_candidates=4, seed=seed)) for seed in range(3)}) == 1


@pytest.mark.parametrize("name", ["temperature", "top_k", "top_p"])
def test_beams_take_nothing_that_only_sampling_has(captions: Server, name: str):
    reply = captions.invoke({"image": IMAGE, "parameters": {"num_beams": 2, name: 1}})
    assert reply.status == 400
    assert name in reply.error()["message"]
    assert captions.invoke({"image": IMAGE, "parameters": {"num_beams": 1, name: 1}}).status == 200


def test_there_must_be_a_beam_for_each_candidate(captions: Server):
    reply = captions.invoke({"image": IMAGE, "parameters": {"num_beams": 2, "num_candidates": 3}})
    assert reply.status == 400
    assert "num_beams is 2" in reply.error()["message"]


def test_without_a_seed_lines_differ(captions: Server):
    assert len({texts(captions, temperature=2, top_p=1, top_k=0)[0] for _ in range(8)}) > 1


def test_a_seed_gives_the_same_line_whatever_else_is_in_the_batch(captions: Server):
    asked = [{"seed": seed, "num_candidates": 1 + seed % 4, "temperature": 1.5} for seed in range(12)]
    alone = [ask(captions, **parameters) for parameters in asked]
    others: list[dict[str, Any]] = [{"num_beams": 5}, {"temperature": 0}, {"num_candidates": 16}, {"max_length": 2}]
    with ThreadPoolExecutor(16) as pool:
        for turn in range(4):
            noise = [pool.submit(ask, captions, **others[(turn + number) % 4]) for number in range(12)]
            together = [pool.submit(ask, captions, **parameters) for parameters in asked]
            assert [future.result() for future in together] == alone
            assert all(future.result() for future in noise)


def test_an_attribute_gives_what_json_gives(captions: Server):
    parameters = {"seed": 7, "num_candidates": 4}
    free = ask(captions, **parameters)
    written = sorted({character for caption in free for character in caption["text"] if not character.isascii()})
    banned = [*written[:4], "a,b", "100%", "=", " 猫 "]
    attributes = f"trace=%ff, seed=7 ,num_candidates=4,banned_words={'|'.join(quote(word) for word in banned)},x=1"
    reply = ask_raw(captions, attributes)
    assert reply.json()["captions"] == ask(captions, **parameters, banned_words=banned) != free
    assert reply.headers[ATTRIBUTES] == attributes


# --- how long, and which words


@pytest.fixture(scope="module")
def ending(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A model that would rather end a line than begin it."""
    folder = tmp_path_factory.mktemp("opt_ml")
    prefer_the_end(write_caption(folder / "model"))
    starter = Starter(tmp_path_factory)
    try:
        server = starter(folder, program=SERVE)
        server.wait_for_ping(200)
        yield server
    finally:
        starter.stop()


def prefer_the_end(model: Path) -> None:
    graph = onnx.load(model / "decoder.onnx")
    last = next(node for node in graph.graph.node if node.output[0] == "logits")
    last.output[0] = "unbiased"
    vocabulary = graph.graph.output[0].type.tensor_type.shape.dim[2].dim_value
    bias = np.zeros((1, 1, vocabulary), np.float32)
    bias[..., EOS] = 1000
    graph.graph.initializer.append(numpy_helper.from_array(bias, "bias"))
    graph.graph.node.append(helper.make_node("Add", ["unbiased", "bias"], ["logits"]))
    onnx.save(graph, model / "decoder.onnx")
    write_manifest(model, tiny.manifest(vocabulary))


HOW: list[dict[str, Any]] = [{"temperature": 0}, {"temperature": 2, "num_candidates": 16}, {"num_beams": 8}]


@pytest.mark.parametrize("how", HOW)
def test_a_caption_is_never_empty(ending: Server, how: dict[str, Any]):
    assert all(text.strip() for text in texts(ending, **how))
    assert max(len(text) for text in texts(ending, **how)) <= 2  # or this model would not show it


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("shortest", "longest"), [(1, 3), (7, 7), (20, 30)])
def test_lengths_are_in_characters_and_kept(
    captions: Server, ending: Server, how: dict[str, Any], shortest: int, longest: int
):
    for server in (captions, ending):
        for text in texts(server, min_length=shortest, max_length=longest, **how):
            assert shortest <= len(text) <= longest


@pytest.mark.parametrize("how", HOW)
def test_banned_words_do_not_come(captions: Server, how: dict[str, Any]):
    words = sorted(set("".join(texts(captions, **how))))[:20]
    assert not set("".join(texts(captions, banned_words=words, **how))) & set(words)
