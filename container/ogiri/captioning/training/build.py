"""What is trained: the encoder and the decoder that the hyperparameters name, and the device."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ogiri.captioning.model.decoder import Decoder
from ogiri.captioning.model.encoder import Encoder, load_encoder
from ogiri.captioning.model.lstm import LSTMDecoder, LSTMDimensions
from ogiri.captioning.model.tokenizer import Tokenizer
from ogiri.captioning.training.dataset import Dataset
from ogiri.captioning.training.driver import driver_version, why_no_gpu
from ogiri.captioning.training.examples import token_frequencies
from ogiri.captioning.training.hyperparameters import HEAD_WIDTH, HEADS, CaptionHyperparameters
from ogiri.captioning.training.model import Model
from ogiri.captioning.training.ranks import Ranks, pick_gpu
from ogiri.captioning.training.warm_start import WarmStart
from ogiri.task import TrainingContext, UserError

if TYPE_CHECKING:  # at run time only where it is needed: transformers takes seconds to import
    from ogiri.captioning.model.gpt2 import GPT2Decoder
    from ogiri.captioning.training.language_model import LanguageModel

GPT2_DROPOUT = 0.2  # of the hyperparameter: 0.1 by default, as GPT-2 was trained
OWN_WEIGHTS = Path(__file__).resolve().parents[3] / "pretrained"  # encoder weights that an image was built with

log = logging.getLogger(__name__)


def pick_device(hp: CaptionHyperparameters, ranks: Ranks | None = None) -> torch.device:
    """A GPU where there is one that torch can use.

    Args:
        hp: of the job.
        ranks: the processes of which each has its own; None = there is one process.

    Raises:
        UserError: `require_gpu`, and there is none.
    """
    with warnings.catch_warnings(record=True) as caught:  # how torch says that a driver is too old
        warnings.simplefilter("always")
        if torch.cuda.is_available():
            return pick_gpu(ranks or Ranks())
    version = driver_version(os.environ)
    reason = why_no_gpu(version, [str(warning.message) for warning in caught])
    if hp.require_gpu:
        raise UserError(f"require_gpu is true and {reason}")
    threads = torch.get_num_threads()
    if version is None:
        log.info("no GPU is found: training on the CPU with %d threads", threads)
    else:
        log.warning("training on the CPU with %d threads: %s", threads, reason)
    return torch.device("cpu")


def build_encoder(context: TrainingContext, hp: CaptionHyperparameters, warm_start: WarmStart | None = None) -> Encoder:
    """The encoder with its weights; it is built first, because a wrong name or missing weights should fail at once.

    Args:
        context: its `pretrained` channel.
        hp: of the job.
        warm_start: whose encoder weights, where it has some, stand in for those of the channel.
    """
    torch.manual_seed(hp.seed)
    pretrained = hp.encoder_weights == "pretrained"
    if not pretrained or (warm_start is not None and warm_start.encoder is not None):
        encoder = Encoder(hp.encoder, hp.image_size, pretrained=pretrained)
    else:
        folders = [context.channels["pretrained"]] if "pretrained" in context.channels else []
        encoder = load_encoder(hp.encoder, hp.image_size, [*folders, OWN_WEIGHTS], hp.allow_download)
    if warm_start is not None:
        warm_start.fill_encoder(encoder)
    if hp.finetune_stages:
        log.info("of the encoder, %s are trained", " and ".join(encoder.train_last(hp.finetune_stages)))
        if encoder.cut is None:
            log.warning(
                "the encoder %s cannot be cut before them: all of it is computed in every step%s",
                encoder.name,
                ", and variants of the pictures are not kept" if hp.variants else "",
            )
    return encoder


def find_language_model(context: TrainingContext, hp: CaptionHyperparameters) -> LanguageModel | None:
    """The language model to start from, None where the hyperparameters name none.

    Raises:
        UserError: it is not there, or does not fit.
    """
    if not hp.language_model:
        return None
    from ogiri.captioning.training.language_model import open_language_model

    return open_language_model(hp, context.channels.get("pretrained"))


def find_tokenizer(warm_start: WarmStart | None, language_model: LanguageModel | None) -> Tokenizer | None:
    """The tokenizer that comes with what is started from; None where one is to be trained.

    Raises:
        UserError: an artifact and a language model have different ones.
    """
    if warm_start is None:
        return None if language_model is None else language_model.tokenizer
    if language_model is not None and language_model.tokenizer.model != warm_start.tokenizer.model:
        raise UserError(
            f"the artifact {warm_start.name} in the `model` channel has {warm_start.tokenizer.vocabulary} "
            f"tokens of its own, and the language model {language_model.file.parent} other "
            f"{language_model.tokenizer.vocabulary}: name the language model that it began with"
        )
    return warm_start.tokenizer


def build_model(
    hp: CaptionHyperparameters,
    dataset: Dataset,
    encoder: Encoder,
    language_model: LanguageModel | None = None,
    warm_start: WarmStart | None = None,
) -> Model:
    """A decoder, new or that of an earlier job, beside the encoder, which is part of the model where it is trained."""
    torch.manual_seed(hp.seed)
    decoder: Decoder = (
        _lstm(hp, dataset, encoder) if hp.decoder == "lstm" else _gpt2(hp, dataset, encoder, language_model)
    )
    if warm_start is not None:
        warm_start.fill_decoder(decoder)
    log.info(
        "decoder %s with %.1f million weights, encoder %s %s: %d cells of %d",
        hp.decoder,
        sum(p.numel() for p in decoder.parameters()) / 1e6,
        hp.encoder,
        "trained too" if hp.trains_encoder else "frozen",
        encoder.cells,
        encoder.channels,
    )
    return Model(decoder, encoder if hp.trains_encoder else None)


def _lstm(hp: CaptionHyperparameters, dataset: Dataset, encoder: Encoder) -> LSTMDecoder:
    decoder = LSTMDecoder(
        LSTMDimensions(
            vocabulary=dataset.tokenizer.vocabulary,
            channels=encoder.channels,
            buckets=dataset.limits.buckets,
            max_label_pieces=dataset.limits.max_label_pieces,
            max_text_pieces=dataset.limits.max_text_pieces,
            width=hp.width,
            heads=HEADS,
            layers=hp.layers,
            embedding_dropout=0.6 * hp.dropout,
            output_dropout=hp.dropout,
        )
    )
    frequencies = token_frequencies(dataset.train.examples, dataset.tokenizer.vocabulary, dataset.tokenizer.eos)
    decoder.start_from(torch.from_numpy(frequencies))
    return decoder


def _gpt2(
    hp: CaptionHyperparameters, dataset: Dataset, encoder: Encoder, language_model: LanguageModel | None
) -> GPT2Decoder:
    from ogiri.captioning.model.gpt2 import GPT2Decoder, GPT2Dimensions

    dims = GPT2Dimensions(
        vocabulary=dataset.tokenizer.vocabulary,
        channels=encoder.channels,
        buckets=dataset.limits.buckets,
        positions=hp.max_length + 1,
        max_label_pieces=dataset.limits.max_label_pieces,
        max_text_pieces=dataset.limits.max_text_pieces,
        width=hp.width,
        heads=hp.width // HEAD_WIDTH,
        layers=hp.layers,
        dropout=GPT2_DROPOUT * hp.dropout,
    )
    if language_model is None:
        return GPT2Decoder(dims)
    decoder = GPT2Decoder(language_model.dimensions(dims))
    decoder.load_language_model(language_model.weights(dims.positions))
    return decoder
