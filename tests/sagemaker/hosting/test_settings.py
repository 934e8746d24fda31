from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ogiri.sagemaker.hosting.settings import Settings
from ogiri.task import UserError


def test_defaults_hold_where_nothing_or_an_empty_value_is_set():
    settings = Settings.from_environment({"SAGEMAKER_BIND_TO_PORT": "", "MODEL_SERVER_TIMEOUT": " "})
    assert settings == Settings()
    assert settings.model_dir == Path("/opt/ml/model")
    assert settings.timeout_seconds < 60  # the caller's patience
    assert settings.max_payload_bytes == 25 * 2**20


def test_reads_every_variable():
    settings = Settings.from_environment(
        {
            "SAGEMAKER_BASE_DIR": "/base",
            "SAGEMAKER_BIND_TO_PORT": "9000",
            "SAGEMAKER_MAX_PAYLOAD_IN_MB": "100",
            "SAGEMAKER_MODEL_SERVER_TIMEOUT": "600",
            "OGIRI_MAX_CONCURRENT_REQUESTS": "4",
            "SAGEMAKER_CONTAINER_LOG_LEVEL": "10",
            "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "Text/Plain; charset=utf-8",
        }
    )
    assert settings == Settings(Path("/base"), 9000, 100, 600, 4, logging.DEBUG, "text/plain")


def test_the_name_with_a_prefix_wins():
    both = {"MODEL_SERVER_TIMEOUT": "7", "SAGEMAKER_MODEL_SERVER_TIMEOUT": "9"}
    assert Settings.from_environment(both).timeout_seconds == 9
    assert Settings.from_environment({"MODEL_SERVER_TIMEOUT": "7"}).timeout_seconds == 7


@pytest.mark.parametrize(("text", "level"), [("20", logging.INFO), ("WARNING", logging.WARNING), ("error", 40)])
def test_a_log_level_is_a_name_or_a_number(text: str, level: int):
    assert Settings.from_environment({"SAGEMAKER_CONTAINER_LOG_LEVEL": text}).log_level == level


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "0", "1 to 65535"),
        ("SAGEMAKER_BIND_TO_PORT", "65536", "1 to 65535"),
        ("SAGEMAKER_BIND_TO_PORT", "٨٠٨٠", "1 to 65535"),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "6.5", "1 to 1024"),
        ("SAGEMAKER_MODEL_SERVER_TIMEOUT", "-1", "1 to 3600"),
        ("MODEL_SERVER_TIMEOUT", "one minute", "1 to 3600"),
        ("OGIRI_MAX_CONCURRENT_REQUESTS", "1000", "1 to 512"),
        ("SAGEMAKER_CONTAINER_LOG_LEVEL", "15", "debug, 10, info, 20"),
        ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/html", "application/json, text/plain"),
    ],
)
def test_a_bad_value_is_refused_with_its_name_and_what_is_allowed(name: str, value: str, allowed: str):
    with pytest.raises(UserError, match=name) as refused:
        Settings.from_environment({name: value})
    assert repr(value) in str(refused.value)
    assert allowed in str(refused.value)
