"""`build_and_push.sh` with the real AWS command line, ECR as moto has it, and a registry that asks for its password."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path

import moto.ecr.models
import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from local.process import running
from tests.contract.server import free_port
from tests.contract.training import SMALL
from tests.image.engine import ROOT, Engine
from tests.image.readme import readme_command
from tests.image.small_job import prepare

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
PASSWORD = "123456789012-auth-token"  # as moto's ECR gives it
AUTHORIZATION = "Basic " + b64encode(f"AWS:{PASSWORD}".encode()).decode()


def tool(name: str, advice: str) -> str:
    found = shutil.which(name, path=f"{ROOT}/build/tools/bin:{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is not installed: {advice}")
    return found


def ask(registry: str, path: str) -> tuple[str, bytes]:
    """The media type and the body of an answer of the registry."""
    headers = {
        "Accept": f"{DOCKER_MANIFEST}, application/vnd.oci.image.manifest.v1+json",
        "Authorization": AUTHORIZATION,
    }
    request = urllib.request.Request(f"http://{registry}/v2/{path}", headers=headers)
    with urllib.request.urlopen(request) as answer:
        return answer.headers["Content-Type"], answer.read()


@pytest.fixture
def registry(engine: Engine, tmp_path: Path) -> Iterator[str]:
    """Address of an empty registry that only ECR's user may use."""
    program = tool("docker-registry", "apt-get install docker-registry")
    code = "import crypt, sys; print('AWS:' + crypt.crypt(sys.argv[1], crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))"
    made = subprocess.run([sys.executable, "-W", "ignore", "-c", code, PASSWORD], capture_output=True, check=True)
    (tmp_path / "htpasswd").write_bytes(made.stdout)
    address = f"127.0.0.1:{free_port()}"
    (tmp_path / "registry.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/registry}}}}\nhttp: {{addr: {address}}}\n"
        f"auth: {{htpasswd: {{realm: test, path: {tmp_path}/htpasswd}}}}\n"
    )

    def ready() -> bool | None:
        try:
            return bool(ask(address, ""))
        except OSError:
            return None

    command = [program, "serve", str(tmp_path / "registry.yml")]
    with running(command, log=tmp_path / "registry.log", ready=ready):
        yield address


@pytest.fixture
def ecr(registry: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Endpoint of an ECR whose repositories lie in that registry."""
    create = moto.ecr.models.Repository.__init__

    def created(repository: moto.ecr.models.Repository, *given: object, **named: object) -> None:
        create(repository, *given, **named)  # type: ignore[arg-type]
        repository.uri = f"{registry}/{repository.name}"

    monkeypatch.setattr(moto.ecr.models.Repository, "__init__", created)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


@pytest.fixture
def account(
    docker: Mapping[str, str], ecr: str, registry: str, tmp_path: Path, engine: Engine
) -> Iterator[dict[str, str]]:
    """An environment with the AWS command line set to that account; what was pushed is removed afterwards."""
    aws = tool("aws", "python3 -m venv build/tools && build/tools/bin/pip install awscli")
    rest = {name: value for name, value in docker.items() if not name.startswith("AWS_")}
    (tmp_path / "registries.conf").write_text(f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n')
    yield {
        **rest,
        "PATH": os.pathsep.join([rest["PATH"], str(Path(aws).parent)]),
        "AWS_ENDPOINT_URL": ecr,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "ap-northeast-1",
        "DOCKER_CONFIG": str(tmp_path / "docker"),  # docker takes registries on loopback without TLS by itself
        "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json"),  # podman's
        "CONTAINERS_REGISTRIES_CONF": str(tmp_path / "registries.conf"),
    }
    subprocess.run(engine.command("rmi", "--force", f"{registry}/ogiri:latest"), capture_output=True)


def test_builds_pushes_and_gives_it_back(
    engine: Engine, checkout: Path, account: Mapping[str, str], registry: str, tmp_path: Path
):
    # Seconds instead of minutes: the image that only serves.
    command = f"{readme_command('build_and_push')} latest --build-arg REQUIREMENTS=serving"
    pushed = subprocess.run(["bash", "-c", command], cwd=checkout, env=account, capture_output=True, text=True)
    assert pushed.returncode == 0, pushed.stdout + pushed.stderr
    uri = f"{registry}/ogiri:latest"
    assert "creating the repository ogiri in ap-northeast-1" in pushed.stdout
    assert pushed.stdout.splitlines()[-1] == f"pushed {uri}"
    assert PASSWORD not in pushed.stdout + pushed.stderr

    kind, _ = ask(registry, "ogiri/manifests/latest")
    assert kind == DOCKER_MANIFEST

    run = {"env": account, "capture_output": True, "text": True}
    subprocess.run(engine.command("rmi", "--force", uri), check=True, **run)
    assert subprocess.run(engine.command("pull", uri), **run).returncode == 0
    shown = subprocess.run(engine.command("run", "--rm", uri, "printenv", "OGIRI_IMAGE"), **run)
    assert shown.stdout.strip() == uri

    job = prepare(tmp_path / "ml", SMALL)
    trained = subprocess.run(engine.command("run", "--rm", "-v", f"{job.base}:/opt/ml", uri, "train"), **run)
    assert trained.returncode == 1
    assert "REQUIREMENTS=serving only serves" in job.failure()

    again = subprocess.run(["bash", "-c", command], cwd=checkout, env=account, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "creating the repository" not in again.stdout


def test_no_region_is_said_before_anything_is_built(checkout: Path, account: Mapping[str, str]):
    without = {name: value for name, value in account.items() if name != "AWS_REGION"}
    without |= {"AWS_CONFIG_FILE": os.devnull}
    done = subprocess.run(["./build_and_push.sh", "ogiri"], cwd=checkout, env=without, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no region is set" in done.stderr
