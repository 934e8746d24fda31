from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ogiri.sagemaker.hosting.settings import Settings, workers_warning
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


def test_a_batch_transform_job_has_time():
    assert Settings.from_environment({"SAGEMAKER_BATCH": "True"}).timeout_seconds == 3595
    assert Settings.from_environment({"SAGEMAKER_BATCH": "false"}).timeout_seconds == 55
    both = {"SAGEMAKER_BATCH": "true", "MODEL_SERVER_TIMEOUT": "600"}
    assert Settings.from_environment(both).timeout_seconds == 600


@pytest.mark.parametrize(
    ("megabytes", "at_a_time", "payload", "requests"),
    [
        (25, 64, 25, 4),
        (6, 64, 6, 16),
        (1, 64, 1, 64),
        (99, 64, 99, 1),
        (100, 64, 100, 1),
        (1024, 64, 100, 1),
        (1, 2, 1, 2),
    ],
)
def test_all_requests_of_a_batch_together_keep_to_100_megabytes(
    megabytes: int, at_a_time: int, payload: int, requests: int
):
    settings = Settings(max_payload_mb=megabytes, max_concurrent_requests=at_a_time)
    assert (settings.batch_payload_mb, settings.batch_requests) == (payload, requests)


def test_metrics_are_off_unless_asked_for():
    assert not Settings.from_environment({"OGIRI_METRICS_SECONDS": "10"}).metrics
    settings = Settings.from_environment({"OGIRI_METRICS": "emf", "OGIRI_METRICS_SECONDS": "10"})
    assert (settings.metrics, settings.metrics_seconds) == (True, 10)


@pytest.mark.parametrize("number", ["2", "0", "auto"])
def test_a_number_of_workers_is_answered_with_what_to_set_instead(number: str):
    warning = workers_warning({"MODEL_SERVER_WORKERS": number})
    assert warning is not None
    assert f"MODEL_SERVER_WORKERS is '{number}'" in warning
    assert "OGIRI_MAX_CONCURRENT_REQUESTS" in warning


@pytest.mark.parametrize("environ", [{}, {"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}, {"MODEL_SERVER_WORKERS": " "}])
def test_one_worker_is_what_there_is(environ: dict[str, str]):
    assert workers_warning(environ) is None


@pytest.mark.parametrize("text", ["25000-25999", "1-65535", "8080-8080", ""])
def test_a_range_of_ports_is_taken_and_not_needed(text: str):
    assert Settings.from_environment({"SAGEMAKER_SAFE_PORT_RANGE": text}) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("SAGEMAKER_SAFE_PORT_RANGE", "25000", "25000-25999"),
        ("SAGEMAKER_SAFE_PORT_RANGE", "2-1", "25000-25999"),
        ("SAGEMAKER_SAFE_PORT_RANGE", "0-1", "25000-25999"),
        ("SAGEMAKER_SAFE_PORT_RANGE", "1-65536", "25000-25999"),
        ("SAGEMAKER_BATCH", "yes", "true or false"),
        ("OGIRI_METRICS", "EMF2", "one of emf"),
        ("OGIRI_METRICS_SECONDS", "0", "1 to 3600"),
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
