"""Connectionless DCE/RPC, over UDP: PROFINET IO and other interfaces by scapy and profinet-py, and messages of the Messenger
service that nobody answers."""

import socket
import threading
import time
import uuid
from contextlib import suppress

from . import main
from .windows_rpc import poll, words

PNIO = "dea00001-6c97-11d1-8271-00a02442df7d"
DATAGRAMS = ["4fc742e0-4a10-11cf-8273-00aa004ae673", "41208ee0-e970-11d1-9b9e-00e02c064c39",
             "f5cc59b4-4264-101a-8c59-08002b2f8426", "12345778-1234-abcd-ef00-0123456789ac"]
CONVERSATION = "333a2276-0000-0000-0d00-00809c000000"
MESSENGER = "5a7b91f8-ff00-11d0-a9b2-00c04fb6e6fc"
MAPPER = "e1af8308-5d1f-11c9-91a4-08002b14a0fa"
REQUEST, PING, RESPONSE, FAULT, WORKING, NO_CALL, REJECT, ACKNOWLEDGE, FRAGMENT = 0, 1, 2, 3, 4, 5, 6, 7, 9


def datagram(body=b"", **fields):
    from scapy.contrib import pnio_rpc  # noqa: F401  tells what is in its own
    from scapy.layers.dcerpc import DceRpc4
    from scapy.packet import Raw

    return bytes(DceRpc4(**fields) / (Raw(body) if isinstance(body, bytes) else body))


def answer_to(request, kind, body=b"", **fields):
    """A PDU of the same call, in the other direction."""
    same = {name: getattr(request, name) for name in ("endian", "object", "if_id", "act_id", "if_vers", "seqnum", "opnum")}
    return datagram(body, ptype=kind, **same | {"flags1": 0x0A, "server_boot": 0x5F000000} | fields)


def pnio_device(work):
    """A PROFINET IO device and, besides, servers of Windows' kind: what is slow is answered late, and tells so when asked."""
    import logging

    from scapy.contrib import pnio_rpc
    from scapy.layers.dcerpc import DceRpc4
    from scapy.packet import Raw

    logging.disable(logging.CRITICAL)
    server = socket.socket(socket.AF_INET6 if work.six else socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((work.host, work.port))
    place, slow, mac = work.word(), work.random.random() < 0.5, f"00:0e:8c:{work.random.randrange(100):02}:01:02"
    calls, known, lengths = {}, set(), {}

    def record(block):
        identity = {0xAFF0: pnio_rpc.IM0Block(OrderID="6ES7 " + place, IMSerialNumber="S " + place, VendorIDLow=42),
                    0xAFF1: pnio_rpc.IM1Block(IMTagFunction=place, IMTagLocation=place),
                    0xAFF2: pnio_rpc.IM2Block(IMDate="2026-01-01"), 0xAFF3: pnio_rpc.IM3Block(IMDescriptor=place)}
        if block.index in identity:
            return identity[block.index]
        length = lengths.setdefault((block.slotNumber, block.subslotNumber, block.index), work.size(4, 1200))
        return Raw(work.random.randbytes(length))

    def of_pnio(request):
        results = []
        for block in request[pnio_rpc.PNIOServiceReqPDU].blocks:
            if isinstance(block, pnio_rpc.IODReadReq):
                results.append(block.get_response() / record(block))
            elif isinstance(block, pnio_rpc.ARBlockReq):
                results.append(block.get_response())
                results[-1].CMResponderMacAdd = mac
            elif hasattr(block, "get_response") and (result := block.get_response()):
                results.append(result)
        return pnio_rpc.PNIOServiceResPDU(blocks=results)

    def mapped():
        tower = b"\x05\x00" + bytes(73)
        text = f"{place:20} 6ES7 {place:12} V 4.2".encode()[:63] + b"\0"
        return (bytes(20) + words(1, 1, 0, 1) + bytes(16) + words(3, 0, len(text)) + text + words(len(tower), len(tower)) + tower
                + bytes(-len(tower) % 4) + words(0))

    def call(request, client):
        key = request.act_id, request.seqnum
        work.think(0.0005, 2.5 if slow and work.random.random() < 0.1 else 0.03)
        fields = {}
        if str(request.if_id) == PNIO and pnio_rpc.PNIOServiceReqPDU in request:
            body = of_pnio(request)
        elif str(request.if_id) == MAPPER:
            body, fields = mapped(), {"endian": 1}
        elif str(request.if_id) in DATAGRAMS:
            if request.act_id not in known and not int(request.flags1) & 0x20:
                # Who calls for the first time what must not be done twice, is asked back.
                known.add(request.act_id)
                server.sendto(datagram(request.act_id.bytes_le + words(1), ptype=REQUEST, flags1=0x28, opnum=work.pick(0, 1, 2),
                                       if_id=uuid.UUID(CONVERSATION), if_vers=3, act_id=uuid.uuid4()), client)
            body = work.random.randbytes(work.size(4, 1300) & ~3)
        else:
            server.sendto(answer_to(request, REJECT, words(0x1C010003)), client)
            calls.pop(key)
            return
        calls[key] = answer_to(request, RESPONSE, body, **fields)
        server.sendto(calls[key], client)
        end = getattr(request.lastlayer(), "ControlCommand_PrmEnd", 0) or request.opnum == 4
        if str(request.if_id) == PNIO and end:
            # It is ready, as it tells from here.
            ready = pnio_rpc.IODControlReq(block_type=0x0112, ARUUID=uuid.uuid4(), ControlCommand_ApplicationReady=1)
            work.think(0.001, 0.2)
            server.sendto(datagram(pnio_rpc.PNIOServiceReqPDU(blocks=[ready]), opnum=4, flags1=0x20, act_id=uuid.uuid4(),
                                   endian=request.endian, if_id=uuid.UUID(PNIO.replace("01-", "02-", 1))), client)

    while True:
        data, client = server.recvfrom(4000)
        with suppress(Exception):
            request = DceRpc4(data)
            key = request.act_id, request.seqnum
            if request.ptype == REQUEST and int(request.flags1) & 0x04 and not int(request.flags1) & 0x02:
                if not int(request.flags1) & 0x08:
                    server.sendto(answer_to(request, FRAGMENT, fragnum=request.fragnum), client)
            elif request.ptype == REQUEST and key not in calls:
                calls[key] = None
                threading.Thread(target=call, args=[request, client], daemon=True).start()
            elif request.ptype in (REQUEST, PING):
                server.sendto(calls.get(key) or answer_to(request, WORKING if key in calls else NO_CALL), client)


class Datagrams:
    """A client's activity: calls one after the other, repeated and asked for while there is no answer."""

    def __init__(self, work, interface, prefix=None):
        import logging

        logging.disable(logging.CRITICAL)
        self.work, self.interface = work, uuid.UUID(interface)
        self.socket = socket.socket(socket.AF_INET6 if work.six else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((work.host, work.port))
        self.activity, self.number = uuid.UUID(int=work.random.getrandbits(128)), work.pick(0, 0, work.random.getrandbits(16))
        self.same = {"endian": work.pick(0, 1), "act_id": self.activity, "if_id": self.interface, "if_vers": 1}
        if prefix:
            self.same["object"] = uuid.UUID(prefix + work.random.randbytes(6).hex())
        self.patience, self.boot, self.repeats = work.pause(0.2, 2), 0, work.pick(2, 3, 5)
        self.most = work.pick(944, 1144, 1392)  # of a body in one PDU

    def send(self, kind, opnum, flags, body=b"", **fields):
        self.socket.send(datagram(body, ptype=kind, opnum=opnum, flags1=flags, seqnum=self.number, server_boot=self.boot,
                                  **self.same | fields))

    def call(self, opnum, body, flags=0x20):
        """The answer's PDU, or None where there is none."""
        from scapy.layers.dcerpc import DceRpc4

        self.number += 1
        pieces = [body]
        if isinstance(body, bytes) and len(body) > self.most:
            pieces = [body[at:at + self.most] for at in range(0, len(body), self.most)]
        for attempt in range(self.repeats + 1):
            if attempt and self.work.random.random() < 0.6:
                self.send(PING, opnum, flags)
            else:
                for number, piece in enumerate(pieces):
                    more = (4 | (number == len(pieces) - 1) * 2) if len(pieces) > 1 else 0
                    self.send(REQUEST, opnum, flags | more, piece, fragnum=number)
            end = time.monotonic() + self.patience * (attempt + 1)
            while (left := end - time.monotonic()) > 0:
                self.socket.settimeout(left)
                try:
                    answer = DceRpc4(self.socket.recv(4000))
                except TimeoutError:
                    break
                if answer.ptype == REQUEST:  # of the server, about this activity or its application
                    self.socket.send(answer_to(answer, RESPONSE, words(0) * self.work.pick(2, 5)))
                elif answer.seqnum == self.number and answer.ptype in (RESPONSE, FAULT, REJECT):
                    self.boot = answer.server_boot
                    if not flags & 0x20:
                        self.send(ACKNOWLEDGE, opnum, 0)
                    return answer
        return None


def pnio_controller(work):
    """An IO controller with scapy's messages: connects, writes parameters, reads records; or reads without a connection."""
    from scapy.contrib import pnio_rpc
    from scapy.packet import Raw

    calls = Datagrams(work, PNIO, "dea00000-6c97-11d1-8271-")
    if work.random.random() < 0.2:
        mapper = Datagrams(work, MAPPER)
        mapper.call(2, words(0, 0, 1) + bytes(16) + words(2) + bytes(20) + words(1) + bytes(24), 0x20)
    relation, key = uuid.UUID(int=work.random.getrandbits(128)), work.random.getrandbits(16)
    answered = []

    def ask(opnum, *blocks):
        answered.append(calls.call(opnum, pnio_rpc.PNIOServiceReqPDU(args_max=work.pick(4096, 16696), blocks=list(blocks))))

    def read(opnum=2, **fields):
        index = work.pick(0xAFF0, 0xAFF1, 0xAFF2, 0xAFF3, 0x8028, 0xE00C, 0xF000, 0x802A, work.random.randrange(0x7FFF))
        ask(opnum, pnio_rpc.IODReadReq(seqNum=len(answered), slotNumber=work.random.randrange(work.pick(1, 16)), subslotNumber=1,
                                       index=index, recordDataLength=work.pick(64, 4096, 32768), **fields))

    def write():
        ask(3, pnio_rpc.IODWriteReq(seqNum=len(answered), ARUUID=relation, slotNumber=work.random.randrange(16), subslotNumber=1,
                                    index=work.random.randrange(0x7FFF)) / Raw(work.bytes(4, 1200)))

    if work.random.random() < 0.35:
        poll(work, lambda: read(5))
        return not any(answered)
    slots = [pnio_rpc.IOCRAPIObject(SlotNumber=slot, SubslotNumber=1, FrameOffset=slot) for slot in range(work.count(1, 24))]
    data = pnio_rpc.ExpectedSubmoduleDataDescription(DataDescription=1, SubmoduleDataLength=1, LengthIOCS=1, LengthIOPS=1)
    module = pnio_rpc.ExpectedSubmodule(SubslotNumber=1, SubmoduleProperties_Type=1, DataDescription=[data])
    described = [pnio_rpc.ExpectedSubmoduleAPI(SlotNumber=slot.SlotNumber, ModuleIdentNumber=work.random.getrandbits(16),
                                               Submodules=[module]) for slot in slots]
    mac = "00:1b:1b:01:02:03"
    ask(0, pnio_rpc.ARBlockReq(ARUUID=relation, SessionKey=key, CMInitiatorMacAdd=mac, CMInitiatorObjectUUID=uuid.UUID(int=key),
                               CMInitiatorStationName=work.word()),
        *[pnio_rpc.IOCRBlockReq(IOCRType=kind, IOCRReference=kind, IOCRMulticastMACAdd="00:00:00:00:00:00",
                                APIs=[pnio_rpc.IOCRAPI(IODataObjects=slots, IOCSs=slots[:1])]) for kind in (1, 2)],
        pnio_rpc.AlarmCRBlockReq(), pnio_rpc.ExpectedSubmoduleBlockReq(APIs=described))
    for _ in range(work.count(0, 8)):
        write()
    ask(4, pnio_rpc.IODControlReq(block_type=0x0110, ARUUID=relation, SessionKey=key, ControlCommand_PrmEnd=1))
    if work.random.random() < 0.7:
        poll(work, lambda: work.pick(read, read, write)())
    if work.random.random() < 0.8:
        ask(1, pnio_rpc.IODControlReq(block_type=0x0114, ARUUID=relation, SessionKey=key, ControlCommand_Release=1))
    return not any(answered)


def profinet_client(work):
    """The same with profinet-py."""
    import logging

    from profinet import rpc
    from profinet.dcp import DCPDeviceDescription
    from profinet.exceptions import ProfinetError

    logging.disable(logging.CRITICAL)
    if work.six:
        rpc.AF_INET = socket.AF_INET6  # it knows IPv4 alone
    device = DCPDeviceDescription(b"\x00\x0e\x8c\x01\x02\x03", {})
    connection = rpc.RPCCon(device, timeout=4)
    connection.peer = (work.host, work.port)
    if work.random.random() < 0.2:
        rpc.epm_lookup(work.host, work.port)

    def once(call, *arguments):
        with suppress(ProfinetError):  # a record that it takes for another
            call(*arguments)

    read = work.pick(connection.read, connection.read_implicit)
    if read == connection.read:
        connection.connect(b"\x00\x1b\x1b\x01\x02\x03", with_alarm_cr=work.random.random() < 0.5)
        for _ in range(work.count(0, 5)):
            once(connection.write, 0, work.random.randrange(8), 1, work.random.randrange(0x7FFF), work.bytes(4, 1200))
        if work.random.random() < 0.5:
            once(connection.prm_end)
    poll(work, lambda: once(read, 0, work.random.randrange(8), 1,
                            work.pick(0xAFF0, 0xAFF1, 0xAFF2, 0x8028, work.random.randrange(0x7FFF))))
    connection.close()


def datagram_client(work):
    """Calls of other interfaces, some of them in fragments, some of them refused."""
    calls = Datagrams(work, work.pick(*DATAGRAMS, *DATAGRAMS, str(uuid.UUID(int=work.random.getrandbits(128)))))
    flags = work.pick(0, 0x20)
    answers = [calls.call(work.random.randrange(20), work.bytes(8, 4500), flags) for _ in range(work.count(1, 4))]
    poll(work, lambda: answers.append(calls.call(work.random.randrange(20), work.bytes(8, 400), flags)))
    return not any(answers)


def messenger_sink(work):
    """The Messenger service answers nothing that is sent to everybody."""
    server = socket.socket(socket.AF_INET6 if work.six else socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((work.host, work.port))
    while True:
        server.recv(4000)


def messenger(work):
    """A message in one packet, perhaps again; or a few."""

    def string(text):
        data = text.encode() + b"\0"
        return words(len(data), 0, len(data)) + data + bytes(-len(data) % 4)

    sender, receiver = work.word().upper(), work.word().upper()
    calls = Datagrams(work, MESSENGER)
    calls.same["endian"] = 1  # that of Windows
    for _ in range(work.pick(1, 1, 1, 2, 3)):
        text, copies = work.text(20, 1100), work.pick(1, 1, 1, 2, 3)
        for _ in range(copies):
            calls.send(REQUEST, 0, work.pick(0x20, 0x28), string(sender) + string(receiver) + string(text))
            work.think(0.001, 1.5)
        calls.number += 1


if __name__ == "__main__":
    main(globals())
