"""Lines a second of the real `serve` and of other servers on the same files, with 1 to 64 clients.

    python -m benchmarks.serving.load --shape small [--clients 1 4 16 64] [--seconds 30] [--peers NAME …] [--rounds 2]

A client asks again as soon as it has its answer; one that was refused waits for as long as Retry-After says, a second
at most. Every answer is checked: a line of another length than asked for is an error. The contenders take turns
(`--rounds`), because a machine is not the same at every minute; the figures of a contender are of all its turns.
`/ping` is asked every 10 ms meanwhile, from a process of its own.

The peers load the same graphs with the same session options, or the same weights in torch, and batch up to 16 requests
in their own way; their configuration lies in benchmarks/serving/peers.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.serving import requested
from benchmarks.serving.clients import Asked, Group
from benchmarks.serving.contender import CONTENDERS, OURS, Contender, Running, started
from benchmarks.serving.models import ready
from benchmarks.serving.shapes import SHAPES
from benchmarks.summary import percentile, publish

CLIENTS = (1, 4, 16, 64)
SECONDS = 30.0
ROUNDS = 2
LENGTHS = (14, 9, 31, 11, 19, 8, 48, 13, 10, 22, 6, 15, 38, 12, 26, 17)
"""Tokens of the lines that are asked for, one after the other: as people write them, most are short and some are long,
19 on the average. Every contender is asked for the same ones."""
WARM_UP_SECONDS = 3.0


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="for each contender, number of clients and round"
    )
    parser.add_argument("--peers", nargs="*", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--tokens", type=int, nargs="+", default=LENGTHS, help="of the lines that are asked for")
    arguments = parser.parse_args()
    base = ready(arguments.shape)
    found: dict[tuple[str, int], list[tuple[Asked, Asked]]] = {}
    for _ in range(arguments.rounds):
        for contender in chosen(arguments.peers):
            with started(contender, base, arguments.shape) as server:
                warm(server, arguments.tokens)
                for clients in arguments.clients:
                    turn = measure(server, clients, arguments.seconds, arguments.tokens)
                    found.setdefault((contender.name, clients), []).append(turn)
    settings = {name: getattr(arguments, name) for name in ("shape", "seconds", "rounds", "tokens")}
    publish(f"load-{arguments.shape}", settings, rows(found))


def chosen(names: list[str]) -> list[Contender]:
    """Ours, and the peers of these names that are installed; the others are named."""
    contenders = [CONTENDERS[name] for name in dict.fromkeys([OURS, *names])]
    for contender in contenders:
        if not contender.installed:
            print(f"{contender.name} is left out: run benchmarks/serving/peers/install.sh")
    return [contender for contender in contenders if contender.installed]


def warm(server: Running, tokens: Sequence[int]) -> None:
    """Ask for some time, so that the first figure is like the later ones: buffers grow, and peers learn to batch."""
    server.ask(requested.document(requested.picture(requested.PICTURE_BYTES), tokens[0]))
    measure(server, 4, WARM_UP_SECONDS, tokens)


def measure(
    server: Running,
    clients: int,
    seconds: float,
    tokens: Sequence[int | None],
    picture: bytes | None = None,
    raw: bool = False,
) -> tuple[Asked, Asked]:
    """What clients saw, and what was seen of `/ping` meanwhile.

    Args:
        server: who is asked.
        clients: at once.
        seconds: how long.
        tokens: of the lines that are asked for, one after the other; raw pictures all ask for the first.
        picture: that is sent, by default one of `PICTURE_BYTES`.
        raw: it is the body itself, which only ours takes; else it lies in JSON.
    """
    data = picture or requested.picture(requested.PICTURE_BYTES)
    lengths = tokens[:1] if raw else tokens
    headers = requested.raw_headers(tokens[0]) if raw else requested.JSON_HEADERS
    group = Group(
        [data if raw else server.contender.body(requested.document(data, length)) for length in lengths],
        port=server.port,
        path="/invocations",
        seconds=seconds,
        clients=clients,
        headers=headers,
        listed=server.contender.listed,
        tokens=list(lengths),
    )
    pings = Group(port=server.port, path=server.contender.ping, seconds=seconds, clients=1)
    return group.result(), pings.result()


def rows(found: Mapping[tuple[str, int], list[tuple[Asked, Asked]]]) -> list[dict[str, Any]]:
    """A row for each number of clients and contender; `ratio` is ours over theirs in lines a second."""
    table = [
        {"clients": clients, "contender": name, **figures(turns)}
        for (name, clients), turns in sorted(found.items(), key=lambda item: item[0][1])
    ]
    ours = {row["clients"]: row["lines/s"] for row in table if row["contender"] == OURS}
    for row in table:
        mine = ours.get(row["clients"])
        row["ratio"] = mine / row["lines/s"] if mine and row["lines/s"] else None
    return table


def figures(turns: list[tuple[Asked, Asked]]) -> dict[str, Any]:
    """Lines a second, milliseconds, errors, and how `/ping` did."""
    asked, pinged = _together([turn[0] for turn in turns]), _together([turn[1] for turn in turns])
    return {
        "lines/s": len(asked.seconds) / asked.span,
        **_milliseconds("", asked, (0.5, 0.95, 0.99)),
        "errors": _named(asked.errors),
        **_milliseconds("ping ", pinged, (0.5, 0.99, 0.999)),
        "ping failures": _named(pinged.errors),
    }


def _together(turns: list[Asked]) -> Asked:
    errors: Counter[str] = Counter()
    for turn in turns:
        errors.update(turn.errors)
    return Asked([each for turn in turns for each in turn.seconds], dict(errors), sum(turn.span for turn in turns))


def _milliseconds(prefix: str, asked: Asked, shares: tuple[float, ...]) -> dict[str, float | None]:
    return {
        f"{prefix}p{100 * share:g} ms": 1000 * percentile(asked.seconds, share) if asked.seconds else None
        for share in shares
    }


def _named(errors: Mapping[str, int]) -> str:
    return ", ".join(f"{count} × {name}" for name, count in sorted(errors.items())) or "0"


if __name__ == "__main__":
    main()
