"""Ethereum: pydevp2p, the Python implementation of 2017, before EIP-8 on the calling side. Its frames leave as it writes
them, in one piece, or in the parts that go-ethereum of that time wrote."""

import collections.abc
import ctypes
import errno
import hashlib
import socket
import warnings

from . import main

REASONS = (4, 4, 4, 0, 3, 5, 6, 8, 16)


def pydevp2p(work):
    """Imports it: written for Python 3.4 and OpenSSL 1.0, it needs names of theirs, and never notes that a peer is gone."""
    for name in ("Iterable", "Mapping", "Sequence"):
        setattr(collections, name, getattr(collections.abc, name))
    whole = ctypes.CDLL

    class Library(whole):
        def __getattr__(self, name):
            try:
                return super().__getattr__({"EVP_CIPHER_CTX_cleanup": "EVP_CIPHER_CTX_reset"}.get(name, name))
            except AttributeError:
                nothing = ctypes.CFUNCTYPE(ctypes.c_void_p)(lambda: None)  # it only chose methods, of which one is left
                setattr(self, name, nothing)
                return nothing

    warnings.simplefilter("ignore")
    ctypes.CDLL = Library
    import pyelliptic  # noqa: F401

    ctypes.CDLL = whole
    from devp2p import discovery, multiplexer, peer, peermanager

    for module in (discovery, peermanager):
        module.add_portmap = module.remove_portmap = lambda *about: None  # asks the network for a router
    as_bytes = multiplexer.Frame.as_bytes
    multiplexer.Frame.as_bytes = lambda frame: Sent(as_bytes(frame), frame.body_size())

    class Peer(peer.Peer):
        offset_based_dispatch = True  # as all others do, whatever their version
        capabilities = property(lambda self: [
            (name.encode() if isinstance(name, str) else name, version) for name, version in super().capabilities])

        def __init__(self, manager, connection, remote_pubkey=None):
            super().__init__(manager, Connection(work, connection), remote_pubkey=remote_pubkey)

    peermanager.Peer = Peer


class Sent(bytes):
    """A frame, and how long its code and message are."""

    def __new__(cls, data, length):
        self = super().__new__(cls, data)
        self.length = length
        return self


class Connection:
    """A socket that tells of its end, and writes as another implementation does."""

    def __init__(self, work, connection):
        self.connection = connection
        self.parts = work.pick(True, True, False)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(self.parts))

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def recv(self, size):
        data = self.connection.recv(size)
        if not data:
            raise OSError(errno.ECONNRESET, "the peer hung up")
        return data

    def sendall(self, data):
        ends = (32, 33, 32 + data.length, len(data) - 16, len(data)) if self.parts and isinstance(data, Sent) else (len(data),)
        start = 0
        for end in ends:
            if end > start:
                self.connection.sendall(data[start:end])
            start = end


COMMANDS = {
    "new_block_hashes": 1, "transactions": 2, "get_block_headers": 3, "block_headers": 4, "get_block_bodies": 5,
    "block_bodies": 6, "new_block": 7, "get_node_data": 13, "node_data": 14, "get_receipts": 15, "receipts": 16,
}  # fmt: skip


def number(work, length):
    return bytes([work.random.randint(1, 255)]) + work.random.randbytes(length - 1) if length else b""


def header(work):
    random = work.random.randbytes
    bloom = bytes(256) if work.random.random() < 0.3 else random(256)
    return [random(32), random(32), random(20), random(32), random(32), random(32), bloom, number(work, 7), number(work, 3),
            number(work, 4), number(work, 3), number(work, 4), random(work.random.randint(0, 32)), random(32), random(8)]


def transaction(work):
    data = b"" if work.random.random() < 0.4 else work.bytes(4, 1200)
    return [number(work, work.random.randint(0, 2)), number(work, 5), number(work, 3), work.random.randbytes(20),
            number(work, work.random.randint(0, 9)), data, b"\x1b", number(work, 32), number(work, 32)]


def block(work):
    return [[transaction(work) for _ in range(work.count(0, 30))], []]


def answer(work, protocol, name, asked):
    """What a node has of what it is asked for."""
    random = work.random.randbytes
    replies = {
        "get_block_headers": lambda: [header(work) for _ in range(min(int.from_bytes(asked[1], "big"), 192))],
        "get_block_bodies": lambda: [block(work) for _ in asked],
        "get_node_data": lambda: [work.bytes(30, 532) for _ in asked],
        "get_receipts": lambda: [[[random(32), number(work, 3), bytes(256), []]] for _ in asked],
    }
    if name in replies:
        getattr(protocol, "send_" + name.removeprefix("get_"))(*replies[name]())


def tell(work, protocol):
    """News, or questions of a node that synchronizes."""
    random = work.random.randbytes
    hashes = [random(32) for _ in range(work.count(1, 60))]
    kinds = [
        ("transactions", [transaction(work) for _ in range(work.count(1, 12))]),
        ("new_block_hashes", [[random(32), number(work, 3)]]),
        ("new_block", [[header(work), *block(work)], number(work, 9)]),
        ("get_block_headers", [work.pick(random(32), number(work, 3)), bytes([work.pick(1, 1, work.size(1, 192))]), b"", b""]),
        ("get_block_bodies", hashes),
    ]
    if protocol.version == 63:
        kinds += [("get_node_data", hashes), ("get_receipts", hashes)]
    name, content = work.pick(*kinds)
    getattr(protocol, "send_" + name)(*content)


def ethereum(work):
    """The subprotocol of a chain, which pydevp2p leaves to others, and the service that speaks it."""
    import gevent
    import rlp
    from devp2p.protocol import BaseProtocol
    from devp2p.service import WiredService

    whole, binary, raw = rlp.sedes.big_endian_int, rlp.sedes.binary, rlp.sedes.CountableList(rlp.sedes.raw)
    version = work.pick(62, 63, 63)
    status = [("version", whole), ("network", whole), ("difficulty", whole), ("best", binary), ("genesis", binary)]
    commands = {"status": type("status", (BaseProtocol.command,), {"cmd_id": 0, "structure": status})}
    for name, code in COMMANDS.items():
        commands[name] = type(name, (BaseProtocol.command,), {"cmd_id": code, "structure": raw})
    last = 7 if version == 62 else 16
    names = {"protocol_id": 1, "name": "eth", "version": version, "max_cmd_id": last}
    Protocol = type("Protocol", (BaseProtocol,), {**names, **commands})

    class Service(WiredService):
        name = "eth"
        wire_protocol = Protocol
        spoken = gevent.event.Event()

        def on_wire_protocol_start(self, protocol):
            protocol.receive_status_callbacks.append(self.met)
            for name in COMMANDS:
                getattr(protocol, f"receive_{name}_callbacks").append(
                    lambda protocol, asked, name=name: answer(work, protocol, name, asked))
            if work.random.random() < 0.3:
                leave(work, protocol, work.pick(0, 0.001, 0.2))
            else:
                protocol.send_status(version=version, network=1, difficulty=work.size(10, 10**18),
                                     best=work.random.randbytes(32), genesis=hashlib.sha256(b"Mainnet").digest())

        def met(self, protocol, network, **about):
            gevent.spawn(self.speak, protocol, network)

        def speak(self, protocol, network):
            if network != 1:
                leave(work, protocol, 0)
                return
            for _ in range(work.count(0, 12)):
                gevent.sleep(work.pause(0.01, 1.2))
                if protocol.is_stopped:
                    break
                tell(work, protocol)
            self.spoken.set()

    return Service


def leave(work, protocol, seconds):
    import gevent
    from devp2p.p2p_protocol import P2PProtocol

    def disconnect():
        if not protocol.is_stopped and protocol.peer.protocols:
            protocol.peer.protocols[P2PProtocol].send_disconnect(reason=work.pick(*REASONS))

    gevent.spawn_later(seconds, disconnect)


def client_name(work):
    minor, patch = work.random.randint(6, 9), work.random.randint(0, 27)
    return work.pick(
        f"Geth/v1.{minor}.{patch}-stable-{work.random.randbytes(4).hex()}/linux-amd64/go1.10.{patch % 9}",
        f"Parity/v1.{minor}.{patch}-beta-{work.random.randbytes(4).hex()}/x86_64-linux-gnu/rustc1.{minor + 15}.0",
        "pyethapp/v1.5.0/linux2/py2.7.13", "pydevp2p 0.9.3").encode()


def key(port):
    """The key of the node at a port, as in peers.cjs."""
    return hashlib.sha256(f"node at {port}".encode()).digest()


def app(work, host, port, private, *services):
    from devp2p.app import BaseApp

    listen = {"listen_host": host, "listen_port": port}
    built = BaseApp({
        "client_version_string": client_name(work),
        "node": {"privkey_hex": private.hex()},
        "discovery": {**listen, "bootstrap_nodes": []},
        "p2p": {**listen, "bootstrap_nodes": [], "min_peers": 0, "max_peers": work.pick(1, 2, 3, 25, 50)},
    })
    for service in services:
        service.register_with_app(built)
    return built


def quiet():
    """gevent tells of every peer that goes."""
    import gevent

    gevent.get_hub().print_exception = lambda *about: None


def pydevp2p_node(work):
    pydevp2p(work)
    import gevent
    from devp2p.discovery import NodeDiscovery
    from devp2p.peermanager import PeerManager

    quiet()
    app(work, work.host, work.port, key(work.port), NodeDiscovery, PeerManager, ethereum(work)).start()
    gevent.event.Event().wait()


def pydevp2p_peer(work):
    pydevp2p(work)
    import gevent
    from devp2p.crypto import privtopub
    from devp2p.discovery import Address, Node, NodeDiscovery
    from devp2p.kademlia import random_nodeid
    from devp2p.peermanager import PeerManager

    quiet()
    with socket.socket(socket.AF_INET6 if work.six else socket.AF_INET) as free:
        free.bind((work.more[0], 0))
        own = free.getsockname()[1]
    service = ethereum(work)
    peer = app(work, work.more[0], own, work.random.randbytes(32), NodeDiscovery, PeerManager, service)
    peer.start()
    remote = privtopub(key(work.port))
    if work.random.random() < 0.5:
        kademlia = peer.services.discovery.protocol.kademlia
        node = Node(remote, Address(work.host, work.port))
        for _ in range(work.count(1, 6)):
            work.pick(lambda: kademlia.ping(node), lambda: kademlia.find_node(random_nodeid(), via_node=node))()
            gevent.sleep(work.pause(0.1, 1.5))
    if work.random.random() < 0.8 and peer.services.peermanager.connect((work.host, work.port), remote):
        with gevent.Timeout(work.pause(4, 8), False):
            while peer.services.peermanager.peers and not service.spoken.is_set():
                gevent.sleep(0.05)
            if work.random.random() < 0.5:
                for connected in list(peer.services.peermanager.peers):
                    leave(work, next(iter(connected.protocols.values())), 0)
                gevent.sleep(work.pause(0.05, 0.6))


if __name__ == "__main__":
    main({"node": pydevp2p_node, "peer": pydevp2p_peer})
