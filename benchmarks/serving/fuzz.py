"""What no caller should send, for as long as there is time: inputs tried, crashes, answers of 500.

    python -m benchmarks.serving.fuzz [--seconds 300]

First the strategies of tests/captioning/serving/hostile.py go into the decoders of this process: any error but a
refusal is a crash. Then the same bodies go to a running `serve` with its nginx, and at last schemathesis asks what
docs/openapi.json describes, if it is installed, in an environment of its own:

    python -m venv build/peers/schemathesis && build/peers/schemathesis/bin/pip install schemathesis

Each gets its share of the time. The exit code is 1 after a crash, a 500 or a broken promise of the OpenAPI file.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import re
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from benchmarks.machine import ROOT
from benchmarks.serving.served import Served, served
from benchmarks.summary import publish
from ogiri.artifact import open_artifact
from ogiri.captioning.model.tokenizer import train_tokenizer
from ogiri.captioning.serving.predictor import CaptionPredictor, load
from ogiri.task import Body
from tests.captioning.serving import hostile, tiny

SECONDS = 300.0
EXAMPLES = 200  # between two looks at the clock
TIMEOUT_SECONDS = 60
SCHEMATHESIS = ROOT / "build" / "peers" / "schemathesis" / "bin" / "st"
OPENAPI = ROOT / "docs" / "openapi.json"
PATHS = ("/ping", "/execution-parameters", "/invocations")
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)
LINES = ["犬も歩けば棒に当たる。", "猫が「ごはん」と言った!", "a dog and a cat"]
PIECES = 400

Strategy = st.SearchStrategy[Any]


def main() -> None:
    """Fuzz, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of all together")
    seconds: float = parser.parse_args().seconds
    warnings.simplefilter("ignore")  # Pillow warns of odd pictures
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        tokenizer = train_tokenizer(LINES * 5, PIECES)
        tiny.write_artifact(base / "model", tokenizer.model, tokenizer.vocabulary)
        targets = len(DECODERS) + len(BODIES) + 1
        rows = decoders(base / "model", seconds / targets)
        with served(base) as server:
            rows += bodies(server, seconds / targets)
            if SCHEMATHESIS.exists():
                rows.append(schemathesis(server, seconds / targets))
            failures = server.failures()
    for failure in failures:
        print(f"in the log: {failure}", file=sys.stderr)
    publish("fuzz", {"seconds": seconds, "failures in the log": len(failures)}, rows)
    sys.exit(bool(failures) or any(row["crashes"] for row in rows))


def decoders(model: Path, seconds: float) -> list[dict[str, Any]]:
    """The decoders of this process, each for so many seconds."""
    predictor = load(open_artifact(model))
    try:
        return [
            {"target": name, **tried(strategy, lambda data, f=check: _decoded(f(predictor, data)), seconds)}
            for name, (strategy, check) in DECODERS.items()
        ]
    finally:
        predictor.close()


def bodies(server: Served, seconds: float) -> list[dict[str, Any]]:
    """The same through nginx."""
    return [
        {"target": f"HTTP, {kind}", **tried(strategy, lambda data, k=kind: _posted(server, k, data), seconds)}
        for kind, strategy in BODIES.items()
    ]


def tried(strategy: Strategy, attempt: Callable[[Any], str], seconds: float) -> dict[str, Any]:
    """The columns of a row. A crash is an exception, which is printed with the least input that was found for it."""
    found: Counter[str] = Counter()
    inputs = set[int]()

    @settings(
        max_examples=EXAMPLES,
        derandomize=False,  # as Hypothesis does not where it sees that CI runs it
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def batch(data: Any) -> None:
        inputs.add(hash(data))
        found[attempt(data)] += 1

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            batch()
        except Exception:  # the test's own report
            traceback.print_exc()
            found["crash"] += 1
    others = ", ".join(f"{count:,} × {name}" for name, count in sorted(found.items()))
    return {"inputs": sum(found.values()), "different": len(inputs), "outcomes": others, "crashes": found["crash"]}


def _decoded(taken: bool) -> str:
    return "taken" if taken else "refused"


def _posted(server: Served, kind: str, data: Any) -> str:
    """The status; raises AssertionError for one that no body should get."""
    headers = {"Content-Type": kind}
    if kind == "attributes":
        headers = {"Content-Type": "image/png", "X-Amzn-SageMaker-Custom-Attributes": _header(data)}
        data = hostile.PICTURES[4]
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_SECONDS)
    with contextlib.closing(connection):
        connection.request("POST", "/invocations", data, headers)
        answer = connection.getresponse()
        answer.read()
    assert answer.status < 500, answer.status
    return str(answer.status)


def _header(value: str) -> bytes:
    """A header that an HTTP client can send."""
    return re.sub(rb"[\x00-\x1f\x7f]", b"?", value.encode("latin-1"))[:4000]


def schemathesis(server: Served, seconds: float) -> dict[str, Any]:
    """What the OpenAPI file describes, and what it does not; a broken promise of it counts as a crash."""
    paths = [part for path in PATHS for part in ("--include-path", path)]
    command = [SCHEMATHESIS, "run", OPENAPI, "--url", f"http://127.0.0.1:{server.port}", *paths, "--checks", CHECKS]
    options = ["--max-time", str(max(1, round(seconds))), "--phases", "coverage,fuzzing", "--continue-on-failure"]
    with tempfile.TemporaryDirectory() as folder:  # it leaves files where it runs
        done = subprocess.run(
            [*map(str, command), *options, "--no-shrink"], cwd=folder, capture_output=True, text=True, check=False
        )
    generated = re.search(r"(\d+) generated", done.stdout)
    broken = re.findall(r"❌ (ST\d+ .*): (\d+)", done.stdout)
    if done.returncode:
        print(done.stdout, done.stderr, file=sys.stderr)
    return {
        "target": "HTTP, schemathesis",
        "inputs": int(generated[1]) if generated else 0,
        "outcomes": ", ".join(f"{count} × {name}" for name, count in broken) or "as described",
        "crashes": sum(int(count) for _, count in broken) + (done.returncode not in (0, 1)),
    }


DECODERS: Mapping[str, tuple[Strategy, Callable[[CaptionPredictor, Any], bool]]] = {
    "pictures": (hostile.pictures, lambda _, data: hostile.check_picture(data)),
    "JSON": (
        hostile.json_bodies(),
        lambda predictor, data: hostile.check_body(predictor, Body("application/json", data)),
    ),
    "custom attributes": (hostile.attributes, hostile.check_attributes),
    "forms": (hostile.forms() | st.binary(max_size=60), hostile.check_form),
    "JSON lines": (hostile.line_bodies, hostile.check_lines),
}

BODIES: Mapping[str, Strategy] = {
    "image/png": hostile.pictures,
    "application/json": hostile.json_bodies(),
    f"multipart/form-data; boundary={hostile.BOUNDARY}": hostile.forms(),
    "application/jsonlines": hostile.line_bodies,
    "attributes": hostile.attributes,
}

if __name__ == "__main__":
    main()
