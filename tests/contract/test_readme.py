"""What the README says is true: its requests are sent, its tables are fresh, its make targets exist."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from cli.__main__ import build_parser
from scripts.update_readme import updated
from tests.contract.server import Server

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
REQUESTS = [block for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) if "curl" in block]


def test_the_tables_say_what_the_dataclasses_say():
    assert updated(README) == README, "run: python scripts/update_readme.py"


def test_there_are_requests_to_run():
    assert len(REQUESTS) == 4


@pytest.mark.parametrize("command", REQUESTS)
def test_the_requests_are_answered(command: str, captions: Server, tmp_path: Path):
    picture = io.BytesIO()
    Image.effect_noise((64, 48), 90).convert("RGB").save(picture, "jpeg")
    (tmp_path / "picture.jpg").write_bytes(picture.getvalue())
    command = command.replace("localhost:8080", f"127.0.0.1:{captions.port}")
    ran = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=tmp_path, capture_output=True, check=True)
    answer = ran.stdout.decode()
    if "text/plain" in command:
        assert 1 <= len(answer) <= 40
        return
    if '"stream": true' in command:
        *pieces, last = answer.removesuffix("\n\n").split("\n\n")
        text = "".join(json.loads(piece.removeprefix("data: "))["text"] for piece in pieces)
        assert text == json.loads(last.removeprefix("event: answer\ndata: "))["captions"][0]["text"]
        return
    answered = json.loads(answer)["captions"]
    assert len(answered) == (3 if "num_candidates" in command else 1)
    assert all(
        caption.keys() == {"text", "score"} and "犬" not in caption["text"] for caption in answered if "犬" in command
    )


def test_the_record_that_is_shown_is_one():
    from ogiri.record import from_item

    block = next(block for block in re.findall(r"```json\n(.*?)```", README, re.DOTALL) if "ExpectedResult" in block)
    record = from_item(json.loads(block))
    assert (record.line, record.labels[0].name, record.detected_text) == ("会議、まだ続く？", "Cat", "本日休業")


@pytest.mark.parametrize("command", re.findall(r"^scripts/ogiri (.*?)  +#", README, re.MULTILINE))
def test_the_command_line_knows_these_commands(command: str):
    """tests/cli runs them against the local stack."""
    assert callable(build_parser().parse_args(shlex.split(command)).run)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z]+)", README))))
def test_the_make_targets_exist(target: str):
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, check=True)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", README))
def test_the_links_lead_somewhere(link: str):
    assert (ROOT / link).exists()
