"""Seconds on one core to cluster, code and decode SqueezeNet v1.0 (1.24 M weights), and the bytes of its file.

The weights are random: normal in each layer, and pruned at random places where a density says so.
"""

import tempfile
import time
from pathlib import Path

import torch

from explorer.compression.constraints import Pruned, Sharing
from explorer.compression.decode import load
from explorer.compression.encoding import encoded
from explorer.compression.sizes import Compression
from explorer.spaces import find_space
from explorer.training.trainer import untrained

PAPER = "*conv3x3=0.33,fire[89].*conv3x3=0.3,fire[68].*conv1x1=0.5,fire[79].squeeze.*=0.5,conv10.*=0.2"


def main() -> None:
    """Print one line for the densities of the paper, and one without pruning."""
    torch.set_num_threads(1)
    network = find_space("squeezenet").point("v1_0").expand()
    for name, densities in (("at the paper's densities", [PAPER]), ("without pruning", [])):
        compression = Compression.read(densities, bits=6)
        model = untrained(network)
        begun = time.perf_counter()
        pruned = Pruned.smallest(model, network, compression)
        pruned(model)
        sharing = Sharing.nearest(model, pruned, compression.bits)
        sharing(model)
        clustered = time.perf_counter()
        shared = sharing.shared(model)
        content = encoded({key: shared.get(key, tensor.numpy()) for key, tensor in model.state_dict().items()})
        coded = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights.cnn"
            path.write_bytes(content)
            load(path)
        decoded = time.perf_counter()
        print(
            f"{name}: prune and cluster {clustered - begun:.2f} s, code {coded - clustered:.2f} s, "
            f"decode {decoded - coded:.2f} s, {len(content):,} bytes"
        )


if __name__ == "__main__":
    main()
