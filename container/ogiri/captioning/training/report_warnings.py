"""What a reader of a report must be warned of, in plain words: `kind: what is the case, and what helps`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

OVERFITTED_ABOVE = 0.02  # by how much of itself the validation loss must have risen
SHARED_ABOVE = 0.2  # of the held-out lines

History = Sequence[Mapping[str, float]]


def job_warnings(figures: Mapping[str, Any], evaluation: Sequence[str] | None) -> list[str]:
    """All warnings of a job, the gravest first.

    Args:
        figures: what metrics.json will hold.
        evaluation: the warnings of the evaluation; None where the job was asked to end before it.
    """
    if evaluation is None:
        evaluation = ["not evaluated: the job was asked to end early"]
    others = (
        _nothing_validated(figures),
        _leakage(figures),
        _overfitting(figures),
        _quantization(figures["quantization"]),
        _broken(figures),
        _cut(figures),
    )
    return [*evaluation, *(warning for warning in others if warning)]


def _nothing_validated(figures: Mapping[str, Any]) -> str:
    if figures["validation_pictures"]:
        if figures["best_epoch"]:
            return ""
        return (
            "nothing validated: the job ended before the first epoch did, so the weights of its last step are shipped. "
            "Let it run longer"
        )
    return (
        "nothing validated: no picture was held out, so the weights of the end are shipped and no figure says how well "
        "it answers a new picture. Set validation_fraction, or bring more pictures"
    )


def _leakage(figures: Mapping[str, Any]) -> str:
    if figures["pictures_on_both_sides"]:
        return (
            f"leakage: {figures['pictures_on_both_sides']} pictures stand on both sides of the split, so every figure "
            "is too good. This is a bug: please report it"
        )
    shared, held_out = figures["data"]["shared_lines"], figures["data"]["validation"]["lines"]
    if not held_out or shared <= SHARED_ABOVE * held_out:
        return ""
    return (
        f"leakage: {shared / held_out:.0%} of the held-out lines stand in the training lines word for word, for other "
        "pictures: a model that repeats them scores too well. Bring lines that were written for one picture"
    )


def _overfitting(figures: Mapping[str, Any]) -> str:
    history: History = [epoch for epoch in figures["history"] if {"train_loss", "validation_loss"} <= epoch.keys()]
    if not history:
        return ""
    lowest = min(history, key=lambda epoch: epoch["validation_loss"])
    last = history[-1]
    risen = last["validation_loss"] > (1 + OVERFITTED_ABOVE) * lowest["validation_loss"]
    if not risen or last["train_loss"] >= lowest["train_loss"]:
        return ""
    return (
        f"overfitting: from epoch {lowest['epoch']:.0f} to {last['epoch']:.0f} the training loss fell "
        f"({lowest['train_loss']:.3f} → {last['train_loss']:.3f}) while the validation loss rose "
        f"({lowest['validation_loss']:.3f} → {last['validation_loss']:.3f}). The weights of epoch "
        f"{figures['best_epoch']} are shipped. More lines, more dropout or fewer epochs help"
    )


def _quantization(quantization: Mapping[str, Any]) -> str:
    nats = quantization["nats_per_token"]
    if not nats or quantization["decoder"] != "none":
        return ""
    return (
        f"not quantised: 8-bit weights cost {nats['quantized'] - nats['float32']:.4f} nats a token, which is too much, "
        "so the decoder is shipped in float32, larger and slower"
    )


def _broken(figures: Mapping[str, Any]) -> str:
    count = figures["broken_pictures"]
    if not count:
        return ""
    first = figures["data"]["broken_pictures"][0]
    return (
        f"broken pictures: {count} of {figures['pictures']} could not be read and were left out with their lines, "
        f"first {first['key']}: {first['reason']}"
    )


def _cut(figures: Mapping[str, Any]) -> str:
    count = figures["cut_lines"]
    if not count:
        return ""
    return (
        f"cut: {count} lines have more than max_length={figures['hyperparameters']['max_length']} tokens and were cut, "
        "so it learned to end there. Raise max_length"
    )
