"""docs/operations.md and docs/services.md say of the template what it is."""

from __future__ import annotations

import re

from reading import ROOT, resources, template, text

OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
SERVICES = (ROOT / "docs" / "services.md").read_text()
PROJECT = "${Project}-"
AWS_NAMES = {"ModelLatency", "DeletionPolicy", "BillableTimeInSeconds"}


def alarms() -> dict[str, dict]:
    """Name without the project → resource."""
    found = {text(value["Properties"]["AlarmName"]): value for value in resources("AWS::CloudWatch::Alarm").values()}
    assert all(name.startswith(PROJECT) for name in found)
    return {name.removeprefix(PROJECT): value for name, value in found.items()}


def rows() -> dict[str, list[str]]:
    table = OPERATIONS.partition("## Alarms")[2].partition("\n## ")[0]
    return {
        row[0]: row for row in re.findall(r"^\| `([a-z0-9-]+)`( \(async\))? \| (.+) \| (.+) \|$", table, re.MULTILINE)
    }


def test_every_alarm_is_in_the_table_and_no_other():
    assert set(rows()) == set(alarms())


def test_an_alarm_of_asynchronous_endpoints_alone_says_so():
    conditions = {name: value.get("Condition") for name, value in alarms().items()}
    assert set(conditions.values()) <= {None, "ScaledAsync"}
    assert {name for name, row in rows().items() if row[1]} == {name for name, value in conditions.items() if value}


def test_every_alarm_tells_the_topic_or_starts_an_instance():
    for name, value in alarms().items():
        assert text(value["Properties"]["AlarmActions"][0]["Ref"]) == ("ScaleFromZero" if rows()[name][1] else "Topic")


def test_parameters_and_outputs_that_the_documents_name_are_there():
    known = set(template()["Parameters"]) | set(template()["Outputs"])
    for document in (OPERATIONS, SERVICES, (ROOT / "docs" / "deploy.md").read_text()):
        named = set(re.findall(r"`([A-Z][A-Za-z]+)(?:=[^`]*)?`", document)) | set(
            re.findall(r"output `(\w+)`", document)
        )
        words = {name for name in named if re.fullmatch(r"(?:[A-Z][a-z0-9]+){2,}", name)}
        assert words - known <= AWS_NAMES


def test_every_neighbouring_service_is_decided_on_with_a_reason():
    for service in (
        *("model registry", "Experiments", "Clarify", "Debugger", "Pipelines", "Feature Store", "Ground Truth"),
        *("Rekognition", "Step Functions", "automatic scaling", "MLflow", "Model Monitor"),
    ):
        assert re.search(rf"^\|[^|]*{service}[^|]*\|[^|]+\|[^|]+\|$", SERVICES, re.MULTILINE), service
