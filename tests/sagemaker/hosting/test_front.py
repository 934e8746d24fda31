from __future__ import annotations

import json
import logging
import subprocess
from pathlib import Path

import pytest

from ogiri.sagemaker.hosting import front
from ogiri.sagemaker.hosting.logs import JsonFormatter
from ogiri.sagemaker.hosting.settings import Settings


def test_nginx_takes_the_configuration(tmp_path: Path):
    command = front.command(Settings(port=0, timeout_seconds=77, max_payload_mb=9), tmp_path)
    configuration = (tmp_path / "nginx.conf").read_text()
    assert "{{" not in configuration
    assert "client_max_body_size 10m;" in configuration
    assert "proxy_read_timeout 81s;" in configuration  # longer than the request may take
    (tmp_path / "nginx.conf").write_text(configuration.replace("listen 0", "listen 8080"))
    result = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert "test is successful" in result.stderr, result.stderr


@pytest.mark.parametrize(
    ("line", "level", "message"),
    [
        ("2026/01/31 12:00:00 [crit] 7#8: *1 connect() failed", "error", "nginx: *1 connect() failed"),
        ("2026/01/31 12:00:00 [warn] 7#8: low", "warning", "nginx: low"),
        ("nginx: [emerg] no such directive", "error", "nginx: [emerg] no such directive"),
        ('{"request_id": "cut o', "error", '{"request_id": "cut o'),
        ("[1]", "error", "[1]"),
    ],
)
def test_what_nginx_writes_becomes_a_line_of_the_log(
    caplog: pytest.LogCaptureFixture, line: str, level: str, message: str
):
    front.log(line)
    entry = json.loads(JsonFormatter().format(caplog.records[0]))
    assert entry["message"] == message
    assert entry["level"] == level


def test_an_answer_of_nginx_becomes_a_line_of_the_log(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        front.log('{"request_id": "a", "request": "POST /a b HTTP/1.1", "status": "413", "seconds": "0.012"}')
    entry = json.loads(JsonFormatter().format(caplog.records[0]))
    expected = {"request_id": "a", "method": "POST", "path": "/a b", "status": 413, "milliseconds": 12}
    assert expected.items() <= entry.items()
