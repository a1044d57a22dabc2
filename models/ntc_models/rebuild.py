"""From the captures to a bundle: what was shipped can be built anew, by one command, with nothing but the corpus and ntc.

    captures of the corpus -> ntc extract -> flows.parquet -> runs or folds -> bundle with its card -> SHA-256 of each file
"""

import hashlib
import subprocess
import tarfile
from pathlib import Path

import pyarrow as pa


def extract(ntc, captures, parquet, unpacked):
    """Unpacks the captures, unless they are there, and writes their flows, by the flow rule of the labels."""
    unpacked, parquet = Path(unpacked), Path(parquet)
    if not unpacked.is_dir():
        half = unpacked.with_suffix(".part")
        with pa.input_stream(str(captures), compression="zstd") as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            tar.extractall(half)
        half.replace(unpacked)
    parquet.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([ntc, "extract", unpacked, "--output", parquet, "--flow-rule", "corpus"], check=True)


def digests(folder):
    """Name and SHA-256 of each file of a bundle."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(Path(folder).iterdir())}
