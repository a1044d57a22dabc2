"""RTSP: GStreamer's server. STUN: aioice, aiostun, pystun3. VNC: vncdotool. An echo for media streams."""

from . import main


def gst_rtsp_server(work):
    """With the distribution's Python, which has GStreamer's bindings; first and last media port after the name."""
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(work.host)
    server.set_service(str(work.port))
    pool = GstRtspServer.RTSPAddressPool()
    everywhere = "::" if work.six else "0.0.0.0"
    pool.add_range(everywhere, everywhere, int(work.more[0]), int(work.more[1]), 0)
    for name, pipeline in (
            ("speech", "audiotestsrc is-live=true wave=pink-noise ! audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay name=pay0"),
            ("music", "audiotestsrc is-live=true wave=ticks ! audio/x-raw,rate=44100,channels=2 ! rtpL16pay name=pay0")):
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(f"( {pipeline} )")
        factory.set_address_pool(pool)
        server.get_mount_points().add_factory("/" + name, factory)
    server.attach(None)
    GLib.MainLoop().run()


def echo_server(work):
    """Sends each datagram back, as the other end of a call sends its own."""
    import socket

    listener = socket.socket(socket.AF_INET6 if work.six else socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((work.host, work.port))
    while True:
        datagram, sender = listener.recvfrom(65_535)
        try:
            listener.sendto(datagram, sender)
        except OSError:
            pass  # the sender has gone


async def stun_server(work):
    """Answers with what servers of this round tell beside the address (RFC 5389 section 15, RFC 5780 section 7)."""
    import asyncio

    from aioice import stun

    software = work.pick(None, "aioice", work.word(), f"{work.word()}-{work.random.randint(0, 9)}.{work.random.randint(0, 20)}",
                         work.text(20, 80).replace("\n", " "))
    mapped, origin, other, fingerprint = (work.random.random() < share for share in (0.6, 0.5, 0.4, 0.3))
    here, there = (work.host, work.port), (work.host, work.port + 1)

    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, datagram, sender):
            try:
                request = stun.parse_message(datagram)
            except ValueError:
                return
            reply = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.RESPONSE,
                                 transaction_id=request.transaction_id)
            reply.attributes["XOR-MAPPED-ADDRESS"] = sender[:2]
            if mapped:
                reply.attributes["MAPPED-ADDRESS"] = sender[:2]
            if origin:
                reply.attributes["RESPONSE-ORIGIN"] = here
            if other:
                reply.attributes["OTHER-ADDRESS"] = there
            if software:
                reply.attributes["SOFTWARE"] = software
            if fingerprint:
                reply.add_fingerprint()
            self.transport.sendto(bytes(reply), sender)

    await asyncio.get_running_loop().create_datagram_endpoint(Server, local_addr=(work.host, work.port))
    await asyncio.Event().wait()


async def aioice_client(work):
    """One binding, or many, refreshed now and then, as a call keeps its port open."""
    import asyncio

    from aioice import stun

    class Client(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport, self.answers = transport, asyncio.Queue()

        def datagram_received(self, datagram, _):
            self.answers.put_nowait(datagram)

    _, client = await asyncio.get_running_loop().create_datagram_endpoint(Client, remote_addr=(work.host, work.port))
    plain = work.random.random() < 0.4
    for _ in range(work.pick(1, work.count(1, 8))):
        request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        if not plain and work.random.random() < 0.4:
            request.attributes["SOFTWARE"] = work.word()
        if not plain and work.random.random() < 0.4:
            request.attributes["USERNAME"] = f"{work.word()}:{work.word()}"
            request.attributes["PRIORITY"] = work.random.randrange(2**31)
            request.add_message_integrity(b"secret")
        client.transport.sendto(bytes(request))
        await asyncio.wait_for(client.answers.get(), 4)
        await asyncio.sleep(work.pause(0.02, 1))


async def aiostun_client(work):
    """What an application asks once it starts: its address, in the old form or the new."""
    import asyncio

    from aiostun import Client, constants

    family = constants.FAMILY_IP6 if work.six else constants.FAMILY_IP4
    async with Client(host=work.host, port=work.port, family=family, timeout=4) as client:
        for _ in range(work.pick(1, 1, 2, 3)):
            await client.bind_request(use_classicstun=work.random.random() < 0.3)
            await asyncio.sleep(work.pause(0.02, 0.5))


def pystun_client(work):
    """What kind of network address translation there is (RFC 3489 section 10.1). From an address after the name."""
    import stun

    stun.get_ip_info(work.more[0], work.random.randint(20_000, 24_000), work.host, work.port)


def vncdotool_client(work):
    import tempfile

    from vncdotool import api

    client = api.connect(f"{work.host}::{work.port}", timeout=12)
    for _ in range(work.count(1, 8)):
        kind = work.random.random()
        if kind < 0.4:
            client.mouseMove(work.random.randrange(600), work.random.randrange(400))
            client.mousePress(1)
        elif kind < 0.8:
            for letter in work.word():
                client.keyPress(letter)
                client.pause(work.pause(0.01, 0.2))
        else:
            with tempfile.NamedTemporaryFile(suffix=".png") as picture:
                client.captureScreen(picture.name)
        client.pause(work.pause(0.05, 0.6))
    client.disconnect()
    api.shutdown()


if __name__ == "__main__":
    main(globals())
