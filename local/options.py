"""What `make demo` was asked for, checked before anything starts."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.parameter import ParameterError, from_strings

# How the example pictures are learnt from nothing in about two minutes on two cores.
EXAMPLE_HYPERPARAMETERS: Mapping[str, str] = {
    "encoder": "shufflenet_v2_x0_5",
    "encoder_weights": "none",
    "image_size": "96",
    "epochs": "30",
    "batch_size": "32",
    "learning_rate": "0.002",
    "dropout": "0.3",
    "patience": "0",
    "decoder_width": "256",
    "precision": "fp32",
}
# Own rows: more pictures, a larger decoder, and an end when nothing gets better any more.
OWN_HYPERPARAMETERS: Mapping[str, str] = {
    "encoder": "shufflenet_v2_x0_5",
    "encoder_weights": "none",
    "image_size": "128",
    "epochs": "30",
    "batch_size": "64",
    "patience": "5",
}
# What differs when pretrained encoder weights are at hand: the encoder stays as it is, and is asked once a picture.
PRETRAINED_HYPERPARAMETERS: Mapping[str, str] = {"encoder_weights": "pretrained", "image_size": "224"}
WEIGHT_SUFFIXES = (".safetensors", ".pth")


class OptionError(ValueError):
    """An option that cannot be followed; the message names it, its value and the way out."""


@dataclass(frozen=True)
class Options:
    """What to run.

    Attributes:
        csv: own rows; None draws the example pictures.
        images: folder of the pictures that the CSV names by path; None when it has URLs only.
        pretrained: folder with encoder weights, None to learn from nothing.
        hyperparameters: of the training job, name → value.
        out: folder for everything that is made.
    """

    csv: Path | None
    images: Path | None
    pretrained: Path | None
    hyperparameters: Mapping[str, str]
    out: Path


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Options from the command line.

    Raises:
        OptionError: a file or folder that is not there, or values that do not go together.
    """
    parser = argparse.ArgumentParser(
        prog="python -m local.demo",
        description="Pictures and lines in, a model that answers over HTTP out, all of it on this machine.",
    )
    parser.add_argument("--csv", type=Path, help="image_url,expected_result[,score]; without it, examples are drawn")
    parser.add_argument("--images", type=Path, help="folder of the pictures that the CSV names by path")
    parser.add_argument("--epochs", help="times every line is seen")
    parser.add_argument("--encoder", help="torchvision network that looks at the pictures")
    parser.add_argument("--pretrained", type=Path, help="folder with its weights: ENCODER.pth or ENCODER.safetensors")
    parser.add_argument("--hyperparameter", action="append", default=[], metavar="NAME=VALUE", help="any other one")
    parser.add_argument("--out", type=Path, default=Path("build/demo"), help="folder for everything (build/demo)")
    given = parser.parse_args(arguments)
    return Options(
        csv=_csv(given.csv, given.images),
        images=given.images,
        pretrained=given.pretrained,
        hyperparameters=_hyperparameters(given),
        out=given.out,
    )


def _csv(csv: Path | None, images: Path | None) -> Path | None:
    if csv is None and images is not None:
        raise OptionError(f"IMAGES is {images}, but there is no CSV with the lines for them: add CSV=rows.csv")
    if csv is not None and not csv.is_file():
        raise OptionError(f"CSV is {csv}: there is no such file")
    if images is not None and not images.is_dir():
        raise OptionError(f"IMAGES is {images}: there is no such folder")
    return csv


def _hyperparameters(given: argparse.Namespace) -> dict[str, str]:
    chosen = dict(EXAMPLE_HYPERPARAMETERS if given.csv is None else OWN_HYPERPARAMETERS)
    if given.pretrained is not None:
        chosen |= PRETRAINED_HYPERPARAMETERS
        chosen["encoder"] = _pretrained_encoder(given.pretrained, given.encoder)
    for name in ("encoder", "epochs"):
        if getattr(given, name):
            chosen[name] = getattr(given, name)
    for pair in given.hyperparameter:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise OptionError(f"{pair!r} is no hyperparameter: write name=value")
        chosen[name] = value
    try:
        from_strings(CaptionHyperparameters, chosen)
    except ParameterError as error:
        raise OptionError(str(error)) from error
    return chosen


def _pretrained_encoder(folder: Path, wanted: str | None) -> str:
    if not folder.is_dir():
        raise OptionError(f"PRETRAINED is {folder}: there is no such folder")
    found = sorted({path.stem for path in folder.rglob("*") if path.suffix in WEIGHT_SUFFIXES})
    if wanted is not None and wanted not in found:
        raise OptionError(
            f"PRETRAINED is {folder}: it has no {wanted}.pth and no {wanted}.safetensors"
            + (f", but weights of {', '.join(found)}" if found else "")
        )
    if wanted is None and len(found) != 1:
        has = f"weights of {', '.join(found)}: say which with ENCODER=" if found else "no ENCODER.pth or .safetensors"
        raise OptionError(f"PRETRAINED is {folder}: it has {has}")
    return wanted or found[0]
