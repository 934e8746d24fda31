"""Write the README's tables anew from the dataclasses that they describe: python scripts/update_readme.py."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "container"))

from ogiri.captioning.serving.parameters import Parameters  # noqa: E402 - the path is set above
from ogiri.captioning.training.hyperparameters import CaptionHyperparameters  # noqa: E402
from ogiri.parameter import bounds_of  # noqa: E402

TABLES = {"hyperparameters": CaptionHyperparameters, "parameters": Parameters}


def table(cls: type) -> str:
    """A Markdown table of a dataclass of `ogiri.parameter` fields."""
    bounds = bounds_of(cls)
    rows = [
        f"| `{field.name}` | {_shown(field.default)} | {bounds[field.name].describe()} | {bounds[field.name].doc} |"
        for field in dataclasses.fields(cls)
    ]
    return "\n".join(["| name | default | allowed | what |", "|---|---|---|---|", *rows])


def updated(text: str) -> str:
    """The README with fresh tables."""
    for name, cls in TABLES.items():
        block = f"<!-- {name} -->\n{table(cls)}\n<!-- /{name} -->"
        text = re.sub(f"<!-- {name} -->.*?<!-- /{name} -->", lambda _, block=block: block, text, flags=re.DOTALL)
    return text


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value in (None, (), ""):
        return "none"
    return f"`{value}`"


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(updated(readme.read_text(encoding="utf-8")), encoding="utf-8")
