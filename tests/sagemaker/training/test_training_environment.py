import json
import os
import subprocess

import pytest

from ogiri.sagemaker.training import environment
from ogiri.task import UserError


@pytest.fixture
def base(tmp_path, monkeypatch):
    """An empty base folder."""
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "ml"))
    monkeypatch.delenv("TRAINING_JOB_NAME", raising=False)
    (tmp_path / "ml" / "input" / "config").mkdir(parents=True)
    return tmp_path / "ml"


def config(base, name, content):
    (base / "input" / "config" / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def test_opt_ml_unless_said_otherwise(monkeypatch):
    for value in (None, ""):
        monkeypatch.delenv("SAGEMAKER_BASE_DIR", raising=False)
        if value is not None:
            monkeypatch.setenv("SAGEMAKER_BASE_DIR", value)
        assert str(environment.base_folder()) == "/opt/ml"
        assert str(environment.failure_file()) == "/opt/ml/output/failure"


def test_nothing_laid_out_is_one_host_without_channels(base):
    found = environment.read()
    assert (found.channels, found.hosts, found.current_host, found.rank) == ({}, ("algo-1",), "algo-1", 0)
    assert found.job_name == "local"


def test_the_network_interface_of_the_hosts_is_read(base):
    config = base / "input" / "config"
    (config / "resourceconfig.json").write_text('{"network_interface_name": "eth0"}')
    assert environment.read().network_interface == "eth0"
    (config / "resourceconfig.json").write_text('{"network_interface_name": 0.5}')
    with pytest.raises(UserError, match=r"resourceconfig.json has network_interface_name 0.5: it must be a name"):
        environment.read()


def test_makes_the_folders_to_write_to(base):
    found = environment.read()
    assert [found.model, found.output_data, found.checkpoints] == [
        base / "model",
        base / "output" / "data",
        base / "checkpoints",
    ]
    assert all(folder.is_dir() for folder in (found.model, found.output_data, found.checkpoints))
    environment.read()  # they may exist: a job restarted


def test_leaves_what_a_job_before_the_restart_wrote(base):
    (base / "checkpoints").mkdir()
    (base / "checkpoints" / "last.safetensors").write_bytes(b"x")
    assert (environment.read().checkpoints / "last.safetensors").read_bytes() == b"x"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("name", ["model", "output/data", "checkpoints"])
def test_a_folder_that_is_mounted_read_only_is_named_before_anything_is_trained(base, name):
    folder = base / name
    folder.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(UserError, match=f"{folder} cannot be written to: mount it"):
            environment.read()
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_what_a_killed_run_left_in_a_folder_is_removed(base, caplog):
    caplog.set_level("INFO")
    model = environment.read().model
    (model / "decoder.float32.onnx").write_bytes(b"half of it")
    (model / "weights").mkdir()
    (model / "weights" / "decoder.safetensors").write_bytes(b"x")
    environment.empty(model)
    assert list(model.iterdir()) == []
    assert "what an earlier run left: decoder.float32.onnx, weights" in caplog.text
    caplog.clear()
    environment.empty(model)
    assert caplog.text == ""


def test_channels_are_the_folders_that_exist(base):
    data = base / "input" / "data"
    for name in ("training", "pretrained", "my-own"):
        (data / name).mkdir(parents=True)
    (data / "training-manifest").write_text("a file that the platform writes")
    config(
        base, "inputdataconfig", {"training": {"TrainingInputMode": "File"}, "records": {"TrainingInputMode": "File"}}
    )
    assert environment.read().channels == {name: data / name for name in ("my-own", "pretrained", "training")}


def test_pipe_mode_is_refused_with_the_way_out(base):
    config(base, "inputdataconfig", {"training": {"TrainingInputMode": "Pipe"}})
    with pytest.raises(UserError, match="channel training comes in Pipe mode: set its TrainingInputMode to FastFile"):
        environment.read()


def test_rank_is_the_place_in_the_sorted_hosts(base):
    for name, rank in (("algo-1", 0), ("algo-2", 1), ("algo-3", 2)):
        config(
            base,
            "resourceconfig",
            {"current_host": name, "hosts": ["algo-3", "algo-1", "algo-2"], "network_interface_name": "eth0", "x": 1},
        )
        found = environment.read()
        assert (found.rank, found.current_host, found.hosts[0]) == (rank, name, "algo-1")


@pytest.mark.parametrize(
    "content",
    [{"hosts": "algo-1"}, {"hosts": [1]}, {"hosts": ["a"], "current_host": "b"}, {"hosts": ["a"], "current_host": 1}],
)
def test_hosts_that_make_no_sense_are_refused(base, content):
    config(base, "resourceconfig", content)
    with pytest.raises(UserError, match=r"resourceconfig\.json has "):
        environment.read()


def test_job_name(base, monkeypatch):
    monkeypatch.setenv("TRAINING_JOB_NAME", "ogiri-2026")
    assert environment.read().job_name == "ogiri-2026"
