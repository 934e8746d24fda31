"""The real `container/train` as a process: what it takes, what it leaves, how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmarks.training.job import Job
from local.aws import EmbeddedAWS, embedded_aws
from ogiri.artifact import open_artifact
from ogiri.sagemaker.training.metrics import metric_definitions
from tests.captioning.training.reported import structure
from tests.contract.server import wait_until
from tests.contract.training import SMALL, TIMEOUT_SECONDS, Ended, Row, Training

PICTURES = 24
BROKEN = "07.png"
SUBJECTS = ["犬", "猫", "社長", "部長", "電車", "寿司"]
ROWS = [
    Row(
        f"{n:02}.png", f"{SUBJECTS[n % 6]}{end}", n, (SUBJECTS[n % 6],) if n % 2 else (), "止まれ" if n % 3 == 0 else ""
    )
    for n in range(PICTURES)
    for end in ("が逃げた！", f"は{n}回笑う")
]
METRICS = ["train_loss", "validation_loss", "validation_nats_per_character"]
METRICS += ["validation_bleu", "validation_cider", "validation_chrf"]


def prepare(base: Path, *, records: bool = True, **hyperparameters: str) -> Training:
    """A base folder with everything that a job needs, and one broken picture."""
    job = Training(base, {**SMALL, **hyperparameters})
    job.draw(ROWS)
    (job.channel("training") / BROKEN).write_bytes(b"<html>404</html>")
    if records:
        job.list(row.item() for row in ROWS)
    return job


# --- a job that succeeds ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Training, Ended]:
    job = prepare(tmp_path_factory.mktemp("done"))
    ended = job.run({"TRAINING_JOB_NAME": "job-7"})
    assert ended.status == 0, ended.err
    return job, ended


def test_leaves_an_artifact_with_all_that_serving_needs(done: tuple[Training, Ended]):
    job, _ = done
    artifact = open_artifact(job.model)
    manifest = artifact.manifest
    assert (artifact.task, artifact.name, manifest["training_job"]) == ("caption", "job-7", "job-7")
    assert manifest["format_version"] == 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", manifest["created"])
    assert manifest["preprocessing"].keys() == {
        "encoder", "size", "max_labels", "max_label_pieces", "max_text_pieces", "confidence_edges"
    }  # fmt: skip
    assert manifest["preprocessing"]["size"] == 64
    assert manifest["tokenizer"].keys() == {"file", "vocabulary", "bos", "eos", "lower_case"}
    assert manifest["decoding"].keys() == {
        "decoder", "dimensions", "encoder_graph", "decoder_graph", "state", "max_tokens", "controls", "defaults"
    }  # fmt: skip
    assert manifest["quantization"]["decoder"] in ("int8", "none")
    assert set(METRICS) <= manifest["metrics"].keys()
    assert (manifest["metrics"]["records"], manifest["metrics"]["broken_pictures"]) == (2 * PICTURES, 1)
    names = {"encoder.onnx", "encoder.onnx.data", "decoder.onnx", "tokenizer.model", "MODEL_CARD.md"}
    assert manifest["files"].keys() == names
    assert {path.name for path in job.model.iterdir()} == names | {"manifest.json"}


def test_leaves_reports_and_weights_in_output_data(done: tuple[Training, Ended]):
    job, _ = done
    metrics = json.loads((job.output / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["job"] == "job-7"
    assert metrics["hyperparameters"]["decoder_width"] == 32
    assert [epoch["epoch"] for epoch in metrics["history"]] == [1, 2]
    assert metrics["free_running"]["split"] == "validation"
    assert metrics["train_pictures"] + metrics["validation_pictures"] == PICTURES - 1
    samples = [json.loads(line) for line in (job.output / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(samples) == metrics["validation_pictures"] > 0
    for sample in samples:
        assert sample["generated"]
        assert set(sample["references"]) == {row.line for row in ROWS if row.key == sample["image_key"]}
        assert 0 <= sample["chrf"] <= 100
    for part in ("decoder", "encoder"):
        assert safetensors.numpy.load_file(job.output / "weights" / f"{part}.safetensors")


def test_leaves_a_page_that_needs_nothing_else(done: tuple[Training, Ended]):
    job, _ = done
    html = (job.output / "report.html").read_text(encoding="utf-8")
    metrics = json.loads((job.output / "metrics.json").read_text(encoding="utf-8"))
    found = structure(html)
    assert len(html.encode()) < 3_000_000
    assert "script" not in found.tags
    assert all(value.startswith(("data:", "#")) for value in found.values("src", "href"))
    assert len(found.values("src")) == min(12, metrics["validation_pictures"])
    assert f"trained on {metrics['train_lines']} lines of {metrics['train_pictures']} pictures" in found.words
    assert f"CIDEr {metrics['free_running']['cider']:.3f}" in found.words
    assert "Where it looked" in found.words
    assert found.values("class").count("look") >= 3
    assert f"{BROKEN}: " in found.words
    card = (job.model / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card.startswith("# job-7\n")
    assert f"| CIDEr | {metrics['free_running']['cider']:.3f} |" in card


def test_prints_metrics_that_a_regular_expression_finds(done: tuple[Training, Ended]):
    _, ended = done
    for name in METRICS:
        found = [float(value) for value in re.findall(rf"{name}=(\S+?);", ended.out)]
        assert len(found) == 2
        assert all(value == value and abs(value) != float("inf") for value in found)
    assert len(ended.out.splitlines()) == 2


def test_the_definitions_of_tuning_jobs_find_the_metrics_and_nothing_else(done: tuple[Training, Ended]):
    job, ended = done
    history = json.loads((job.output / "metrics.json").read_text(encoding="utf-8"))["history"]
    for definition in metric_definitions(METRICS):
        found = [float(value) for value in re.findall(definition["Regex"], ended.err + ended.out)]
        assert found == pytest.approx([epoch[definition["Name"]] for epoch in history], rel=1e-6)


def test_leaves_curves_hyperparameters_and_samples_for_tensorboard(done: tuple[Training, Ended]):
    job, _ = done
    events = EventAccumulator(str(job.base / "output" / "tensorboard")).Reload()
    history = json.loads((job.output / "metrics.json").read_text(encoding="utf-8"))["history"]
    for name in METRICS:
        curve = {event.step: event.value for event in events.Scalars(name)}
        assert curve == pytest.approx({epoch["epoch"]: epoch[name] for epoch in history}, rel=1e-5)
    texts = {
        tag: events.Tensors(f"{tag}/text_summary")[0].tensor_proto.string_val[0].decode()
        for tag in ("hyperparameters", "samples")
    }
    assert "| decoder_width | 32 |" in texts["hyperparameters"]
    first = json.loads((job.output / "samples.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert f"| {first['image_key']} |" in texts["samples"]


def test_the_log_lists_broken_pictures(done: tuple[Training, Ended]):
    _, ended = done
    assert f"picture {BROKEN} is left out: " in ended.err
    assert "Traceback" not in ended.err


def test_leaves_no_failure_and_a_checkpoint(done: tuple[Training, Ended]):
    job, _ = done
    assert not (job.base / "output" / "failure").exists()
    kept = [path.name for path in (job.base / "checkpoints").iterdir() if not path.name.endswith(".sagemaker-ignore")]
    assert kept == ["training.pt"]
    assert {path.name for path in (job.base / "checkpoints").glob("running*")} == set()


def test_a_second_run_with_the_finished_checkpoint_trains_nothing_and_leaves_the_same(
    done: tuple[Training, Ended], tmp_path: Path
):
    first, _ = done
    job = Training(tmp_path / "again", first.hyperparameters)
    shutil.copytree(first.base / "input", job.base / "input")
    shutil.copytree(first.base / "checkpoints", job.base / "checkpoints")
    ended = job.run({"TRAINING_JOB_NAME": "job-7"})
    assert ended.status == 0, ended.err
    assert ended.out == ""
    assert "going on from the checkpoint after epoch 2" in ended.err
    for part in ("decoder", "encoder"):
        file = f"weights/{part}.safetensors"
        assert (job.output / file).read_bytes() == (first.output / file).read_bytes()
    for name in ("decoder.onnx", "encoder.onnx", "tokenizer.model"):
        assert (job.model / name).read_bytes() == (first.model / name).read_bytes()


# --- records from the table ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAWS]:
    with embedded_aws(bucket=None) as aws:
        yield aws


def test_reads_the_table_where_there_is_no_records_channel(aws: EmbeddedAWS, tmp_path: Path):
    table = aws.resource("dynamodb").Table(aws.table)
    with table.batch_writer() as batch:
        for row in ROWS:
            batch.put_item(row.item())
    table.meta.client.close()
    job = prepare(tmp_path, records=False, epochs="1")
    ended = job.run(aws.process_environment())
    assert ended.status == 0, ended.err
    assert open_artifact(job.model).manifest["metrics"]["records"] == 2 * PICTURES


def test_a_missing_table_is_named(aws: EmbeddedAWS, tmp_path: Path):
    job = prepare(tmp_path, records=False)
    environment = {**aws.process_environment(), "DYNAMODB_TABLE_NAME": "NoSuchTable"}
    assert job.run(environment).status == 1
    assert re.match(r"UserError: DynamoDB table NoSuchTable in \S+ \(\S+\) does not exist: ", job.failure())


# --- a job that fails ------------------------------------------------------------------------------------------------


def assert_fails(job: Training, reason: str) -> None:
    ended = job.run()
    assert ended.status == 1
    assert re.match(reason, job.failure()), job.failure()
    assert ended.err.splitlines()[-1] == job.failure()
    assert list(job.model.glob("*")) == []


def test_unknown_and_impossible_hyperparameters_are_named_together(tmp_path: Path):
    job = prepare(tmp_path, epochss="3", batch_size="0")
    assert_fails(job, r"UserError: .*epochss is not a known parameter: did you mean epochs\?")
    assert "batch_size is 0: it must be 1 to 65536" in job.failure()


def test_malformed_hyperparameters_are_named(tmp_path: Path):
    job = prepare(tmp_path)
    job.config("hyperparameters", '{"epochs": "2"')
    assert_fails(job, rf"UserError: {tmp_path}/input/config/hyperparameters\.json is not JSON: ")


def test_a_missing_training_channel_is_named(tmp_path: Path):
    job = prepare(tmp_path)
    shutil.rmtree(job.channel("training"))
    assert_fails(job, "UserError: there is no `training` channel: give the job one that holds the pictures")


def test_missing_weights_are_named_with_the_ways_out(tmp_path: Path):
    job = prepare(tmp_path, encoder_weights="pretrained")
    job.channel("pretrained")
    assert_fails(job, rf"UserError: no weights for the encoder mobilenet_v3_small: .* below {tmp_path}/input/data/pre")
    assert "encoder_weights=none" in job.failure()


def test_too_few_records_name_the_hyperparameter(tmp_path: Path):
    job = prepare(tmp_path, min_records="49")
    assert_fails(job, "UserError: .* has 48 records, fewer than the 49 of the hyperparameter min_records: ")


def test_too_many_broken_pictures_name_the_first(tmp_path: Path):
    job = prepare(tmp_path)
    (job.channel("training") / "09.png").unlink()
    assert_fails(job, rf"UserError: 2 of 24 pictures cannot be used, more than 5%: first {re.escape(BROKEN)}: ")


def test_a_key_that_leaves_the_folder_is_refused(tmp_path: Path):
    job = prepare(tmp_path)
    outside: list[dict[str, Any]] = [{**row.item(), "ImageKey": f"../{row.key}"} for row in ROWS[:4]]
    job.list([*outside, *(row.item() for row in ROWS)])
    assert_fails(job, r"UserError: 4 of 52 records .*ImageKey is '\.\./00\.png': it must be a plain file name")


# --- a job that is stopped -------------------------------------------------------------------------------------------


def test_stopped_while_training_leaves_a_whole_artifact(tmp_path: Path):
    job = prepare(tmp_path, epochs="10000", patience="0")
    process = job.start()
    assert "train_loss=" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    ended = job.end(process)
    assert ended.status == 0, ended.err
    assert open_artifact(job.model).task == "caption"
    assert json.loads((job.output / "metrics.json").read_text())["free_running"] is None
    assert "Not measured: the job was asked to end early." in (job.output / "report.html").read_text(encoding="utf-8")
    assert "keeping what is best so far" in ended.err
    assert not (job.base / "output" / "failure").exists()


def test_stopped_before_the_first_step_leaves_an_empty_model_folder(tmp_path: Path):
    job = prepare(tmp_path)
    pipe = job.channel("training") / "00.png"
    pipe.unlink()
    os.mkfifo(pipe)
    process = job.start()
    opened: list[int] = []

    def is_read() -> bool:
        with contextlib.suppress(OSError):  # there is no reader yet
            opened.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        return bool(opened) or process.poll() is not None

    wait_until(is_read, "the first picture is read", TIMEOUT_SECONDS)
    process.send_signal(signal.SIGTERM)
    os.close(opened[0])
    ended = job.end(process)
    assert ended.status == 0, ended.err
    assert list(job.model.iterdir()) == []
    assert ended.err.count("stopped before the first step") == 1
    assert not (job.base / "output" / "failure").exists()


# --- a job that is killed --------------------------------------------------------------------------------------------


def often(job: Training) -> subprocess.Popen[bytes]:
    """The job with a checkpoint after each batch, as soon as it has written one."""
    job.config("hyperparameters", json.dumps(job.hyperparameters))
    other = Job(job.base, checkpoint_seconds=0)
    process = other.start()
    other.wait(process, lambda: within(job) > 0)
    return process


def within(job: Training) -> int:
    """Batches that are done of the epoch under way, as the checkpoint has it."""
    path = job.base / "checkpoints" / "training.pt"
    if not path.exists():
        return 0
    return int(torch.load(path, weights_only=True)["progress"]["within"].get("batches", 0))


def test_killed_within_an_epoch_it_ends_as_if_nothing_had_happened(done: tuple[Training, Ended], tmp_path: Path):
    whole, _ = done
    job = prepare(tmp_path)
    process = often(job)
    process.kill()
    process.wait()
    (job.model / "decoder.float32.onnx").write_bytes(b"half a graph of a run that was killed in its export")
    ended = job.run({"TRAINING_JOB_NAME": "job-7"})
    assert ended.status == 0, ended.err
    assert re.search(r"going on from the checkpoint (in|after) epoch [12]", ended.err)
    assert (
        len(re.findall(r"the last run ended without a word in the part training, after epoch \d: most", ended.err)) == 1
    )
    for name in ("decoder.onnx", "encoder.onnx", "tokenizer.model"):
        assert (job.model / name).read_bytes() == (whole.model / name).read_bytes()
    for part in ("decoder", "encoder"):
        file = f"weights/{part}.safetensors"
        assert (job.output / file).read_bytes() == (whole.output / file).read_bytes()
    assert {path.name for path in job.model.iterdir()} == {path.name for path in whole.model.iterdir()}


def test_stopped_within_an_epoch_it_goes_on_there(tmp_path: Path):
    job = prepare(tmp_path, epochs="10000", patience="0")
    process = often(job)
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_SECONDS) == 0
    assert open_artifact(job.model).task == "caption"
    assert "within" in torch.load(job.base / "checkpoints" / "training.pt", weights_only=True)["progress"]
    assert not (job.base / "checkpoints" / "running.json").exists()


def test_a_second_job_in_the_same_folder_is_refused_and_the_first_goes_on(tmp_path: Path):
    job = prepare(tmp_path, epochs="10000", patience="0")
    first = job.start({"TRAINING_JOB_NAME": "job-1"})
    assert "train_loss=" in first.stdout.readline()
    second = job.run({"TRAINING_JOB_NAME": "job-2"})
    assert second.status == 1
    holder = rf"training job job-1 \(process {first.pid}\)"
    assert re.match(rf"UserError: the checkpoint folder {tmp_path}/checkpoints is in use by {holder}", job.failure())
    assert "train_loss=" in first.stdout.readline()
    first.send_signal(signal.SIGTERM)
    assert job.end(first).status == 0


def test_what_sagemaker_puts_beside_files_while_it_copies_them_is_ignored(tmp_path: Path):
    job = prepare(tmp_path, epochs="1")
    for folder in (job.channel("training"), job.channel("records"), job.base / "checkpoints"):
        folder.mkdir(exist_ok=True)
        for name in ("rows.jsonl", "00.png", "training.pt"):
            for suffix in ("sagemaker-uploading", "sagemaker-uploaded"):
                (folder / f"{name}.{suffix}").write_bytes(b"")
    ended = job.run()
    assert ended.status == 0, ended.err
    assert "cannot be read" not in ended.err


def test_channels_may_be_read_only(tmp_path: Path):
    job = prepare(tmp_path, epochs="1")
    data = job.base / "input"
    if os.geteuid() != 0 or subprocess.run(["mount", "--bind", data, data], capture_output=True).returncode:
        pytest.skip("mounting needs root")
    try:
        job.config("hyperparameters", json.dumps(job.hyperparameters))
        subprocess.run(["mount", "-o", "remount,bind,ro", str(data)], check=True)
        ended = job.run()
    finally:
        subprocess.run(["umount", str(data)], check=True)
    assert ended.status == 0, ended.err
