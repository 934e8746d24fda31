"""What clients see of the real `serve` while something goes wrong, and what is left of it afterwards.

    python -m benchmarks.serving.faults [--requests 10000] [--base FOLDER] [--faults NAME …]

Every request has a fixed seed, and its answer is known from a server that nobody disturbs. **Wrong** is an answer that
differs from that, a malformed request that is answered as if it were none, and a good one that is called malformed; not
an honest refusal (500, 503, 504, 507), nor a connection that breaks. `serve` listens on the artifact in `FOLDER/model`,
by default a small one with random weights. A full disk needs the right to mount.

The last columns are what all its processes hold before and afterwards, when all kinds of requests are asked once more.
`afterwards` is `right` if those were answered as on the undisturbed server, else how the server ended. The exit code
is 1 if anything was wrong, leaked or did not come back.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.serving import mix
from benchmarks.serving.crowd import Crowd, Seen, hang_up, learned
from benchmarks.serving.damage import FULL_AT_START, SMALL_DISK, Copy, fill
from benchmarks.serving.mix import Query
from benchmarks.serving.served import Served, served, wait_until
from benchmarks.summary import publish
from ogiri.captioning.model.tokenizer import train_tokenizer
from tests.captioning.serving import tiny

REQUESTS = 10_000
MALFORMED = 0.1
CLIENTS = 16
HANGING_UP = 8
WARM_UP = 200  # requests before anything is counted: buffers grow, threads begin
LEAST_HUNG_UP = 200  # more than there are places for requests
LINES = ["犬も歩けば棒に当たる。", "猫が「ごはん」と言った!", "a dog and a cat"]
PIECES = 400
KILLS = 3
GRACE_SECONDS = 25
BETWEEN_SECONDS = 1.0  # of load, between two blows
UNDER_WAY_SECONDS = 0.1  # who began so long before SIGTERM was heard


@dataclass(frozen=True)
class Scene:
    """What every fault is given.

    Attributes:
        base: folder that holds `model/`.
        known: requests and what they may mean.
        requests: how many are asked at most.
    """

    base: Path
    known: Mapping[Query, list[Any]]
    requests: int

    def queries(self, share: float = 0.0) -> Iterator[Query]:
        """The requests to ask, a share of them malformed."""
        good = [query for query in self.known if query.name in GOOD]
        return mix.mixture(good, [query for query in self.known if query not in good], self.requests, share)

    def crowd(self, server: Served, clients: int = CLIENTS) -> Crowd:
        """Clients that know what is right."""
        return Crowd(server.port, self.known, clients)


GOOD = {query.name for query in mix.good()}


def main() -> None:
    """Let everything happen, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, help="folder that holds model/")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="for each fault, at most")
    parser.add_argument("--faults", nargs="*", choices=FAULTS, default=list(FAULTS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = arguments.base.resolve() if arguments.base else small(Path(folder))
        rows = played(base, arguments.requests, arguments.faults)
    sys.exit(any(row["wrong"] or row["broken"] for row in rows))


def small(base: Path) -> Path:
    """Write a small artifact into `base/model`."""
    tokenizer = train_tokenizer(LINES * 5, PIECES)
    tiny.write_artifact(base / "model", tokenizer.model, tokenizer.vocabulary)
    return base


def played(base: Path, requests: int, faults: Sequence[str]) -> list[dict[str, Any]]:
    """Let these faults happen to `base/model`, and print the table."""
    with served(base) as server:
        known = learned(server.port, [*mix.good(), *mix.malformed()], CLIENTS)
    scene = Scene(base, known, requests)
    rows = []
    for name in faults:
        rows.append({"fault": name, **FAULTS[name](scene)})
        print(rows[-1], file=sys.stderr, flush=True)
    several = sum(len(meanings) > 1 for meanings in known.values())
    model = json.loads((base / "model" / "manifest.json").read_text(encoding="utf-8"))["name"]
    settings = {"requests": requests, "clients": CLIENTS, "model": model}
    publish("faults", {**settings, "kinds of requests": len(known), "with two right answers": several}, rows)
    return rows


# --- faults that the server outlives


def malformed_requests(scene: Scene) -> dict[str, Any]:
    """A tenth of all requests is malformed."""
    return outlived(scene, lambda server: (scene.crowd(server).ask(scene.queries(MALFORMED)), ""))


def hanging_up(phase: str) -> Callable[[Scene], dict[str, Any]]:
    """Half of the clients go away in that phase."""

    def disturb(scene: Scene, server: Served) -> tuple[Seen, str]:
        left = 0

        def leave() -> None:
            nonlocal left
            query = mix.stream()
            queries = [query] * scene.requests if phase == "reading" else list(scene.queries())
            left = hang_up(server.port, queries[: max(LEAST_HUNG_UP, scene.requests // 2)], phase, HANGING_UP)

        seen = scene.crowd(server, CLIENTS - HANGING_UP).ask(itertools.cycle(scene.queries()), leave)
        return seen, f"{left:,} hung up"

    return lambda scene: outlived(scene, lambda server: disturb(scene, server))


def killed_worker(scene: Scene) -> dict[str, Any]:
    """SIGKILL of the worker, several times."""

    def disturb(server: Served) -> tuple[Seen, str]:
        waits = []

        def kill() -> None:
            for _ in range(KILLS):
                time.sleep(BETWEEN_SECONDS)
                os.kill(server.worker(), signal.SIGKILL)
                wait_until(lambda: server.ping() != 200, 5)
                waits.append(server.wait_until_ready())
            time.sleep(BETWEEN_SECONDS)

        seen = scene.crowd(server).ask(itertools.cycle(scene.queries(MALFORMED)), kill)
        return seen, f"killed {KILLS} times, ready again after {max(waits):.1f} s at most"

    return outlived(scene, disturb)


def full_disk(scene: Scene) -> dict[str, Any]:
    """No byte is left where temporary files go, and then there is room again."""

    def disturb(server: Served) -> tuple[Seen, str]:
        told = []

        def fill_and_empty() -> None:
            time.sleep(BETWEEN_SECONDS)
            file = fill(server.inside())
            time.sleep(3 * BETWEEN_SECONDS)
            told.append(f"/ping {server.ping()} meanwhile")
            file.unlink()
            time.sleep(BETWEEN_SECONDS)

        seen = scene.crowd(server).ask(itertools.cycle(scene.queries(MALFORMED)), fill_and_empty)
        return seen, told[0]

    return outlived(scene, disturb, SMALL_DISK)


def outlived(
    scene: Scene, disturb: Callable[[Served], tuple[Seen, str]], prefix: tuple[str, ...] = ()
) -> dict[str, Any]:
    """A row for what a server has to outlive."""
    with served(scene.base, prefix) as server:
        scene.crowd(server).ask(itertools.islice(itertools.cycle(scene.known), WARM_UP))
        before = server.held()
        seen, note = disturb(server)
        server.wait_until_ready()
        again = scene.crowd(server, 1).ask(scene.known)
        after = server.settled(before)
        right = not again.wrongs and all(int(status) not in mix.REFUSALS for status in again.statuses)
        leaks = [name for name in ("processes", "descriptors", "files") if getattr(after, name) > getattr(before, name)]
        broken = [*([] if right else ["not back"]), *(f"{name} leak" for name in leaks), *server.failures()]
        return {
            **saw(seen, note),
            "afterwards": "right" if right else again.told(),
            "broken": "; ".join(broken),
            **{
                name: f"{getattr(before, name):,.0f} → {getattr(after, name):,.0f}"
                for name in ("processes", "descriptors", "files", "megabytes")
            },
        }


# --- faults that end the server


def changed_model(scene: Scene) -> dict[str, Any]:
    """The model's files are changed, cut and removed; then the worker is killed, whose successor finds them so."""
    with tempfile.TemporaryDirectory() as folder, served((copy := Copy(scene.base, Path(folder))).base) as server:

        def spoil() -> None:
            for blow in (copy.overwrite, copy.truncate, copy.remove):
                time.sleep(BETWEEN_SECONDS)
                blow()
            time.sleep(BETWEEN_SECONDS)
            answered.append(server.ping())
            copy.restore_spoilt()
            os.kill(server.worker(), signal.SIGKILL)
            wait_until(lambda: server.process.poll() is not None, GRACE_SECONDS)

        answered: list[int] = []
        seen = scene.crowd(server).ask(itertools.cycle(scene.queries(MALFORMED)), spoil)
        named = any(copy.spoilt.name in entry["message"] for entry in server.log() if entry["level"] == "critical")
        note = f"/ping {answered[0]} without its files; the log {'names' if named else 'does not name'} the spoilt one"
        return ended(server, seen, note, 3, [] if named and answered == [200] else [note])


def sigterm(scene: Scene) -> dict[str, Any]:
    """SIGTERM: who was heard is answered, others are refused."""
    with served(scene.base) as server:
        told: list[float] = []

        def terminate() -> None:
            time.sleep(2 * BETWEEN_SECONDS)
            told.append(time.monotonic())
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: server.process.poll() is not None, GRACE_SECONDS + 5)
            told.append(time.monotonic())

        seen = scene.crowd(server).ask(itertools.cycle(scene.queries(MALFORMED)), terminate)
        seconds = told[1] - told[0]
        cut = sum(begun < told[0] - UNDER_WAY_SECONDS for begun in seen.unanswered)
        note = f"ended after {seconds:.1f} s; {cut} of those under way were cut off"
        return ended(server, seen, note, 0, [note] if cut or seconds > GRACE_SECONDS else [])


def full_disk_at_start(scene: Scene) -> dict[str, Any]:
    """There is no room for temporary files from the beginning."""
    with served(scene.base, FULL_AT_START, ready=False) as server:
        wait_until(lambda: server.process.poll() is not None, GRACE_SECONDS)
        note = server.log()[-1]["message"] if server.log() else "nothing in the log"
        return ended(server, Seen(), note, 1, [])


def ended(server: Served, seen: Seen, note: str, code: int, broken: list[str]) -> dict[str, Any]:
    """A row for what ends a server, with that exit code."""
    found = server.process.poll()
    broken = [*broken, *([] if found == code else [f"exit code {found}, not {code}"]), *server.failures()]
    left = list(server.temporary.iterdir())
    if left:
        broken.append(f"left behind: {', '.join(path.name for path in left)}")
    return {**saw(seen, note), "afterwards": f"exit code {found}", "broken": "; ".join(broken)}


def saw(seen: Seen, note: str) -> dict[str, Any]:
    """The columns on what clients saw."""
    if seen.wrong:
        print("wrong:", *seen.wrong, sep="\n  ", file=sys.stderr)
    return {"requests": seen.requests, "clients saw": seen.told(), "note": note, "wrong": seen.wrongs}


FAULTS: Mapping[str, Callable[[Scene], dict[str, Any]]] = {
    "malformed requests": malformed_requests,
    "hanging up while sending": hanging_up("sending"),
    "hanging up while waiting": hanging_up("waiting"),
    "hanging up while reading": hanging_up("reading"),
    "killed worker": killed_worker,
    "full disk": full_disk,
    "full disk at start": full_disk_at_start,
    "changed model": changed_model,
    "SIGTERM": sigterm,
}

if __name__ == "__main__":
    main()
