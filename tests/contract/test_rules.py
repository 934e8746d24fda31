"""The table of rules names checks that there are."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

from tests.contract import rules


@functools.cache
def names_in(path: Path) -> set[str]:
    """The names of its tests; none where there is no such file."""
    if not path.exists():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


@pytest.mark.parametrize("rule", rules.RULES)
def test_every_rule_has_checks_and_one_of_them_asks_the_real_server(rule: str):
    named = rules.RULES[rule]
    assert len(set(named)) == len(named) > 0
    assert any(check.startswith("contract/") for check in named)


@pytest.mark.parametrize("check", sorted(set(rules.checks())))
def test_every_check_is_there(check: str):
    name = check.partition("::")[2]
    assert name in names_in(rules.file_of(check)), f"{rules.node_of(check)} does not exist"


def test_no_rule_is_written_twice():
    parts = (rules.PLATFORM, rules.MULTI_MODEL, rules.COMPLAINTS, rules.INVOCATIONS)
    assert sum(map(len, parts)) == len(rules.RULES)


def test_a_check_that_is_not_there_is_seen():
    assert "test_nothing_at_all" not in names_in(rules.file_of("contract/test_serve::test_nothing_at_all"))
    assert names_in(rules.file_of("contract/test_nowhere::test_a")) == set()
