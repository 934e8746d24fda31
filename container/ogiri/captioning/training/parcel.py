"""Records as bytes, so that one process reads them and sends them to the others."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ogiri.captioning.data.pictures import PictureColumns, Pictures
from ogiri.captioning.data.records import Records


def pack(records: Records) -> bytes:
    """All columns of some records, as NumPy's archive of plain arrays."""
    pictures = records.pictures
    first = np.fromiter((pictures.label_span(index).start for index in range(len(pictures))), np.int64, len(pictures))
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "first_label": first,
        "label_counts": pictures.label_counts,
        "label_names": pictures.all_names,
        "confidences": pictures.all_confidences,
        "picture_of": records.picture_of,
        "scores": records.scores,
    }
    texts = {"keys": pictures.keys, "texts": pictures.texts, "names": pictures.label_names, "lines": records.lines}
    for name, column in texts.items():
        arrays[f"{name}.bytes"], arrays[f"{name}.ends"] = _packed(column)
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def unpack(data: bytes) -> Records:
    """The reverse of `pack`; pictures that were left out before stay out."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:

        def texts(name: str) -> list[str]:
            return _unpacked(arrays[f"{name}.bytes"], arrays[f"{name}.ends"])

        keys = texts("keys")
        columns = PictureColumns(
            keys,
            texts("texts"),
            arrays["first_label"],
            arrays["label_counts"],
            arrays["label_names"],
            arrays["confidences"],
            texts("names"),
        )
        pictures = Pictures(columns, np.arange(len(keys), dtype=np.int32))
        return Records(pictures, arrays["picture_of"], texts("lines"), arrays["scores"])


def _packed(texts: Sequence[str]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """UTF-8 one behind the other, and where each ends; half of a surrogate pair passes too."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))
    return np.frombuffer(b"".join(encoded), np.uint8), ends


def _unpacked(data: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> list[str]:
    whole, starts = data.tobytes(), [0, *ends.tolist()]
    return [whole[start:end].decode("utf-8", "surrogatepass") for start, end in pairwise(starts)]
