"""What TensorBoard's own reader finds in the files of a job."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ogiri.sagemaker.training.event_files import MAX_SAMPLES, EventFiles

HYPERPARAMETERS = {"epochs": 3, "encoder": "resnet50", "quantize": True, "banned": ("a|b",)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "output" / "tensorboard"


@pytest.fixture
def begin(folder: Path) -> Iterator[Callable[[], EventFiles]]:
    """Begins a job; what no test has closed by its end is as if it was killed."""
    with contextlib.ExitStack() as stack:

        def begun() -> EventFiles:
            written = EventFiles(folder, HYPERPARAMETERS, folder.parent / "samples.jsonl")
            stack.callback(written.close, "KILLED", "")
            return written

        yield begun


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder)).Reload()


def curve(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(folder).Scalars(tag)]


def text(folder: Path, tag: str) -> list[tuple[int, str]]:
    tensors = read(folder).Tensors(f"{tag}/text_summary")
    return [(event.step, event.tensor_proto.string_val[0].decode()) for event in tensors]


def test_a_curve_for_each_metric(begin: Callable[[], EventFiles], folder: Path):
    writer = begin()
    writer.record(1, {"train_loss": 2.5, "validation_loss": 3.0})
    writer.record(2, {"train_loss": 1.5, "validation_loss": 2.75})
    assert curve(folder, "train_loss") == [(1, 2.5), (2, 1.5)]
    assert curve(folder, "validation_loss") == [(1, 3.0), (2, 2.75)]


def test_every_event_is_on_disk_at_once(begin: Callable[[], EventFiles], folder: Path):
    writer = begin()
    writer.record(1, {"train_loss": 2.5})
    assert curve(folder, "train_loss") == [(1, 2.5)]
    writer.record(2, {"train_loss": 1.5})
    assert curve(folder, "train_loss") == [(1, 2.5), (2, 1.5)]


def test_hyperparameters_are_a_table(begin: Callable[[], EventFiles], folder: Path):
    begin().record(1, {"train_loss": 2.5})
    ((step, table),) = text(folder, "hyperparameters")
    assert step == 1
    assert table.splitlines() == [
        "| name | value |",
        "| --- | --- |",
        "| epochs | 3 |",
        "| encoder | resnet50 |",
        "| quantize | true |",
        '| banned | ["a\\|b"] |',
    ]


def test_samples_are_shown_at_the_last_step(begin: Callable[[], EventFiles], folder: Path):
    writer = begin()
    writer.record(1, {"train_loss": 2.5})
    writer.record(2, {"train_loss": 2.0})
    samples = [{"image_key": f"{n}.png", "generated": "会議、\nまだ続く？"} for n in range(MAX_SAMPLES + 1)]
    lines = [json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples]
    (folder.parent / "samples.jsonl").write_text("".join(lines), encoding="utf-8")
    writer.close("FINISHED", "")
    ((step, table),) = text(folder, "samples")
    assert step == 2
    assert table.startswith("| image_key | generated |\n| --- | --- |\n| 0.png | 会議、 まだ続く？ |\n")
    assert len(table.splitlines()) == 2 + MAX_SAMPLES


def test_a_restarted_job_takes_the_place_of_what_it_repeats(begin: Callable[[], EventFiles], folder: Path):
    killed = begin()
    for epoch in (1, 2, 3):
        killed.record(epoch, {"train_loss": 10.0 + epoch})
    restarted = begin()
    for epoch in (2, 3, 4):
        restarted.record(epoch, {"train_loss": 20.0 + epoch})
    assert curve(folder, "train_loss") == [(1, 11.0), (2, 22.0), (3, 23.0), (4, 24.0)]


def test_a_job_that_reports_nothing_leaves_no_file(begin: Callable[[], EventFiles], folder: Path):
    begin().close("FAILED", "UserError: no pictures")
    assert not folder.exists()
