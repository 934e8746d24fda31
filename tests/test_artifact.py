import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile

import pytest

from ogiri import artifact
from ogiri.artifact import ArtifactError, open_artifact, pack, unpack, write_manifest

FIELDS = {
    "task": "caption",
    "name": "bokete",
    "created": "2026-01-01T00:00:00Z",
    "training_job": "job-1",
    "preprocessing": {"size": 224},
    "tokenizer": {"file": "tokenizer.model"},
    "decoding": {},
    "quantization": {"decoder": "int8"},
    "metrics": {"validation_loss": 1.5},
}


@pytest.fixture
def folder(tmp_path):
    """A small artifact with a file in a sub-folder."""
    folder = tmp_path / "model"
    (folder / "weights").mkdir(parents=True)
    (folder / "encoder.onnx").write_bytes(b"encoder" * 1000)
    (folder / "weights" / "decoder.safetensors").write_bytes(b"decoder")
    (folder / "MODEL_CARD.md").write_text("# ボケて\n", encoding="utf-8")
    write_manifest(folder, FIELDS)
    return folder


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def change(folder, **changes):
    """Change the manifest; a value of `...` takes the key away."""
    manifest = {**manifest_of(folder), **changes}
    kept = {key: value for key, value in manifest.items() if value is not ...}
    (folder / "manifest.json").write_text(json.dumps(kept), encoding="utf-8")


def listing(folder, name, data=b"x"):
    """The manifest lists one file more."""
    entry = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    change(folder, files={**manifest_of(folder)["files"], name: entry})


# --- opening ---------------------------------------------------------------------------------------------------------


def test_opens_what_write_manifest_wrote(folder):
    opened = open_artifact(folder)
    assert (opened.task, opened.name, opened.folder) == ("caption", "bokete", folder)
    assert opened.path("encoder.onnx").read_bytes() == b"encoder" * 1000
    assert opened.path("weights/decoder.safetensors").read_bytes() == b"decoder"
    assert opened.manifest["metrics"] == {"validation_loss": 1.5}


def test_only_listed_files_have_a_path(folder):
    (folder / "payload.bin").write_bytes(b"x")
    opened = open_artifact(folder)
    for name in ("payload.bin", "manifest.json", "../secret"):
        with pytest.raises(ArtifactError, match="lists no file"):
            opened.path(name)


def test_files_not_listed_are_never_opened(folder):
    os.mkfifo(folder / "pipe")  # opening it would block for ever
    (folder / "dangling").symlink_to("nowhere")
    assert open_artifact(folder).task == "caption"


@pytest.mark.parametrize("missing", ["no folder", "no manifest"])
def test_no_manifest(tmp_path, missing):
    folder = tmp_path if missing == "no manifest" else tmp_path / "nowhere"
    with pytest.raises(
        ArtifactError, match=r"manifest\.json cannot be read .*model\.tar\.gz of a finished training job"
    ):
        open_artifact(folder)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[1]", b'"x"', b"null", b"[" * 100_000])
def test_manifest_that_is_no_json_object(folder, text):
    (folder / "manifest.json").write_bytes(text)
    with pytest.raises(ArtifactError, match=r"manifest\.json is not"):
        open_artifact(folder)


@pytest.mark.parametrize("version", [0, 2, "1", None, True, 1.5, [1], ...])
def test_other_format_versions_are_refused_naming_both(folder, version):
    change(folder, format_version=version)
    found = "None" if version is ... else repr(version)
    with pytest.raises(ArtifactError) as caught:
        open_artifact(folder)
    assert f"format_version {found}, this image knows 1" in str(caught.value)
    assert "train it again" in str(caught.value)


@pytest.mark.parametrize("key", ["task", "name", "files"])
@pytest.mark.parametrize("value", [..., None, ""])
def test_required_keys(folder, key, value):
    change(folder, **{key: value})
    with pytest.raises(ArtifactError, match=f"has no {key}"):
        open_artifact(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("task", 1),
        ("name", ["x"]),
        ("created", 5),
        ("training_job", {}),
        ("preprocessing", []),
        ("tokenizer", "x"),
        ("decoding", 1),
        ("quantization", True),
        ("metrics", "good"),
        ("files", ["encoder.onnx"]),
    ],
)
def test_wrong_types_are_refused_by_name(folder, key, value):
    change(folder, **{key: value})
    with pytest.raises(ArtifactError, match=f"has {key} .*it must be"):
        open_artifact(folder)


def test_unknown_keys_pass(folder):
    change(folder, comment="later images may write more")
    assert open_artifact(folder).manifest["comment"]


@pytest.mark.parametrize("entry", [None, 5, [], {}, {"bytes": 1}, {"sha256": "0" * 64}])
@pytest.mark.parametrize("also", [{}, {"bytes": "1"}, {"bytes": True}, {"sha256": "0" * 63}, {"sha256": "G" * 64}])
def test_malformed_entries_of_files(folder, entry, also):
    entry = {**entry, **also} if isinstance(entry, dict) else entry
    change(folder, files={"encoder.onnx": entry})
    with pytest.raises(ArtifactError, match=r"must state bytes and sha256 for 'encoder\.onnx'"):
        open_artifact(folder)


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "a/../../outside",
        "weights/../encoder.onnx",
        "/etc/hostname",
        "",
        ".",
        "..",
        "./encoder.onnx",
        "weights//decoder.safetensors",
        "weights/",
        "a\\b",
        "a\0b",
        "a\nb",
        "manifest.json",
    ],
)
def test_names_that_are_not_plain(folder, name):
    (folder.parent / "outside").write_bytes(b"x")
    listing(folder, name)
    with pytest.raises(ArtifactError, match="not the name of a file beside it"):
        open_artifact(folder)


def test_link_out_of_the_folder(folder):
    (folder.parent / "secret").write_bytes(b"x")
    (folder / "secret").symlink_to("../secret")
    listing(folder, "secret")
    with pytest.raises(ArtifactError, match="link out of"):
        open_artifact(folder)


def test_linked_sub_folder_that_leads_out(folder):
    (folder.parent / "elsewhere").mkdir()
    (folder.parent / "elsewhere" / "secret").write_bytes(b"x")
    (folder / "sub").symlink_to(folder.parent / "elsewhere")
    listing(folder, "sub/secret")
    with pytest.raises(ArtifactError, match="link out of"):
        open_artifact(folder)


def test_the_folder_itself_may_be_a_link(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert open_artifact(tmp_path / "link").path("encoder.onnx").is_file()


def test_missing_file(folder):
    (folder / "encoder.onnx").unlink()
    with pytest.raises(ArtifactError, match=r"encoder\.onnx is missing: .*copy it again"):
        open_artifact(folder)


def test_folder_where_a_file_should_be(folder):
    listing(folder, "weights")
    with pytest.raises(ArtifactError, match="weights is missing"):
        open_artifact(folder)


@pytest.mark.parametrize("content", [b"encoder" * 999, b"encoder" * 1001, b""])
def test_longer_or_shorter_file(folder, content):
    (folder / "encoder.onnx").write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"encoder\.onnx has {len(content)} bytes, the manifest says 7000"):
        open_artifact(folder)


def test_one_changed_bit(folder):
    path = folder / "weights" / "decoder.safetensors"
    path.write_bytes(b"dFcoder")
    with pytest.raises(ArtifactError, match=r"decoder\.safetensors has SHA-256"):
        open_artifact(folder)


# --- writing ---------------------------------------------------------------------------------------------------------


def test_manifest_keeps_the_order_of_keys_and_lists_every_file(folder):
    manifest = manifest_of(folder)
    assert list(manifest) == ["format_version", *FIELDS, "files"]
    assert list(manifest["files"]) == ["MODEL_CARD.md", "encoder.onnx", "weights/decoder.safetensors"]
    assert manifest["files"]["encoder.onnx"] == {
        "bytes": 7000,
        "sha256": hashlib.sha256(b"encoder" * 1000).hexdigest(),
    }


def test_writing_again_lists_what_lies_there_now(folder):
    before = (folder / "manifest.json").read_bytes()
    write_manifest(folder, FIELDS)
    assert (folder / "manifest.json").read_bytes() == before
    (folder / "encoder.onnx").write_bytes(b"new")
    (folder / "MODEL_CARD.md").unlink()
    write_manifest(folder, FIELDS)
    assert open_artifact(folder).path("encoder.onnx").read_bytes() == b"new"
    assert "MODEL_CARD.md" not in manifest_of(folder)["files"]


def test_japanese_names_stay_readable(folder):
    write_manifest(folder, {**FIELDS, "name": "大喜利"})
    assert "大喜利" in (folder / "manifest.json").read_text(encoding="utf-8")
    assert open_artifact(folder).name == "大喜利"


@pytest.mark.parametrize("fields", [{"task": "caption"}, {**FIELDS, "name": ""}, {**FIELDS, "metrics": 5}])
def test_bad_fields_leave_the_manifest_as_it_was(folder, fields):
    before = (folder / "manifest.json").read_bytes()
    with pytest.raises(ArtifactError):
        write_manifest(folder, fields)
    assert (folder / "manifest.json").read_bytes() == before


def test_values_that_json_cannot_hold_leave_the_manifest_as_it_was(folder):
    before = (folder / "manifest.json").read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_manifest(folder, {**FIELDS, "metrics": {"loss": float("nan")}})
    assert (folder / "manifest.json").read_bytes() == before
    assert [path.name for path in folder.iterdir() if "tmp" in path.name] == []


# --- the archive -----------------------------------------------------------------------------------------------------


def test_what_was_packed_opens_after_unpacking(folder, tmp_path):
    pack(folder, tmp_path / "model.tar.gz")
    unpack(tmp_path / "model.tar.gz", tmp_path / "new" / "place")
    assert open_artifact(tmp_path / "new" / "place").manifest == open_artifact(folder).manifest


def test_files_lie_at_the_root_of_the_archive(folder, tmp_path):
    pack(folder, tmp_path / "model.tar.gz")
    with tarfile.open(tmp_path / "model.tar.gz", "r:gz") as tar:
        names = ["MODEL_CARD.md", "encoder.onnx", "manifest.json", "weights/decoder.safetensors"]
        assert tar.getnames() == names


def test_the_same_files_pack_to_the_same_bytes(folder, tmp_path):
    pack(folder, tmp_path / "one.tar.gz")
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
    (folder / "encoder.onnx").chmod(0o600)
    pack(folder, tmp_path / "another.tar.gz")
    one, another = (tmp_path / "one.tar.gz").read_bytes(), (tmp_path / "another.tar.gz").read_bytes()
    assert one == another
    assert one[4:8] == b"\0\0\0\0"  # gzip would write the time here


def test_packing_leaves_only_the_archive(folder, tmp_path):
    pack(folder, tmp_path / "model.tar.gz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model.tar.gz"]


def archive_with(member: tarfile.TarInfo, data: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def linked(kind: bytes, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo("link")
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a tar",
        gzip.compress(b"not a tar either" * 99),
        archive_with(tarfile.TarInfo("../outside"), b"x"),
        archive_with(tarfile.TarInfo("a/../../outside"), b"x"),
        archive_with(linked(tarfile.SYMTYPE, "../outside")),
        archive_with(linked(tarfile.SYMTYPE, "inside")),
        archive_with(linked(tarfile.LNKTYPE, "inside")),
        archive_with(linked(tarfile.FIFOTYPE, "")),
        archive_with(linked(tarfile.CHRTYPE, "")),
        archive_with(tarfile.TarInfo("cut"), os.urandom(9999))[:5000],
    ],
    ids=["empty", "text", "gzip", "up", "up from a folder", "link out", "link", "hard link", "fifo", "device", "cut"],
)
def test_archives_that_are_refused(tmp_path, data):
    (tmp_path / "bad.tar.gz").write_bytes(data)
    with pytest.raises(ArtifactError, match=r"bad\.tar\.gz cannot be unpacked"):
        unpack(tmp_path / "bad.tar.gz", tmp_path / "into")
    assert not (tmp_path / "outside").exists()


def test_absolute_names_land_inside(tmp_path):
    (tmp_path / "model.tar.gz").write_bytes(archive_with(tarfile.TarInfo("/absolute"), b"x"))
    unpack(tmp_path / "model.tar.gz", tmp_path / "into")
    assert (tmp_path / "into" / "absolute").read_bytes() == b"x"


def test_import_needs_the_standard_library_only():
    code = "import sys, ogiri.artifact; sys.exit(any(m in sys.modules for m in ('numpy', 'PIL', 'torch')))"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0


def test_version_is_one():
    assert artifact.FORMAT_VERSION == 1
