"""Which of several sampled lines is best? Each ranking chooses one for every `dev` picture, and people's lines judge.

    python -m benchmarks.captioning.ranking FOLDER MODEL --out build/ranking.json

FOLDER is a collection as benchmarks/captioning/data.py reads it, MODEL an artifact folder. The lines are written by the
serving code at the artifact's defaults; all rankings choose from the same ones. Beside them: a random line, the
shortest and the longest. The constants of `ogiri.captioning.serving.ranking` are chosen here: `--weights` and
`--exponents` say which are tried.

`length` is the correlation, within the lines of a picture, of what a ranking compares by with the number of tokens:
0 = it does not look at the length. `first` and `second` are CIDEr of the pictures at even and at odd places: what is
chosen by the one can be confirmed by the other.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.captioning.data import Example, english_words, read_collection
from benchmarks.machine import measured
from ogiri import picture
from ogiri.artifact import open_artifact
from ogiri.captioning.serving import search
from ogiri.captioning.serving.captioner import Captioner, open_captioner
from ogiri.captioning.serving.decoding import Start, Task
from ogiri.captioning.serving.line import Caption
from ogiri.captioning.serving.parameters import Parameters
from ogiri.captioning.serving.ranking import (
    LENGTH_EXPONENT,
    RELEVANCE_WEIGHT,
    Unconditional,
    best,
    length_debiased,
    relevance,
)
from ogiri.captioning.serving.rescoring import Rescoring
from ogiri.captioning.serving.settings import read_settings
from ogiri.captioning.training.metrics import Tokens, caption_scores, variety
from ogiri.machine import available_processors
from ogiri.record import labels_from

SEED = 0
POOL = 8
BATCH = 16  # pictures written side by side
WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
EXPONENTS = (0.0, 0.5, 0.8, 0.9, 1.05, 1.1, 1.2)

Rank = Callable[[Caption], float]


@dataclass(frozen=True)
class Written:
    """What was written for the pictures.

    Attributes:
        pools: the lines of each picture.
        unconditional: tokens → mean log-probability with nothing known.
        seconds_writing, seconds_rescoring: what all of it took.
    """

    pools: list[list[Caption]]
    unconditional: Unconditional
    seconds_writing: float
    seconds_rescoring: float


def main() -> None:
    """Write, choose, score, print a table."""
    arguments = parse()
    search.REDRAWS = arguments.redraws
    artifact = open_artifact(arguments.model)
    captioner = open_captioner(artifact.folder, artifact.manifest, threads=available_processors())
    collection = read_collection(arguments.folder)
    dev = [example for example in collection if example.split == arguments.split][: arguments.pictures]
    settings = read_settings(artifact.manifest)
    how = replace(settings.defaults, num_beams=1, num_candidates=1, best_of=arguments.pool, seed=SEED)
    written = write(captioner, arguments.folder / "images", dev, settings.size, how)
    rows = compare(written, dev, arguments.language, arguments.weights, arguments.exponents)
    result = {
        **measured(),
        "model": artifact.name,
        "pictures": len(dev),
        "pool": arguments.pool,
        "redraws": arguments.redraws,
        "served": {"relevance": RELEVANCE_WEIGHT, "length_debiased": LENGTH_EXPONENT},
        "different_lines_in_a_pool": float(
            np.mean([len({caption.text for caption in pool}) / len(pool) for pool in written.pools])
        ),
        "milliseconds_writing_a_pool": 1000 * written.seconds_writing / len(dev),
        "milliseconds_rescoring_a_pool": 1000 * written.seconds_rescoring / len(dev),
        "rankings": rows,
    }
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({name: value for name, value in result.items() if name != "rankings"}, indent=2))
    print(table(rows))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--language", choices=("en", "ja"), default="en")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--pictures", type=int, help="only so many")
    parser.add_argument("--pool", type=int, default=POOL, help="lines to choose from")
    parser.add_argument("--redraws", type=int, default=search.REDRAWS, help="of lines that came out equal")
    parser.add_argument("--weights", type=float, nargs="*", default=WEIGHTS, help="of relevance")
    parser.add_argument("--exponents", type=float, nargs="*", default=EXPONENTS, help="of length_debiased")
    return parser.parse_args()


def write(captioner: Captioner, images: Path, dev: Sequence[Example], size: int, how: Parameters) -> Written:
    """Sample a pool of lines for each picture, and rescore them with nothing known."""
    maps = np.concatenate(
        [captioner.engine.encode(picture.load((images / example.image).read_bytes(), size)[None]) for example in dev]
    )
    conditions = [captioner.conditions(labels_from(example.labels), "") for example in dev]
    began = time.monotonic()
    writings = [captioner.writing(maps[i][None], known, how) for i, known in enumerate(conditions)]
    decode(captioner, writings, BATCH)
    pools = [writing.search.pool() for writing in writings]
    wrote = time.monotonic()
    unconditional: dict[tuple[int, ...], float] = {}
    lines = list(dict.fromkeys(caption.tokens for captions in pools for caption in captions))
    starts = [captioner.rescoring(lines[start : start + how.pool]) for start in range(0, len(lines), how.pool)]
    decode(captioner, [Reading(start) for start in starts], BATCH)
    for start in starts:
        assert isinstance(start.stepped, Rescoring)
        unconditional |= start.stepped.means()
    return Written(pools, unconditional, wrote - began, time.monotonic() - wrote)


class Reading:
    """The task of reading some lines."""

    def __init__(self, start: Start) -> None:
        self._starts = [start]

    def begin(self) -> Start | None:
        """See `ogiri.captioning.serving.decoding.Task.begin`."""
        return self._starts.pop() if self._starts else None


def decode(captioner: Captioner, tasks: Sequence[Task], side_by_side: int) -> None:
    """Bring tasks to their end, so many at a time."""
    decoding, waiting = captioner.decoding(), list(reversed(tasks))
    while waiting or decoding.tasks:
        while waiting and decoding.tasks < side_by_side:
            decoding.add(waiting.pop())
        for ended in decoding.step():
            if ended.error is not None:
                raise ended.error


def rankings(unconditional: Unconditional, weights: Sequence[float], exponents: Sequence[float]) -> dict[str, Rank]:
    """Name → what it compares lines by."""
    random = np.random.default_rng(SEED)

    def weighed(weight: float) -> Rank:
        return lambda caption: relevance(caption, unconditional[caption.tokens], weight)

    def debiased(exponent: float) -> Rank:
        return lambda caption: length_debiased(caption, exponent)

    return {
        "random": lambda _: float(random.random()),
        "shortest": lambda caption: -float(len(caption.tokens)),
        "longest": lambda caption: float(len(caption.tokens)),
        "likelihood": lambda caption: caption.score,
        **{f"relevance {weight:g}": weighed(weight) for weight in sorted({*weights, RELEVANCE_WEIGHT})},
        **{f"length_debiased {e:g}": debiased(e) for e in sorted({*exponents, LENGTH_EXPONENT})},
    }


def compare(
    written: Written, dev: Sequence[Example], language: str, weights: Sequence[float], exponents: Sequence[float]
) -> list[dict[str, Any]]:
    """A row of figures for each ranking."""
    tokens: Tokens = "word" if language == "en" else "character"
    prepare = english_words if language == "en" else str
    references = [[prepare(caption) for caption in example.captions] for example in dev]
    rows = []
    for name, rank in rankings(written.unconditional, weights, exponents).items():
        chosen = [best(pool, 1, rank)[0] for pool in written.pools]
        lines = [caption.text for caption in chosen]
        scores, shuffled = (caption_scores(some, references, tokens) for some in (lines, [*lines[1:], lines[0]]))
        halves = [caption_scores(lines[half::2], references[half::2], tokens) for half in (0, 1)]
        kinds = asdict(variety(lines, set(), tokens))
        rows.append(
            {
                "ranking": name,
                "bleu_4": scores.bleu[3],
                "cider": scores.cider,
                "chrf": scores.chrf,
                "first": halves[0].cider,
                "second": halves[1].cider,
                "shuffled_cider": shuffled.cider,
                "cider_gap": scores.cider - shuffled.cider,
                "distinct_1": kinds["distinct_1"],
                "distinct_2": kinds["distinct_2"],
                "unique": kinds["unique"],
                "tokens": float(np.mean([len(caption.tokens) for caption in chosen])),
                "characters": float(np.mean([len(line) for line in lines])),
                "length": length_correlation(written.pools, rank),
            }
        )
    return rows


def length_correlation(pools: Sequence[Sequence[Caption]], rank: Rank) -> float:
    """Pearson's r of rank and tokens after the mean of each picture is taken off both; 0 where nothing varies."""
    ranks, lengths = [], []
    for pool in pools:
        for values, of in ((ranks, rank), (lengths, lambda caption: float(len(caption.tokens)))):
            some = np.array([of(caption) for caption in pool])
            values.append(some - some.mean())
    one, other = np.concatenate(ranks), np.concatenate(lengths)
    scale = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / scale if scale else 0.0


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The figures in Markdown."""
    digits = {"bleu_4": 1, "chrf": 1, "tokens": 1, "characters": 1, "length": 2, "unique": 2}
    names = list(rows[0])
    lines = [
        [str(row[name]) if name == "ranking" else f"{row[name]:.{digits.get(name, 3)}f}" for name in names]
        for row in rows
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [names, ["---"] * len(names), *lines])


if __name__ == "__main__":
    main()
