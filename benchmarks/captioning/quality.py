"""Train on the `train` split with the real `train`, answer the `dev` split with the real `serve`, and score the lines.

    python -m benchmarks.captioning.quality FOLDER --pretrained WEIGHTS_FOLDER --out build/quality NAME=VALUE …

FOLDER is a collection as benchmarks/captioning/data.py reads it; NAME=VALUE are hyperparameters. Training, export and
evaluation are timed together; each line goes through nginx, the 8-bit decoder and beam search, like anybody's request.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.captioning.data import Example, english_words, read_collection
from local.process import running
from ogiri.captioning.training.metrics import caption_scores, variety

ROOT = Path(__file__).resolve().parents[2]
BEAMS = 5
CLIENTS = 2
PORT = 18080


def main() -> None:
    """Run, print a summary, write result.json and lines.jsonl."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pretrained", type=Path, required=True, help="folder with the encoder's weights")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "quality")
    parser.add_argument("--language", choices=("en", "ja"), default="en")
    parser.add_argument("--no-training", action="store_true", help="score the model that lies in --out")
    parser.add_argument("hyperparameters", nargs="*")
    arguments = parser.parse_intermixed_args()
    examples, measured = read_collection(arguments.folder), commit()
    base = arguments.out.resolve()
    hyperparameters = {
        "encoder": "mobilenet_v2",
        "metric_tokens": "word" if arguments.language == "en" else "character",
        **dict(pair.split("=", 1) for pair in arguments.hyperparameters),
    }
    seconds = 0.0
    if not arguments.no_training:
        lay_out(base, arguments.folder, arguments.pretrained, examples, arguments.language, hyperparameters)
        seconds = train(base)
    dev = [example for example in examples if example.split == "dev"]
    lines, milliseconds = ask(base, arguments.folder / "images", dev)
    result = {
        "commit": measured,
        "date": time.strftime("%Y-%m-%d"),
        "cpu": f"{os.cpu_count()} × {processor()}",
        "hyperparameters": hyperparameters,
        "train_seconds": round(seconds, 1),
        "beams": BEAMS,
        "pictures": len(dev),
        "milliseconds_per_line": round(milliseconds, 1),
        **score(lines, dev, examples, arguments.language),
    }
    (base / "result.json").write_text(json.dumps(result, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    with (base / "lines.jsonl").open("w", encoding="utf-8") as file:
        for example, line in zip(dev, lines, strict=True):
            record = {"image": example.image, "line": line, "references": example.captions}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    print(json.dumps(result, ensure_ascii=False, indent=2))


def lay_out(
    base: Path, folder: Path, pretrained: Path, examples: list[Example], language: str, hyperparameters: dict[str, str]
) -> None:
    """A base folder as SageMaker lays it out, with a `records` channel of the train split."""
    shutil.rmtree(base, ignore_errors=True)
    for part in ("input/config", "input/data/records"):
        (base / part).mkdir(parents=True)
    (base / "input/data/training").symlink_to((folder / "images").resolve())
    (base / "input/data/pretrained").symlink_to(pretrained.resolve())
    (base / "input/config/hyperparameters.json").write_text(json.dumps(hyperparameters))
    with (base / "input/data/records/train.jsonl").open("w", encoding="utf-8") as file:
        for example in examples:
            if example.split != "train":
                continue
            for caption in dict.fromkeys(map(english_words if language == "en" else str, example.captions)):
                item = {"ImageKey": example.image, "ExpectedResult": caption, "Labels": example.labels}
                file.write(json.dumps(item, ensure_ascii=False) + "\n")


def train(base: Path) -> float:
    """Run container/train; seconds from its start to its end."""
    began = time.monotonic()
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "TRAINING_JOB_NAME": base.name}
    subprocess.run([sys.executable, ROOT / "container" / "train"], env=environment, check=True)
    return time.monotonic() - began


def ask(base: Path, images: Path, dev: list[Example]) -> tuple[list[str], float]:
    """One line for each picture through container/serve, and the milliseconds that one took on the average."""
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_BIND_TO_PORT": str(PORT)}
    address = f"http://127.0.0.1:{PORT}"

    def ready() -> bool | None:
        try:
            with urllib.request.urlopen(f"{address}/ping", timeout=2) as answer:
                return True if answer.status == 200 else None
        except OSError:
            return None

    def one(example: Example) -> str:
        import base64

        picture = base64.b64encode((images / example.image).read_bytes()).decode()
        parameters = {"num_beams": BEAMS, "repetition_penalty": 1.0}
        body = json.dumps({"image": picture, "labels": example.labels, "parameters": parameters}).encode()
        request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            captions: list[dict[str, Any]] = json.load(answer)["captions"]
        return str(captions[0]["text"])

    command = [sys.executable, str(ROOT / "container" / "serve")]
    with running(command, log=base / "serve.log", ready=ready, environment=environment):
        began = time.monotonic()
        with ThreadPoolExecutor(CLIENTS) as pool:
            lines = list(pool.map(one, dev))
        return lines, (time.monotonic() - began) * 1000 / len(dev)


def score(lines: list[str], dev: list[Example], examples: list[Example], language: str) -> dict[str, Any]:
    """Figures over all dev pictures, and what is left of them when the lines are given to other pictures."""
    tokens: Any = "word" if language == "en" else "character"
    prepare = english_words if language == "en" else str
    references = [[prepare(caption) for caption in example.captions] for example in dev]
    training = {prepare(caption) for example in examples if example.split == "train" for caption in example.captions}
    scores = caption_scores(lines, references, tokens)
    shuffled = caption_scores([*lines[1:], lines[0]], references, tokens)
    kinds = variety(lines, training, tokens)
    return {
        **{f"bleu_{n}": round(value, 2) for n, value in enumerate(scores.bleu, 1)},
        "cider": round(scores.cider, 4),
        "chrf": round(scores.chrf, 2),
        "shuffled_bleu_4": round(shuffled.bleu[3], 2),
        "shuffled_cider": round(shuffled.cider, 4),
        "unique": round(kinds.unique, 4),
        "copied": round(kinds.copied, 4),
    }


def commit() -> str:
    """The commit that was measured, with a + if the tree was changed."""
    output = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return output.stdout.strip() or "unknown"


def processor() -> str:
    """The processor's name."""
    try:
        names = [
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
