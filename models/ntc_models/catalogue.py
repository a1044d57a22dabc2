"""The catalogue of services, `models/services.csv`: `id,service,protocol,class` without a header line.

An id is given once and never changes, because labels in the kernel and in people's policies outlive a model.
Ids below 1024 are nDPI's own, for services whose name is a single nDPI protocol; ids from 1024 on go to composed
names (`TLS.Google`) in the order in which they first appear. Lines are only ever appended.
"""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

# -- knobs -------------------------------------------------------------------------------------------------------------
FIRST_COMPOSED_ID = 1024
END_OF_IDS = 4096  # MAX_SERVICES of ntc-common
MIN_FLOWS = 10  # a composed name enters with this many flows
MAX_RANK = 300  # later flows of one label in one capture are near-copies
# ----------------------------------------------------------------------------------------------------------------------

MODELS = Path(__file__).resolve().parent.parent
CATALOGUE = MODELS / "services.csv"
CLASSES = MODELS / "classes.csv"
NDPI_PROTOCOLS = MODELS / "ndpi-protocols.csv"
UNKNOWN = "unknown"


def unnamed(traffic_class):
    """The label of flows of a class whose protocol a model has no name for: a line of the catalogue, never a flow's."""
    return f"{UNKNOWN}.{traffic_class}"


@dataclass(frozen=True)
class Service:
    id: int
    name: str
    protocol: str
    traffic_class: str


def service_of(label):
    """nDPI's full name, `DNS.*` merged into DNS: which application asks is in the payload, not in the headers."""
    return "DNS" if label.startswith("DNS.") else label


def protocol_of(service):
    return service.split(".", 1)[0]


class ClassRules:
    """`classes.csv`: protocol and nDPI category to class; the first matching row wins, `*` matches all."""

    def __init__(self, path):
        with open(path, newline="", encoding="utf-8") as file:
            self.rows = [(row["protocol"], row["category"], row["class"]) for row in csv.DictReader(file)]

    def __call__(self, protocol, category):
        for wanted_protocol, wanted_category, traffic_class in self.rows:
            if wanted_protocol in ("*", protocol) and wanted_category in ("*", category):
                return traffic_class
        raise ValueError(f"no class for {protocol}, {category}")


def read(path=CATALOGUE):
    """The catalogue by service name; refuses one that breaks its own rules."""
    services = {}
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            service = Service(int(row[0]), *row[1:])
            if service.name in services or any(service.id == other.id for other in services.values()):
                raise ValueError(f"{path}: {service} is there twice")
            services[service.name] = service
    if services.get(UNKNOWN) != Service(0, UNKNOWN, UNKNOWN, UNKNOWN):
        raise ValueError(f"{path}: id 0 is not {UNKNOWN}")
    return services


def read_ndpi_protocols(path=NDPI_PROTOCOLS):
    with open(path, newline="", encoding="utf-8") as file:
        return {row["name"]: int(row["id"]) for row in csv.DictReader(file)}


def missing(services, flows, class_rules, ndpi):
    """The lines to append, so that every protocol and every frequent service of `flows` has its id.

    `flows`: dicts with `label`, `category` and `rank`, in the order of the label file.
    """
    categories = {}  # of each name, by flows; a protocol's own flows count before its applications'
    frequent = Counter()
    for flow in flows:
        name = service_of(flow["label"])
        protocol = protocol_of(name)
        for key in {name, ("any", protocol)}:
            categories.setdefault(key, Counter())[flow["category"]] += 1
        frequent[name] += int(flow["rank"]) <= MAX_RANK

    protocols = {protocol_of(name) for name in frequent}
    composed = [name for name in frequent if name not in protocols and frequent[name] >= MIN_FLOWS]
    wanted = sorted(protocols, key=lambda name: ndpi[name]) + composed

    next_id = max([FIRST_COMPOSED_ID - 1, *(service.id for service in services.values())]) + 1
    added = []
    for name in wanted:
        if name in services:
            continue
        protocol = protocol_of(name)
        usual = (categories.get(name) or categories["any", protocol]).most_common(1)[0][0]
        if name == protocol:
            service_id = ndpi[name]
        else:
            service_id, next_id = next_id, next_id + 1
        if service_id >= END_OF_IDS:
            raise ValueError(f"{name}: no id below {END_OF_IDS} is left")
        added.append(Service(service_id, name, protocol, class_rules(protocol, usual)))
    return added


def extend(flows, class_rules, path=CATALOGUE, ndpi_path=NDPI_PROTOCOLS):
    """Appends what `flows` need to the catalogue and returns the new lines; makes the file if there is none."""
    path = Path(path)
    if not path.exists():
        path.write_text(f"0,{UNKNOWN},{UNKNOWN},{UNKNOWN}\n", encoding="utf-8")
    added = missing(read(path), flows, class_rules, read_ndpi_protocols(ndpi_path))
    with open(path, "a", encoding="utf-8", newline="") as file:
        for service in added:
            file.write(f"{service.id},{service.name},{service.protocol},{service.traffic_class}\n")
    return added
