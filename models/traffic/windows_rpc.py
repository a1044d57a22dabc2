"""DCE/RPC of COM, of printing and of tasks over TCP: long sessions of small calls, with scapy's and impacket's stacks. The
stubs are of the interfaces' own definitions ([MS-DCOM], [MS-RPRN], [MS-TSCH], OPC Data Access)."""

import copy
import random
import socket
import struct
import threading
import time
import uuid
from contextlib import suppress

from . import main
from .windows import PASSWORD

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


if __name__ == "__main__":
    main(globals())
