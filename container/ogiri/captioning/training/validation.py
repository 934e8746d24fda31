"""How well the held-out lines are known, and a look at what is written."""

from __future__ import annotations

import json
import math

import numpy as np
import torch
from torch.nn import functional

from ogiri.captioning.model.decoder import greedy
from ogiri.captioning.training.examples import batch_without_lines, collate, sequential
from ogiri.captioning.training.fitting import Fitting
from ogiri.captioning.training.metrics import caption_scores
from ogiri.captioning.training.model import Model
from ogiri.captioning.training.precision import autocast

PREVIEW_PICTURES = 256  # held-out pictures that a line is generated for after each epoch
SETTLE_PICTURES, SETTLE_BATCH = 1024, 64


def settle(model: Model, work: Fitting) -> None:
    """Give an encoder that is trained from scratch the batch statistics of its present weights."""
    if model.encoder is None:
        return
    pictures = np.unique(np.linspace(0, len(work.train.rows) - 1, SETTLE_PICTURES).astype(np.int64))
    parts = np.array_split(pictures, math.ceil(len(pictures) / SETTLE_BATCH))
    model.encoder.settle(work.train.picture_batch(part).to(work.device) for part in parts)
    work.ranks.spread_tensors(model.encoder.buffers())  # one that is not settled has others in each process


@torch.no_grad()
def validate(model: Model, work: Fitting) -> dict[str, float]:
    """Loss in nats a token and a character over all held-out lines; BLEU, CIDEr and chrF over some pictures.

    Processes share the work, and the one that leads has the figures.
    """
    if len(work.validation) == 0:
        return {}
    hp, tokenizer = work.hyperparameters, work.tokenizer
    model.train(False)
    nats, tokens = 0.0, 0
    for lines in list(sequential(len(work.validation), hp.batch_size))[work.ranks.rank :: work.ranks.world]:
        batch = collate(work.validation, lines, tokenizer.bos, tokenizer.eos)
        places, targets, _ = (part.to(work.device) for part in batch.to_learn())
        with autocast(hp.precision, work.device):
            prefix = model.prefix(batch, work.device)
            logits = model.decoder(prefix, batch.tokens.to(work.device), wanted=places)
        nats += functional.cross_entropy(logits.float(), targets, reduction="sum").item()
        tokens += len(targets)
    nats, counted = work.ranks.sum([nats, tokens])
    pictures = min(PREVIEW_PICTURES, len(work.references))
    generated = [tokenizer.decode(line) for line in preview(model, work, pictures)]
    if not work.ranks.leads:
        return {}
    scores = caption_scores(generated, work.references[:pictures], hp.counted)
    return {
        "validation_loss": nats / counted,
        "validation_nats_per_character": nats / float(work.validation.characters.sum()),
        "validation_bleu": scores.bleu[3],
        "validation_cider": scores.cider,
        "validation_chrf": scores.chrf,
    }


@torch.no_grad()
def preview(model: Model, work: Fitting, pictures: int) -> list[list[int]]:
    """Greedy lines for the first held-out pictures; processes share them, and the one that leads has them all.

    None gets longer than the longest training line.
    """
    tokenizer, lines = work.tokenizer, []
    longest = int(work.train.lines.lengths.max()) + 1
    own = work.ranks.share(np.arange(pictures), together=True)
    for some in sequential(len(own), 64):
        prefix = model.prefix(batch_without_lines(work.validation, own[some]), work.device)
        lines += greedy(model.decoder, prefix, tokenizer.bos, tokenizer.eos, longest)
    if work.ranks.world == 1:
        return lines
    parts = work.ranks.gather(json.dumps(lines).encode())
    return [line for part in parts for line in json.loads(part)]  # by rank, and so in their order
