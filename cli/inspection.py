"""What lies in a model.tar.gz, and whether it is whole: sizes and SHA-256 of every file, metrics, rounding.

Nothing of it is run, and no pickle is opened.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cli.errors import CommandError
from ogiri import artifact
from ogiri.artifact import MANIFEST, Artifact, ArtifactError

CARD = "MODEL_CARD.md"
_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".joblib")
_FIELDS = ("name", "task", "created", "training_job", "format_version")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("artifact", type=Path, metavar="MODEL.TAR.GZ", help="or a folder with what is in one")
    parser.add_argument("--json", action="store_true", help="for machines")


def run(options: argparse.Namespace) -> int:
    """Print what is in it; raises CommandError for one that is not whole."""
    source: Path = options.artifact
    with tempfile.TemporaryDirectory(prefix="ogiri-inspect-") as folder:
        try:
            place = source
            if not source.is_dir():
                place = Path(folder)
                artifact.unpack(source, place)
            whole = artifact.open_artifact(place)
        except (ArtifactError, OSError) as error:
            raise CommandError(str(error).replace(f"{folder}/", f"{source}: ")) from error
        warnings = list(_warnings(whole))
    if options.json:
        print(json.dumps({**whole.manifest, "warnings": warnings}, ensure_ascii=False, indent=2))
    else:
        _show(whole.manifest, warnings)
    return 0


def _show(manifest: Mapping[str, Any], warnings: list[str]) -> None:
    for name in _FIELDS:
        print(f"{name:15} {manifest.get(name) or '-'}")
    for name in ("preprocessing", "tokenizer", "decoding", "quantization", "metrics"):
        print(f"\n{name}")
        for key, value in (manifest.get(name) or {"-": ""}).items():
            print(f"  {key:34} {_short(value)}")
    print("\nfiles, all as the manifest says")
    for name, entry in manifest["files"].items():
        print(f"  {name:34} {entry['bytes']:>14,} bytes  {entry['sha256'][:16]}…")
    print("\nwarnings")
    for warning in warnings or ["none"]:
        print(f"  {warning}")


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list) and len(value) > 6:
        return f"{len(value)} entries"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _warnings(whole: Artifact) -> Iterator[str]:
    """What the training warned of, as its model card has it, and what does not belong into an artifact."""
    card = whole.folder / CARD
    if CARD in whole.manifest["files"]:
        yield from _of_card(card.read_text(encoding="utf-8", errors="replace"))
    quantization = whole.manifest.get("quantization") or {}
    if quantization.get("decoder") == "none" and quantization.get("nats_per_token"):
        yield "the decoder was not rounded: it would have lost too much"
    for path in sorted(whole.folder.rglob("*")):
        name = path.relative_to(whole.folder).as_posix()
        if not path.is_file() or name == MANIFEST:
            continue
        if name not in whole.manifest["files"]:
            yield f"{name} is not in the manifest: nothing opens it"
        if path.suffix.lower() in _PICKLES:
            yield f"{name} may be a pickle, which can run code: nothing here opens it"


def _of_card(text: str) -> Iterator[str]:
    """The list below the heading "Warnings"."""
    inside = False
    for line in text.splitlines():
        if line.startswith("#"):
            inside = line.lstrip("# ").lower().startswith("warning")
        elif inside and line.startswith("- "):
            yield line[2:].replace("**", "")
