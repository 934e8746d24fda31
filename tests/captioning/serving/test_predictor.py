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
from ogiri.captioning.serving.ranking import RANKINGS
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


def test_a_list_of_banned_words_must_be_one_of_the_artifacts_files(tokenizer: Tokenizer, tmp_path: Path):
    folder = tmp_path / "model"
    tiny.write_artifact(folder, tokenizer.model, tokenizer.vocabulary, banned_words="list.txt")
    (folder / "list.txt").write_text("犬\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"list\.txt"):
        load(open_artifact(folder))
    load(open_artifact(tiny.write_artifact(folder, tokenizer.model, tokenizer.vocabulary, banned_words="list.txt")))
    (folder / "list.txt").write_bytes(b"\x8c\xa2\n")
    tiny.write_artifact(folder, tokenizer.model, tokenizer.vocabulary, banned_words="list.txt")
    with pytest.raises(ArtifactError, match=r"can be served: .*list\.txt is not in UTF-8"):
        load(open_artifact(folder))


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


@pytest.mark.parametrize("ranking", ["likelihood", "relevance"])
def test_a_choice_is_streamed_once_it_is_made(predictor: CaptionPredictor, ranking: str):
    body = {"image": IMAGE, "parameters": {"seed": 5, "best_of": 6, "ranking": ranking, "stream": True}}
    piece, last = predictor.submit(
        predictor.parse(Body("application/json", json.dumps(body).encode())).requests[0], LONG, never
    )
    assert isinstance(piece, Piece)
    assert isinstance(last, Answer)
    assert len(last.json["captions"]) == 1
    assert piece.text == last.text == ask(predictor, body).text


def test_where_there_is_no_choice_a_ranking_does_not_hold_the_stream_up(predictor: CaptionPredictor):
    def streamed(**parameters: Any) -> list[Piece | Answer]:
        body = json.dumps({"image": IMAGE, "parameters": {**parameters, "stream": True}}).encode()
        return list(predictor.submit(predictor.parse(Body("application/json", body)).requests[0], LONG, never))

    assert len(streamed(seed=5)) > 2
    assert streamed(seed=5, ranking="relevance") == streamed(seed=5)
    assert streamed(temperature=0, ranking="relevance", best_of=4) == streamed(temperature=0)


def test_the_best_of_many_by_a_ranking_come_back(predictor: CaptionPredictor):
    parameters = {"seed": 2, "temperature": 2, "max_length": 9, "best_of": 16, "num_candidates": 3}
    lines = {}
    for ranking in RANKINGS:
        found = ask(predictor, {"image": IMAGE, "parameters": {**parameters, "ranking": ranking}})
        raw = predictor.parse(
            Body("image/png", encoded(), {n: str(v) for n, v in {**parameters, "ranking": ranking}.items()})
        )
        assert answer(predictor, raw.requests[0], LONG, never) == found
        lines[ranking] = [caption["text"] for caption in found.json["captions"]]
        assert len(lines[ranking]) == 3
    assert lines["likelihood"] != lines["relevance"]


def test_what_is_asked_for_changes_the_line(predictor: CaptionPredictor):
    asked = [{}, {"score": 0}, {"score": 4}, {"length": "short"}, {"length": "long"}, {"score": 4, "length": "long"}]
    found = []
    for parameters in asked:
        found.append(ask(predictor, {"image": IMAGE, "parameters": {"temperature": 0, **parameters}}))
        attributes = {"temperature": "0", **{name: str(value) for name, value in parameters.items()}}
        raw = predictor.parse(Body("image/png", encoded(), attributes)).requests[0]
        assert answer(predictor, raw, LONG, never) == found[-1]
    assert len({str(one.json) for one in found}) == len(asked)


def test_a_control_that_was_not_learned_is_the_callers_mistake(tokenizer: Tokenizer, tmp_path: Path):
    folder = tiny.write_artifact(tmp_path, tokenizer.model, tokenizer.vocabulary, controls={})
    predictor = load(open_artifact(folder))
    for name, value in (("score", 2), ("length", "short")):
        error = refused(predictor, {"image": IMAGE, "parameters": {name: value}})
        assert str(error).startswith(f"{name} is {value}: this model has not learned")
        assert (error.code, error.status) == ("invalid_parameter", 400)
        with pytest.raises(RequestError, match=f"^{name} is {value}"):
            predictor.parse(Body("image/png", encoded(), {name: str(value)}))
        with pytest.raises(RequestError, match=rf"^instances\[0\]: {name} is {value}"):
            ask(predictor, {"instances": [{"image": IMAGE, "parameters": {name: value}}]})
    assert ask(predictor, {"image": IMAGE, "parameters": {"score": None, "length": None}}).text


def test_a_deadline_that_passes_is_504(predictor: CaptionPredictor):
    request = predictor.parse(Body("image/png", encoded())).requests[0]
    with pytest.raises(RequestError) as caught:
        list(predictor.submit(request, Deadline.after(-1), never))
    assert (caught.value.code, caught.value.status) == ("deadline_exceeded", 504)

    class Passing(Deadline):
        left = 2

        def remaining_seconds(self) -> float:
            type(self).left -= 1
            return self.left

    with pytest.raises(RequestError) as caught:
        list(predictor.submit(request, Passing(0), never))
    assert caught.value.status == 504


@pytest.mark.parametrize("how", ["cancelled", "closed"])
def test_a_request_that_nobody_waits_for_is_given_up(predictor: CaptionPredictor, how: str):
    request = predictor.parse(Body("image/png", encoded(), {"seed": "1"})).requests[0]
    answering = predictor.submit(request, LONG, lambda: how == "cancelled")
    if how == "closed":
        answering.close()
    assert list(answering) == []
    assert isinstance(answer(predictor, request, LONG, never), Answer)


def test_a_model_that_is_closed_answers_what_it_has_begun_and_nothing_more(tokenizer: Tokenizer, tmp_path: Path):
    predictor = load(open_artifact(tiny.write_artifact(tmp_path, tokenizer.model, tokenizer.vocabulary)))
    requests = predictor.parse(Body("application/json", json.dumps({"instances": [{"image": IMAGE}] * 9}).encode()))
    running = [predictor.submit(request, LONG, never) for request in requests.requests]
    predictor.close()
    assert all(isinstance(list(answering)[-1], Answer) for answering in running)
    with pytest.raises(RequestError) as caught:
        predictor.submit(requests.requests[0], LONG, never)
    assert (caught.value.code, caught.value.status) == ("model_closed", 503)


def test_requests_share_the_steps_of_the_decoder(predictor: CaptionPredictor):
    before = predictor.statistics()
    document = {"instances": [{"image": IMAGE, "parameters": {"seed": 1, "min_length": 40}}] * 12}
    requests = predictor.parse(Body("application/json", json.dumps(document).encode())).requests
    running = [predictor.submit(request, LONG, never) for request in requests]
    answers = [list(answering)[-1] for answering in running]
    steps, tokens, pictures = (predictor.statistics()[name] - before[name] for name in ("steps", "tokens", "pictures"))
    assert all(one == answers[0] for one in answers)
    assert pictures == 12
    assert tokens % 12 == 0
    assert steps < tokens


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
