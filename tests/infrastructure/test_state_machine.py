"""The state machine passes on what the functions take, and tries again what may succeed."""

from __future__ import annotations

import re
from dataclasses import fields

from reading import MACHINE, machine, resources, template

from ogiri_aws.claims import Taken
from ogiri_aws.prepare import Prepared

NEVER_AGAIN = {"UploadError", "CsvError", "SettingsError", "BatchError", "States.ALL", "States.TaskFailed"}
PLACE = re.compile(r"(?<!\$)\$\.(\w+)")


def states() -> dict:
    return machine()["States"]


def batches() -> dict:
    return states()["Ingest"]["ItemProcessor"]["States"]


def test_prepare_takes_the_event_and_the_name_of_the_execution():
    context = {"execution.$": "$$.Execution.Name", "execution_arn.$": "$$.Execution.Id"}
    assert states()["Prepare"]["Parameters"]["Payload"] == {**context, "upload.$": "$"}
    assert states()["Prepare"]["OutputPath"] == "$.Payload"


def test_later_states_read_only_what_prepare_returns():
    returned = {field.name for field in fields(Prepared)}
    for name in ("Ingest", "StartTraining"):
        state = {
            key: value for key, value in states()[name].items() if key not in ("ItemProcessor", "Catch", "OutputPath")
        }
        assert set(PLACE.findall(str(state))) <= returned, name


def test_an_upload_of_another_execution_ends_here():
    (choice,) = states()["Taken?"]["Choices"]
    assert choice == {"Variable": "$.taken_by", "IsPresent": True, "Next": "Taken"}
    assert states()["Prepare"]["Next"] == "Taken?"
    assert states()["Taken?"]["Default"] == "Ingest"
    assert states()["Taken"]["Type"] == "Succeed"
    assert "taken_by" in {field.name for field in fields(Taken)} - {field.name for field in fields(Prepared)}


def test_a_batch_is_what_ingest_takes_and_fits_into_a_state():
    batcher = states()["Ingest"]["ItemBatcher"]
    assert batcher["BatchInput"] == {"execution.$": "$.execution"}
    assert batcher["MaxInputBytesPerBatch"] <= 256 * 1024 - 50_000
    assert batches()["Batch"]["Parameters"]["Payload.$"] == "$"


def test_a_batch_comes_again_while_items_are_unfinished():
    (choice,) = batches()["Finished?"]["Choices"]
    assert choice == {"Variable": "$.unfinished", "NumericGreaterThan": 0, "Next": "Batch"}
    assert batches()["Batch"]["Next"] == "Finished?"


def test_results_of_batches_go_to_s3_and_not_into_the_state():
    ingest = states()["Ingest"]
    assert ingest["ResultPath"] is None
    assert ingest["ResultWriter"]["Parameters"]["Prefix.$"].startswith("States.Format('ingest/")
    assert 1 <= ingest["MaxConcurrency"] <= 50
    assert 0 < ingest["ToleratedFailurePercentage"] <= 10


def test_training_starts_with_execution_and_upload():
    payload = states()["StartTraining"]["Parameters"]["Payload"]
    assert payload == {"execution.$": "$.execution", "upload.$": "$.upload"}


def test_what_would_fail_again_is_not_tried_again():
    for name, state in {**states(), **batches()}.items():
        if state["Type"] != "Task" or name == "Tell":
            continue
        errors = {error for retry in state["Retry"] for error in retry["ErrorEquals"]}
        assert not errors & NEVER_AGAIN, name
        assert {"Lambda.TooManyRequestsException", "Lambda.ServiceException", "States.Timeout"} <= errors, name
        assert all(retry["BackoffRate"] > 1 for retry in state["Retry"])
    assert "IngestError" in batches()["Batch"]["Retry"][0]["ErrorEquals"]


def test_somebody_is_told_of_every_failure():
    for name in ("Prepare", "Ingest", "StartTraining"):
        assert [catch["Next"] for catch in states()[name]["Catch"]] == ["Tell"]
    assert states()["Tell"]["Next"] == "Failed"
    assert states()["Failed"]["Type"] == "Fail"


def test_a_state_waits_longer_than_its_function():
    timeouts = {
        "Prepare": states()["Prepare"],
        "Ingest": batches()["Batch"],
        "StartTraining": states()["StartTraining"],
    }
    for name, state in timeouts.items():
        assert state["TimeoutSeconds"] > template()["Resources"][f"{name}Function"]["Properties"]["Timeout"]


def test_every_placeholder_is_filled_and_every_filling_used():
    (resource,) = resources("AWS::Serverless::StateMachine").values()
    placeholders = set(re.findall(r"\$\{(\w+)\}", MACHINE.read_text()))
    assert placeholders == set(resource["Properties"]["DefinitionSubstitutions"])
