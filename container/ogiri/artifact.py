"""What lies in a model.tar.gz: a manifest, and files that are exactly as the manifest says.

The manifest names the task, so the artifact, not the image, decides what a container does. Standard library only.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
GZIP_LEVEL = 1  # weights hardly compress: a higher level costs time and saves next to nothing

_KINDS: Mapping[str, tuple[type, ...]] = {
    "task": (str,),
    "name": (str,),
    "created": (str,),
    "training_job": (str, type(None)),
    "preprocessing": (dict, type(None)),
    "tokenizer": (dict, type(None)),
    "decoding": (dict, type(None)),
    "quantization": (dict, type(None)),
    "metrics": (dict, type(None)),
    "files": (dict,),
}
_REQUIRED = ("task", "name", "files")
_WORDS = {str: "a string", dict: "an object", type(None): "null"}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WAY_OUT = "the artifact is damaged: copy it again, or train it again"


class ArtifactError(ValueError):
    """A folder or an archive that is no artifact; the message names the file, what is wrong and the way out."""


@dataclass(frozen=True)
class Artifact:
    """A verified artifact.

    Attributes:
        folder: where it lies.
        manifest: what manifest.json holds.
    """

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def task(self) -> str:
        """The task that it answers: `caption`."""
        return str(self.manifest["task"])

    @property
    def name(self) -> str:
        """What answers call the model."""
        return str(self.manifest["name"])

    def path(self, name: str) -> Path:
        """Where the file lies that the manifest lists as `name`.

        Raises:
            ArtifactError: the manifest lists no such file.
        """
        if name not in self.manifest["files"]:
            raise ArtifactError(f"{self.folder / MANIFEST} lists no file {name!r}: {_WAY_OUT}")
        return self.folder / name


# --- reading ---------------------------------------------------------------------------------------------------------


def open_artifact(folder: Path) -> Artifact:
    """Read the manifest and verify every file that it lists. Files that it does not list are never opened.

    Raises:
        ArtifactError: as `read_artifact` and `verify`.
    """
    artifact = read_artifact(folder)
    verify(artifact)
    return artifact


def read_artifact(folder: Path) -> Artifact:
    """Read the manifest; what the files hold is left to `verify`.

    Raises:
        ArtifactError: no manifest or a malformed one, another format version, or a file that is missing, outside of
            the folder, or not of the size stated.
    """
    manifest = _read_manifest(folder / MANIFEST)
    for name, entry in manifest["files"].items():
        _check_listed(folder, name, entry)
    return Artifact(folder, manifest)


def verify(artifact: Artifact) -> None:
    """Compare every file that the manifest lists with its SHA-256.

    Raises:
        ArtifactError: a file is another one.
    """
    stated = {artifact.folder / name: entry["sha256"] for name, entry in artifact.manifest["files"].items()}
    with ThreadPoolExecutor(max_workers=4) as pool:  # hashing lets go of the interpreter's lock
        for path, digest in zip(stated, pool.map(_sha256, stated), strict=True):
            if digest != stated[path]:
                raise ArtifactError(f"{path} has SHA-256 {digest}, the manifest says {stated[path]}: {_WAY_OUT}")


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"{path} cannot be read ({error.strerror}): the folder is no artifact of this image, which is what lies in "
            "the model.tar.gz of a finished training job"
        ) from error
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is not JSON ({error}): {_WAY_OUT}") from error
    if not isinstance(manifest, dict):
        raise ArtifactError(f"{path} is not a JSON object: {_WAY_OUT}")
    _check_version(path, manifest)
    _check_kinds(path, manifest)
    return manifest


def _check_version(path: Path, manifest: Mapping[str, Any]) -> None:
    found = manifest.get("format_version")
    if isinstance(found, bool) or found != FORMAT_VERSION:
        raise ArtifactError(
            f"{path} has format_version {found!r}, this image knows {FORMAT_VERSION}: "
            "serve it with the image that trained it, or train it again"
        )


def _check_kinds(path: Path, manifest: Mapping[str, Any]) -> None:
    for key in _REQUIRED:
        if manifest.get(key) in (None, ""):
            raise ArtifactError(f"{path} has no {key}: {_WAY_OUT}")
    for key, kinds in _KINDS.items():
        if key in manifest and not isinstance(manifest[key], kinds):
            words = " or ".join(_WORDS[kind] for kind in kinds)
            raise ArtifactError(f"{path} has {key} {manifest[key]!r}, it must be {words}: {_WAY_OUT}")


def _check_listed(folder: Path, name: str, entry: Any) -> None:
    """See that a file of the manifest lies in the folder and has the size stated."""
    pure = PurePosixPath(name)
    plain = pure.as_posix() == name and not pure.is_absolute() and ".." not in pure.parts
    if not plain or name in ("", ".", MANIFEST) or any(c == "\\" or ord(c) < 32 for c in name):
        raise ArtifactError(
            f"{folder / MANIFEST} lists {name!r}, which is not the name of a file beside it: {_WAY_OUT}"
        )
    path = folder / name
    if not _is_entry(entry):
        raise ArtifactError(f"{folder / MANIFEST} must state bytes and sha256 for {name!r}: {_WAY_OUT}")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ArtifactError(f"{path} is a link out of the artifact's folder: {_WAY_OUT}")
    if not path.is_file():
        raise ArtifactError(f"{path} is missing: {_WAY_OUT}")
    size = path.stat().st_size
    if size != entry["bytes"]:
        raise ArtifactError(f"{path} has {size} bytes, the manifest says {entry['bytes']}: {_WAY_OUT}")


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    size, digest = entry.get("bytes"), entry.get("sha256")
    whole = isinstance(size, int) and not isinstance(size, bool)
    return whole and isinstance(digest, str) and _SHA256.fullmatch(digest) is not None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- writing ---------------------------------------------------------------------------------------------------------


def write_manifest(folder: Path, fields: Mapping[str, Any]) -> None:
    """Write manifest.json over every file that lies in `folder` now, so call it last.

    Args:
        folder: the artifact.
        fields: everything but `format_version` and `files`, which are added; their order is kept.

    Raises:
        ArtifactError: a field is missing or of the wrong kind, or a file is a link out of the folder.
    """
    path = folder / MANIFEST
    manifest = {"format_version": FORMAT_VERSION, **fields, "files": {}}
    _check_version(path, manifest)
    _check_kinds(path, manifest)
    for name, file in _files(folder).items():
        entry = {"bytes": file.stat().st_size, "sha256": _sha256(file)}
        if name != MANIFEST:
            _check_listed(folder, name, entry)
            manifest["files"][name] = entry
    temporary = folder / f".{MANIFEST}.tmp"
    temporary.write_text(json.dumps(manifest, ensure_ascii=False, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _files(folder: Path) -> dict[str, Path]:
    """Name → path of every file in the folder, its sub-folders' too, sorted by name."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: found[name] for name in sorted(found) if name != f".{MANIFEST}.tmp"}


# --- the archive -----------------------------------------------------------------------------------------------------


def pack(folder: Path, out: Path) -> None:
    """Write a model.tar.gz as SageMaker does, files at its root; the same files give the same bytes."""
    members = _files(folder)
    temporary = out.with_name(out.name + ".tmp")
    with (
        temporary.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=GZIP_LEVEL, fileobj=raw, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as archive,
    ):
        for name, path in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = path.stat().st_size, 0o644
            with path.open("rb") as file:
                archive.addfile(member, file)
    os.replace(temporary, out)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a model.tar.gz into `folder`, which is made if it does not exist.

    Raises:
        ArtifactError: it is no tar.gz, is cut off, or has a member that is a link or leaves the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                _extract(tar, member, folder)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ArtifactError(f"{archive} cannot be unpacked ({error}): copy it again, or train it again") from error


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Plain files and folders below `folder`, nothing else; the filters of tarfile are missing from Python 3.11.2."""
    name = PurePosixPath(member.name.lstrip("/"))
    source = tar.extractfile(member) if member.isfile() else None
    if ".." in name.parts or not (source or member.isdir()):
        raise tarfile.ExtractError(f"{member.name} is a link or a device, or leaves the folder")
    path = folder / name
    (path if source is None else path.parent).mkdir(parents=True, exist_ok=True)
    if source is not None:
        with path.open("wb") as file:
            shutil.copyfileobj(source, file)
