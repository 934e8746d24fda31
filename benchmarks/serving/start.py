"""From the start of a server to its first line, and its memory: the real `serve`, and others on the same files.

    python -m benchmarks.serving.start --shape lstm small medium [--starts 5] [--seconds 5] [--peers NAME …]
    python -m benchmarks.serving.start --base build/demo/opt-ml-serve

`ready s` is from exec to the first 200 of `/ping` (or what the peer has instead), `line s` to the end of the first line
after that. Then one client asks for `--seconds`, and the memory is what all processes hold, shared pages counted once
(PSS). `files MB` are those that the server opens: the graphs, or the weights of torch. Medians of the starts, which the
contenders make in turn. What was read from disk before is in the page cache.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.serving import requested
from benchmarks.serving.contender import CONTENDERS, OURS, Contender, started
from benchmarks.serving.load import chosen, measure
from benchmarks.serving.models import ready
from benchmarks.serving.peers.opened import ONNX
from benchmarks.serving.process import has_mapped
from benchmarks.serving.shapes import SHAPES
from benchmarks.summary import percentile, publish

STARTS = 5
SECONDS = 5.0
TOKENS = 20


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, nargs="+", default=list(SHAPES))
    parser.add_argument("--base", type=Path, help="folder that holds model/, measured with `serve` alone")
    parser.add_argument("--starts", type=int, default=STARTS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--peers", nargs="*", choices=CONTENDERS, default=list(CONTENDERS))
    arguments = parser.parse_args()
    if arguments.base is not None:
        bases, names = {arguments.base.name: arguments.base.resolve()}, [OURS]
    else:
        bases, names = {shape: ready(shape) for shape in arguments.shape}, arguments.peers
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _ in range(arguments.starts):
        for shape, base in bases.items():
            for contender in chosen(names):
                run = once(contender, base, shape, arguments.seconds, None if arguments.base else TOKENS)
                found.setdefault((shape, contender.name), []).append(run)
    publish("start", {"starts": arguments.starts, "seconds": arguments.seconds}, rows(found))


def once(contender: Contender, base: Path, shape: str, seconds: float, tokens: int | None) -> dict[str, float]:
    """One start; tokens: of the lines, None = as many as the model likes."""
    document = requested.document(requested.picture(requested.PICTURE_BYTES), tokens)
    with started(contender, base, shape) as server:
        ready_bytes = server.resident_bytes()
        began = time.monotonic()
        server.ask(document)
        line = server.seconds + time.monotonic() - began
        asked, _ = measure(server, 1, seconds, [tokens])
        processes = server.processes()
        return {
            "ready s": server.seconds,
            "line s": line,
            "ms a line p50": 1000 * percentile(asked.seconds, 0.5),
            "ms a line p95": 1000 * percentile(asked.seconds, 0.95),
            "ready MB": ready_bytes / 1e6,
            "memory MB": server.resident_bytes() / 1e6,
            "files MB": files_bytes(base, contender.model) / 1e6,
            "processes": len(processes),
            "with torch": sum(has_mapped(each, "libtorch") for each in processes),
        }


def files_bytes(base: Path, model: str) -> int:
    """What a server opens."""
    folder = base / ("model" if model == ONNX else "weights")
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def rows(found: Mapping[tuple[str, str], Sequence[Mapping[str, float]]]) -> list[dict[str, Any]]:
    """A row for each model and contender: medians, and the memory beyond the files when ready and after the lines."""
    table = []
    for (shape, name), runs in found.items():
        middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        beyond = {f"{when} beyond the files": middle[when] - middle["files MB"] for when in ("ready MB", "memory MB")}
        table.append({"model": shape, "contender": name, **middle, **beyond})
    return table


if __name__ == "__main__":
    main()
