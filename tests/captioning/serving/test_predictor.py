from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ogiri.artifact import Artifact, ArtifactError, open_artifact
from ogiri.captioning.model.tokenizer import Tokenizer
from ogiri.captioning.serving.predictor import CaptionPredictor, load
from ogiri.task import Answer, Body, Deadline, Piece, RequestError, answer, load_predictor
from tests.captioning.serving import tiny
from tests.captioning.serving.test_request import IMAGE, encoded

CONTAINER = Path(__file__).parents[3] / "container"
LONG = Deadline.after(3600)


def never() -> bool:
    return False


@pytest.fixture(scope="module")
def predictor(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> CaptionPredictor:
    folder = tmp_path_factory.mktemp("model")
    return load(open_artifact(tiny.write_artifact(folder, tokenizer.model, tokenizer.vocabulary)))


def ask(predictor: CaptionPredictor, document: Any) -> Answer:
    payload = predictor.parse(Body("application/json", json.dumps(document).encode()))
    return payload.assemble([answer(predictor, request, LONG, never) for request in payload.requests])


def refused(predictor: CaptionPredictor, document: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        ask(predictor, document)
    return caught.value


def test_answers_a_picture_in_json(predictor: CaptionPredictor):
    parameters = {"num_candidates": 4, "seed": 3}
    found = ask(predictor, {"image": IMAGE, "labels": [{"Name": "Dog", "Confidence": 90}], "parameters": parameters})
    captions = found.json["captions"]
    assert found.json == {"captions": captions, "model": "tiny"}
    assert len(captions) == 4
    assert captions == sorted(captions, key=lambda caption: -caption["score"])
    assert found.text == captions[0]["text"] != ""
    json.dumps(found.json, allow_nan=False)


@pytest.mark.parametrize("content_type", ["image/jpeg", "image/webp", "application/x-image"])
def test_answers_a_raw_picture_whatever_it_is_called(predictor: CaptionPredictor, content_type: str):
    payload = predictor.parse(Body(content_type, encoded(), {"seed": "3", "num_candidates": "2", "trace": "1"}))
    found = payload.assemble([answer(predictor, request, LONG, never) for request in payload.requests])
    assert found == ask(predictor, {"image": IMAGE, "parameters": {"seed": 3, "num_candidates": 2}})
    assert not payload.stream


def test_labels_and_text_change_the_line(predictor: CaptionPredictor):
    plain = {"image": IMAGE, "parameters": {"seed": 1, "num_candidates": 4}}
    others = ({"labels": [{"Name": "dog"}]}, {"detected_text": "猫"}, {"labels": [{"Name": "dog", "Confidence": 99}]})
    assert len({str(ask(predictor, {**plain, **other}).json) for other in ({}, *others)}) == 4


def test_several_instances_get_several_predictions(predictor: CaptionPredictor):
    one, other = ({"image": IMAGE, "parameters": {"seed": seed}} for seed in (1, 2))
    found = ask(predictor, {"instances": [one, other]})
    assert found.json == {"predictions": [ask(predictor, one).json, ask(predictor, other).json]}
    assert found.text.splitlines()[0] == ask(predictor, one).text.splitlines()[0]


@pytest.mark.parametrize(
    ("member", "code"),
    [
        ({"image": IMAGE, "parameters": {"top_k": -1}}, "invalid_parameter"),
        ({"image": "?"}, "invalid_request"),
        ({"image": base64.b64encode(b"x").decode()}, "invalid_picture"),
        ({"image": IMAGE, "parameters": {"stream": True}}, "invalid_parameter"),
        (7, "invalid_request"),
    ],
)
def test_one_bad_instance_is_named_by_its_index(predictor: CaptionPredictor, member: Any, code: str):
    error = refused(predictor, {"instances": [{"image": IMAGE}, member]})
    assert str(error).startswith("instances[1]: ")
    assert (error.code, error.status) == (code, 400)


@pytest.mark.parametrize("instances", [[], {}, "x", None, [{"image": IMAGE}] * 129])
def test_instances_must_be_a_list_of_bounded_length(predictor: CaptionPredictor, instances: Any):
    assert "instances must be a list" in str(refused(predictor, {"instances": instances}))


def test_instances_stand_alone(predictor: CaptionPredictor):
    assert "parameters stands beside instances" in str(refused(predictor, {"instances": [], "parameters": {}}))


def test_another_content_type_is_415(predictor: CaptionPredictor):
    with pytest.raises(RequestError, match="image/png") as caught:
        predictor.parse(Body("text/csv", b"a,b"))
    assert caught.value.status == 415


def test_pieces_joined_are_the_text(predictor: CaptionPredictor):
    for parameters in ({"seed": 5}, {"seed": 5, "num_candidates": 3}, {"num_beams": 3}, {"temperature": 0}):
        body = {"image": IMAGE, "parameters": {**parameters, "stream": True}}
        payload = predictor.parse(Body("application/json", json.dumps(body).encode()))
        assert payload.stream
        *pieces, last = predictor.submit(payload.requests[0], LONG, never)
        assert isinstance(last, Answer)
        assert all(isinstance(piece, Piece) and piece.text for piece in pieces)
        assert "".join(piece.text for piece in pieces) == last.text
        assert (len(pieces) > 1) == (parameters in ({"seed": 5}, {"temperature": 0}))


def test_a_deadline_that_passes_is_504(predictor: CaptionPredictor):
    request = predictor.parse(Body("image/png", encoded())).requests[0]
    with pytest.raises(RequestError) as caught:
        list(predictor.submit(request, Deadline.after(-1), never))
    assert (caught.value.code, caught.value.status) == ("deadline_exceeded", 504)

    class Passing(Deadline):
        left = 4

        def remaining_seconds(self) -> float:
            type(self).left -= 1
            return self.left

    with pytest.raises(RequestError) as caught:
        list(predictor.submit(request, Passing(0), never))
    assert caught.value.status == 504


def test_a_cancelled_request_stops_early(predictor: CaptionPredictor):
    request = predictor.parse(Body("image/png", encoded(), {"seed": "1"})).requests[0]
    asked = iter([False, False, True])
    parts = list(predictor.submit(request, LONG, lambda: next(asked)))
    assert len(parts) <= 2
    assert not any(isinstance(part, Answer) for part in parts)


def test_requests_at_the_same_time_do_not_disturb_each_other(predictor: CaptionPredictor):
    documents = [{"image": IMAGE, "parameters": {"seed": seed, "num_candidates": 1 + seed % 3}} for seed in range(8)]
    alone = [ask(predictor, document) for document in documents]
    together: dict[int, Answer] = {}

    def work(number: int) -> None:
        together[number] = ask(predictor, documents[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [together[number] for number in range(8)] == alone


def test_a_warm_up_answers(predictor: CaptionPredictor):
    predictor.warm_up()
    assert predictor.memory_bytes() > 0


def test_a_closed_model_says_so(tokenizer: Tokenizer, artifact_folder: Path):
    closed = load_predictor("caption", open_artifact(artifact_folder))
    request = closed.parse(Body("image/png", encoded())).requests[0]
    closed.close()
    with pytest.raises(RequestError) as caught:
        list(closed.submit(request, LONG, never))
    assert caught.value.status == 503


def test_defaults_come_from_the_manifest(tokenizer: Tokenizer, tmp_path: Path):
    folder = tiny.write_artifact(
        tmp_path, tokenizer.model, tokenizer.vocabulary, defaults={"num_candidates": 3, "seed": 1}
    )
    predictor = load(open_artifact(folder))
    assert len(ask(predictor, {"image": IMAGE}).json["captions"]) == 3
    assert ask(predictor, {"image": IMAGE}) == ask(predictor, {"image": IMAGE})


def test_an_artifact_that_cannot_be_served_is_named(artifact_folder: Path):
    good = open_artifact(artifact_folder)
    with pytest.raises(ArtifactError, match=r"decoding\.max_tokens"):
        load(Artifact(good.folder, {**good.manifest, "decoding": {**good.manifest["decoding"], "max_tokens": 0}}))
    with pytest.raises(ArtifactError, match=r"other\.onnx"):
        load(
            Artifact(
                good.folder, {**good.manifest, "decoding": {**good.manifest["decoding"], "decoder_graph": "other.onnx"}}
            )
        )
    (artifact_folder / "decoder.onnx").write_bytes(b"x")
    with pytest.raises(ArtifactError, match=r"decoder\.onnx cannot be loaded"):
        load(good)


def test_serving_never_loads_torch():
    code = (
        "import sys, ogiri.captioning.serving.predictor; print({'torch', 'transformers', 'boto3'} & set(sys.modules))"
    )
    python = [sys.executable, "-c", code]
    done = subprocess.run(python, env={"PYTHONPATH": str(CONTAINER)}, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
