from __future__ import annotations

import json
import logging
import sys

from ogiri.sagemaker.hosting.logs import JsonFormatter


def test_a_record_is_one_line_of_json():
    record = logging.LogRecord("a", logging.WARNING, __file__, 1, "犬が\n%d 匹", (3,), None)
    record.created, record.msecs = 0.25, 250.0
    record.fields = {"request_id": "r", "path": Exception("odd")}
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert "犬が" in line
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.250Z",
        "level": "warning",
        "message": "犬が\n3 匹",
        "request_id": "r",
        "path": "odd",
    }


def test_a_traceback_stays_in_the_line():
    try:
        raise ValueError("cause")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert "ValueError: cause" in json.loads(line)["traceback"]
