"""RTSP: GStreamer's server. RTP: GStreamer, aiortp, an echo. STUN: aioice, aiostun, pystun3. VNC: vncdotool."""

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


def gst_rtp_server(work):
    """The other end of calls: answers with the codec that it hears, or listens only. With the distribution's Python."""
    import time

    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstNet", "1.0")
    from gi.repository import GLib, Gst, GstNet

    Gst.init(None)
    receiver = Gst.parse_launch(f"udpsrc name=source address={work.host} port={work.port} ! fakesink sync=false async=false")
    source = receiver.get_by_name("source")
    receiver.set_state(Gst.State.PAUSED)
    ptime = work.pick(10, 20, 20, 20, 30, 40) * 1_000_000
    packets = f"min-ptime={ptime} max-ptime={ptime}"
    narrow, wide = (f"audio/x-raw,rate={rate},channels=1" for rate in (8_000, 16_000))
    codecs = {
        0: f"{narrow} ! mulawenc ! rtppcmupay {packets}",
        8: f"{narrow} ! alawenc ! rtppcmapay {packets}",
        9: f"{wide} ! avenc_g722 ! rtpg722pay {packets}",
        96: f"audio/x-raw,rate=48000,channels=1 ! opusenc bitrate={work.size(8_000, 64_000)} dtx=true ! rtpopuspay pt=96",
        97: f"{wide} ! speexenc vad=true dtx=true ! rtpspeexpay pt=97",
    }
    # One stream a codec goes to all callers of that time, from the port that they call.
    senders = {}
    for number, codec in codecs.items():
        wave = work.pick("pink-noise", "ticks", "sine")
        pipeline = Gst.parse_launch(f"audiotestsrc is-live=true wave={wave} samplesperbuffer=160 ! audioconvert ! {codec}"
                                    " ! multiudpsink name=sink sync=false async=false")
        sink = pipeline.get_by_name("sink")
        sink.set_property("socket-v6" if work.six else "socket", source.get_property("used-socket"))
        sink.set_property("close-socket", False)
        pipeline.set_state(Gst.State.PLAYING)
        senders[number] = pipeline, sink
    callers = {}

    def heard(_, info):
        buffer = info.get_buffer()
        caller = GstNet.buffer_get_net_address_meta(buffer).addr
        caller = caller.get_address().to_string(), caller.get_port()
        first, second = buffer.extract_dup(0, 2)
        number = second & 0x7F
        if first >> 6 != 2 or 72 <= number <= 76:
            return Gst.PadProbeReturn.OK  # STUN or RTCP
        if caller not in callers:
            answers = number in senders and work.random.random() < 0.6
            callers[caller] = [senders[number][1] if answers else None, 0]
            if answers:
                GLib.timeout_add(work.size(1, 600), answer, caller)
        callers[caller][1] = time.monotonic()
        return Gst.PadProbeReturn.OK

    def answer(caller):
        callers[caller][0].emit("add", *caller)
        return False

    def forget():
        for caller, (sink, last) in list(callers.items()):
            if sink and time.monotonic() - last > 1:
                sink.emit("remove", *caller)
                callers[caller][0] = None
        return True

    source.get_static_pad("src").add_probe(Gst.PadProbeType.BUFFER, heard)
    GLib.timeout_add(200, forget)
    receiver.set_state(Gst.State.PLAYING)
    GLib.MainLoop().run()


async def talk(work, session, until):
    """Speech as packets of one length, in talkspurts or without a break, with digits in between (RFC 4733)."""
    import asyncio

    from aiortp.dtmf import DTMF_EVENTS, DtmfEvent

    ptime, pauses, digits = work.pick(0.01, 0.02, 0.02, 0.02, 0.03, 0.04), work.random.random() < 0.4, work.random.random() < 0.3
    samples = int(session.codec.sample_rate * ptime)
    loop = asyncio.get_running_loop()
    stamp, due = work.random.randrange(2**31), loop.time()
    while not until():
        if digits and work.random.random() < 0.02:
            event = DTMF_EVENTS[work.pick(*"0123456789*#")]
            length = work.random.randint(3, 12)
            for part in [*range(1, length), length, length, length]:
                report = DtmfEvent(event=event, end=part == length, volume=10, duration=part * samples)
                session._sender.send_raw(101, report.serialize(), stamp, marker=int(part == 1), addr=session._remote_addr)
                if part < length:
                    await asyncio.sleep(ptime)
            stamp, due = stamp + length * samples, loop.time()
        elif pauses and work.random.random() < 0.02:
            silence = work.pause(0.1, 1.5)
            if work.random.random() < 0.5:
                session._sender.send_raw(13, bytes([work.random.randint(30, 70)]), stamp, addr=session._remote_addr)
            stamp += int(silence * session.codec.sample_rate)
            due += silence
        else:
            session.send_audio_pcm(work.random.randbytes(2 * samples), stamp)
            stamp += samples
            due += ptime
        await asyncio.sleep(max(0, due - loop.time()))


async def aiortp_server(work):
    """Talks to whom it hears, as long as it does; in some rounds it never says a word."""
    import asyncio

    from aiortp import RTPSession

    loop = asyncio.get_running_loop()
    session = await RTPSession.create(
        (work.host, work.port), (work.host, 9), payload_type=work.pick(0, 8), symmetric_rtp=True, rtcp_interval=5)
    last = 0

    def heard(*_):
        nonlocal last
        last = loop.time()

    session.on_audio = heard
    session.on_dtmf = heard
    listens = work.random.random() < 0.3
    while True:
        await asyncio.sleep(0.02)
        if not listens and loop.time() - last < 0.5:
            await asyncio.sleep(work.pause(0.01, 0.5))
            await talk(work, session, lambda: loop.time() - last > 0.5)


async def aiortp_caller(work):
    """A call, or the announcement of one who does not listen. Its address follows the name."""
    import asyncio

    from aiortp import RTPSession

    loop = asyncio.get_running_loop()
    port = 2 * work.random.randint(5_000, 12_000)
    session = await RTPSession.create(
        (work.more[0], port), (work.host, work.port), payload_type=work.pick(0, 0, 8, 8, 11), symmetric_rtp=True,
        rtcp_interval=work.pick(1, 5), duplicate_tx=work.random.random() < 0.1)
    end = loop.time() + work.pause(0.5, 6)
    await talk(work, session, lambda: loop.time() > end)
    await session.close()


async def aiortp_camera(work):
    """Pictures as an encoder gives them: a large one now and then, and what changes since. Its address follows the name."""
    import asyncio

    from aiortp import VideoRTPSession

    rate, codec = work.pick(5, 10, 15, 25, 30), work.pick("h264", "h264", "vp8")
    port = 2 * work.random.randint(5_000, 12_000)
    session = await VideoRTPSession.create(
        (work.more[0], port), (work.host, work.port), payload_type=work.random.randint(96, 127), codec=codec, fps=rate,
        rtcp_interval=work.pick(1, 5))
    whole, changes, every = work.size(2_000, 40_000), work.size(100, 4_000), work.random.randint(10, 100)
    for number in range(int(rate * work.pause(0.5, 5))):
        first = number % every == 0
        size = int((whole if first else changes) * work.random.uniform(0.5, 1.5))
        if codec == "h264":
            # The types of units: parameter sets before a picture that stands alone.
            sets = [b"\x67" + work.random.randbytes(work.random.randint(8, 24)), b"\x68" + work.random.randbytes(4)]
            units = [*(sets if first else []), (b"\x65" if first else b"\x41") + work.random.randbytes(size)]
        else:
            units = [work.random.randbytes(size)]
        session.send_frame_auto(units, keyframe=first)
        await asyncio.sleep(1 / rate)
    await session.close()


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
