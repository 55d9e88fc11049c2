"""Write a compressed network: gaps between kept weights and codes, entropy-coded, and everything else as float32.

`decode.py`, which is shipped with every file, is the other direction. A file starts with a magic number and the SHA-256
of the rest: the sizes of header and floats, the header (JSON, deflated), all floats, and the words of the coder.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.compression import decode
from explorer.compression.decode import MAGIC, SKIP, frequencies

DECODER = Path(decode.__file__)
LARGEST_COUNT = 255  # of a symbol in a table


@dataclass(frozen=True)
class Shared:
    """The weights of a layer after pruning and sharing.

    Attributes:
        codes: The code of each weight, in the shape of the weights; -1 for a weight that is pruned.
        book: The value of each code, float32.
    """

    codes: NDArray[np.int64]
    book: NDArray[np.float32]


def encoded(tensors: Mapping[str, NDArray[Any] | Shared]) -> bytes:
    """Return the file for tensors by name: shared weights, or arrays of floats or integers, which stay as they are.

    The package `constriction` codes the symbols (asymmetric numeral systems).
    """
    import constriction

    header: list[list[Any]] = []
    floats: list[NDArray[np.float32]] = []
    streams: list[tuple[NDArray[np.int64], list[int]]] = []
    for name, tensor in tensors.items():
        if isinstance(tensor, Shared):
            flat = tensor.codes.ravel()
            places = np.flatnonzero(flat >= 0)
            gaps = _gaps(places) if len(places) < len(flat) else np.empty(0, np.int64)
            codes = flat[places]
            book = tensor.book if len(codes) else tensor.book[:0]
            tables = _table(gaps), _table(codes, len(book))
            coded = [tables[0], len(gaps), tables[1], len(codes)]
            header.append([name, list(tensor.codes.shape), tensor.codes.size, None, coded])
            floats.append(book)
            streams += zip((gaps, codes), tables, strict=True)
        elif np.issubdtype(tensor.dtype, np.integer):
            header.append([name, list(tensor.shape), tensor.size, tensor.ravel().tolist(), None])
        else:
            header.append([name, list(tensor.shape), tensor.size, None, None])
            floats.append(tensor.astype(np.float32).ravel())
    coder = constriction.stream.stack.AnsCoder()
    for values, table in reversed(streams):  # the coder is a stack: last in, first out
        if len(table) > 1:
            # The library adds 1 to each share, and then has the decoder's frequencies.
            shares = np.array(frequencies(table), dtype=np.float64) - 1
            model = constriction.stream.model.Categorical(shares, perfect=False)
            coder.encode_reverse(values.astype(np.int32), model)
    facts = zlib.compress(json.dumps(header, separators=(",", ":")).encode(), 9)
    plain = np.concatenate([*floats, np.empty(0, np.float32)]).astype("<f4")
    words = coder.get_compressed().astype("<u4").tobytes()
    rest = struct.pack("<II", len(facts), len(plain)) + facts + plain.tobytes() + words
    content: bytes = MAGIC + hashlib.sha256(rest).digest() + rest
    return content


def _gaps(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of pruned weights before each kept one, with `SKIP` for every 255 of them."""
    gaps = np.diff(places, prepend=-1) - 1
    skips, rest = np.divmod(gaps, SKIP)
    ends = np.cumsum(skips + 1) - 1
    found = np.full(int(ends[-1]) + 1 if len(ends) else 0, SKIP)
    found[ends] = rest
    return found


def _table(symbols: NDArray[np.int64], size: int = 0) -> list[int]:
    """Return how often each symbol occurs, scaled to at most `LARGEST_COUNT`; empty without symbols."""
    if not len(symbols):
        return []
    counts = np.bincount(symbols, minlength=size)
    table: list[int] = np.ceil(LARGEST_COUNT * counts / counts.max()).astype(int).tolist()
    return table
