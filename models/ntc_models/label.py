"""Labels for one's own captures, by nDPI's payload inspection: `cargo xtask label`. In an environment of its own
(`labelling.txt`), so it uses none of the modules that train.

    captures -> ntc extract --flow-rule corpus -> flows with their names ----+-> labels.csv, as `ntc eval` and the
    captures -> nfstream (nDPI) with the same idle time -> what each flow is +   training package read it

Kept is what payload inspection decided; what nDPI guesses by port or address would only teach ports.
"""

import argparse
import csv
import gzip
import shutil
import socket
import sys
import tempfile
from collections import Counter
from pathlib import Path

# -- knobs -------------------------------------------------------------------------------------------------------------
IDLE_SECONDS = 120  # of `--flow-rule corpus`
NEVER = 10**6  # seconds: no flow is cut because it is long
# ----------------------------------------------------------------------------------------------------------------------

COLUMNS = ("capture", "src_ip", "dst_ip", "src_port", "dst_port", "proto", "ip_version", "first_ts_us", "label", "master",
           "category", "confidence", "n_packets", "rank", "repo", "path")


def inspected(capture):
    """What nDPI says of a capture's flows: 5-tuple and first millisecond -> (label, category, confidence), guesses left
    out.
    """
    from nfstream import NFStreamer

    found = {}
    for flow in NFStreamer(source=str(capture), n_meters=1, idle_timeout=IDLE_SECONDS, active_timeout=NEVER,
                           statistical_analysis=False):
        if not flow.application_is_guessed and flow.application_name != "Unknown":
            key = (address(flow.src_ip), address(flow.dst_ip), flow.src_port, flow.dst_port, flow.protocol,
                   flow.bidirectional_first_seen_ms)
            found[key] = (flow.application_name, flow.application_category_name, flow.application_confidence)
    return found


def address(text):
    """Bytes of an address: two spellings of one IPv6 address are equal."""
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def rows(flows, said, path, source):
    """Lines of the label file for a capture's flows (dicts of `ntc extract`'s columns) that nDPI has a word on."""
    ranks = Counter()
    for flow in sorted(flows, key=lambda flow: flow["first_ts_ns"]):
        first_us = flow["first_ts_ns"] // 1000
        ends = (address(flow["src_ip"]), address(flow["dst_ip"]), flow["src_port"], flow["dst_port"], flow["proto"])
        answer = said.get((*ends, first_us // 1000))
        if answer is None:
            continue
        label, category, confidence = answer
        ranks[label] += 1
        yield {"capture": flow["capture"], "src_ip": flow["src_ip"], "dst_ip": flow["dst_ip"],
               "src_port": flow["src_port"], "dst_port": flow["dst_port"], "proto": flow["proto"],
               "ip_version": flow["ip_version"], "first_ts_us": first_us, "label": label,
               "master": label.split(".", 1)[0], "category": category, "confidence": confidence,
               "n_packets": flow["packets"], "rank": ranks[label], "repo": source or flow["capture"], "path": path}


def files(captures, names):
    """Name -> path of the captures that were extracted, in the folders and files that were given."""
    found = {}
    for given in map(Path, captures):
        for path in sorted(given.rglob("*")) if given.is_dir() else [given]:
            if path.name in names:
                if path.name in found:
                    raise SystemExit(f"{path} and {found[path.name]}: labels tell captures by their names")
                found[path.name] = path
    return found


def unpacked(path, folder):
    """A capture that libpcap can read: a copy where it is compressed."""
    if path.suffix not in (".gz", ".zst"):
        return path
    import pyarrow as pa

    copy = Path(folder) / path.stem
    opened = gzip.open(path) if path.suffix == ".gz" else pa.input_stream(str(path), compression="zstd")
    with opened as packed, open(copy, "wb") as plain:
        shutil.copyfileobj(packed, plain)
    return copy


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="cargo xtask label", description=__doc__.splitlines()[0])
    parser.add_argument("captures", nargs="+", metavar="CAPTURE", help="pcap or pcapng, also .gz and .zst, or folders")
    parser.add_argument("--flows", type=Path, required=True, help="Parquet of `ntc extract --flow-rule corpus`")
    parser.add_argument("-o", "--output", type=Path, required=True, help="CSV file to write")
    parser.add_argument("--source", help="whose captures: one group when splitting (each capture is its own otherwise)")
    options = parser.parse_args(arguments)
    import pyarrow.parquet as pq

    by_capture = {}
    columns = ["capture", "src_ip", "dst_ip", "src_port", "dst_port", "proto", "ip_version", "first_ts_ns", "packets"]
    for flow in pq.read_table(options.flows, columns=columns).to_pylist():
        by_capture.setdefault(flow["capture"], []).append(flow)
    paths = files(options.captures, by_capture)
    labelled = 0
    with open(options.output, "w", newline="", encoding="utf-8") as file, tempfile.TemporaryDirectory() as folder:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for number, (name, path) in enumerate(sorted(paths.items()), 1):
            print(f"[{number}/{len(paths)}] {name}", file=sys.stderr, flush=True)
            for row in rows(by_capture[name], inspected(unpacked(path, folder)), str(path), options.source):
                writer.writerow(row)
                labelled += 1
    total = sum(map(len, by_capture.values()))
    print(f"{labelled} of {total} flows have a label that payload inspection decided: {options.output}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
