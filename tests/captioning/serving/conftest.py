from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ogiri.captioning.model.tokenizer import Tokenizer, train_tokenizer
from ogiri.captioning.serving.captioner import Captioner, open_captioner
from tests.captioning.serving import tiny

LINES = [
    "犬も歩けば棒に当たる。",
    "猫が「ごはん」と言った!",
    "吾輩は猫である。\n名前はまだ無い。",
    "まさかの展開に犬もびっくり",
    "ABC で始まる英語の歌",
    "a dog and a cat",
    "棒が犬に当たると猫が歩く",
]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_tokenizer(LINES * 3, 500)


@pytest.fixture(scope="session")
def make_captioner(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Captioner]:
    """A captioner with the random weights of a seed."""
    made: dict[int, Captioner] = {}

    def make(seed: int) -> Captioner:
        if seed not in made:
            folder = tmp_path_factory.mktemp("artifact")
            tiny.write_artifact(folder, tokenizer.model, tokenizer.vocabulary, seed)
            made[seed] = open_captioner(folder, tiny.manifest(tokenizer.vocabulary), threads=1)
        return made[seed]

    return make


@pytest.fixture(scope="session")
def captioner(make_captioner: Callable[[int], Captioner]) -> Captioner:
    return make_captioner(0)


@pytest.fixture
def artifact_folder(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    return tiny.write_artifact(tmp_path / "model", tokenizer.model, tokenizer.vocabulary)


@pytest.fixture(scope="session")
def maps() -> np.ndarray:
    """Feature maps of eight pictures."""
    return np.random.default_rng(5).standard_normal((8, tiny.CELLS, tiny.CHANNELS)).astype(np.float32)
