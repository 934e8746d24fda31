"""The new model beside an earlier one, from the `model` channel: what people's lines for held-out pictures cost each.

Both are read as graphs on the CPU, also where there is a GPU and one of them carries weights for it, over the same
pictures and lines, none of which either has learned from as long as seed and validation_fraction stay the same. What
deploys the new model compares the two figures.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ogiri import picture
from ogiri.artifact import MANIFEST, ArtifactError, open_artifact
from ogiri.captioning.data.pictures import Picture
from ogiri.captioning.serving.captioner import Captioner, open_captioner
from ogiri.captioning.serving.settings import read_settings
from ogiri.captioning.training.dataset import Part
from ogiri.captioning.training.quality import line_nats
from ogiri.captioning.training.warm_start import ARCHIVE, CHANNEL, folder_of_manifest, unpacked
from ogiri.machine import available_processors
from ogiri.task import TrainingContext, UserError

EXPORTED, BASELINE = "exported_nats_per_character", "baseline_nats_per_character"
MAX_PICTURES, MAX_LINES = 500, 2000
ENCODE_BATCH, LINES_AT_ONCE = 16, 256  # between which a job that is asked to end can

Stopping = Callable[[], bool]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeldOut:
    """What both models are asked about.

    Attributes:
        pictures: with what is known of them.
        data: each picture's file.
        lines: that people wrote.
        rows: (lines,) the picture of each line.
    """

    pictures: Sequence[Picture]
    data: Sequence[bytes]
    lines: Sequence[str]
    rows: npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Model:
    """A captioner, and the side of the pictures that its encoder takes."""

    captioner: Captioner
    size: int


def compare(context: TrainingContext, validation: Part) -> dict[str, float]:
    """`EXPORTED` of the model in `context.model` and `BASELINE` of the one in the channel, in nats a character.

    Nothing where there is no such channel or nothing was held out, or where the job is asked to end meanwhile; nor,
    with a warning, where the channel's model cannot be asked, which is no reason to lose the new one.
    """
    if CHANNEL not in context.channels or len(validation) == 0:
        return {}
    try:
        with unpacked(context.channels[CHANNEL], (ARCHIVE,)) as folders:
            earlier = open_artifact(folder_of_manifest(folders, context.channels[CHANNEL]))
            held_out = _held_out(validation, context.channels["training"])
            before, now = _opened(earlier.folder), _opened(context.model)
            figures = _figures(now, before, held_out, context.stopping)
    except _AskedToEnd:
        log.info("asked to end: the model in the `%s` channel is not compared with", CHANNEL)
        return {}
    except Exception as error:  # ONNX Runtime has exceptions of its own
        expected = isinstance(error, ArtifactError | UserError | OSError | ValueError)
        log.warning("the model in the `%s` channel is not compared with: %s", CHANNEL, error, exc_info=not expected)
        return {}
    if figures:
        log.info("beside the earlier model %s, over %d held-out lines", earlier.name, len(held_out.lines))
    return figures


def _held_out(part: Part, folder: Path) -> HeldOut:
    """Some pictures, those that can still be read, and some of their lines, spread evenly."""
    pictures, data, lines, rows = list[Picture](), list[bytes](), list[str](), list[int]()
    for one, references in zip(part.pictures[:MAX_PICTURES], part.references[:MAX_PICTURES], strict=True):
        try:
            content = (folder / one.key).read_bytes()
            picture.decode(content)
        except (OSError, picture.PictureError):
            continue
        rows += [len(pictures)] * len(references)
        lines += references
        pictures.append(one)
        data.append(content)
    some = np.unique(np.linspace(0, len(lines) - 1, min(MAX_LINES, len(lines))).astype(np.int64))
    return HeldOut(pictures, data, [lines[i] for i in some.tolist()], np.asarray(rows, np.int64)[some])


def _opened(folder: Path) -> _Model:
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    size = read_settings(manifest).size
    return _Model(open_captioner(folder, manifest, graphs=True, threads=available_processors()), size)


class _AskedToEnd(Exception):
    """The job is asked to end."""


def _figures(now: _Model, before: _Model, held_out: HeldOut, stopping: Stopping) -> dict[str, float]:
    """Over lines that both have tokens enough for: one that is cut off would cost the model that cuts it less."""
    fits = [
        index
        for index, line in enumerate(held_out.lines)
        if all(len(each.tokenizer.encode(line)) <= each.max_tokens for each in (now.captioner, before.captioner))
    ]
    if not fits:
        return {}
    lines = [held_out.lines[i] for i in fits]
    kept = HeldOut(held_out.pictures, held_out.data, lines, held_out.rows[fits])
    return {name: _nats_per_character(each, kept, stopping) for name, each in ((EXPORTED, now), (BASELINE, before))}


def _nats_per_character(model: _Model, held_out: HeldOut, stopping: Stopping) -> float:
    """Ends counted as one character each, as in `validation_nats_per_character`."""
    captioner = model.captioner
    tokenizer = captioner.tokenizer
    known = [captioner.conditions(one.labels, one.detected_text) for one in held_out.pictures]
    maps, nats = _maps(model, held_out.data, stopping), 0.0
    for start in range(0, len(held_out.lines), LINES_AT_ONCE):
        _check(stopping)
        some = slice(start, start + LINES_AT_ONCE)
        rows = held_out.rows[some]
        nats += line_nats(
            captioner.engine,
            maps,
            rows,
            [known[row] for row in rows.tolist()],
            [tokenizer.encode(line) for line in held_out.lines[some]],
            tokenizer.bos,
            tokenizer.eos,
        ).sum()
    return float(nats) / sum(len(line) + 1 for line in held_out.lines)


def _maps(model: _Model, data: Sequence[bytes], stopping: Stopping) -> npt.NDArray[np.float32]:
    """(pictures, cells, channels) by the model's own encoder."""
    engine, size, maps = model.captioner.engine, model.size, []
    for start in range(0, len(data), ENCODE_BATCH):
        _check(stopping)
        maps.append(engine.encode(np.stack([picture.load(one, size) for one in data[start : start + ENCODE_BATCH]])))
    return np.concatenate(maps)


def _check(stopping: Stopping) -> None:
    if stopping():
        raise _AskedToEnd
