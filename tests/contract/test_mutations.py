"""The mutations of the server fit its present source, and what runs them tells the noticed from the unnoticed."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from scripts import mutate_server
from tests.contract import rules
from tests.contract.mutations import MUTATIONS, Mutation, MutationError
from tests.contract.test_rules import names_in

ROOT = Path(__file__).parents[2]
HARMLESS = Mutation(
    "a word in a comment",
    "container/ogiri/sagemaker/hosting/logs.py",
    '"""The line, without its end."""',
    '"""The line."""',
    ("sagemaker/hosting/test_logs::test_a_record_is_one_line_of_json",),
)
HARMFUL = dataclasses.replace(HARMLESS, name="no levels", old='"level":', new='"loudness":')


def test_there_are_at_least_ten_and_each_has_a_name_of_its_own():
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= 10


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_each_applies_to_the_present_source(mutation: Mutation, tmp_path: Path):
    path = tmp_path / mutation.file
    path.parent.mkdir(parents=True)
    shutil.copy(ROOT / mutation.file, path)
    mutation.apply(tmp_path)
    changed = path.read_text(encoding="utf-8")
    assert changed != (ROOT / mutation.file).read_text(encoding="utf-8")
    if path.suffix == ".py":
        compile(changed, mutation.file, "exec")
    with pytest.raises(MutationError, match="does not apply"):
        dataclasses.replace(mutation, old="what is nowhere").apply(tmp_path)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_each_has_checks_that_a_rule_names(mutation: Mutation):
    assert mutation.checks
    for check in mutation.checks:
        assert check in set(rules.checks())
        assert check.partition("::")[2] in names_in(rules.file_of(check))


def test_a_change_that_is_noticed_is_told_from_one_that_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    original = mutate_server.copy(ROOT, tmp_path / "original")
    assert mutate_server.survey([HARMFUL], original, tmp_path / "mutated") == 0
    assert "| no levels | `test_a_record_is_one_line_of_json` |" in capsys.readouterr().out
    stale = dataclasses.replace(HARMLESS, name="stale", old="what is nowhere")
    assert mutate_server.survey([HARMLESS, stale], original, tmp_path / "mutated") == 1
    out = capsys.readouterr().out
    assert "| a word in a comment | **none** |" in out
    assert "| stale | mutation 'stale' does not apply: " in out
    assert "0 of 2 mutations were noticed" in out


def test_checks_that_are_red_already_show_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    original = mutate_server.copy(ROOT, tmp_path / "original")
    HARMFUL.apply(original)
    assert mutate_server.survey([HARMLESS], original, tmp_path / "mutated") == 1
    assert "red without any change: `test_a_record_is_one_line_of_json`" in capsys.readouterr().err


def test_an_unknown_name_is_refused_with_those_there_are(capsys: pytest.CaptureFixture[str]):
    assert mutate_server.main(["no such thing"]) == 1
    assert "ping is always 200" in capsys.readouterr().err
