"""Read a compressed network without the explorer: `model.load_state_dict(state_dict("weights.cnn", torch.tensor))`."""

import hashlib
import json
import struct
import zlib
from bisect import bisect_right
from itertools import accumulate, islice

MAGIC, BITS, SKIP = b"CNN\0\1", 24, 255  # frequencies add up to 2 ** BITS; SKIP is a gap without a weight after it


def frequencies(table):
    found = [1 + count * (2**BITS - len(table)) // sum(table) for count in table]
    found[table.index(max(table))] += 2**BITS - sum(found)
    return found


def symbols(words, table, count):
    """Yield symbols from a stack of words, the last of which is the coder's state (asymmetric numeral systems)."""
    if len(table) < 2:
        yield from [0] * count
        return
    found = frequencies(table)
    starts = [0, *accumulate(found)]
    for _ in range(count):
        state, place = divmod(words.pop(), 2**BITS)
        symbol = bisect_right(starts, place) - 1
        state = state * found[symbol] + place - starts[symbol]
        words.append(state << 32 | words.pop() if state < 2**32 and words else state)
        yield symbol


def load(path):
    """Return the shape and the flat values of each tensor by name; raise `ValueError` if the file is damaged."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:5] != MAGIC or data[5:37] != hashlib.sha256(data[37:]).digest():
        raise ValueError(f"{path} is damaged, or is not a compressed network")
    size, count = struct.unpack_from("<II", data, 37)
    floats = iter(struct.unpack_from(f"<{count}f", data, 45 + size))
    words = list(struct.unpack(f"<{(len(data) - size - 45) // 4 - count}I", data[45 + size + 4 * count :]))
    words += [words.pop() << 32 | words.pop()] if len(words) > 1 else []
    tensors = {}
    for name, shape, length, integers, coded in json.loads(zlib.decompress(data[45 : 45 + size])):
        values = integers or list(islice(floats, 0 if coded else length))
        if coded:
            gaps, entries, codes, kept = coded
            book, values, place, places = list(islice(floats, len(codes))), [0.0] * length, -1, list(range(kept))
            if gaps:
                found = ((gap, place := place + gap + (gap != SKIP)) for gap in symbols(words, gaps, entries))
                places = [at for gap, at in found if gap != SKIP]
            for at, code in zip(places, symbols(words, codes, kept)):
                values[at] = book[code]
        tensors[name] = shape, values
    return tensors


def state_dict(path, tensor):
    return {name: tensor(values).reshape(shape) for name, (shape, values) in load(path).items()}
