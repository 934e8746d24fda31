#!/usr/bin/env python3
"""Break the server in every way that tests/contract/mutations.py knows, and see that the checks notice.

    make setup
    .venv/bin/python scripts/mutate_server.py                        # all, one after another
    .venv/bin/python scripts/mutate_server.py ping "another order"   # those with such a text in their names

Each change is made in a copy of the repository, one at a time, and the checks of that change are run there. They are
run without any change first: a check that is red already shows nothing. Prints a row of a Markdown table for each.
Exit code 1 if a change goes unnoticed, no longer applies to the source, or a check is red without it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.contract.mutations import Mutation, MutationError, named  # noqa: E402 - the path is set above
from tests.contract.rules import node_of  # noqa: E402

COPIED = ("container", "tests", "scripts", "Dockerfile", "README.md", "docs", "pyproject.toml")
LIMIT_SECONDS = 600  # of one change's checks
RED = re.compile(r"^(?:FAILED|ERROR) \S+?::(\w+)", re.MULTILINE)
NO_TEST_FAILED, TESTS_FAILED = 0, 1  # pytest's exit codes; another one is no verdict


@dataclass(frozen=True)
class Verdict:
    """What checks said.

    Attributes:
        red: the names of those that failed.
        trouble: why there is no verdict, if there is none.
    """

    red: tuple[str, ...] = ()
    trouble: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="texts in the names of the mutations to run; none = all")
    try:
        mutations = named(parser.parse_args(arguments).names)
    except MutationError as error:
        print(f"mutate_server: {error}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="ogiri-mutations-") as folder:
        return survey(mutations, copy(ROOT, Path(folder) / "original"), Path(folder) / "mutated")


def survey(mutations: Sequence[Mutation], original: Path, mutated: Path) -> int:
    """Run the checks without a change, then with each; print the table as it grows.

    Args:
        mutations: what to try.
        original: a copy of the repository, left as it is.
        mutated: a folder to be made and thrown away for each.

    Returns:
        The exit code: 1 unless everything is green without a change, and something red with each.
    """
    unchanged = run(original, {check for mutation in mutations for check in mutation.checks})
    if unchanged.red or unchanged.trouble:
        print(f"mutate_server: red without any change: {_told(unchanged)}", file=sys.stderr)
        return 1
    print("| mutation | checks that turned red |\n|---|---|", flush=True)
    noticed = []
    for mutation in mutations:
        verdict = tried(mutation, original, mutated)
        noticed.append(bool(verdict.red))
        print(f"| {mutation.name} | {_told(verdict)} |", flush=True)
    print(f"\n{sum(noticed)} of {len(noticed)} mutations were noticed", flush=True)
    return 0 if all(noticed) else 1


def tried(mutation: Mutation, original: Path, mutated: Path) -> Verdict:
    """What the checks of a mutation say once it is made."""
    copy(original, mutated)
    try:
        mutation.apply(mutated)
        return run(mutated, mutation.checks)
    except MutationError as error:
        return Verdict(trouble=str(error))
    finally:
        shutil.rmtree(mutated)


def copy(root: Path, folder: Path) -> Path:
    """Copy what the checks need into a new folder; returns it."""
    folder.mkdir(parents=True)
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (root / name).exists():
            shutil.copy2(root / name, folder / name)
    return folder


def run(root: Path, checks: Iterable[str]) -> Verdict:
    """Run checks in a copy of the repository."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(node_of, sorted(checks))]
    environment = {**os.environ, "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}  # pyproject.toml sets the path
    try:
        ended = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, encoding="utf-8", timeout=LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Verdict(trouble=f"the checks took longer than {LIMIT_SECONDS} s")
    if ended.returncode not in (NO_TEST_FAILED, TESTS_FAILED):
        return Verdict(trouble=f"pytest ended with {ended.returncode}: {ended.stdout[-1000:]}{ended.stderr[-1000:]}")
    return Verdict(tuple(dict.fromkeys(RED.findall(ended.stdout))))


def _told(verdict: Verdict) -> str:
    return verdict.trouble or ", ".join(f"`{name}`" for name in verdict.red) or "**none**"


if __name__ == "__main__":
    sys.exit(main())
