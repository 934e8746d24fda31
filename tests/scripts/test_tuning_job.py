"""The request for a tuning job, held against the service's own model."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.model import Shape
from botocore.validate import ParamValidator

from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.captioning.training.ranges import FIRST, RANGES
from ogiri.parameter import ParameterError
from ogiri.sagemaker.training import hyperparameters
from scripts.tuning_job import TuningJobError, parse, request

SCRIPT = Path(__file__).parents[2] / "scripts" / "tuning_job.py"
ROLE = "arn:aws:iam::123456789012:role/service-role/Training"
IMAGE = "123456789012.dkr.ecr.ap-northeast-1.amazonaws.com/ogiri:1.0"
GIVEN = ["--role", ROLE, "--image", IMAGE, "--bucket", "our-bucket"]
EVERYTHING = [part for name in RANGES for part in ("--parameter", name)]


def asked(*arguments: str) -> dict[str, Any]:
    return request(parse([*GIVEN, *arguments]))


def input_shape() -> Shape:
    model = botocore.session.get_session().get_service_model("sagemaker")
    return model.operation_model("CreateHyperParameterTuningJob").input_shape


def mismatches(value: Any, shape: Shape, place: str = "") -> list[str]:
    """Strings that the service's patterns or lists of values refuse; botocore leaves these checks to the service."""
    if shape.type_name == "structure":
        return [m for name, v in value.items() for m in mismatches(v, shape.members[name], f"{place}.{name}")]
    if shape.type_name == "list":
        return [m for index, v in enumerate(value) for m in mismatches(v, shape.member, f"{place}[{index}]")]
    if shape.type_name == "map":
        return [m for key, v in value.items() for m in mismatches(v, shape.value, f"{place}.{key}")]
    if shape.type_name != "string":
        return []
    refused = not re.fullmatch(shape.metadata.get("pattern", ".*"), value)
    return [f"{place} is {value!r}"] if refused or (shape.enum and value not in shape.enum) else []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        EVERYTHING,
        ["--metric", "validation_loss", "--jobs", "1", "--parallel", "9", "--name", "short"],
        ["--records", "s3://our-bucket/export/", "--pretrained", "s3://our-bucket/weights/", "epochs=20"],
    ],
)
def test_the_service_knows_every_part_of_it(arguments: list[str]):
    asked_for = asked(*arguments)
    report = ParamValidator().validate(asked_for, input_shape())
    assert not report.has_errors(), report.generate_report()
    assert mismatches(asked_for, input_shape()) == []


def test_what_is_compared_is_defined():
    asked_for = asked("--metric", "validation_loss")
    objective = asked_for["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    definition = asked_for["TrainingJobDefinition"]
    assert objective == {"Type": "Minimize", "MetricName": "validation_loss"}
    assert definition["StaticHyperParameters"] == {"select_by": "loss"}
    defined = {one["Name"]: one["Regex"] for one in definition["AlgorithmSpecification"]["MetricDefinitions"]}
    assert re.findall(defined["validation_loss"], "epoch=1; train_loss=9; validation_loss=2.5;") == ["2.5"]


def test_the_ranges_are_the_documented_ones():
    config = asked(*EVERYTHING)["HyperParameterTuningJobConfig"]
    ranges = config["ParameterRanges"]
    continuous = {one["Name"]: one for one in ranges["ContinuousParameterRanges"]}
    assert continuous["learning_rate"] == {
        "Name": "learning_rate",
        "MinValue": "0.0003",
        "MaxValue": "0.004",
        "ScalingType": "Logarithmic",
    }
    assert continuous["dropout"]["ScalingType"] == "Linear"
    assert [one["Name"] for one in ranges["IntegerParameterRanges"]] == ["batch_size"]
    assert {"Name": "decoder_width", "Values": ["256", "384", "512", "768"]} in ranges["CategoricalParameterRanges"]
    assert sorted(one["Name"] for kind in ranges.values() for one in kind) == sorted(RANGES)


def test_a_short_search_by_default():
    ranges = asked()["HyperParameterTuningJobConfig"]["ParameterRanges"]
    assert sorted(one["Name"] for kind in ranges.values() for one in kind) == sorted(FIRST)


def test_a_job_takes_what_it_will_be_sent():
    asked_for = asked(*EVERYTHING, "epochs=20", "encoder=mobilenet_v2")
    sent = dict(asked_for["TrainingJobDefinition"]["StaticHyperParameters"])
    for one in asked_for["HyperParameterTuningJobConfig"]["ParameterRanges"]["CategoricalParameterRanges"]:
        sent[one["Name"]] = json.dumps(one["Values"][-1])  # as the SDK encodes it
    sent["_tuning_objective_metric"] = "validation_cider"
    hp = hyperparameters.check(CaptionHyperparameters, sent)
    assert (hp.epochs, hp.encoder, hp.decoder_width, hp.select_by) == (20, "mobilenet_v2", 768, "cider")


def test_channels_and_table():
    definition = asked("--records", "s3://a/b/", "--pretrained", "s3://c/d/", "--table", "Ours")[
        "TrainingJobDefinition"
    ]
    places = {c["ChannelName"]: c["DataSource"]["S3DataSource"]["S3Uri"] for c in definition["InputDataConfig"]}
    assert places == {"training": "s3://our-bucket/images/", "records": "s3://a/b/", "pretrained": "s3://c/d/"}
    assert definition["Environment"] == {"DYNAMODB_TABLE_NAME": "Ours", "OGIRI_IMAGE": IMAGE}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--role", "Training"], r"--role is 'Training': it must be arn:aws:iam::ACCOUNT:role/NAME"),
        (["--image", "ogiri"], r"--image is 'ogiri': it must be ACCOUNT\.dkr\.ecr"),
        (["--bucket", "s3://our-bucket"], r"--bucket is 's3://our-bucket': it must be the name of a bucket"),
        (["--records", "our-bucket/export"], r"--records is 'our-bucket/export': it must be s3://"),
        (["--name", "a" * 33], r"--name is 'a+': it must be .*at most 32"),
        (["--metric", "loss"], r"--metric is loss: it must be one of validation_cider"),
        (["--jobs", "0"], r"--jobs is 0: it must be at least 1"),
        (["--parameter", "seed"], r"--parameter is seed: there are ranges for learning_rate"),
        (["learning_rate=0.1"], r"learning_rate is set and searched at once"),
    ],
)
def test_what_cannot_be_is_named(arguments: list[str], message: str):
    with pytest.raises(TuningJobError, match=message):
        asked(*arguments)


def test_hyperparameters_are_checked_as_a_job_would():
    with pytest.raises(ParameterError, match=r"epoch is not a known parameter: did you mean epochs\?"):
        asked("epoch=20")


def test_the_script_runs_from_anywhere():
    script = [sys.executable, "-I", str(SCRIPT)]
    done = subprocess.run([*script, *GIVEN, "--name", "mine"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["HyperParameterTuningJobName"] == "mine"
    failed = subprocess.run([*script, *GIVEN, "--role", "me"], capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == "tuning_job: --role is 'me': it must be arn:aws:iam::ACCOUNT:role/NAME\n"
