"""DCE/RPC of COM, of printing and of tasks over TCP: long sessions of small calls, with scapy's and impacket's stacks. The
stubs are of the interfaces' own definitions ([MS-DCOM], [MS-RPRN], [MS-TSCH], OPC Data Access). Connectionless over UDP, and
SMB, below."""

import copy
import random
import socket
import struct
import threading
import time
import uuid
from contextlib import suppress

from . import main

PASSWORD = "Secret-0"
OPC = "39c13a{}-011e-11d0-9675-0020afd8adb3"

EXPORTER = ("99fcfec4-5260-101b-bbcb-00aa0021347a", "0.0")
UNKNOWN = ("00000143-0000-0000-c000-000000000046", "0.0")
SERVER = (OPC.format("4d"), "0.0")
STATE = (OPC.format("50"), "0.0")
SYNC = (OPC.format("52"), "0.0")
ITEMS = (OPC.format("54"), "0.0")
WMI = ("9556dc99-828c-11cf-a37e-00aa003240c7", "0.0")
ROWS = ("027947e1-d731-11ce-a357-000000000001", "0.0")
SPOOLER = ("12345678-1234-abcd-ef00-0123456789ab", "1.0")
PRINTERS = ("76f03f96-cdfd-44fc-a22c-64950a001209", "1.0")
TASKS = ("86d35949-83c9-4044-b424-db363231fd0c", "1.0")
INTERFACES = [EXPORTER, UNKNOWN, SERVER, STATE, SYNC, ITEMS, WMI, ROWS, SPOOLER, PRINTERS, TASKS]


def words(*values):
    return struct.pack(f"<{len(values)}I", *values)


def wide(text):
    """A conformant and varying string of 16-bit characters."""
    data = (text + "\0").encode("utf-16-le")
    count = len(data) // 2
    return words(count, 0, count) + data + bytes(-len(data) % 4)


def blob(data):
    """A unique pointer to a conformant array of bytes."""
    return words(0x20000, len(data)) + data + bytes(-len(data) % 4)


def this(stub=b""):
    """The arguments of a COM call behind its ORPCTHIS."""
    return struct.pack("<HHII16sI", 5, 7, 1, 0, uuid.uuid4().bytes, 0) + stub


def that(stub=b""):
    """The results of a COM call behind its ORPCTHAT, with success at the end."""
    return words(0, 0) + stub + words(0)


def pointer(work):
    """An interface pointer, as a COM server gives it."""
    reference = b"MEOW" + words(1) + work.random.randbytes(work.pick(60, 68, 120, 164))
    return words(0x20000, len(reference), len(reference)) + reference + bytes(-len(reference) % 4)


def variant(work):
    """A wireVARIANT: a number or, rarer, a string."""
    if work.random.random() < 0.15:
        text = work.word().encode("utf-16-le")
        text += bytes(-len(text) % 8)
        return struct.pack("<IIHHHHI", 4 + len(text) // 8, 0, 8, 0, 0, 0, 8) + words(len(text)) + text
    return struct.pack("<IIHHHHI", 4, 0, 5, 0, 0, 0, 5) + words(0) + work.random.randbytes(8)


def services(work):
    """What servers answer: by interface and number of the call, each from the stub of the request."""
    rows, message = work.pick(300, 900, 2500), work.text(20, 3000)

    def number(stub, at):
        return struct.unpack_from("<I", stub, at)[0]

    def query(stub):
        count = min(struct.unpack_from("<H", stub, 52)[0], 20)
        results = b"".join(words(0, 0, 0, 5) + work.random.randbytes(32) for _ in range(count))
        return that(words(0x20000, count) + results)

    def added(stub):
        count = min(number(stub, 32), 200)
        results = b"".join(words(0x1000 + item, 5, 3, 0, 0, 0) for item in range(count))
        return that(words(0x20000, count) + results + words(0x20004, count, *[0] * count))

    def read(stub):
        count = min(number(stub, 36), 200)
        states = b"".join(words(item) + work.random.randbytes(8) + words(0xC0, 0x20000 + item) for item in range(count))
        values = b"".join(variant(work) for _ in range(count))
        return that(words(0x20000, count) + states + values + words(0x20004, count, *[0] * count))

    def written(stub):
        count = min(number(stub, 32), 200)
        return that(words(0x20000, count, *[0] * count))

    def status(stub):
        return that(words(0x20000) + work.random.randbytes(24) + words(1, 3, 50, 0x10003, 0x20004) + wide(work.word()))

    def row(stub):
        count = min(number(stub, 36), 4000 // rows)  # impacket does not split answers of more
        objects = b"".join(blob(work.random.randbytes(work.size(rows // 3, rows))) for _ in range(count))
        return that(words(count, 0, count) + objects + words(count))

    def handle(stub):
        return words(0) + work.random.randbytes(16) + words(0)

    def sized(at):
        """Calls that fill a buffer: first it is none, and the size that is needed is told."""
        def answer(stub):
            size = number(stub, len(stub) - 4)
            if size == 0:
                return words(0, work.size(150, 2500) & ~3, 0)[:at] + words(122)
            return (blob(work.random.randbytes(min(size, 4000))) + words(size, 1))[:8 + size + at - 4] + words(0)
        return answer

    def retrieve(stub):
        from impacket.dcerpc.v5 import tsch

        answer = tsch.SchRpcRetrieveTaskResponse()
        answer["pXml"] = f"<?xml version=\"1.0\"?>\n<Task><Description>{message}</Description></Task>\0"
        answer["ErrorCode"] = 0
        return answer.getData()

    def names(stub):
        texts = [work.word() for _ in range(work.count(1, 20))]
        return (words(len(texts), len(texts), 0x20000, len(texts), *range(0x20004, 0x20004 + 4 * len(texts), 4))
                + b"".join(map(wide, texts)) + words(0))

    def result(*values):
        return lambda stub: words(*values, 0)

    def interface(stub):
        return that(pointer(work))

    def done(stub):
        return that()

    unknown = {3: query, 4: lambda stub: that(words(1, 0)), 5: done}
    pings = {1: result(), 2: lambda stub: struct.pack("<QI", work.random.getrandbits(64), 0) + words(0)}
    printers = {8: sized(8), 4: sized(12), 34: lambda stub: words(0, 4, 4, 0) + words(0), 1: handle, 29: handle, 69: handle}
    return {
        EXPORTER: pings, UNKNOWN: unknown, SYNC: {3: read, 4: written}, ITEMS: {3: added, 5: written},
        SERVER: {3: lambda stub: that(words(work.random.getrandbits(16), 1000) + pointer(work)), 6: status, 7: done},
        STATE: {3: lambda stub: that(words(1000, 1, 0x20000) + wide(work.word()) + words(0, 0, 1033, 1, 1)),
                4: lambda stub: that(words(1000))},
        WMI: {6: interface, 20: interface, 22: interface}, ROWS: {3: done, 4: row, 7: done}, SPOOLER: printers,
        PRINTERS: {0: handle, 20: handle, 9: sized(8), 38: sized(12)},
        TASKS: {2: retrieve, 6: names, 7: names, 16: lambda stub: struct.pack("<8HI", 2026, 1, 1, 5, 9, 30, 0, 0, 0) + words(0),
                17: result(1, 3)},
    }


def serve(work, session):
    """A thread for each connection."""
    server = socket.create_server((work.host, work.port), family=socket.AF_INET6 if work.six else socket.AF_INET)

    def run(connection):
        with connection, suppress(Exception):  # whatever a client leaves behind, the others are served
            session(connection)

    while True:
        connection, _ = server.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=run, args=[connection], daemon=True).start()


def scapy_interfaces():
    """Scapy leaves the stubs of these as they are."""
    import logging

    from scapy.layers.dcerpc import DCE_RPC_INTERFACES, register_dcerpc_interface

    logging.disable(logging.CRITICAL)
    found = {}
    for name, version in INTERFACES:
        key = (uuid.UUID(name), int(version[0]))
        if key not in DCE_RPC_INTERFACES:
            register_dcerpc_interface(name, key[0], version, {})
        found[name, version] = DCE_RPC_INTERFACES[key]
    return found


def scapy_server(work):
    """With NTLM, bare or in SPNEGO, and without. Interfaces that it does not have are refused when one binds."""
    from scapy.config import conf
    from scapy.layers.dcerpc import DCERPC_Transport, DceRpc5, DceRpc5AlterContext, DceRpc5Bind, DceRpc5Request
    from scapy.layers.msrpce.rpcserver import DCERPC_Server
    from scapy.layers.ntlm import NTLMSSP, MD4le
    from scapy.layers.spnego import SPNEGOSSP
    from scapy.packet import Raw
    from scapy.supersocket import StreamSocket

    scapy_interfaces()
    conf.dcerpc_force_header_signing = True  # impacket signs headers, and does not say so
    calls = services(work)
    by_name = {uuid.UUID(interface[0]): calls[interface] for interface in calls}
    domain = work.word()
    names = {"DOMAIN_FQDN": f"{domain}.example", "DOMAIN_NB_NAME": domain.upper(), "COMPUTER_NB_NAME": work.word().upper()}

    class Server(DCERPC_Server):
        def recv(self, data):
            for layer in (DceRpc5Bind, DceRpc5AlterContext):
                if layer in data:
                    self.bound |= {context.cont_id: context.abstract_syntax.if_uuid for context in data.context_elem}
                    kind = data.auth_verifier.auth_type if data.auth_verifier else None
                    if self.session.ssp is None and kind:
                        ntlm = NTLMSSP(IDENTITIES={"operator": MD4le(PASSWORD)}, **names)
                        self.session.ssp = SPNEGOSSP([ntlm]) if kind == 9 else ntlm
            super().recv(data)

        def make_reply(self, req):
            request = req[DceRpc5Request]
            call = by_name.get(self.bound.get(request.cont_id), {}).get(request.opnum)
            work.think(0.0003, 0.03)
            return call and Raw(call(bytes(request.payload)))

    def session(connection):
        server = Server(DCERPC_Transport.NCACN_IP_TCP, ndr64=False, verb=False, port=work.port)
        server.bound = {}
        server.loop(StreamSocket(connection, DceRpc5))

    serve(work, session)


def impacket_server(work):
    """Without authentication, and one interface a connection."""
    import logging

    from impacket.dcerpc.v5.rpcrt import DCERPCServer

    logging.disable(logging.CRITICAL)
    calls = services(work)

    def session(connection):
        server = DCERPCServer(connection)
        for interface in calls:
            server.addCallbacks(interface, str(work.port), calls[interface])
        while data := server.recv():
            work.think(0.0003, 0.03)
            if answer := server.processRequest(data):
                server.send(answer)

    serve(work, session)


class Scapy:
    """A connection of scapy's client."""

    def __init__(self, work, plain=False):
        from scapy.layers.dcerpc import DCE_C_AUTHN_LEVEL, DCERPC_Transport, DceRpc5, DceRpcSocket
        from scapy.layers.msrpce.rpcclient import DCERPC_Client
        from scapy.layers.ntlm import NTLMSSP
        from scapy.layers.spnego import SPNEGOSSP

        self.interfaces, self.bound = scapy_interfaces(), {}
        level, ssp = DCE_C_AUTHN_LEVEL.NONE, None
        if not plain and work.random.random() < 0.8:
            level = work.pick(DCE_C_AUTHN_LEVEL.CONNECT, DCE_C_AUTHN_LEVEL.PKT_INTEGRITY, DCE_C_AUTHN_LEVEL.PKT_PRIVACY)
            ssp = NTLMSSP(UPN="operator", PASSWORD=PASSWORD)
            ssp = work.pick(ssp, SPNEGOSSP([ssp]))
        self.client = DCERPC_Client(DCERPC_Transport.NCACN_IP_TCP, ssp=ssp, auth_level=level, verb=False,
                                    ndr64=work.random.random() < 0.4)
        self.client.host = work.host
        connection = socket.create_connection((work.host, work.port), 10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client.sock = DceRpcSocket(connection, DceRpc5, ssp=ssp, auth_level=level, transport=self.client.transport)

    def bind(self, interface):
        if interface not in self.bound:
            if not self.client.bind_or_alter(self.interfaces[interface]):
                raise ConnectionError(f"no bind to {interface}")
            self.bound[interface] = self.client.session.cont_id

    def call(self, interface, opnum, stub, ipid=None):
        from scapy.layers.dcerpc import DceRpc5Fault
        from scapy.packet import Raw

        self.bind(interface)
        self.client.session.cont_id = self.bound[interface]
        self.client.session.rpc_bind_interface = self.interfaces[interface]
        more = {"objectuuid": ipid} if ipid else {}
        answer = self.client.sr1_req(Raw(stub), opnum=opnum, timeout=10, **more)
        if answer is None or DceRpc5Fault in answer:
            raise ConnectionError(f"no answer to {opnum} of {interface}")
        return bytes(answer)

    def close(self):
        self.client.close()


class Impacket:
    """A connection of impacket's client. It authenticates anew with each further interface: with one alone here."""

    def __init__(self, work, plain=False):
        from impacket.dcerpc.v5 import rpcrt, transport

        self.work, self.rpcs = work, {}
        self.first = transport.TCPTransport(work.host, work.port).get_dce_rpc()
        if not plain and work.random.random() < 0.8:
            self.first.set_credentials("operator", PASSWORD, "")
            self.first.set_auth_level(work.pick(rpcrt.RPC_C_AUTHN_LEVEL_CONNECT, rpcrt.RPC_C_AUTHN_LEVEL_PKT_INTEGRITY,
                                                rpcrt.RPC_C_AUTHN_LEVEL_PKT_PRIVACY))
        self.first.connect()

    def bind(self, interface):
        from impacket.uuid import uuidtup_to_bin

        if interface not in self.rpcs:
            name = uuidtup_to_bin(interface)
            if self.rpcs:
                self.rpcs[interface] = list(self.rpcs.values())[-1].alter_ctx(name)
            else:
                self.first.bind(name)
                self.rpcs[interface] = self.first

    def call(self, interface, opnum, stub, ipid=None):
        self.bind(interface)
        rpc = self.rpcs[interface]
        rpc.call(opnum, stub, ipid and ipid.bytes_le)
        return rpc.recv()

    def close(self):
        self.first.disconnect()


def poll(work, call):
    """The same again and again, as a display or a collector does: mostly at fixed intervals."""
    end, interval = time.monotonic() + work.pause(0.3, 7), work.pause(0.02, 1.5)
    while time.monotonic() < end:
        call()
        time.sleep(interval * work.pick(1, 1, 1, work.random.uniform(0.5, 1.5)))


def references(work, rpc, ipid):
    """A COM object is asked for further interfaces, or let go."""
    count = work.count(1, 4)
    if work.random.random() < 0.5:
        stub = ipid.bytes_le + struct.pack("<IHHI", 5, count, 0, count) + work.random.randbytes(16 * count)
        return rpc.call(UNKNOWN, 3, this(stub), ipid)
    stub = struct.pack("<HHI", count, 0, count) + b"".join(work.random.randbytes(16) + words(5, 0) for _ in range(count))
    return rpc.call(UNKNOWN, 5, this(stub), ipid)


def opc(work, rpc):
    """A group of items is made on an OPC server and read until the display is closed."""
    ipid, count = uuid.UUID(int=work.random.getrandbits(128)), work.count(1, 40)
    alone = isinstance(rpc, Impacket) or "alone" in work.more
    handles = words(count, count, *range(0x1000, 0x1000 + count))

    def read():
        rpc.call(SYNC, 3, this(struct.pack("<HH", work.pick(1, 1, 2), 0) + handles), ipid)

    def write():
        values = b"".join(variant(work) for _ in range(count))
        rpc.call(SYNC, 4, this(handles + words(count, *range(0x20000, 0x20000 + count)) + values), ipid)

    if alone:
        return poll(work, lambda: work.pick(read, read, read, read, write)())
    for _ in range(work.count(0, 3)):
        references(work, rpc, ipid)
    rpc.call(SERVER, 6, this(), ipid)
    rpc.call(SERVER, 3, this(wide(work.word()) + words(1, 1000, 1, 0, 0, 1033) + ipid.bytes_le), ipid)
    items = [f"{work.word()}.{work.word()}.{work.word()}" for _ in range(count)]
    rpc.call(ITEMS, 3, this(words(count, count) + words(0, 0x20000, 1, 1, 0, 0, 0) * count + b"".join(map(wide, items))), ipid)
    watch = work.pick(lambda: rpc.call(SERVER, 6, this(), ipid), lambda: rpc.call(STATE, 3, this(), ipid),
                      lambda: references(work, rpc, ipid))
    poll(work, lambda: work.pick(*[read] * 9, watch, write)())
    rpc.call(SERVER, 7, this(words(1, 0)), ipid)
    references(work, rpc, ipid)


def objects(work, rpc):
    """Nothing but references to objects: as the connection of a COM client to its server's IRemUnknown."""
    ipid = uuid.UUID(int=work.random.getrandbits(128))
    poll(work, lambda: references(work, rpc, ipid))


def wmi(work, rpc):
    """Rows of a query, one or a few at a time."""
    ipid = uuid.UUID(int=work.random.getrandbits(128))
    alone = isinstance(rpc, Impacket) or "alone" in work.more
    for _ in range(1 if alone else work.count(1, 4)):
        if not alone:
            query = f"SELECT * FROM Win32_{work.word()} WHERE {work.word()} = '{work.word()}'"
            rpc.call(WMI, 20, this(words(0x20000) + wide("WQL") + words(0x20004) + wide(query) + words(0x30, 0)), ipid)
        for _ in range(work.count(1, 30)):
            rpc.call(ROWS, 4, this(words(work.pick(1000, 0xFFFFFFFF), work.pick(1, 1, 5))), ipid)
            work.think(0.001, 0.3)


def pings(work, rpc):
    """A COM client tells that it is still there; real ones do it every two minutes."""
    known = work.random.randbytes(8)
    poll(work, lambda: rpc.call(EXPORTER, 1, known))


def printing(work, rpc):
    from impacket.dcerpc.v5 import rprn

    request = rprn.RpcOpenPrinter()
    request["pPrinterName"] = f"\\\\{work.word()}\\{work.word()}\0"
    request["pDatatype"] = rprn.NULL
    request["pDevModeContainer"]["pDevMode"] = rprn.NULL
    request["AccessRequired"] = rprn.SERVER_READ
    printer = rpc.call(SPOOLER, 1, request.getData())[:20]

    def ask(opnum, *arguments):
        needed = struct.unpack_from("<I", rpc.call(SPOOLER, opnum, printer + words(*arguments, 0, 0)), 4)[0]
        work.think(0.001, 0.02)
        rpc.call(SPOOLER, opnum, printer + words(*arguments) + blob(bytes(needed)) + words(needed))

    poll(work, lambda: work.pick(lambda: ask(8, work.pick(0, 1, 2, 6)), lambda: ask(4, 0, 100, 1))())
    rpc.call(SPOOLER, 29, printer)


def tasks(work, rpc):
    from impacket.dcerpc.v5 import tsch

    def retrieve():
        request = tsch.SchRpcRetrieveTask()
        request["path"], request["lpcwszLanguagesBuffer"], request["pulNumLanguages"] = f"\\{work.word()}\0", "\0", 0
        return 2, request

    def listed():
        request = work.pick(tsch.SchRpcEnumTasks, tsch.SchRpcEnumFolders)()
        request["path"], request["flags"], request["startIndex"], request["cRequested"] = f"\\{work.word()}\0", 1, 0, 100
        return request.opnum, request

    def last():
        request = tsch.SchRpcGetLastRunInfo()
        request["path"] = f"\\{work.word()}\0"
        return 16, request

    def step():
        opnum, request = work.pick(retrieve, listed, last, last)()
        rpc.call(TASKS, opnum, request.getData())

    poll(work, step)


def refused(work, rpc):
    """An interface that the server does not have."""
    from scapy.layers.dcerpc import DceRpcInterface

    name = uuid.UUID(int=work.random.getrandbits(128))
    for _ in range(work.count(1, 3)):
        rpc.client.bind(DceRpcInterface(str(name), name, (1, 0), 1, {}))
        work.think()


def bound(work, rpc):
    rpc.bind(work.pick(*INTERFACES))
    work.think(0.01, 3)


def client(work):
    """Some sessions at a time, as COM has a connection for each of a server's processes. Names of stacks, `plain` for a server
    without authentication, `alone` for one with one interface a connection."""
    import logging

    logging.disable(logging.CRITICAL)
    failures = []

    def session(place):
        work = copy.copy(place)
        kinds = [opc, opc, opc, objects, wmi, pings, printing, tasks, bound]
        stack = work.pick(*[stack for stack in (Scapy, Impacket) if stack.__name__.lower() in work.more])
        if stack is Scapy:
            kinds.append(refused)
        try:
            rpc = stack(work, "plain" in work.more)
            work.pick(*kinds)(work, rpc)
            if work.random.random() < 0.8:
                rpc.close()
        except Exception as error:
            failures.append(repr(error))

    threads = []
    for _ in range(work.count(1, 4)):
        place = copy.copy(work)
        place.random = random.Random(work.random.random())
        threads.append(threading.Thread(target=session, args=[place]))
        threads[-1].start()
        work.think(0.005, 0.4)
    for thread in threads:
        thread.join()
    return "\n".join(failures)


# Connectionless, over UDP.

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


# SMB beside it, where such calls go through named pipes.


def smb_server(work):
    from impacket.ntlm import compute_lmhash, compute_nthash
    from impacket.smbserver import SimpleSMBServer

    server = SimpleSMBServer(listenAddress=work.host, listenPort=work.port, ipv6=work.six)
    server.addShare("FILES", work.files)
    server.addCredential("operator", 0, compute_lmhash(PASSWORD).hex(), compute_nthash(PASSWORD).hex())
    server.setSMB2Support(True)
    server.start()


def smb_client(work):
    """A session of smbprotocol's: calls through pipes, small reads of files, names in folders, or nothing but the session."""
    import logging

    from smbprotocol import open as smb
    from smbprotocol.connection import Connection, Dialects
    from smbprotocol.exceptions import SMBException
    from smbprotocol.session import Session
    from smbprotocol.tree import TreeConnect

    logging.disable(logging.CRITICAL)
    connection = Connection(uuid.uuid4(), work.host, work.port, require_signing=False)
    connection.connect(work.pick(None, None, Dialects.SMB_2_0_2))
    session = Session(connection, "operator", PASSWORD, require_encryption=False, auth_protocol="ntlm")
    session.connect()

    def opened(share, name, options=0, access=smb.FilePipePrinterAccessMask.GENERIC_READ):
        tree = TreeConnect(session, f"\\\\{work.host}\\{share}")
        tree.connect()
        handle = smb.Open(tree, name)
        handle.create(smb.ImpersonationLevel.Impersonation, access, 0, smb.ShareAccess.FILE_SHARE_READ,
                      smb.CreateDisposition.FILE_OPEN, options)
        return handle

    def pipe():
        from impacket.dcerpc.v5 import rpcrt, srvs, wkst
        from impacket.uuid import uuidtup_to_bin

        name, interface = work.pick(("srvsvc", srvs.MSRPC_UUID_SRVS), ("wkssvc", wkst.MSRPC_UUID_WKST))
        mask = smb.FilePipePrinterAccessMask
        handle = opened("IPC$", name, access=mask.GENERIC_READ | mask.GENERIC_WRITE)
        bind, item = rpcrt.MSRPCBind(), rpcrt.CtxItem()
        item["AbstractSyntax"], item["TransUUID"] = interface, uuidtup_to_bin(("8a885d04-1ceb-11c9-9fe8-08002b104860", "2.0"))
        item["TransItems"] = 1
        bind.addCtxItem(item)
        packet = rpcrt.MSRPCHeader()
        packet["type"], packet["pduData"], packet["call_id"] = rpcrt.MSRPC_BIND, bind.getData(), 1
        handle.write(packet.get_packet())
        handle.read(0, 1024)
        calls = [2]

        def call():
            request = srvs.NetrServerGetInfo() if name == "srvsvc" else wkst.NetrWkstaGetInfo()
            request["ServerName"], request["Level"] = work.word() + "\0", work.pick(100, 101)
            packet = rpcrt.MSRPCRequestHeader()
            packet["op_num"], packet["pduData"], packet["call_id"] = request.opnum, request.getData(), calls[0]
            calls[0] += 1
            handle.write(packet.get_packet())
            handle.read(0, 4280)

        poll(work, call)
        handle.close()

    def file():
        handle = opened("FILES", str(work.random.randint(1, 12)))
        length = max(1, min(handle.end_of_file, work.size(16, 8000)))
        poll(work, lambda: handle.read(work.random.randrange(max(1, handle.end_of_file - length + 1)), length))
        handle.close()

    def names():
        handle = opened("FILES", "", smb.CreateOptions.FILE_DIRECTORY_FILE)
        for _ in range(work.count(1, 4)):
            with suppress(SMBException):  # no more of them
                handle.query_directory("*", work.pick(1, 3, 12, 37))
            work.think()
        handle.close()

    for _ in range(work.count(1, 3)):
        work.pick(pipe, pipe, file, names, lambda: work.think(0.01, 1))()
    if work.random.random() < 0.8:
        connection.disconnect()


def netbios_client(work):
    """SMB in a NetBIOS session, which names both ends before it: impacket's client."""
    from impacket import nmb
    from impacket.smbconnection import SMBConnection

    nmb.NETBIOS_SESSION_PORT = work.port  # it begins such sessions on this port alone
    mine, other = work.word().upper(), work.word().upper()
    if work.random.random() < 0.15:
        netbios = nmb.NetBIOSTCPSession(mine, other, work.host, sess_port=work.port, timeout=15)
        work.think(0.01, 2)
        return netbios.close()
    connection = SMBConnection(other, work.host, mine, sess_port=work.port, timeout=15)
    connection.login("", "")
    for _ in range(work.count(1, 6)):
        work.pick(lambda: connection.listPath("FILES", "*"), connection.listShares,
                  lambda: connection.getFile("FILES", str(work.random.randint(1, 10)), lambda _: None))()
        work.think(0.003, 1)
    connection.close()


if __name__ == "__main__":
    main(globals())
