"""What the artifact weighs and what its rounding costs, how long it took on which machine, and how to do it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ogiri.captioning.training.report_page.element import Html, details, element, table
from ogiri.captioning.training.report_page.figure import number, share, size


def weights_section(figures: Mapping[str, Any]) -> Html:
    """float32 against 8 bits."""
    quantization = figures["quantization"]
    nats, sizes = quantization["nats_per_token"], quantization["bytes"]
    rows = [["decoder", size(sizes["decoder_float32"]), size(sizes["decoder_quantized"]) if nats else "–"]]
    rows.append(["encoder (float32 in both)", size(sizes["encoder"]), size(sizes["encoder"]) if nats else "–"])
    if nats:
        rows.append(
            [
                f"nats a token, over {number(nats['lines'])} lines",
                *(f"{nats[name]:.4f}" for name in ("float32", "quantized")),
            ]
        )
        rows.append(["the same favourite as float32", "–", f"{share(quantization['top1_agreement'])} of the tokens"])
    parity = quantization["parity"]
    return element(
        "section",
        element("h2", "Weights"),
        element("p", rounding(quantization)),
        table("float32 and 8-bit weights", ["What", "float32", "8 bits"], rows),
        element(
            "p",
            f"The float32 graphs equal what was trained: largest difference {parity['encoder']:.1e} for the encoder "
            f"(relative), {parity['decoder']:.1e} for the decoder's logits.",
        ),
        id="weights",
    )


def rounding(quantization: Mapping[str, Any]) -> str:
    """What is shipped, and why."""
    nats = quantization["nats_per_token"]
    if not nats:
        return "The decoder is shipped in float32, as quantize=false asked."
    lost = nats["quantized"] - nats["float32"]
    if quantization["decoder"] == "none":
        return (
            f"The decoder is shipped in float32: 8-bit weights would cost {lost:.4f} nats a token, which is too much."
        )
    return f"The decoder is shipped with 8-bit weights, which cost {lost:.4f} nats a token."


def time_section(figures: Mapping[str, Any]) -> Html:
    """Seconds of each stage, the machine, versions."""
    seconds = figures["seconds"]
    longest = max(seconds.values(), default=0.0) or 1.0
    rows = [[stage, f"{value:,.1f} s", _bar(value / longest)] for stage, value in seconds.items()]
    rows.append(["in all", f"{sum(seconds.values()):,.1f} s", ""])
    about = {**figures["machine"], **figures["versions"]}
    return element(
        "section",
        element("h2", "Time and machine"),
        table("Seconds of each stage", ["Stage", "Time", "Share"], rows, "times"),
        table("Machine and versions", ["What", "Which"], [[name, str(value)] for name, value in about.items()], "wide"),
        id="time",
    )


def reproduce_section(figures: Mapping[str, Any]) -> Html:
    """The command, and what must be the same for the same result."""
    again = figures["reproduce"]
    facts = {
        "seed": str(figures["hyperparameters"]["seed"]),
        "data (SHA-256 of pictures' names, labels, text and lines)": again["data_fingerprint"],
        "image": again["image"] or "not known: OGIRI_IMAGE is not set in it",
        "commit": again["commit"] or "not known: OGIRI_COMMIT is not set in the image",
        "channels": ", ".join(again["channels"]),
    }
    return element(
        "section",
        element("h2", "Do it again"),
        element(
            "p",
            "What the table names must be the same, and the kind of machine. The hyperparameters in the command are "
            "those that differ from the defaults.",
        ),
        element("pre", element("code", again["command"])),
        table("What must be the same", ["What", "Which"], [[name, value] for name, value in facts.items()], "wide"),
        details(
            "All hyperparameters",
            table("Hyperparameters", ["Name", "Value"], _hyperparameters(figures["hyperparameters"]), "wide"),
        ),
        id="again",
    )


def _hyperparameters(values: Mapping[str, Any]) -> list[list[str]]:
    return [[name, value if isinstance(value, str) else json.dumps(value)] for name, value in values.items()]


def _bar(part: float) -> Html:
    bar = element("i", style=f"width:{100 * part:.1f}%")
    return element("span", bar, class_="track", aria_hidden="true")
