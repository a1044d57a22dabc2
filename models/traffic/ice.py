"""Calls between peers. TURN and ICE: aioice, libnice.

An agent that serves takes whoever calls at a socket of Unix, `signal` in the folder that it runs in, where the two tell each
other names, passwords and candidates, as signalling would; the way is then between client and server, or through a relay.
"""

import base64
import hashlib
import hmac
import json
import time

from . import main


def account(work, kind):
    """Name and password of an account. `secret`: everyone's. `ejabberd`: for some hours, as its module for XEP-0215 deals
    them: time of expiry with hashes of user and host, and a password of these by the server's secret."""
    name = work.pick(work.word(), f"{work.word()}@{work.word()}.example", work.random.randbytes(work.random.randint(4, 40)).hex())
    password = "secret"
    if kind == "ejabberd":
        user, host = (hashlib.sha1(text.encode()).hexdigest()[:8] for text in (name, "localhost"))
        name = f"{int(time.time()) + work.random.randint(1_000, 90_000)}:{user}{host}"
        password = base64.b64encode(hmac.digest(b"secret", name.encode(), hashlib.sha1)).decode()
    return name, work.word() if work.random.random() < 0.12 else password


def speech(work, seconds):
    """What a call sends, with the time until the next: sound or pictures, messages as they come, or nothing."""
    end = time.monotonic() + seconds
    kind = work.pick("steady", "steady", "messages", "messages", "silence")
    size, step = work.size(20, 900), work.pick(0.01, 0.02, 0.02, 0.03, 0.06)
    while (left := end - time.monotonic()) > 0:
        if kind == "steady":
            yield work.text(size, size + size // 4 + 2).encode(), step
        elif kind == "messages":
            yield work.text(2, 1_150).encode(), min(left, work.pause(0.004, 1.5))
        else:
            yield None, left


async def talk(work, send, seconds):
    import asyncio

    for data, pause in speech(work, seconds):
        if data:
            await send(data)
        await asyncio.sleep(pause)


async def aioice_relayed(work):
    """An allocation, and what a peer that sends everything back gets and says through it. Kind of account and the port of
    the peer after the name."""
    import asyncio

    from aioice import stun, turn

    name, password = account(work, work.more[0])
    try:
        transport, _ = await turn.create_turn_endpoint(
            asyncio.DatagramProtocol, server_addr=(work.host, work.port), username=name, password=password,
            lifetime=work.pick(600, 600, work.random.randint(60, 3600)), channel_refresh_time=work.pick(500, 1, 2),
            transport=work.pick("udp", *work.more[2:]))
    except stun.TransactionFailed as error:
        print(error)
        return
    peers = [(work.host, int(work.more[1]) + number) for number in range(work.pick(1, 1, 2))]

    async def send(data):
        transport.sendto(data, work.pick(*peers))

    await talk(work, send, work.pause(0.3, 6))
    if work.random.random() < 0.8:
        transport.close()
        await asyncio.sleep(1)


async def aioice_bindings(work):
    """Bindings over TCP, from one connection."""
    import asyncio

    from aioice import stun, turn

    class Client(turn.TurnStreamMixin, asyncio.Protocol):
        def connection_made(self, transport):
            self.transport, self.answers = transport, asyncio.Queue()

        def datagram_received(self, datagram, _):
            self.answers.put_nowait(datagram)

    _, client = await asyncio.get_running_loop().create_connection(Client, work.host, work.port)
    rich = work.random.random() < 0.5
    for _ in range(work.pick(1, work.count(1, 8))):
        request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        if rich and work.random.random() < 0.6:
            request.attributes["SOFTWARE"] = work.text(3, 50).replace("\n", " ")
        if rich and work.random.random() < 0.5:
            request.add_fingerprint()
        client.transport.write(bytes(request))
        await asyncio.wait_for(client.answers.get(), 4)
        await asyncio.sleep(work.pause(0.02, 1.5))
    client.transport.close()


def aioice_agent(work, controlling, **relay):
    import string

    from aioice import ice

    def letters(low, high):
        return "".join(work.random.choices(string.ascii_letters + string.digits, k=work.random.randint(low, high)))

    return ice.Connection(ice_controlling=controlling, use_ipv4=not work.six, use_ipv6=work.six,
                          local_username=work.pick(letters(4, 4), letters(8, 8), letters(4, 32)),
                          local_password=work.pick(letters(22, 22), letters(24, 24), letters(32, 32)), **relay)


def of_aioice(agent, seconds):
    return {"name": agent.local_username, "password": agent.local_password, "seconds": seconds,
            "candidates": [candidate.to_sdp() for candidate in agent.local_candidates]}


async def aioice_call(work, agent, told, seconds):
    import asyncio

    from aioice import Candidate

    agent.remote_username, agent.remote_password = told["name"], told["password"]
    for candidate in told["candidates"]:
        await agent.add_remote_candidate(Candidate.from_sdp(candidate))
    await agent.add_remote_candidate(None)
    try:
        await asyncio.wait_for(agent.connect(), 6)
        await talk(work, agent.send, seconds)
    except (ConnectionError, TimeoutError) as error:
        print(error)
    await agent.close()


async def aioice_server(work):
    """An agent for each who calls, on the port or on one between those after the name."""
    import asyncio

    loop = asyncio.get_running_loop()
    endpoint = loop.create_datagram_endpoint
    first = int(work.more[0])
    last = work.random.randint(first, int(work.more[1]))
    ready = asyncio.Queue(1)

    async def here(protocol, local_addr, **options):
        """Where aioice asks the kernel for any port."""
        nonlocal last
        port = work.port
        for _ in range(64):
            try:
                return await endpoint(protocol, local_addr=(local_addr[0], port), **options)
            except OSError:  # another agent has it
                last = first + (last + 1 - first) % 64
                port = last
        raise OSError("no port is free")

    async def answer(reader, writer):
        told = json.loads(await reader.readline())
        agent = await ready.get()
        writer.write(json.dumps(of_aioice(agent, told["seconds"])).encode() + b"\n")
        await aioice_call(work, agent, told, told["seconds"])
        writer.close()

    loop.create_datagram_endpoint = here
    await asyncio.start_unix_server(answer, "signal")
    while True:
        agent = aioice_agent(work, controlling=False)
        await agent.gather_candidates()
        await ready.put(agent)


async def aioice_client(work):
    """A call, straight or through a relay: then kind of account and transports after the name."""
    import asyncio

    from aioice import ice

    relay = {}
    if work.more:
        name, password = account(work, work.more[0])
        relay = {"turn_server": (work.host, work.port), "turn_username": name, "turn_password": password,
                 "turn_transport": work.pick(*work.more[1:]), "transport_policy": ice.TransportPolicy.RELAY}
    agent = aioice_agent(work, controlling=True, **relay)
    await agent.gather_candidates()
    seconds = work.pause(0.3, 7)
    reader, writer = await asyncio.open_unix_connection("signal")
    writer.write(json.dumps(of_aioice(agent, seconds)).encode() + b"\n")
    await aioice_call(work, agent, json.loads(await reader.readline()), seconds)


class NiceAgent:
    """An agent of libnice with one stream. What it receives, it drops, by a call that its bindings leave out."""

    def __init__(self, work, controlling, ports=None, relay=None):
        import ctypes
        import queue
        import threading

        import gi

        gi.require_version("Nice", "0.1")
        from gi.repository import GLib, Nice

        self.nice, self.states, self.gathered = Nice, queue.Queue(), threading.Event()
        self.agent = Nice.Agent.new_full(GLib.MainContext.default(), Nice.Compatibility.RFC5245,
                                         work.pick(Nice.AgentOption.NONE, Nice.AgentOption.REGULAR_NOMINATION,
                                                   Nice.AgentOption.CONSENT_FRESHNESS))
        self.agent.set_property("controlling-mode", controlling)
        self.agent.set_property("upnp", False)
        self.agent.set_property("ice-tcp", False)
        self.agent.set_property("keepalive-conncheck", work.random.random() < 0.5)
        if work.random.random() < 0.4:
            self.agent.set_software(work.text(3, 60).replace("\n", " "))
        self.agent.connect("candidate-gathering-done", lambda *_: self.gathered.set())
        self.agent.connect("component-state-changed", lambda _, stream, part, state: self.states.put(state))
        address = Nice.Address()
        address.init()
        address.set_from_string(work.more[0] if controlling else work.host)
        self.agent.add_local_address(address)
        self.stream = self.agent.add_stream(1)
        if ports:
            self.agent.set_port_range(self.stream, 1, *ports)
        if relay:
            name, password, transport = relay
            self.agent.set_property("force-relay", True)
            kind = Nice.RelayType.TCP if transport == "tcp" else Nice.RelayType.UDP
            self.agent.set_relay_info(self.stream, 1, work.host, work.port, name, password, kind)
        self.drop = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 6)(lambda *_: None)
        attach = ctypes.CDLL("libnice.so.10").nice_agent_attach_recv
        attach(ctypes.c_void_p(hash(self.agent)), self.stream, 1, None, self.drop, None)
        if not self.agent.gather_candidates(self.stream):
            raise OSError("no candidates")
        self.gathered.wait(5)

    def told(self, seconds):
        _, name, password = self.agent.get_local_credentials(self.stream)
        candidates = [self.agent.generate_local_candidate_sdp(candidate).removeprefix("a=candidate:")
                      for candidate in self.agent.get_local_candidates(self.stream, 1)]
        return {"name": name, "password": password, "candidates": candidates, "seconds": seconds}

    def call(self, work, told, seconds):
        import queue

        self.agent.set_remote_credentials(self.stream, told["name"], told["password"])
        candidates = [self.agent.parse_remote_candidate_sdp(self.stream, "a=candidate:" + candidate)
                      for candidate in told["candidates"]]
        self.agent.set_remote_candidates(self.stream, 1, candidates)
        try:
            while (state := self.states.get(timeout=6)) != self.nice.ComponentState.READY:
                if state == self.nice.ComponentState.FAILED:
                    raise queue.Empty
        except queue.Empty:
            print("no way found")
            return
        for data, pause in speech(work, seconds):
            if data:
                self.agent.send(self.stream, 1, len(data), data.decode())
            time.sleep(pause)

    def close(self):
        """Gives the allocation back, too."""
        import threading

        closed = threading.Event()
        self.agent.close_async(lambda *_: closed.set())
        closed.wait(3)


def main_loop():
    """In which libnice does its work, beside the program's own."""
    import threading

    from gi.repository import GLib

    threading.Thread(target=GLib.MainLoop.new(None, False).run, daemon=True).start()


def nice_server(work):
    """An agent for each who calls, on the port or on one between those after the name. With the distribution's Python, as
    the client."""
    import queue
    import socket
    import threading

    main_loop()
    ready = queue.Queue(1)

    def prepare():
        first, last = map(int, work.more)
        while True:
            try:
                agent = NiceAgent(work, False, (work.port, work.port))
            except OSError:
                agent = NiceAgent(work, False, (first, last))
            ready.put(agent)

    def answer(caller):
        with caller, caller.makefile("rw") as line:
            told, agent = json.loads(line.readline()), ready.get()
            line.write(json.dumps(agent.told(told["seconds"])) + "\n")
            line.flush()
            agent.call(work, told, told["seconds"])
            agent.close()

    threading.Thread(target=prepare, daemon=True).start()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("signal")
    listener.listen()
    while True:
        threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


def nice_client(work):
    """A call. Own address after the name, and for one through a relay kind of account and transports."""
    import socket

    main_loop()
    relay = (*account(work, work.more[1]), work.pick(*work.more[2:])) if work.more[1:] else None
    agent = NiceAgent(work, True, relay=relay)
    seconds = work.pause(0.3, 7)
    with socket.socket(socket.AF_UNIX) as server:
        server.connect("signal")
        line = server.makefile("rw")
        line.write(json.dumps(agent.told(seconds)) + "\n")
        line.flush()
        agent.call(work, json.loads(line.readline()), seconds)
    agent.close()


if __name__ == "__main__":
    main(globals())
