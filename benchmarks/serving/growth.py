"""How the real `serve` grows: with longer lines, larger pictures, more clients. A table, and the curves as a picture.

    python -m benchmarks.serving.growth --shape small [--seconds 10] [--clients 1 2 4 …] [--peers NAME …]

Each of the three is changed alone: 20 tokens, a picture of 100 KB and one client are what the others stand at. The
curve of clients bends at the last number of them before twice as many bring less than 20 % more lines a second.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from benchmarks.curve import Panel, bend, svg
from benchmarks.serving import requested
from benchmarks.serving.contender import CONTENDERS, OURS, Running, started
from benchmarks.serving.load import chosen, figures, measure, warm
from benchmarks.serving.models import ready
from benchmarks.serving.shapes import SHAPES
from benchmarks.summary import RESULTS, publish

LENGTHS = (8, 16, 32, 64)
PICTURES = (100_000, 500_000, 2_000_000, 5_000_000, 10_000_000, 20_000_000)
"""Bytes. The peers take them in base64 only: they have no limit, and 25 MB is that of `serve`."""
CLIENTS = (1, 2, 4, 8, 16, 32, 64)
TOKENS = 20
SECONDS = 10.0


def main() -> None:
    """Measure, print the table, and write the picture beside the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each point")
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument("--peers", nargs="*", choices=CONTENDERS, default=[])
    arguments = parser.parse_args()
    base = ready(arguments.shape)
    for contender in chosen(arguments.peers):
        with started(contender, base, arguments.shape) as server:
            warm(server, [TOKENS])
            rows = measured_rows(server, arguments.seconds, arguments.clients)
        suffix = "" if contender.name == OURS else "-" + contender.name.replace(" ", "-")
        name = f"growth-{arguments.shape}{suffix}"
        publish(name, {"server": contender.name, "shape": arguments.shape, "seconds": arguments.seconds}, rows)
        picture = RESULTS / f"{name}.svg"
        picture.write_text(svg(panels(rows)), encoding="utf-8")
        print(picture)


def measured_rows(server: Running, seconds: float, clients: Sequence[int]) -> list[dict[str, Any]]:
    """A row for each point of the three curves."""
    rows = [_row("tokens", tokens, server, seconds, tokens=tokens) for tokens in LENGTHS]
    for wanted in PICTURES:
        data = requested.picture(wanted)
        rows.append(_row("picture KB", len(data) / 1000, server, seconds, picture=data))
    return rows + [_row("clients", count, server, seconds, clients=count) for count in clients]


def panels(rows: Sequence[dict[str, Any]]) -> list[Panel]:
    """The three charts."""
    lines = _points(rows, "clients", "lines/s")
    return [
        Panel("milliseconds a line, one client", "tokens of a line", _times(rows, "tokens")),
        Panel("milliseconds a line, one client", "kilobytes of the picture", _times(rows, "picture KB")),
        Panel("lines a second", "clients", {"lines/s": lines}, bend(lines)),
        Panel("milliseconds a line", "clients", _times(rows, "clients")),
    ]


def _row(
    grows: str,
    value: float,
    server: Running,
    seconds: float,
    tokens: int = TOKENS,
    clients: int = 1,
    picture: bytes | None = None,
) -> dict[str, Any]:
    raw = picture is not None and server.contender.name == OURS
    turn = measure(server, clients, seconds, [tokens], picture, raw)
    return {"grows": grows, "at": round(value), **figures([turn])}


def _times(rows: Sequence[dict[str, Any]], grows: str) -> dict[str, Sequence[tuple[float, float]]]:
    return {"p50": _points(rows, grows, "p50 ms"), "p99": _points(rows, grows, "p99 ms")}


def _points(rows: Sequence[dict[str, Any]], grows: str, column: str) -> list[tuple[float, float]]:
    return [(row["at"], row[column]) for row in rows if row["grows"] == grows and row[column] is not None]


if __name__ == "__main__":
    main()
