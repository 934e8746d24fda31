"""`task=caption`: the data's way from records to an artifact, one call a stage."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ogiri import picture
from ogiri.captioning.data.blocks import Interrupted
from ogiri.captioning.data.features import PictureArrays
from ogiri.captioning.data.lines import Dropped
from ogiri.captioning.data.records import Records
from ogiri.captioning.data.scan import read_channel, scan
from ogiri.captioning.model.decoder import Decoder
from ogiri.captioning.model.encoder import Encoder
from ogiri.captioning.serving.captioner import open_captioner
from ogiri.captioning.training import baseline, publish, report
from ogiri.captioning.training.build import (
    build_encoder,
    build_model,
    find_language_model,
    find_tokenizer,
    pick_device,
)
from ogiri.captioning.training.cleaning import banned_words, clean
from ogiri.captioning.training.course import Course
from ogiri.captioning.training.dataset import Dataset, Part, build_dataset
from ogiri.captioning.training.evaluate import MAX_EVALUATED_PICTURES, Evaluation, EvaluationSet, evaluate
from ogiri.captioning.training.fingerprint import job_fingerprint
from ogiri.captioning.training.fit import fit
from ogiri.captioning.training.fitting import Fitting
from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.captioning.training.parcel import pack, unpack
from ogiri.captioning.training.pictures import read_pictures
from ogiri.captioning.training.profile_summary import Profile, WrittenProfile
from ogiri.captioning.training.quality import MAX_GATE_LINES, MIN_GATE_LINES
from ogiri.captioning.training.ranks import Ranks, join
from ogiri.captioning.training.warm_start import CHANNEL, find_warm_start
from ogiri.task import TrainingContext, UserError

DEFAULT_TABLE = "OgiriTrainingDataTable"
PARITY_PICTURES = 4
ENCODE_BATCH = 64

log = logging.getLogger(__name__)


class CaptionTrainer:
    """See `ogiri.task.Trainer`."""

    hyperparameters = CaptionHyperparameters

    def run(self, context: TrainingContext) -> Path:
        """Train, export, evaluate; an empty model folder when the job is asked to end before the first step.

        Raises:
            UserError: something about the data, the channels or the hyperparameters can be mended.
        """
        hp: CaptionHyperparameters = context.hyperparameters
        ranks = join(context.stopping)
        with Course(context.checkpoints, context.job_name, hp.batch_size, ranks.leads) as course:
            return self._run(context, hp, course, ranks)

    def _run(self, context: TrainingContext, hp: CaptionHyperparameters, course: Course, ranks: Ranks) -> Path:
        course.begin("records")
        device = pick_device(hp, ranks)
        warm_start = find_warm_start(context.channels, hp)
        encoder, language_model = build_encoder(context, hp, warm_start), find_language_model(context, hp)
        tokenizer = find_tokenizer(warm_start, language_model)
        banned = banned_words(context.channels, hp)
        records, dropped = _records(context, hp, banned, ranks)
        course.begin("pictures")
        arrays = _pictures(context, hp, records, encoder, device, ranks)
        if arrays is None:
            ranks.leave()
            return context.model
        course.begin("training")
        dataset = build_dataset(records, arrays, hp, tokenizer, dropped)
        model = build_model(hp, dataset, encoder, language_model, warm_start)
        started_from = "".join(start.fingerprint() for start in (language_model, warm_start) if start is not None)
        work = _fitting(context, hp, dataset, encoder, device, started_from, course, ranks)
        progress = fit(model, work)
        ranks.leave()
        if progress.steps == 0 or not ranks.leads:
            return context.model
        course.begin("export")
        encoder, decoder = encoder.cpu(), model.decoder.cpu()
        quantization = publish.publish_graphs(
            context.model, encoder, decoder, dataset.tokenizer, _gate_lines(hp, dataset, encoder, context), hp.quantize
        )
        if encoder.projection is not None and not hp.trains_encoder:  # the decoder goes with no other
            publish.save_weights(context.output / publish.WEIGHTS_FOLDER, {"encoder": encoder})
        if hp.export_weights:
            publish.save_weights(context.model / publish.WEIGHTS_FOLDER, {"encoder": encoder, "decoder": decoder})
        facts = report.facts(hp, records, arrays, dataset, progress, quantization)
        described = _described(context, hp, dataset, decoder, quantization, banned)
        publish.publish_manifest(context.model, described, facts)
        course.begin("evaluation")
        data = None if context.stopping() else _evaluation_set(hp, dataset, encoder)
        evaluation = None if data is None else _evaluate(context, hp, dataset, data)
        if CHANNEL in context.channels and not context.stopping():
            course.begin("comparison")
            compared = baseline.compare(context, dataset.validation)
            if compared:
                context.report_metrics(compared)
            facts |= compared
        course.begin("report")
        report.write_report(
            report.Outcome(
                context, facts, dataset, progress, quantization, model, device, data, evaluation, course.laps
            )
        )
        publish.publish_manifest(context.model, described, facts | report.headline(evaluation))
        if hp.profile:
            course.begin("profile")
            work.profile.write(course.laps)
        return context.model


TRAINER = CaptionTrainer()


def read_records(context: TrainingContext, hp: CaptionHyperparameters) -> Records:
    """Records from the `records` channel where there is one, else from the table."""
    if "training" not in context.channels:
        raise UserError(
            "there is no `training` channel: give the job one that holds the pictures, such as s3://BUCKET/images/"
        )
    if "records" in context.channels:
        return read_channel(context.channels["records"], hp.min_records)
    return scan(os.environ.get("DYNAMODB_TABLE_NAME") or DEFAULT_TABLE, hp.min_records)


def _records(
    context: TrainingContext, hp: CaptionHyperparameters, banned: tuple[str, ...], ranks: Ranks
) -> tuple[Records, list[Dropped]]:
    """What there is to learn, read by one process; the others get it from that one, without what was dropped."""
    if not ranks.leads:
        return unpack(ranks.spread()), []
    records, dropped = clean(read_records(context, hp), hp, banned, context.output)
    if ranks.world > 1:
        ranks.spread(pack(records))
    return records, dropped


def _pictures(
    context: TrainingContext,
    hp: CaptionHyperparameters,
    records: Records,
    encoder: Encoder,
    device: torch.device,
    ranks: Ranks,
) -> PictureArrays | None:
    """What training sees of the pictures; None where any of the processes was asked to end meanwhile."""
    arrays = None
    with contextlib.suppress(Interrupted):
        arrays = read_pictures(context, hp, records, encoder, device, ranks)
    return None if ranks.any(arrays is None) else arrays


def _fingerprint(
    hp: CaptionHyperparameters, dataset: Dataset, encoder: Encoder, started_from: str, ranks: Ranks
) -> str:
    """Of the job, the same in all processes: they would train one model with different data otherwise."""
    own = job_fingerprint(hp, dataset, encoder, started_from)
    leading = ranks.spread_json(own)
    if own != leading:
        raise RuntimeError(
            f"rank {ranks.rank} has other data or weights than rank 0: are the channels the same on every host "
            "(S3DataDistributionType FullyReplicated), and can every picture be read on each?"
        )
    return own


def _fitting(
    context: TrainingContext,
    hp: CaptionHyperparameters,
    dataset: Dataset,
    encoder: Encoder,
    device: torch.device,
    started_from: str,
    course: Course,
    ranks: Ranks,
) -> Fitting:
    profile = WrittenProfile(context.output, device) if hp.profile and ranks.leads else Profile()
    return Fitting(
        train=dataset.train.examples,
        validation=dataset.validation.examples,
        references=dataset.validation.references,
        train_references=dataset.train.references,
        tokenizer=dataset.tokenizer,
        hyperparameters=hp,
        device=device,
        checkpoint=context.checkpoints / "training.pt",
        fingerprint=_fingerprint(hp, dataset, encoder, started_from, ranks),
        stopping=ranks.stopping,
        report_metrics=profile.following(course.following(context.report_metrics)),
        job_name=context.job_name,
        profile=profile,
        ranks=ranks,
    )


def _gate_lines(
    hp: CaptionHyperparameters, dataset: Dataset, encoder: Encoder, context: TrainingContext
) -> publish.GateLines:
    part = dataset.validation if len(dataset.validation.examples) >= MIN_GATE_LINES else dataset.train
    examples = part.examples
    most = MIN_GATE_LINES if context.stopping() else MAX_GATE_LINES
    chosen = np.unique(np.linspace(0, len(examples) - 1, min(most, len(examples))).astype(np.int64))
    pictures, rows = np.unique(examples.picture_of[chosen], return_inverse=True)
    return publish.GateLines(
        pictures=_some_pixels(hp, part, context.channels["training"]),
        maps=_maps(part, pictures, encoder, hp),
        rows=rows.reshape(-1).astype(np.int64),
        conditions=[examples.conditions[p] for p in examples.picture_of[chosen].tolist()],
        lines=[examples.lines[i] for i in chosen],
    )


def _some_pixels(hp: CaptionHyperparameters, part: Part, folder: Path) -> npt.NDArray[np.uint8]:
    """A few pictures to compare the encoder's graph with torch on; noise where they have gone from the channel."""
    found = []
    for one in part.pictures[:PARITY_PICTURES]:
        try:
            found.append(picture.load((folder / one.key).read_bytes(), hp.image_size))
        except (OSError, picture.PictureError) as error:
            log.warning("picture %s cannot be read any more (%s): the export is checked without it", one.key, error)
    shape = (1, hp.image_size, hp.image_size, 3)
    return np.stack(found) if found else np.random.default_rng(hp.seed).integers(0, 256, shape, np.uint8)


def _maps(
    part: Part, pictures: npt.NDArray[np.int64], encoder: Encoder, hp: CaptionHyperparameters
) -> npt.NDArray[np.generic]:
    """Feature maps (pictures, cells, channels) of some pictures of one side, made now where the encoder was trained."""
    stored: npt.NDArray[np.generic] = part.examples.pictures[part.rows[pictures]]
    if not hp.trains_encoder:
        return stored
    encoder.eval()
    with torch.inference_mode():
        starts = range(0, len(stored), ENCODE_BATCH)
        batches = [encoder.finish(torch.from_numpy(stored[i : i + ENCODE_BATCH])) for i in starts]
    maps: npt.NDArray[np.generic] = torch.cat(batches).float().numpy()
    return maps


def _evaluation_set(hp: CaptionHyperparameters, dataset: Dataset, encoder: Encoder) -> EvaluationSet:
    held_out = len(dataset.validation) > 0
    part = dataset.validation if held_out else dataset.train
    some = np.arange(min(MAX_EVALUATED_PICTURES, len(part)))
    return EvaluationSet(
        split="validation" if held_out else "train",
        pictures=[part.pictures[i] for i in some.tolist()],
        maps=_maps(part, some, encoder, hp),
        conditions=[part.examples.conditions[i] for i in some.tolist()],
        references=[part.references[i] for i in some.tolist()],
    )


def _evaluate(
    context: TrainingContext, hp: CaptionHyperparameters, dataset: Dataset, data: EvaluationSet
) -> Evaluation | None:
    manifest = json.loads((context.model / "manifest.json").read_text(encoding="utf-8"))
    return evaluate(
        open_captioner(context.model, manifest, with_encoder=False),
        data,
        training_lines={dataset.tokenizer.decode(line) for line in dataset.train.examples.lines},
        tokens=hp.counted,
        stopping=context.stopping,
    )


def _described(
    context: TrainingContext,
    hp: CaptionHyperparameters,
    dataset: Dataset,
    decoder: Decoder,
    quantization: dict[str, Any],
    banned: tuple[str, ...],
) -> publish.Described:
    return publish.Described(
        job_name=context.job_name,
        size=hp.image_size,
        limits=dataset.limits,
        controls=dataset.control_edges,
        tokenizer=dataset.tokenizer,
        decoder=decoder,
        decoder_name=hp.decoder,
        max_tokens=hp.max_length,
        quantization=quantization,
        encoder_name=hp.encoder,
        banned_words=banned,
    )
