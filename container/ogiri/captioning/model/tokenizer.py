"""SentencePiece. What is trained here is lossless: every text survives encode → decode, line breaks and emoji too.

A piece stands for bytes (its `surface`), so that a line can be put together piece by piece while it is generated and
its length in characters is known at every step, byte pieces included. The model of a language model may have no byte
pieces: then it writes a text as it normalises it, with the unknown token for what it has no piece for.
"""

from __future__ import annotations

import io
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import sentencepiece

from ogiri.captioning.model.token_lines import TokenLines
from ogiri.machine import available_processors

UNKNOWN, BOS, EOS = 0, 1, 2
FIRST_PIECE = 3
SPARE_PIECES = 64  # that a vocabulary has at least, beside its characters
BYTE_PIECES = 256
SMALL_ALPHABET = 2500  # different characters
MIN_COVERAGE = 0.98  # of the characters, SentencePiece's lower bound
MAX_TRAINED_LINES = 100_000  # half a minute on a core; four times as many take six times as long
ENCODED_AT_ONCE = 10_000  # texts
_SPACE = "\u2581"  # how SentencePiece writes a space
_MAX_PIECE = 16  # characters, SentencePiece's default

log = logging.getLogger(__name__)


class Tokenizer:
    """A SentencePiece model and what generation needs to know of its pieces."""

    def __init__(self, model: bytes, lower_case: bool = False) -> None:
        """Args: model: the bytes of a `.model` file. lower_case: it was trained on lower-cased text.

        Raises:
            ValueError: they are not a SentencePiece model.
        """
        self.model, self.lower_case = model, lower_case
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
        except RuntimeError as error:
            raise ValueError(f"tokenizer.model is not a SentencePiece model: {error}") from error
        self.vocabulary: int = self._processor.GetPieceSize()
        self.bos: int = self._processor.bos_id()
        self.eos: int = self._processor.eos_id()
        if self.bos < 0 or self.eos < 0:
            raise ValueError("tokenizer.model has no begin or no end token: train it with bos_id and eos_id")
        self.unknown: int = self._processor.unk_id()
        self._has_bytes: bool = self._processor.IsByte(self._processor.PieceToId("<0x00>"))

    @cached_property
    def surfaces(self) -> list[bytes]:
        """What each token stands for, as UTF-8 bytes; nothing for the begin, end and unknown tokens."""
        return [self._surface(token) for token in range(self.vocabulary)]

    def encode(self, text: str) -> list[int]:
        """Tokens of `text`, without begin and end."""
        text = text.lower() if self.lower_case else text
        tokens: list[int] = self._processor.EncodeAsIds(text)
        if not self._has_bytes or self.decode(tokens) == text:
            return tokens
        return self._encode_bytes(text)

    def encode_lines(self, texts: Sequence[str]) -> TokenLines:
        """Tokens of many texts, of each as `encode` gives them, on all processors."""
        parts = []
        for start in range(0, len(texts), ENCODED_AT_ONCE):
            some = [text.lower() if self.lower_case else text for text in texts[start : start + ENCODED_AT_ONCE]]
            encoded: list[list[int]] = self._processor.EncodeAsIds(some, num_threads=available_processors())
            part = TokenLines.of(encoded)
            if self._has_bytes and not self.writes(part, some):
                part = TokenLines.of([self.encode(text) for text in some])
            parts.append(part)
        return TokenLines.joined(parts)

    def writes(self, tokens: TokenLines, texts: Sequence[str]) -> bool:
        """Whether these tokens are these texts, each of them to the byte."""
        starts = range(0, len(texts), ENCODED_AT_ONCE)
        return all(
            self._writes(tokens.part(at, at + ENCODED_AT_ONCE), texts[at : at + ENCODED_AT_ONCE]) for at in starts
        )

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens; an unfinished character at the end becomes U+FFFD."""
        return b"".join(self.surfaces[token] for token in tokens).decode("utf-8", "replace")

    def _writes(self, tokens: TokenLines, texts: Sequence[str]) -> bool:
        if b"".join(map(self.surfaces.__getitem__, tokens.tokens.tolist())) != "".join(texts).encode():
            return False
        written = np.cumsum([0, *map(len, map(self.surfaces.__getitem__, tokens.tokens.tolist()))])[tokens.ends[1:]]
        return np.array_equal(written, np.cumsum([len(text.encode()) for text in texts]))

    def _surface(self, token: int) -> bytes:
        processor = self._processor
        if processor.IsControl(token) or processor.IsUnknown(token):
            return b""
        piece: str = processor.IdToPiece(token)
        if processor.IsByte(token):
            return bytes([int(piece[1:-1], 16)])
        return piece.replace(_SPACE, " ").encode()

    def _encode_bytes(self, text: str) -> list[int]:
        """Encode what SentencePiece itself would change (a literal ▁, a character of its own) byte by byte."""
        tokens: list[int] = []
        for character in text:
            encoded: list[int] = self._processor.EncodeAsIds(character)
            if self.decode(encoded) != character:
                encoded = [self._processor.PieceToId(f"<0x{byte:02X}>") for byte in character.encode()]
            tokens.extend(encoded)
        return tokens


def train_tokenizer(lines: Sequence[str], vocabulary: int, extra: Iterable[str] = ()) -> Tokenizer:
    """Fit a Unigram model (Kudo 2018, arXiv:1804.10959) with identity normalisation and byte fallback.

    Args:
        lines: what the model will write; of more than `MAX_TRAINED_LINES`, so many are drawn, always the same.
        vocabulary: tokens wanted; small data give fewer.
        extra: other texts to cover, label names for example.
    """
    if len(lines) > MAX_TRAINED_LINES:
        log.info("the tokenizer is trained on %s of %s lines", f"{MAX_TRAINED_LINES:,}", f"{len(lines):,}")
        lines = [lines[index] for index in _drawn(len(lines), MAX_TRAINED_LINES)]
    texts = [text for text in (*lines, *extra) if text.strip()]
    texts += _doubled_words(texts)
    covered, share = _kept_characters(texts)
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(texts),
        model_writer=out,
        model_type="unigram",
        vocab_size=max(vocabulary, BYTE_PIECES + FIRST_PIECE + covered + SPARE_PIECES),
        hard_vocab_limit=False,
        character_coverage=share,
        required_chars=_SPACE,
        user_defined_symbols=["\n"],
        byte_fallback=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        split_by_whitespace=True,
        split_digits=True,
        unk_id=UNKNOWN,
        bos_id=BOS,
        eos_id=EOS,
        pad_id=-1,
        max_sentence_length=1 << 16,
        num_threads=1,  # the same model on every machine
        minloglevel=2,
    )
    return Tokenizer(out.getvalue())


def _drawn(lines: int, count: int) -> list[int]:
    """`count` numbers below `lines`, in order. Lines of a picture are sorted, so that every tenth would not do."""
    drawn: list[int] = np.sort(np.random.default_rng(0).permutation(lines)[:count]).tolist()
    return drawn


def _kept_characters(texts: Sequence[str]) -> tuple[int, float]:
    """How many characters become tokens, at most, and their share of the texts: those that are seen twice.

    Where there are few different ones, all do: one that was spelled in bytes a single time would teach the model to
    begin such a spelling and not how to end it, so that characters come out that nobody wrote.

    `required_chars` would say which, but SentencePiece drops most of a long list; a share keeps the most frequent ones.
    """
    counts = Counter[str]()
    for text in texts:
        counts.update(text)
    if len(counts) <= SMALL_ALPHABET:
        return len(counts), 1.0
    total = max(1, sum(counts.values()))
    twice = [count for count in counts.values() if count > 1]
    share = (sum(twice) + 1) / total
    return (len(twice), min(share, 1.0)) if share >= MIN_COVERAGE else (len(counts), MIN_COVERAGE)


def _doubled_words(texts: Sequence[str]) -> list[str]:
    """Each word that is seen twice, as a text where it stands twice without a space.

    SentencePiece looks for candidate pieces in the list of *different* words, so that a word which is no part of a
    longer one is none, however often it is seen: in 30,000 English captions "and", "wearing" and "front" were not.
    """
    words = Counter(word for text in texts for word in text.split(" ") if 1 < len(word) <= _MAX_PIECE)
    return [f" {word}{word}" for word, count in words.items() if count > 1]
