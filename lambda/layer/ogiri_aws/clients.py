"""Everything that talks to a network, made once and shared by all threads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Literal

import boto3
import requests
from botocore.config import Config
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from ogiri_aws.addresses import GuardedAdapter

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_rekognition import RekognitionClient
    from mypy_boto3_s3 import S3Client

MAX_REDIRECTS = 5


@dataclass(frozen=True)
class Clients:
    """boto3's clients (which threads may share, unlike its resources), and a session for the web."""

    s3: S3Client
    dynamodb: DynamoDBClient
    rekognition: RekognitionClient
    http: requests.Session

    def close(self) -> None:
        """End all connections."""
        for client in (self.s3, self.dynamodb, self.rekognition, self.http):
            client.close()


def connect(threads: int, networks: Sequence[str] | None = None) -> Clients:
    """Clients for so many threads, from the environment as boto3 reads it (`AWS_ENDPOINT_URL` and its like included).

    Args:
        threads: that use them at a time.
        networks: besides the public ones, those that pictures may come from (`10.1.0.0/16`); None lets them come from
            wherever this machine reaches, which is for somebody at their own.

    Raises:
        botocore's NoRegionError: no region is set.
    """
    # Rekognition has a quota of calls a second, which `adaptive` finds and keeps to. S3 and DynamoDB grow with their
    # load: a refusal there is of a moment, and a client that slows down for it stays slow for minutes.
    standard, adaptive = _config(threads, "standard"), _config(threads, "adaptive")
    session = boto3.Session()
    region = session.region_name or os.environ.get("AWS_REGION")  # many shells set this one, boto3 reads the other
    return Clients(
        session.client("s3", region_name=region, config=standard),
        session.client("dynamodb", region_name=region, config=standard),
        session.client("rekognition", region_name=region, config=adaptive),
        _web(threads, networks),
    )


def _config(threads: int, mode: Literal["standard", "adaptive"]) -> Config:
    return Config(
        retries={"mode": mode, "total_max_attempts": int(os.environ.get("AWS_MAX_ATTEMPTS") or 8)},
        max_pool_connections=threads,
        connect_timeout=5,
        read_timeout=30,
    )


def _web(threads: int, networks: Sequence[str] | None) -> requests.Session:
    session = requests.Session()
    session.headers["User-Agent"] = "ogiri"
    session.max_redirects = MAX_REDIRECTS
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    retries = Retry(
        total=2,
        backoff_factor=0.5,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=("GET",),
        raise_on_status=False,
        respect_retry_after_header=False,  # it may be hours
        redirect=False,
    )
    options: dict[str, Any] = {"pool_connections": threads, "pool_maxsize": threads, "max_retries": retries}
    if networks is None:
        adapter = HTTPAdapter(**options)
    else:
        adapter = GuardedAdapter(networks, **options)
        session.trust_env = False  # a proxy would connect in our place, to whatever it is asked for
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session
