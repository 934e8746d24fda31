import base64
import contextlib
import io
import json
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

import pytest
from PIL import Image
from stand_ins import picture, serving

from tests.handlers import Context, load

ANSWER = {"captions": [{"text": "会議は踊る", "score": -1.25}, {"text": "休憩中", "score": -2.0}], "model": "ogiri-a-1"}


@dataclass
class Runtime:
    """An endpoint: answers are given in turn, the last one again and again."""

    answers: list = field(default_factory=lambda: [(200, ANSWER)])
    requests: list = field(default_factory=list)
    delay: float = 0.0
    url: str = ""


def model_error(status: int, message: str = "no memory") -> tuple[int, dict]:
    inner = json.dumps({"error": {"code": "x", "message": message, "request_id": "1"}})
    return 424, {"__type": "ModelError", "OriginalStatusCode": status, "OriginalMessage": inner, "Message": "m"}


def runtime_handler(runtime: Runtime) -> type:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asynchronous = self.path.endswith("/async-invocations")
            runtime.requests.append(dict(self.headers) if asynchronous else json.loads(body))
            time.sleep(runtime.delay)
            status, answer = runtime.answers.pop(0) if len(runtime.answers) > 1 else runtime.answers[0]
            if asynchronous:
                status, answer = 202, {"InferenceId": "x"}
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            if status >= 400:
                self.send_header("x-amzn-ErrorType", answer["__type"])
            if asynchronous:
                self.send_header("X-Amzn-SageMaker-OutputLocation", runtime.output)
                self.send_header("X-Amzn-SageMaker-FailureLocation", runtime.failure)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with contextlib.suppress(OSError):  # the caller may have given it up
                self.wfile.write(data)

        def log_message(self, *_):
            pass

    return Handler


@pytest.fixture
def runtime(aws, monkeypatch):
    service = Runtime()
    with serving(runtime_handler(service)) as service.url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", service.url)
        yield service


@pytest.fixture
def results(shared_aws, dynamodb):
    table = dynamodb.create_table(
        TableName="Results",
        AttributeDefinitions=[{"AttributeName": "ResultId", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "ResultId", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    yield table
    table.delete()


@pytest.fixture
def api(runtime, results, monkeypatch):
    """Calls the function with a request and returns status, JSON and headers."""
    monkeypatch.setenv("ENDPOINT_NAME", "ogiri-serverless")
    monkeypatch.setenv("RESULTS_TABLE_NAME", "Results")
    monkeypatch.setenv("CAPTION_BUDGET_SECONDS", "20")
    module = load("caption_api")

    def api(method, path, body=b"", kind="image/jpeg", headers=None, query=None, base64_body=True, seconds=600.0):
        event = {
            "version": "2.0",
            "rawPath": path,
            "headers": {"content-type": kind, **(headers or {})},
            "queryStringParameters": query,
            "requestContext": {"http": {"method": method, "path": path}, "stage": "$default"},
            "body": base64.b64encode(body).decode() if base64_body else body.decode(),
            "isBase64Encoded": base64_body,
        }
        if query is None:
            del event["queryStringParameters"]
        answer = module.lambda_handler(event, Context(seconds=seconds))
        assert answer["isBase64Encoded"] is False
        return answer["statusCode"], json.loads(answer["body"]), answer["headers"]

    return api


@pytest.fixture
def post(api):
    return lambda body=None, **more: api("POST", "/captions", picture() if body is None else body, **more)


def test_a_picture_gets_lines_and_the_answer_is_kept(api, post, runtime, results):
    data = picture(format="PNG")
    status, body, _ = post(data, kind="image/png")
    assert status == 200
    assert body == {"id": body["id"], "status": "done", **ANSWER}
    assert runtime.requests == [{"image": base64.b64encode(data).decode()}]
    item = results.get_item(Key={"ResultId": body["id"]})["Item"]
    assert 29 * 86400 < float(item["ExpiresAt"]) - time.time() <= 30 * 86400
    captions = [{**caption, "votes": 0} for caption in ANSWER["captions"]]
    status, read, _ = api("GET", f"/results/{body['id']}")
    assert (status, read) == (200, {"id": body["id"], "status": "done", "captions": captions, "model": "ogiri-a-1"})


@pytest.fixture
def kept(destination, monkeypatch):
    monkeypatch.setenv("BUCKET", destination.bucket)
    monkeypatch.setenv("KEEP_PICTURES", "true")


def test_the_picture_is_kept_with_its_answer_and_once_however_often_it_comes(kept, post, results, objects):
    data = picture(format="PNG")
    first, second = (post(data, kind="application/x-image")[1]["id"] for _ in range(2))
    keys = {results.get_item(Key={"ResultId": key})["Item"]["ImageKey"] for key in (first, second)}
    (key,) = keys
    assert key.endswith(".png")
    assert objects() == {f"captioned/{key}": data}


def test_no_picture_is_kept_where_that_is_not_wanted_or_without_an_answer(
    kept, post, runtime, results, objects, monkeypatch
):
    runtime.answers = [model_error(500), (200, ANSWER)]
    assert post()[0] == 502
    monkeypatch.setenv("KEEP_PICTURES", "false")
    key = post()[1]["id"]
    assert results.get_item(Key={"ResultId": key})["Item"]["ImageKey"].endswith(".jpg")
    assert not objects()


def test_parameters_of_the_query_go_to_the_endpoint(post, runtime):
    post(query={"num_candidates": "3", "seed": "7", "banned_words": '["猫"]', "name": "x y"})
    assert runtime.requests[0]["parameters"] == {"num_candidates": 3, "seed": 7, "banned_words": ["猫"], "name": "x y"}
    assert post(query={"stream": "true"})[0] == 400


def test_what_the_endpoint_says_of_a_request_is_handed_on(post, runtime):
    runtime.answers = [model_error(400, "temperature is 9: it must be 0 to 2")]
    status, body, _ = post(query={"temperature": "9"})
    assert (status, body["error"]["message"]) == (400, "temperature is 9: it must be 0 to 2")
    assert len(runtime.requests) == 1


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"", "image/jpeg", 400, "no_picture"),
        (b"", "", 400, "no_picture"),
        ("猫を見た".encode(), "text/plain; charset=utf-8", 415, "unsupported_type"),
        (b"not a picture", "image/jpeg", 400, "bad_picture"),
        (picture(size=(600, 400))[:-600], "image/jpeg", 400, "bad_picture"),
        (bytes(7 * 1024 * 1024), "image/jpeg", 413, "too_large"),
        (picture(size=(9_000, 9_000), format="PNG", mode="1", color=0), "image/png", 413, "too_large"),
    ],
    ids=["nothing", "nothing-at-all", "text", "noise", "cut", "7MB", "pixels"],
)
def test_what_is_no_picture_is_refused_before_the_endpoint_is_asked(post, runtime, body, kind, status, code):
    answered, answer, _ = post(body, kind=kind)
    assert (answered, answer["error"]["code"]) == (status, code)
    assert set(answer["error"]) == {"code", "message", "request_id"}
    assert not runtime.requests


def test_a_body_that_is_no_base64_is_refused(api):
    assert api("POST", "/captions", b"\xff".hex().encode(), base64_body=False)[0] == 400


def test_a_large_picture_becomes_small_enough_for_a_serverless_endpoint(post, runtime):
    noise = Image.effect_noise((2100, 1800), 90).convert("RGB")
    buffer = io.BytesIO()
    noise.save(buffer, "JPEG", quality=96)
    assert 3_000_000 < len(buffer.getvalue()) < 6_291_456
    assert post(buffer.getvalue())[0] == 200
    (request,) = runtime.requests
    assert len(json.dumps(request)) < 4_000_000
    with Image.open(io.BytesIO(base64.b64decode(request["image"]))) as sent:
        assert max(sent.size) >= 1024


BUSY = [
    (429, {"__type": "ThrottlingException", "Message": "slow down"}),
    (429, {"__type": "ModelNotReadyException", "Message": "still cold"}),
    (503, {"__type": "ServiceUnavailable", "Message": "later"}),
    model_error(503),
]


@pytest.mark.parametrize("busy", BUSY, ids=["throttled", "cold", "unavailable", "model-busy"])
def test_a_cold_or_busy_endpoint_is_asked_again(post, runtime, busy):
    runtime.answers = [busy, busy, (200, ANSWER)]
    assert post()[0] == 200
    assert len(runtime.requests) == 3


@pytest.mark.parametrize(("busy", "status"), [(BUSY[0], 429), (BUSY[1], 429), (BUSY[2], 502), (BUSY[3], 429)])
def test_an_endpoint_that_stays_busy_is_given_up_within_the_budget(post, runtime, monkeypatch, busy, status):
    monkeypatch.setenv("CAPTION_BUDGET_SECONDS", "2")
    runtime.answers = [busy]
    answered, _, headers = post()
    assert answered == status
    assert ("Retry-After" in headers) == (status == 429)
    assert len(runtime.requests) >= 2


@pytest.mark.parametrize(
    "answer",
    [
        model_error(500),
        (400, {"__type": "ValidationError", "Message": "Endpoint ogiri-serverless not found"}),
        (200, b"<html>"),
        (200, {"labels": []}),
    ],
    ids=["model", "no-endpoint", "html", "other-task"],
)
def test_an_endpoint_that_fails_is_a_502_at_once(post, runtime, answer):
    runtime.answers = [answer]
    assert post()[0] == 502
    assert len(runtime.requests) == 1


def test_an_endpoint_that_is_too_slow_is_a_504(post, runtime, monkeypatch):
    monkeypatch.setenv("CAPTION_BUDGET_SECONDS", "1")
    runtime.delay = 8
    status, body, _ = post()
    assert (status, body["error"]["code"]) == (504, "timeout")


def test_the_functions_own_time_counts_too(post, runtime):
    runtime.delay = 8
    assert post(seconds=3)[0] == 504


def test_labels_and_text_go_along_when_set(post, runtime, rekognition, monkeypatch):
    rekognition.texts = [{"DetectedText": "立入禁止", "Type": "LINE"}]
    post()
    assert not rekognition.calls
    monkeypatch.setenv("CAPTION_LABELS", "true")
    post()
    assert runtime.requests[1]["labels"] == [{"Name": "Cat", "Confidence": 98.76543}]
    assert runtime.requests[1]["detected_text"] == "立入禁止"


def test_lines_come_without_labels_when_rekognition_fails_and_it_is_said(post, runtime, rekognition, monkeypatch):
    monkeypatch.setenv("CAPTION_LABELS", "true")
    rekognition.failures = ["AccessDeniedException"]
    status, body, _ = post()
    assert status == 200
    assert body["notices"] == ["labels are missing: Rekognition did not answer"]
    assert "labels" not in runtime.requests[0]


def test_stars_add_up_a_caption(api, post):
    key = post()[1]["id"]
    for stars in (5, 2):
        status, body, _ = api("POST", f"/results/{key}/score", json.dumps({"score": stars, "caption": 1}).encode())
        assert status == 200
    assert "stars" not in body["captions"][0]
    assert (body["captions"][1]["votes"], body["captions"][1]["stars"]) == (2, 3.5)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[5]", 400),
        (b'{"score": 6}', 400),
        (b'{"score": true}', 400),
        (b'{"score": NaN}', 400),
        (b'{"score": 5, "caption": -1}', 400),
        (b'{"score": 5, "caption": 2}', 404),
    ],
)
def test_a_score_that_is_none_is_refused(api, post, body, status):
    key = post()[1]["id"]
    assert api("POST", f"/results/{key}/score", body)[0] == status
    assert all(caption["votes"] == 0 for caption in api("GET", f"/results/{key}")[1]["captions"])


def test_an_answer_that_is_unknown_or_over_is_not_found(api, post, results):
    assert api("GET", "/results/none")[0] == 404
    assert api("POST", "/results/none/score", b'{"score": 5}')[0] == 404
    key = post()[1]["id"]
    results.update_item(
        Key={"ResultId": key}, UpdateExpression="SET ExpiresAt = :past", ExpressionAttributeValues={":past": 1}
    )
    assert api("GET", f"/results/{key}")[0] == 404
    assert api("POST", f"/results/{key}/score", b'{"score": 5}')[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/captions", 405), ("POST", "/results/x", 405), ("GET", "/", 404), ("GET", "/results/a/b", 404)],
)
def test_other_routes_are_refused(api, method, path, status):
    assert api(method, path)[0] == status


def test_the_same_idempotency_key_is_answered_once(post, runtime):
    headers = {"Idempotency-Key": "abc"}
    first, again = post(headers=headers)[:2], post(headers=headers)[:2]
    assert first == again
    assert len(runtime.requests) == 1
    assert post(headers={"Idempotency-Key": "other"})[1]["id"] != first[1]["id"]
    status, body, _ = post(picture(color="blue"), headers=headers)
    assert (status, body["error"]["code"]) == (409, "other_request")


def test_a_request_that_failed_may_be_sent_again_with_its_key(post, runtime):
    runtime.answers = [model_error(500), (200, ANSWER)]
    headers = {"Idempotency-Key": "abc"}
    assert [post(headers=headers)[0], post(headers=headers)[0]] == [502, 200]


@pytest.fixture
def asynchronous(runtime, destination, monkeypatch):
    monkeypatch.setenv("ENDPOINT_KIND", "async")
    monkeypatch.setenv("BUCKET", destination.bucket)
    runtime.output = f"s3://{destination.bucket}/answers/1.out"
    runtime.failure = f"s3://{destination.bucket}/answers/1-error.out"


def test_an_asynchronous_answer_is_awaited_by_its_id(
    asynchronous, kept, api, post, runtime, s3, destination, objects, results
):
    status, body, headers = post(query={"seed": "1"})
    key = body["id"]
    assert (status, body["status"], headers["Location"]) == (202, "pending", f"/results/{key}")
    assert json.loads(objects()[f"requests/{key}.json"])["parameters"] == {"seed": 1}
    assert runtime.requests[0]["X-Amzn-SageMaker-InputLocation"] == f"s3://{destination.bucket}/requests/{key}.json"
    assert api("GET", f"/results/{key}")[:2] == (202, {"id": key, "status": "pending"})
    s3.put_object(Bucket=destination.bucket, Key="answers/1.out", Body=json.dumps(ANSWER).encode())
    status, body, _ = api("GET", f"/results/{key}")
    assert (status, body["status"], body["captions"][0]["text"]) == (200, "done", "会議は踊る")
    assert api("POST", f"/results/{key}/score", b'{"score": 3}')[0] == 200
    assert api("GET", f"/results/{key}")[1]["captions"][0]["stars"] == 3
    (kept,) = (name for name in objects() if name.startswith("captioned/"))
    assert results.get_item(Key={"ResultId": key})["Item"]["ImageKey"] == kept.removeprefix("captioned/")


def test_an_asynchronous_failure_is_told(asynchronous, api, post, s3, destination):
    key = post()[1]["id"]
    s3.put_object(Bucket=destination.bucket, Key="answers/1-error.out", Body=b"out of memory")
    status, body, _ = api("GET", f"/results/{key}")
    assert (status, body["error"]["message"]) == (502, "out of memory")


def test_a_table_that_is_missing_is_a_502_without_a_trace(post, monkeypatch):
    monkeypatch.setenv("RESULTS_TABLE_NAME", "no-such-table")
    status, body, _ = post()
    assert (status, body["error"]["code"]) == (502, "aws_failed")
    assert "ResourceNotFoundException" in body["error"]["message"]
