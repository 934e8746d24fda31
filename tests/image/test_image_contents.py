"""What is in the image, and what is not."""

from __future__ import annotations

import json

import pytest

from tests.image.engine import Engine

LARGEST_BYTES = 10 * 10**9  # of an image behind a serverless endpoint


def inspected(engine: Engine) -> dict:
    return json.loads(engine.output("image", "inspect", engine.image))[0]


def test_a_serverless_endpoint_takes_its_size(engine: Engine):
    assert inspected(engine)["Size"] < LARGEST_BYTES


def test_its_labels_say_what_it_can(engine: Engine):
    labels = inspected(engine)["Config"]["Labels"]
    prefix = "com.amazonaws.sagemaker.capabilities"
    assert labels[f"{prefix}.accept-bind-to-port"] == labels[f"{prefix}.multi-models"] == "true"
    assert labels["org.opencontainers.image.title"] == "ogiri"


def test_any_command_can_be_started(engine: Engine):
    """SageMaker's jobs with source code start bash, which finds pip and the first python3."""
    assert not inspected(engine)["Config"].get("Entrypoint")
    ended = engine.run("bash", "-c", "command -v train serve pip && python3 --version", options=["--network", "none"])
    assert ended.stdout.splitlines()[:3] == ["/opt/program/train", "/opt/program/serve", "/opt/venv/bin/pip"]
    assert "Python 3.11" in ended.stdout


def test_nothing_of_the_machine_that_built_it_is_left(engine: Engine):
    history = engine.output("history", "--no-trunc", "--format", "{{.CreatedBy}}", engine.image)
    assert "COPY" in history
    assert "http://" not in history
    assert "https://" not in history
    kept = "find /run/secrets /root/.cache /etc/pip.conf /tmp /var/lib/apt/lists -type f 2>/dev/null || true"
    assert engine.run("bash", "-c", kept, options=["--network", "none"]).stdout == ""


@pytest.mark.parametrize("folder", ["/opt/ml", "/opt/program/tests"])
def test_has_no_folder_of_somebody_else(engine: Engine, folder: str):
    assert engine.run("test", "-e", folder, options=["--network", "none"]).returncode == 1


def test_everything_was_compiled_before(engine: Engine):
    code = "find /opt/program/ogiri -name '*.py' | wc -l; find /opt/program/ogiri -name '*.pyc' | wc -l"
    sources, compiled = engine.run("bash", "-c", code, options=["--network", "none"]).stdout.split()
    assert sources == compiled != "0"
