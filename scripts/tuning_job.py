#!/usr/bin/env python3
"""Print the request that starts a hyperparameter tuning job of SageMaker, with the ranges that `make tune` has too.

    .venv/bin/python scripts/tuning_job.py --role arn:aws:iam::…:role/… --image ….amazonaws.com/ogiri --bucket … \
        epochs=20 > tuning.json
    aws sagemaker create-hyper-parameter-tuning-job --cli-input-json file://tuning.json

Nothing is sent to AWS from here. What is not searched comes as NAME=VALUE, and is checked as a job would.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "container"))

from ogiri.captioning.training.hyperparameters import CaptionHyperparameters  # noqa: E402 - the path is set above
from ogiri.captioning.training.ranges import DEFAULT_OBJECTIVE, FIRST, OBJECTIVES, RANGES, Choice  # noqa: E402
from ogiri.parameter import ParameterError, from_strings  # noqa: E402
from ogiri.sagemaker.training.metrics import metric_definitions  # noqa: E402

FORMS = {
    "role": (r"arn:aws[a-z-]*:iam::\d{12}:role/\S+", "arn:aws:iam::ACCOUNT:role/NAME"),
    "image": (r"\d{12}\.dkr\.ecr\.\S+/\S+", "ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME:TAG, as build_and_push.sh says"),
    "bucket": (r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "the name of a bucket, without s3://"),
    "records": (r"(s3://\S+)?", "s3://BUCKET/PREFIX/"),
    "pretrained": (r"(s3://\S+)?", "s3://BUCKET/PREFIX/"),
    "name": (r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,31}", "letters, digits and hyphens, at most 32"),
}
MAX_SECONDS = 24 * 3600  # of a training job
VOLUME_GB = 50


class TuningJobError(ValueError):
    """An argument that cannot be taken; the message names it, its value and what fits."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the request; returns the exit code."""
    try:
        print(json.dumps(request(parse(arguments)), indent=2))
    except (TuningJobError, ParameterError) as error:
        print(f"tuning_job: {error}", file=sys.stderr)
        return 1
    return 0


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Arguments from the command line, checked; `hyperparameters` is a dictionary.

    Raises:
        TuningJobError: an argument of another form, or an unknown name.
        ParameterError: hyperparameters that a job would refuse.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--role", required=True, help="ARN of the role that the jobs run with")
    parser.add_argument("--image", required=True, help="of the jobs, in ECR")
    parser.add_argument("--bucket", required=True, help="has the pictures below images/, gets the models below tuning/")
    parser.add_argument("--table", default="OgiriTrainingDataTable", help="DynamoDB table of the records")
    parser.add_argument("--records", default="", help="s3://… to read the records from instead")
    parser.add_argument("--pretrained", default="", help="s3://… that has the encoder's weights")
    parser.add_argument("--metric", default=DEFAULT_OBJECTIVE, help=f"what is compared ({DEFAULT_OBJECTIVE})")
    parser.add_argument("--parameter", action="append", help=f"what differs; by default {', '.join(FIRST)}")
    parser.add_argument("--jobs", type=int, default=20, help="training jobs in all (20)")
    parser.add_argument("--parallel", type=int, default=2, help="at a time (2): each batch learns from those before")
    parser.add_argument("--instance", default="ml.g5.xlarge", help="each job's machine (ml.g5.xlarge)")
    parser.add_argument("--name", help="of the tuning job (ogiri-TIME)")
    parser.add_argument("hyperparameters", nargs="*", metavar="NAME=VALUE", help="what all jobs have in common")
    given = parser.parse_intermixed_args(arguments)
    given.name = given.name or datetime.datetime.now(datetime.UTC).strftime("ogiri-%Y%m%d-%H%M%S")
    given.parameter = list(dict.fromkeys(given.parameter or FIRST))
    given.hyperparameters = dict(pair.split("=", 1) if "=" in pair else (pair, "") for pair in given.hyperparameters)
    _check(given)
    return given


def request(given: argparse.Namespace) -> dict[str, Any]:
    """The whole request, as `create_hyper_parameter_tuning_job` takes it."""
    return {
        "HyperParameterTuningJobName": given.name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {
                "Type": "Maximize" if OBJECTIVES[given.metric].maximize else "Minimize",
                "MetricName": given.metric,
            },
            "ResourceLimits": {
                "MaxNumberOfTrainingJobs": given.jobs,
                "MaxParallelTrainingJobs": min(given.parallel, given.jobs),
            },
            "ParameterRanges": parameter_ranges(given.parameter),
            "TrainingJobEarlyStoppingType": "Auto",
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": {"select_by": OBJECTIVES[given.metric].select_by, **given.hyperparameters},
            "AlgorithmSpecification": {
                "TrainingImage": given.image,
                "TrainingInputMode": "FastFile",
                "MetricDefinitions": metric_definitions(),
            },
            "RoleArn": given.role,
            "InputDataConfig": _channels(given),
            "OutputDataConfig": {"S3OutputPath": f"s3://{given.bucket}/tuning/"},
            "ResourceConfig": {"InstanceType": given.instance, "InstanceCount": 1, "VolumeSizeInGB": VOLUME_GB},
            "StoppingCondition": {"MaxRuntimeInSeconds": MAX_SECONDS},
            "Environment": {"DYNAMODB_TABLE_NAME": given.table, "OGIRI_IMAGE": given.image},
        },
    }


def parameter_ranges(names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """`ParameterRanges`: the ranges of these hyperparameters, numbers as strings."""
    ranges: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        allowed = RANGES[name]
        if isinstance(allowed, Choice):
            values = [f"{value:g}" for value in allowed.values]
            ranges.setdefault("CategoricalParameterRanges", []).append({"Name": name, "Values": values})
            continue
        kind = "IntegerParameterRanges" if allowed.integer else "ContinuousParameterRanges"
        scale = "Logarithmic" if allowed.logarithmic else "Linear"
        low, high = f"{allowed.minimum:g}", f"{allowed.maximum:g}"
        ranges.setdefault(kind, []).append({"Name": name, "MinValue": low, "MaxValue": high, "ScalingType": scale})
    return ranges


def _channels(given: argparse.Namespace) -> list[dict[str, Any]]:
    places = {"training": f"s3://{given.bucket}/images/", "records": given.records, "pretrained": given.pretrained}
    return [
        {
            "ChannelName": name,
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "S3Prefix",
                    "S3Uri": place,
                    "S3DataDistributionType": "FullyReplicated",
                }
            },
        }
        for name, place in places.items()
        if place
    ]


def _check(given: argparse.Namespace) -> None:
    for name, (expression, form) in FORMS.items():
        value = getattr(given, name)
        if not re.fullmatch(expression, value):
            raise TuningJobError(f"--{name} is {value!r}: it must be {form}")
    if given.metric not in OBJECTIVES:
        raise TuningJobError(f"--metric is {given.metric}: it must be one of {', '.join(OBJECTIVES)}")
    for name in ("jobs", "parallel"):
        if getattr(given, name) < 1:
            raise TuningJobError(f"--{name} is {getattr(given, name)}: it must be at least 1")
    for name in given.parameter:
        if name not in RANGES:
            raise TuningJobError(f"--parameter is {name}: there are ranges for {', '.join(RANGES)}")
        if name in given.hyperparameters:
            raise TuningJobError(f"{name} is set and searched at once: leave out one of the two")
    from_strings(CaptionHyperparameters, given.hyperparameters)


if __name__ == "__main__":
    sys.exit(main())
