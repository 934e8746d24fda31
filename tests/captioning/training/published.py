"""A published language model in small: a folder as rinna/japanese-gpt2-* have it, with random weights."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from transformers import GPT2Config, GPT2LMHeadModel

LINES = [
    "犬も歩けば棒に当たる。",
    "猫が「ごはん」と言った!",
    "吾輩は猫である。名前はまだ無い。",
    "社長と部長と電車と寿司が高いと笑う",
    "会議を忘れた? と踊る。",
    "the dog and the cat (笑)",
]
POSITIONS, WIDTH, HEADS, LAYERS = 40, 48, 3, 2


def sentencepiece_model(**options: Any) -> bytes:
    """Trained as rinna's is: NFKC, a space before every text, lower-cased lines, no byte pieces."""
    out = io.BytesIO()
    settings = {
        "sentence_iterator": iter(LINES * 3),
        "model_writer": out,
        "model_type": "unigram",
        "vocab_size": 110,
        "hard_vocab_limit": False,
        "character_coverage": 1.0,
        "normalization_rule_name": "nmt_nfkc",
        "add_dummy_prefix": True,
        "unk_id": 0,
        "bos_id": 1,
        "eos_id": 2,
        "pad_id": 3,
        "pad_piece": "[PAD]",
        "num_threads": 1,
        "minloglevel": 2,
    }
    sentencepiece.SentencePieceTrainer.Train(**{**settings, **options})
    return out.getvalue()


def pieces(model: bytes) -> int:
    return int(sentencepiece.SentencePieceProcessor(model_proto=model).GetPieceSize())


def write_language_model(folder: Path, spare_rows: int = 0, **config: Any) -> GPT2LMHeadModel:
    """The folder, and what is in it; `spare_rows`: rows of the embedding that no token has."""
    folder.mkdir(parents=True, exist_ok=True)
    model = sentencepiece_model()
    (folder / "spiece.model").write_bytes(model)
    sizes = {"n_positions": POSITIONS, "n_embd": WIDTH, "n_head": HEADS, "n_layer": LAYERS}
    torch.manual_seed(0)
    gpt2 = GPT2LMHeadModel(
        GPT2Config(vocab_size=pieces(model) + spare_rows, bos_token_id=1, eos_token_id=2, **{**sizes, **config})
    ).eval()
    with torch.no_grad():  # larger than new ones, so that everything shows in the logits
        for name, parameter in gpt2.named_parameters():
            if parameter.dim() > 1 or name.endswith("bias"):
                parameter.normal_(std=0.2)
    gpt2.save_pretrained(folder)
    return gpt2


def change_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values), encoding="utf-8")
