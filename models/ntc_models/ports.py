"""What ports say, counted over repositories so that one large capture has one voice.

Which end of a flow is the server, how ports are spread over a network's input, and the port table, the baseline
that any model has to beat.
"""

from collections import Counter, defaultdict

import numpy as np

from .catalogue import MODELS
from .data import DIRECTION, DST_PORT, PAYLOAD, SRC_PORT, WINDOW, group_of

# -- knobs -------------------------------------------------------------------------------------------------------------
SYSTEM_PORTS = 1024  # below it a port counts half a repository more: only a server's owner may bind it
LOG_SHARE = 0.5  # of the input scale: this part is logarithmic in the port, the rest follows the evidence
EVIDENCE_POWER = 0.75  # below 1: a port that few repositories serve on still gets room
LEAST_EVIDENCE = 0.1  # of a service at a port where others were seen: what was not seen is not impossible
NEAR = 32  # ports: from so far away a port that nobody was seen on has evidence,
NEAR_DECAY = 8  # which fades to 1/e over so many,
NEAR_CELL = 32  # and is the same for so many beside each other: a table of every port would be large
CRUMBS = 1e-3  # what rounding leaves of nothing
# ----------------------------------------------------------------------------------------------------------------------

PORTS = 65536
COMMITTED = MODELS / "port-table.csv"  # of all training flows


class PortEvidence:
    """How many repositories use each (protocol, port), at either end."""

    def __init__(self, flows):
        users = defaultdict(set)
        for port in self.voted(flows):
            for proto, number, repo in zip(flows.proto, port, flows.repo):
                users[proto, number].add(repo)
        self.votes = {6: np.zeros(PORTS), 17: np.zeros(PORTS)}
        for (proto, port), repos in users.items():
            self.votes[proto][port] = len(repos)
        for votes in self.votes.values():
            votes[:SYSTEM_PORTS] += 0.5

    @staticmethod
    def voted(flows):
        return first_ports(flows)

    def server_is_dst(self, flows):
        """Whether the first packet's destination is the server: the end with more votes, on a tie the smaller port."""
        return more_votes(flows.packets, *self.votes_of(flows))

    def votes_of(self, flows):
        """Of the first packet's source and destination."""
        return [np.where(flows.proto == 6, self.votes[6][port], self.votes[17][port]) for port in first_ports(flows)]

    def server_port(self, flows):
        src, dst = first_ports(flows)
        return np.where(self.server_is_dst(flows), dst, src)


class CalledPorts(PortEvidence):
    """How many repositories have each (protocol, port) called: a client's throw-away port seldom is."""

    @staticmethod
    def voted(flows):
        return first_ports(flows)[1:]

    def server_is_dst(self, flows):
        return called(flows.packets, *self.votes_of(flows))


def more_votes(packets, src_votes, dst_votes):
    src, dst = packets[:, 0, SRC_PORT], packets[:, 0, DST_PORT]
    return (dst_votes > src_votes) | ((dst_votes == src_votes) & (dst <= src))


def called(packets, src_votes, dst_votes):
    """Whether the first packet's destination is the server: after a handshake from no system port, or by votes. Raw packets
    and votes are NumPy's or PyTorch's.

    Without flags, TCP's handshake (RFC 9293, section 3.5) is no payload forth, none back, and forth again. A capture that
    missed the first of these goes on with the caller's request, which then is back again.
    """
    first, second, third = packets[:, 0], packets[:, 1], packets[:, 2]
    handshake = ((first[:, PAYLOAD] == 0) & (second[:, PAYLOAD] == 0) & (first[:, WINDOW] > 0) & (second[:, WINDOW] > 0)
                 & (second[:, DIRECTION] == 1) & (third[:, DIRECTION] == 0))
    return (handshake & (first[:, SRC_PORT] > SYSTEM_PORTS - 1)) | more_votes(packets, src_votes, dst_votes)


def first_ports(flows):
    return flows.packets[:, 0, SRC_PORT].astype(int), flows.packets[:, 0, DST_PORT].astype(int)


def input_scale(flows, evidence):
    """A monotone map of ports to [0, 1], as a table: near in number stays near, but ports that several repositories
    serve on lie apart, further the more they are. Divided by 65535 alone, every well-known port would be one point.
    """
    repositories = np.zeros(PORTS)
    for port, _ in set(zip(evidence.server_port(flows), flows.repo)):
        repositories[port] += 1
    room = np.maximum(repositories - 1, 0) ** EVIDENCE_POWER  # one repository's port may be anyone's throw-away
    by_evidence = (np.cumsum(room) - room / 2) / max(room.sum(), 1)
    by_number = np.log1p(np.arange(PORTS)) / np.log(PORTS)
    return LOG_SHARE * by_number + (1 - LOG_SHARE) * by_evidence


class PortTable:
    """The baseline: (protocol, server port) -> the label with the most log(1 + flows), summed over repositories.

    Its purity is that label's share of the evidence, the baseline's confidence.
    """

    def __init__(self, flows, labels, evidence):
        self.evidence = evidence
        counts = defaultdict(int)
        for proto, port, repo, label in zip(flows.proto, evidence.server_port(flows), flows.repo, labels):
            counts[proto, port, label, repo] += 1
        weights = defaultdict(lambda: defaultdict(float))
        for (proto, port, label, _), count in counts.items():
            weights[proto, port][label] += np.log1p(count)
        self.table = {key: max(sorted(found), key=found.get) for key, found in weights.items()}
        self.purity = {key: found[self.table[key]] / sum(found.values()) for key, found in weights.items()}

    def __call__(self, flows):
        """The table's label of each flow, None where it is silent."""
        return np.array([self.table.get(key) for key in self.keys(flows)], dtype=object)

    def confidence(self, flows):
        return np.array([self.purity.get(key, 0.0) for key in self.keys(flows)])

    def keys(self, flows):
        return list(zip(flows.proto, self.evidence.server_port(flows)))


def tables(flows):
    """The port table at each level, of one evidence."""
    evidence = PortEvidence(flows)
    return {"service": PortTable(flows, flows.service, evidence),
            "protocol": PortTable(flows, flows.protocol, evidence),
            "class": PortTable(flows, flows.traffic_class, evidence)}


def table_csv(by_level):
    """The tables as text: every port that was seen, by how many repositories, and what it says where it served."""
    votes = by_level["service"].evidence.votes
    lines = ["proto,port,repositories,service,protocol,class"]
    for proto in sorted(votes):
        for port in np.flatnonzero(votes[proto] >= 1):
            said = [by_level[level].table.get((proto, port), "") for level in ("service", "protocol", "class")]
            lines.append(f"{proto},{port},{int(votes[proto][port])},{','.join(said)}")
    return "\n".join(lines) + "\n"


class Prior:
    """Evidence of services at (protocol, server port): log(1 + flows) summed over repositories or their families. With
    `near`, a port that nobody was seen on has that of the ports near it, by distance: servers' ports are dealt in rows
    (DCE/RPC from 49152 on) or picked beside one that is known (TLS on 4433, SIP on 5062).

    `log_evidence` [rows, services] is centred, so that adding it to logits only shifts services against each other;
    services outside `labels` count in the summary alone. Row 0 is of ports without evidence: zero everywhere.
    """

    def __init__(self, flows, labels, evidence, near=False):
        index = {label: place for place, label in enumerate(labels)}
        width = len(labels) + 2  # the last two are for all others, and for how many repositories are behind it
        self.voters = evidence
        counts = Counter(zip(self.keys(flows), map(group_of, flows.repo),
                             (index.get(service, len(labels)) for service in flows.service)))
        seen = sorted({key for key, _, _ in counts})
        place = {key: row for row, key in enumerate(seen, start=1)}
        self.own = defaultdict(lambda: np.zeros(width, dtype=np.float32))  # (row, group) -> its part of the evidence
        for (key, group, label), count in counts.items():
            self.own[place[key], group][label] += np.log1p(count)
        for part in self.own.values():
            part[-1] = 1
        self.row = np.zeros(2 * PORTS, dtype=np.float32)
        self.row[seen] = np.arange(1, len(seen) + 1)
        self.near_row = np.zeros(2 * PORTS, dtype=int)
        rows = len(seen) + 1
        if near:
            rows = self.spread(seen, rows)
            self.row = np.where(self.row > 0, self.row, self.near_row).astype(np.float32)
        self.total = np.zeros((rows, width), dtype=np.float32)
        for (row, _), part in self.own.items():
            self.total[row] += part
        self.log_evidence, self.summary = centred(self.total, np.arange(rows) > len(seen))

    def spread(self, seen, rows):
        """Adds a row for each cell of ports with some seen near it; how many rows there are then."""
        cells, around = {}, defaultdict(list)
        for row, key in enumerate(seen, start=1):
            for cell in range((key - NEAR) // NEAR_CELL, (key + NEAR) // NEAR_CELL + 1):
                apart = abs(key - (cell + 0.5) * NEAR_CELL + 0.5)
                # Below, each port is assigned by itself.
                if apart <= NEAR and min(key % PORTS, cell * NEAR_CELL % PORTS) >= SYSTEM_PORTS:
                    around[row].append((cells.setdefault(cell, rows + len(cells)), np.exp(-apart / NEAR_DECAY)))
        for (row, group), part in list(self.own.items()):
            for of_cell, weight in around[row]:
                self.own[of_cell, group] += weight * part
        for cell, row in cells.items():
            self.near_row[cell * NEAR_CELL : (cell + 1) * NEAR_CELL] = row
        return rows + len(cells)

    def keys(self, flows):
        """Places in `row`: TCP's ports, then UDP's."""
        return self.voters.server_port(flows) + np.where(flows.proto == 6, 0, PORTS)

    def without_own(self, flows):
        """Log evidence and summary of each flow, of those that it is fitted to, as they would be had the flow's repository
        or family not been seen.
        """
        keys, groups = self.keys(flows), np.array([group_of(repo) for repo in flows.repo], dtype=object)
        left = self.of_others(self.row[keys].astype(int), groups)
        alone = left[:, -1] == 0
        left[alone] = self.of_others(self.near_row[keys[alone]], groups[alone])
        return centred(left, alone)

    def of_others(self, rows, groups):
        left = self.total[rows]
        for place, key in enumerate(zip(rows, groups)):
            if key in self.own:
                left[place] -= self.own[key]
        return np.where(left < CRUMBS, 0, left)


def centred(total, near):
    """Centred log evidence; and its summary: log of all evidence, its purity, log of the groups behind it, numbers near one,
    and whether it is of ports near.
    """
    log = np.log(total[:, :-2] + LEAST_EVIDENCE)
    log -= log.mean(1, keepdims=True)
    evidence, groups = total[:, :-1], total[:, -1]
    everything = evidence.sum(1)
    purity = evidence.max(1) / np.maximum(everything, 1e-6)
    summary = np.stack([np.log1p(everything) / 4, purity, np.log1p(groups) / 4, near], 1)
    there = (groups > 0)[:, None]
    return (log * there).astype(np.float32), (summary * there).astype(np.float32)
