"""MODEL_CARD.md: what a model is for, what it was measured at, what to be careful about; it travels in the artifact."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from ogiri.captioning.training.report_page.figure import main_figures, measured_on, number, several, share, size
from ogiri.captioning.training.report_page.run_section import rounding
from ogiri.captioning.training.report_page.verdict import kind_of, verdict

MODEL_CARD = "MODEL_CARD.md"
_MARKUP = re.compile(r"([\\`*_{}\[\]#|~!])")
_FENCE = "```"


def model_card(figures: Mapping[str, Any]) -> str:
    """The card in Markdown, out of what metrics.json holds."""
    parts = [
        f"# {plain(figures['job'])}",
        f"{verdict(figures)[0]}",
        _use(figures),
        "## Warnings",
        _warnings(figures["warnings"]),
        "## Figures",
        measured_on(figures),
        _table(["Figure", "Value", "What it means"], [[f.name, f.value, f.meaning] for f in main_figures(figures)]),
        "BLEU, chrF and CIDEr compare with lines that people wrote for the same pictures. They do not say whether a "
        "line is funny.",
        "## Data",
        _data(figures),
        "## Weights",
        _weights(figures),
        "## Limits",
        _limits(figures),
        "## How to train it again",
        _again(figures["reproduce"]),
        "## Licence",
        "The pictures and lines that it was trained on are yours, and so is this model: state their licence here "
        "before you pass it on. The encoder's pretrained weights, where there are any, have a licence of their own.",
    ]
    return "\n\n".join(parts) + "\n"


def plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _MARKUP.sub(r"\\\1", escape(" ".join(str(text).split()), quote=False))


def _use(figures: Mapping[str, Any]) -> str:
    return (
        "Answers a picture, with labels and detected text where they are known, with a short line. Made to amuse: for "
        "people who choose among its lines or read them as a joke. Not made to describe pictures to those who cannot "
        f"see them, and not to say anything true about a person. Decoder {plain(figures['decoder'])} on encoder "
        f"{plain(figures['encoder'])}, {number(figures['vocabulary'])} tokens; trained by ogiri, {figures['created']}."
    )


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return "None."
    return "\n".join(f"- **{plain(kind)}**: {plain(text)}" for kind, text in map(kind_of, warnings))


def _data(figures: Mapping[str, Any]) -> str:
    data = figures["data"]
    lengths = data["line_characters"]
    rows = [
        ["read", number(data["pictures_read"]), number(data["records_read"])],
        ["trained on", number(data["train"]["pictures"]), number(data["train"]["lines"])],
        ["held out", number(data["validation"]["pictures"]), number(data["validation"]["lines"])],
    ]
    dropped = sum(one["count"] for one in data["dropped_lines"])
    text = (
        f"Split by picture, by a hash with seed {figures['hyperparameters']['seed']}; pictures that look alike stay on "
        f"one side ({several(data['near_duplicates']['groups'], 'group')}). On both sides: "
        f"{several(figures['pictures_on_both_sides'], 'picture')}. Held out, and in the training lines word for word: "
        f"{several(data['shared_lines'], 'line')}. Left out: {several(dropped, 'line')} and "
        f"{several(figures['broken_pictures'], 'broken picture')}. Cut: {several(data['cut_lines'], 'line')}. "
        f"A line has {lengths['mean']:.1f} characters on average, at most {lengths['longest']}. "
        f"{share(data['pictures_with_text'])} of the pictures have detected text, {share(data['lines_with_score'])} of "
        "the lines a score."
    )
    return _table(["", "Pictures", "Lines"], rows) + "\n\n" + text


def _weights(figures: Mapping[str, Any]) -> str:
    quantization = figures["quantization"]
    nats, sizes = quantization["nats_per_token"], quantization["bytes"]
    text = f"{rounding(quantization)} Encoder {size(sizes['encoder'])} in float32, "
    if not nats:
        return text + f"decoder {size(sizes['decoder_float32'])}."
    return (
        f"{text}decoder {size(sizes['decoder_float32'])} in float32 and {size(sizes['decoder_quantized'])} in 8 bits: "
        f"{nats['float32']:.4f} and {nats['quantized']:.4f} nats a token over {number(nats['lines'])} lines, "
        f"the same favourite for {share(quantization['top1_agreement'])} of the tokens."
    )


def _limits(figures: Mapping[str, Any]) -> str:
    return "\n".join(
        [
            "- It writes in the language and the manner of its training lines: whom they insult, it insults.",
            "- It says things about pictures that are not so; labels and detected text steer it, right or wrong.",
            f"- Lines have at most {figures['hyperparameters']['max_length']} tokens; pictures are squeezed to "
            f"{figures['hyperparameters']['image_size']} pixels a side, so small things and small print are lost.",
            "- `banned_words`, of the training and of a request, keep words out of a line; nothing else filters it.",
        ]
    )


def _again(again: Mapping[str, Any]) -> str:
    known = [f"{name} {plain(again[name])}" for name in ("image", "commit") if again[name]]
    text = f"Data fingerprint `{again['data_fingerprint']}`" + "".join(f", {one}" for one in known) + "."
    return f"{_FENCE}sh\n{again['command'].replace(_FENCE, '')}\n{_FENCE}\n\n{text}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([plain(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
