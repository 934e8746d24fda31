"""What the local AWS reads that moto alone does not."""

from __future__ import annotations

import json

import pytest

from local.emulation.batches import batches
from local.emulation.machines import adapted
from local.emulation.serverless import TRANSFORM, expanded, known, references
from local.job import ROOT

MACHINE = (ROOT / "statemachine" / "ingest.asl.json").read_text(encoding="utf-8")


def test_batches_keep_to_both_limits_and_to_the_order():
    assert list(batches([1, 2, 3, 4, 5], 2, None)) == [[1, 2], [3, 4], [5]]
    assert list(batches(["aaaa", "b", "ccccccccc", "d"], 10, 9)) == [["aaaa", "b"], ["ccccccccc"], ["d"]]
    assert list(batches([], 2, 9)) == []


def test_a_batcher_becomes_a_selector_and_the_rest_stays():
    before, after = json.loads(MACHINE), json.loads(adapted(MACHINE))
    batcher = before["States"]["Ingest"].pop("ItemBatcher")
    ingest = after["States"]["Ingest"]
    assert ingest.pop("ItemSelector") == {"Items.$": "$$.Map.Item.Value", "BatchInput": batcher["BatchInput"]}
    assert ingest["ItemReader"]["Parameters"].pop("MaxItemsPerBatch") == batcher["MaxItemsPerBatch"]
    assert ingest["ItemReader"]["Parameters"].pop("MaxInputBytesPerBatch") == batcher["MaxInputBytesPerBatch"]
    assert after == before


def test_what_refers_to_an_unknown_resource_goes_with_it():
    template = {
        "Resources": {
            "Kept": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": {"Ref": "Name"}}},
            "Gone": {"Type": "AWS::New::Thing"},
            "Sub": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": {"Fn::Sub": "a-${Gone.Arn}"}}},
            "Chain": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": {"Ref": "Sub"}}},
        },
        "Outputs": {"A": {"Value": {"Fn::GetAtt": ["Gone", "Arn"]}}, "B": {"Value": {"Ref": "Kept"}}},
    }
    left = known(template, {"AWS::S3::Bucket"})
    assert set(left["Resources"]) == {"Kept"}
    assert set(left["Outputs"]) == {"B"}
    assert references(template["Resources"]["Sub"]) == {"Gone"}


def test_a_serverless_type_that_nobody_expands_is_refused_by_name():
    template = {"Transform": TRANSFORM, "Resources": {"A": {"Type": "AWS::Serverless::Api", "Properties": {}}}}
    with pytest.raises(ValueError, match=r"AWS::Serverless::Api .*AWS::Serverless::Function"):
        expanded(template, lambda bucket, key: "")


def test_code_that_was_not_uploaded_is_refused():
    function = {"Type": "AWS::Serverless::Function", "Properties": {"CodeUri": "lambda/functions/"}}
    with pytest.raises(ValueError, match=r"lambda/functions/ is not uploaded"):
        expanded({"Transform": TRANSFORM, "Resources": {"A": function}}, lambda bucket, key: "")
