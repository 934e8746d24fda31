"""SentencePiece, lossless: every text survives encode → decode, line breaks and emoji too.

A piece stands for bytes (its `surface`), so that a line can be put together piece by piece while it is generated and
its length in characters is known at every step, byte pieces included.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property

import sentencepiece

UNKNOWN, BOS, EOS = 0, 1, 2
FIRST_PIECE = 3
BYTE_PIECES = 256
_SPACE = "\u2581"  # how SentencePiece writes a space


class Tokenizer:
    """A SentencePiece model and what generation needs to know of its pieces."""

    def __init__(self, model: bytes) -> None:
        """Args: model: the bytes of a `.model` file. Raises: ValueError: they are not a SentencePiece model."""
        self.model = model
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

    @cached_property
    def surfaces(self) -> list[bytes]:
        """What each token stands for, as UTF-8 bytes; nothing for the begin, end and unknown tokens."""
        return [self._surface(token) for token in range(self.vocabulary)]

    def encode(self, text: str) -> list[int]:
        """Tokens of `text`, without begin and end."""
        tokens: list[int] = self._processor.EncodeAsIds(text)
        if self.decode(tokens) == text:
            return tokens
        return self._encode_bytes(text)

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens; an unfinished character at the end becomes U+FFFD."""
        return b"".join(self.surfaces[token] for token in tokens).decode("utf-8", "replace")

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
        lines: what the model will write.
        vocabulary: tokens wanted; small data give fewer.
        extra: other texts to cover, label names for example.
    """
    texts = [text for text in (*lines, *extra) if text.strip()]
    counts = Counter(character for text in texts for character in text)
    kept = "".join(sorted(c for c, n in counts.items() if n > 1 and c not in " \n\r\t\0" + _SPACE))
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(texts),
        model_writer=out,
        model_type="unigram",
        vocab_size=max(vocabulary, BYTE_PIECES + FIRST_PIECE + len(kept) + 64),
        hard_vocab_limit=False,
        character_coverage=0.98,
        required_chars=kept + _SPACE,
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
