"""What hyperparameters must say of the weights that deploy.sh puts into the bucket, so that the first job finds them.

python3 scripts/first_job.py --hyperparameters '{"epochs": 20}' --encoder resnet50
{"epochs":20,"encoder":"resnet50"}

Standard library only: whoever deploys need not have set up anything.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any


class ConflictError(ValueError):
    """Hyperparameters that do not go with the weights; the message says which."""


def completed(
    hyperparameters: dict[str, Any], encoder: str, language_model: str, others: bool
) -> tuple[dict[str, Any], list[str]]:
    """The hyperparameters with what the weights need, and what somebody should know of them.

    Args:
        hyperparameters: as they were asked for.
        encoder: the network that weights are uploaded of; empty for none.
        language_model: the folder of one that is uploaded; empty for none.
        others: weights may lie in the bucket already.

    Raises:
        ConflictError: they ask for other weights than those.
    """
    found, notes = dict(hyperparameters), list[str]()
    if encoder:
        _set(found, "encoder", encoder, f"the weights are those of {encoder}")
        if found.get("encoder_weights") == "none":
            raise ConflictError("encoder_weights is none, but encoder weights were named: leave one of them out")
    elif not others and "encoder_weights" not in found and not found.get("allow_download"):
        found["encoder_weights"] = "none"
        notes.append("no encoder weights: the encoder is trained from scratch, which needs far more pictures")
    if language_model:
        _set(found, "language_model", language_model, f"the language model is {language_model}")
        _set(found, "decoder", "gpt2", "a language model needs it")
    return found, notes


def _set(found: dict[str, Any], name: str, value: str, why: str) -> None:
    if found.setdefault(name, value) != value:
        raise ConflictError(f"{name} is {found[name]!r} in TrainingHyperparameters, but {why}: make it {value!r}")


def main() -> int:
    """Print them; returns the exit code."""
    parser = argparse.ArgumentParser(prog="first_job", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hyperparameters", default="{}")
    parser.add_argument("--encoder", default="")
    parser.add_argument("--language-model", default="")
    parser.add_argument("--others", action="store_true", help="weights may lie in the bucket already")
    options = parser.parse_args()
    try:
        given = json.loads(options.hyperparameters)
        if not isinstance(given, dict):
            raise ConflictError(f"TrainingHyperparameters is {options.hyperparameters!r}: it must be a JSON object")
        found, notes = completed(given, options.encoder, options.language_model, options.others)
    except ValueError as error:
        print(f"deploy: TrainingHyperparameters: {error}", file=sys.stderr)
        return 1
    for note in notes:
        print(f"deploy: {note}", file=sys.stderr)
    print(json.dumps(found, ensure_ascii=False, separators=(",", ":")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
