from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ogiri.captioning.data import shards as module
from ogiri.captioning.data.duplicates import HASH_BYTES
from ogiri.captioning.data.shards import BLOCK_ROWS, Block, Shards

COUNT = 3 * BLOCK_ROWS + 5
ROW_SHAPE = (2, 3)


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shards:
    """Two shards: 64 rows and 37."""
    monkeypatch.setattr(module, "MAX_SHARD_ROWS", 2 * BLOCK_ROWS + 1)
    keys = [f"{n}.png" for n in range(COUNT)]
    return Shards(tmp_path / "deep" / "maps", keys, ROW_SHAPE, np.dtype(np.float16), "one")


def rows() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((COUNT, *ROW_SHAPE)).astype(np.float16)


def hashes() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (COUNT, HASH_BYTES), np.uint8)


def blocks(shards: Shards, number: int) -> Iterator[Block]:
    """The second row of each block is broken."""
    for which in shards.blocks(number):
        yield Block(rows()[which], hashes()[which], ((1, f"row {which[1]}"),))


def write(shards: Shards) -> None:
    for number in range(len(shards)):
        shards.write(number, blocks(shards, number))


def test_shards_are_whole_blocks_of_a_bounded_size():
    def per_shard(*row_shape: int, dtype: str = "f2") -> int:
        return Shards(Path("x"), ["k"], row_shape, np.dtype(dtype), "").rows_per_shard

    assert per_shard(49, 1280) == 2048
    assert per_shard(100, 1280) == 1024
    assert per_shard(100, 1312) == 1024 - BLOCK_ROWS
    assert per_shard(1 << 28) == BLOCK_ROWS  # one block is the least


def test_every_row_is_in_one_shard_and_one_block(shards: Shards):
    assert len(shards) == 2
    assert [row for number in (0, 1) for row in shards.rows(number)] == list(range(COUNT))
    assert [row for number in (0, 1) for block in shards.blocks(number) for row in block] == list(range(COUNT))
    assert max(len(block) for block in shards.blocks(0)) == BLOCK_ROWS


def test_what_was_written_is_read(shards: Shards):
    write(shards)
    np.testing.assert_array_equal(shards.array()[:], rows())
    described = [shards.read(number) for number in (0, 1)]
    np.testing.assert_array_equal(np.concatenate([one.hashes for one in described]), hashes())
    assert described[0].broken == ((1, "row 1"), (33, "row 33"))
    assert described[1].broken == ((65, "row 65"), (97, "row 97"))
    assert sorted(path.name for path in shards.out.parent.iterdir()) == [
        "maps.00000.sagemaker-ignore",
        "maps.00001.sagemaker-ignore",
    ]


@pytest.mark.parametrize(
    "other",
    [{"fingerprint": "two"}, {"keys": ["other"] * COUNT}, {"row_shape": (3, 2)}, {"dtype": np.dtype(np.int16)}],
)
def test_a_shard_of_something_else_is_not_there(shards: Shards, other: dict[str, object]):
    write(shards)
    assert shards.read(0) is not None
    assert replace(shards, **other).read(0) is None


def test_a_key_more_changes_only_the_last_shard(shards: Shards):
    write(shards)
    more = replace(shards, keys=[*shards.keys, "new"])
    assert more.read(0) is not None
    assert more.read(1) is None


def test_keys_are_told_apart_where_one_ends(shards: Shards):
    write(replace(shards, keys=["ab", "c"] * (COUNT // 2) + ["c"]))
    assert replace(shards, keys=["a", "bc"] * (COUNT // 2) + ["c"]).read(0) is None


def test_another_kind_of_hash_makes_shards_anew(shards: Shards, monkeypatch: pytest.MonkeyPatch):
    write(shards)
    monkeypatch.setattr(module, "HASH_NAME", "another")
    assert shards.read(0) is None


@pytest.mark.parametrize("change", ["cut", "longer", "empty", "damaged", "a folder", "gone"])
def test_a_shard_that_is_not_whole_is_not_there(shards: Shards, change: str):
    write(shards)
    path = shards.path(1)
    data = path.read_bytes()
    path.unlink()
    if change == "a folder":
        path.mkdir()
    elif change != "gone":
        middle = len(data) - 60  # in the description
        damaged = data[:middle] + b"\xff{" + data[middle + 2 :]
        path.write_bytes({"cut": data[:-1], "longer": data + b"\0", "empty": b"", "damaged": damaged}[change])
    assert shards.read(1) is None
    assert shards.read(0) is not None


def test_a_shard_has_its_name_only_when_it_is_whole(shards: Shards):
    write(shards)
    before = shards.path(0).read_bytes()

    def failing() -> Iterator[Block]:
        yield next(blocks(shards, 0))
        assert shards.part(0).stat().st_blocks * 512 >= 64 * shards.row_bytes
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        shards.write(0, failing())
    assert shards.path(0).read_bytes() == before
    assert not shards.part(0).exists()


def test_a_shard_that_misses_a_block_is_refused(shards: Shards):
    with pytest.raises(RuntimeError, match="was given rows up to 32 of range"):
        shards.write(0, [next(blocks(shards, 0))])
    assert list(shards.out.parent.iterdir()) == []


def test_a_disk_that_is_full_is_known_before_the_first_block(shards: Shards):
    huge = replace(shards, row_shape=(1 << 40,))
    with pytest.raises(OSError, match=r"No space left|File too large"):
        huge.write(0, iter(()))
    assert list(shards.out.parent.iterdir()) == []
