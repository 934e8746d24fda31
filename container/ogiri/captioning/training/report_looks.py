"""Where the trained decoder looks while it writes a line, asked of torch: the exported graph does not tell."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from ogiri.captioning.model.conditioning import Conditions
from ogiri.captioning.model.decoder import Decoder
from ogiri.captioning.model.tokenizer import Tokenizer
from ogiri.captioning.training.examples import as_prefix
from ogiri.captioning.training.report_page.data import Glance
from ogiri.record import Label

Shares = npt.NDArray[np.float64]


def look(
    decoder: Decoder,
    tokenizer: Tokenizer,
    map_: npt.NDArray[np.generic],
    conditions: Conditions,
    labels: Sequence[Label],
    line: Sequence[int],
) -> list[Glance]:
    """Where the decoder looked for each piece of a line, and for its end.

    Args:
        decoder: in float32 on the CPU.
        tokenizer: of the line.
        map_: (cells, channels) of the picture.
        conditions: labels and text of the picture.
        labels: the same labels, for their names.
        line: tokens without begin and end.

    Raises:
        NotImplementedError: the decoder does not tell.
    """
    decoder.eval()
    prefix = dataclasses.replace(
        as_prefix([conditions]), map=torch.from_numpy(np.asarray(map_, np.float32).copy())[None]
    )
    with torch.no_grad():
        shares = decoder.attention(prefix, torch.tensor([[tokenizer.bos, *line]]))[0].double().numpy()
    counts = (prefix.map.shape[1], prefix.label_pieces.shape[1], prefix.text_pieces.shape[1])
    names = [label.name for label in labels if label.name.strip()]
    ends = [*_pieces(tokenizer, line), ("", len(line) + 1)]
    glances, start = [], 0
    for text, end in ends:
        glances.append(_glance(text, shares[start:end].mean(0), counts, names))
        start = end
    return glances


def grid(cells: Shares) -> list[list[float]]:
    """The cells as rows of a square; a vision transformer's class token, which comes first, has no place in it.

    Returns:
        An empty list where the cells are no square.
    """
    side = math.isqrt(len(cells))
    if side * side != len(cells):
        cells = cells[1:]
        side = math.isqrt(len(cells))
    if side < 2 or side * side != len(cells):
        return []
    rows: list[list[float]] = cells.reshape(side, side).tolist()
    return rows


def _glance(text: str, shares: Shares, counts: tuple[int, int, int], names: Sequence[str]) -> Glance:
    cells, labels, pieces, others = np.split(shares, np.cumsum(counts))
    return Glance(
        piece=text,
        grid=grid(cells),
        picture=float(cells.sum()),
        labels=float(labels.sum()),
        text=float(pieces.sum()),
        controls=float(others[:-1].sum()),
        rest=float(others[-1]),
        label=names[int(labels.argmax())] if len(labels) else "",
    )


def _pieces(tokenizer: Tokenizer, line: Sequence[int]) -> list[tuple[str, int]]:
    """Text and end of each piece; tokens that spell one character byte by byte are one piece."""
    pieces, data = [], b""
    for end, token in enumerate(line, 1):
        data += tokenizer.surfaces[token]
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            if end < len(line):
                continue
            text = data.decode("utf-8", "replace")
        pieces.append((text or "\ufffd", end))
        data = b""
    return pieces
