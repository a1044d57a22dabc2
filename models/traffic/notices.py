"""Services that are unusual in shape: what is sent unasked, and calls over datagrams. SNMP traps: pysnmp. SSDP:
async-upnp-client, ssdp, ssdpy. ONC RPC and NFS: ShenanigaNFS, pyNfsClient. SIP between calls: twisted.
"""

import asyncio

from . import main
from .management import COMMUNITIES, INTERFACES, SYSTEM

TRAPS = "1.3.6.1.6.3.1.1.5"
# Who sends traps of version 3 is an engine that the receiver knows: these, of several makers.
ENGINES = ("80001f8880e9630000d61ff449", "800000090300001122334455", "8000000001020304")
USERS = (("operator", "authPriv"), ("watch", "authNoPriv"), ("guest", "noAuthNoPriv"))


def keys(level):
    """Of a user of version 3: protocols and passphrases for that level."""
    from pysnmp.entity import config

    return {"authPriv": {"authProtocol": config.USM_AUTH_HMAC96_SHA, "authKey": "of-some-length",
                         "privProtocol": config.USM_PRIV_CFB128_AES, "privKey": "of-other-length"},
            "authNoPriv": {"authProtocol": config.USM_AUTH_HMAC96_MD5, "authKey": "of-some-length"},
            "noAuthNoPriv": {}}[level]


def pysnmp_receiver(work):
    """Traps and informs of all versions."""
    from pysnmp.carrier.asyncio.dgram import udp, udp6
    from pysnmp.entity import config, engine
    from pysnmp.entity.rfc3413 import ntfrcv
    from pysnmp.proto.api import v2c

    receiver = engine.SnmpEngine()
    carrier, transport = (udp6, udp6.Udp6AsyncioTransport) if work.six else (udp, udp.UdpAsyncioTransport)
    config.add_transport(receiver, carrier.DOMAIN_NAME, transport().open_server_mode((work.host, work.port)))
    for place, community in enumerate(COMMUNITIES):
        config.add_v1_system(receiver, f"area{place}", community)
    for user, level in USERS:
        config.add_v3_user(receiver, user, **keys(level))
        for known in ENGINES:
            config.add_v3_user(receiver, user, **keys(level), securityEngineId=v2c.OctetString(hexValue=known))
    ntfrcv.NotificationReceiver(receiver, lambda *_: None)
    receiver.transport_dispatcher.job_started(1)
    receiver.transport_dispatcher.run_dispatcher()


async def at_once(device, work):
    """Some of them, as some are far slower than others."""
    await asyncio.gather(*(device(work) for _ in range(work.random.randint(1, 4))))


async def pysnmp_notifier(work):
    """Traps or informs. With `communities`, none of version 3."""
    await at_once(notify, work)


async def notify(work):
    """A device with something to tell, from one port."""
    from pysnmp.hlapi.v3arch.asyncio import (CommunityData, ContextData, NotificationType, ObjectIdentity, SnmpEngine,
                                             Udp6TransportTarget, UdpTransportTarget, UsmUserData, send_notification)
    from pysnmp.proto import rfc1902 as kind

    version = work.pick(1, 2, 2) if "communities" in work.more else work.pick(1, 2, 2, 3, 3)
    user, level = work.pick(*USERS)
    who = UsmUserData(user, **keys(level)) if version == 3 else CommunityData(work.pick(*COMMUNITIES), mpModel=version - 1)
    engine = SnmpEngine(kind.OctetString(hexValue=work.pick(*ENGINES)))
    target = await (Udp6TransportTarget if work.six else UdpTransportTarget).create((work.host, work.port), timeout=2, retries=2)
    confirmed = version > 1 and work.random.random() < 0.3
    index = work.random.randint(1, 48)
    objects = [(f"{INTERFACES}.2.1.1.{index}", kind.Integer32(index)),
               (f"{INTERFACES}.2.1.2.{index}", kind.OctetString(work.pick("eth", "ge-0/0/", "GigabitEthernet1/0/") + str(index))),
               (f"{INTERFACES}.2.1.7.{index}", kind.Integer32(work.pick(1, 2))),
               (f"{INTERFACES}.2.1.8.{index}", kind.Integer32(work.pick(1, 2))),
               (f"{SYSTEM}.5.0", kind.OctetString(work.word())),
               (f"1.3.6.1.4.1.{work.size(9, 50_000)}.2.{index}.0", kind.OctetString(work.text(5, 220).replace("\n", " ")))]
    low, high = work.pick((0.003, 0.1), (0.1, 2.5), (0.5, 3))
    for left in reversed(range(work.count(1, 9))):
        told = NotificationType(ObjectIdentity(work.pick(f"{TRAPS}.{work.random.randint(1, 5)}",
                                                         f"1.3.6.1.4.1.{work.size(9, 50_000)}.0.{work.random.randint(1, 99)}")))
        told.add_varbinds(*work.random.sample(objects, work.random.randint(0, len(objects))))
        error, *_ = await send_notification(engine, who, target, ContextData(), "inform" if confirmed else "trap", told)
        if error:
            raise RuntimeError(error)
        await asyncio.sleep(work.pause(low, high) if left else 0.05)
    engine.close_dispatcher()


# What devices are, of the UPnP forum and of makers.
KINDS = ("device:MediaServer:1", "device:MediaRenderer:1", "device:InternetGatewayDevice:2", "device:WANConnectionDevice:1",
         "device:Basic:1", "device:Printer:1", "service:ConnectionManager:1", "service:ContentDirectory:1",
         "service:AVTransport:1", "service:RenderingControl:1", "service:WANIPConnection:1",
         "service:WANCommonInterfaceConfig:1", "service:Layer3Forwarding:1")
SOUGHT = ("ssdp:all", "upnp:rootdevice", *(f"urn:schemas-upnp-org:{kind}" for kind in KINDS[:5]),
          "urn:dial-multiscreen-org:service:dial:1", "urn:schemas-sony-com:service:ScalarWebAPI:1")


class Device:
    """A device by the seed: what stands in its messages."""

    def __init__(self, work):
        import uuid

        self.work = work
        self.udn = f"uuid:{uuid.UUID(int=work.random.getrandbits(128), version=4)}"
        self.types = ["upnp:rootdevice", self.udn,
                      *(f"urn:schemas-upnp-org:{kind}" for kind in work.random.sample(KINDS, work.random.randint(1, 9)))]
        path = work.pick("description.xml", "rootDesc.xml", "dd.xml", f"{work.word()}/{work.word()}/desc/device.xml")
        self.location = f"http://192.0.2.{work.random.randint(2, 250)}:{work.random.randint(80, 60_000)}/{path}"
        number = work.random.randint(1, 19)
        self.server = work.pick("Linux/3.14 UPnP/1.0 MiniDLNA/1.2", f"{work.word()}/{number} UPnP/1.1 {work.word()}/2.{number}",
                                f"Linux/5.{number}, UPnP/1.0, Portable SDK for UPnP devices/1.14.{number}")
        self.age = work.pick(60, 100, 120, 1800, 1810, 86_400)
        more = [("BOOTID.UPNP.ORG", str(work.size(1, 10**9))), ("CONFIGID.UPNP.ORG", str(work.size(1, 10**6))),
                ("OPT", '"http://schemas.upnp.org/upnp/1/0/"; ns=01'), ("01-NLS", self.udn[5:]),
                ("X-User-Agent", work.word()), ("hue-bridgeid", self.udn[-16:].upper())]
        self.more = dict(work.random.sample(more, work.random.randint(0, 4)))

    def usn(self, kind):
        return kind if kind == self.udn else f"{self.udn}::{kind}"

    def notice(self, kind, host, nts="ssdp:alive"):
        """Headers of a NOTIFY."""
        alive = {"CACHE-CONTROL": f"max-age={self.age}", "LOCATION": self.location, "SERVER": self.server}
        told = alive if nts == "ssdp:alive" else {}
        return {"HOST": host, **told, "NT": kind, "NTS": nts, "USN": self.usn(kind), **self.more}

    def found(self, sought):
        """Headers of each answer to a search."""
        kinds = self.types if sought == "ssdp:all" else [sought if sought in SOUGHT else self.types[0]]
        return [{"CACHE-CONTROL": f"max-age={self.age}", "EXT": "", "LOCATION": self.location, "SERVER": self.server, "ST": kind,
                 "USN": self.usn(kind), **self.more} for kind in kinds]

    def bursts(self):
        """Notices in their order, each with the pause after it: of all kinds, one to three times, some that it leaves."""
        work = self.work
        host = work.pick("239.255.255.250:1900", f"{work.url_host}:{work.port}")
        gap = work.pick(0.0005, 0.02, 0.1, 0.2)
        for _ in range(work.pick(1, 2, 3)):
            nts = "ssdp:byebye" if work.random.random() < 0.15 else "ssdp:alive"
            for kind in self.types:
                yield self.notice(kind, host, nts), work.pause(gap / 2, gap * 2)
            yield None, work.pause(0.1, 2)


async def datagrams(work, protocol, port=0):
    """A socket of ours that is bound where the server is (`port`), or joined to it."""
    loop = asyncio.get_running_loop()
    ends = {"local_addr": (work.host, port)} if port else {"remote_addr": (work.host, work.port)}
    return await loop.create_datagram_endpoint(protocol, **ends)


async def answer(work, device, sought, longest, send):
    """As devices do: some time within that of the search, one datagram an answer."""
    await asyncio.sleep(work.pause(0.002, min(longest, 2)))
    for headers in device.found(sought):
        send(headers)
        await asyncio.sleep(work.pause(0.0005, 0.08))


async def upnp_responder(work):
    """Devices that answer from a port of their own, as many do (`more` has such ports), or from that of the service."""
    from async_upnp_client.ssdp import SsdpProtocol, build_ssdp_packet

    loop = asyncio.get_running_loop()
    devices = [Device(work) for _ in range(work.count(1, 4))]
    _, own = await datagrams(work, lambda: SsdpProtocol(loop), work.port)
    _, other = await datagrams(work, lambda: SsdpProtocol(loop), int(work.more[0]))

    async def search(line, headers):
        if line.startswith("M-SEARCH"):
            for device in devices:
                sender, to = work.pick(own, other), headers.get_lower("_remote_addr")
                await answer(work, device, headers["st"], int(headers.get("mx", 1)),
                             lambda told: sender.send_ssdp_packet(build_ssdp_packet("HTTP/1.1 200 OK", told), to))

    own.async_on_data = search
    await asyncio.Event().wait()


async def ssdp_responder(work):
    """Of the package `ssdp`."""
    from ssdp.aio import SSDP
    from ssdp.messages import SSDPResponse

    device, tasks = Device(work), set()

    class Server(SSDP):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, addr):
            super().datagram_received(data, addr[:2])

        def response_received(self, response, addr):
            pass

        def request_received(self, request, addr):
            if request.method == "M-SEARCH":
                sought = dict(request.headers)
                task = asyncio.ensure_future(answer(work, device, sought["ST"], int(sought["MX"]), lambda told: SSDPResponse(
                    200, "OK", headers=told).sendto(self.transport, addr)))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

    await datagrams(work, Server, work.port)
    await asyncio.Event().wait()


def ssdpy_server(work):
    from ssdpy import SSDPServer

    device = Device(work)
    SSDPServer(device.usn("upnp:rootdevice"), proto="ipv6" if work.six else "ipv4", port=work.port, iface=b"eth0",
               device_type="upnp:rootdevice", location=device.location, max_age=device.age,
               extra_fields=device.more).serve_forever()


async def upnp_searcher(work):
    await at_once(upnp_search, work)


async def upnp_search(work):
    """Searches, some repeated, from one port."""
    import socket

    from async_upnp_client.search import SsdpSearchListener

    scope = (0, socket.if_nametoindex("eth0")) if work.six else ()
    target, source = (work.host, work.port, *scope), ("::" if work.six else "0.0.0.0", 0, *scope)
    listener = SsdpSearchListener(callback=lambda _: None, source=source, target=target, timeout=work.pick(1, 1, 2, 3),
                                  search_target=work.pick(*SOUGHT))
    await listener.async_start()
    for _ in range(work.count(1, 5)):
        listener.async_search()
        await asyncio.sleep(work.pause(0.02, 2))
        if work.random.random() < 0.4:
            listener.search_target = work.pick(*SOUGHT)
    await asyncio.sleep(1)
    listener.async_stop()


def ssdpy_searcher(work):
    """To the server's address in place of the group's."""
    from ssdpy import SSDPClient

    client = SSDPClient(proto="ipv6" if work.six else "ipv4", port=work.port, timeout=work.pause(0.3, 2))
    client._address = (work.host, work.port)
    for _ in range(work.count(1, 4)):
        client.m_search(work.pick("ssdp:all", "upnp:rootdevice", work.pick(*SOUGHT)), mx=work.pick(1, 1, 2))


async def upnp_device(work):
    await at_once(upnp_bursts, work)


async def upnp_bursts(work):
    from async_upnp_client.ssdp import build_ssdp_packet

    transport, _ = await datagrams(work, asyncio.DatagramProtocol)
    for headers, pause in Device(work).bursts():
        if headers:
            transport.sendto(build_ssdp_packet("NOTIFY * HTTP/1.1", headers))
        await asyncio.sleep(pause)


async def ssdp_device(work):
    """Of the package `ssdp`."""
    await at_once(ssdp_bursts, work)


async def ssdp_bursts(work):
    from ssdp.messages import SSDPRequest

    transport, _ = await datagrams(work, asyncio.DatagramProtocol)
    for headers, pause in Device(work).bursts():
        if headers:
            transport.sendto(bytes(SSDPRequest("NOTIFY", headers=headers)))
        await asyncio.sleep(pause)


async def ssdpy_device(work):
    await at_once(ssdpy_bursts, work)


async def ssdpy_bursts(work):
    from ssdpy.protocol import create_notify_payload

    transport, _ = await datagrams(work, asyncio.DatagramProtocol)
    device = Device(work)
    for headers, pause in device.bursts():
        if headers:
            transport.sendto(create_notify_payload(headers["HOST"], headers["NT"], headers["USN"], device.location,
                                                   max_age=device.age, extra_fields=device.more))
        await asyncio.sleep(pause)


PROGRAMS = ((100000, 2, 111), (100000, 4, 111), (100003, 3, 2049), (100003, 4, 2049), (100005, 1, 20_048), (100005, 3, 20_048),
            (100021, 4, 38_001), (100024, 1, 45_387), (100011, 2, 875), (391002, 2, 611), (100007, 2, 902), (150001, 1, 1021))


def datagram_transport():
    """ShenanigaNFS has streams only: its messages, one a datagram."""
    from shenaniganfs.transport import BaseTransport

    class Datagrams(BaseTransport, asyncio.DatagramProtocol):
        def __init__(self):
            self.received = asyncio.Queue()

        def connection_made(self, transport):
            self.socket = transport

        def datagram_received(self, data, addr):
            self.received.put_nowait((data, addr))

        async def read_msg_bytes(self):
            return (await self.received.get())[0]

        async def write_msg_bytes(self, msg):
            self.socket.sendto(msg)

        def close(self):
            self.socket.close()

    return Datagrams


async def serve_calls(work, programs):
    """These, over datagrams and over streams."""
    import xdrlib

    from shenaniganfs.generated.rfc1831 import RPCMsg
    from shenaniganfs.server import TCPTransportServer

    server = TCPTransportServer(work.host, work.port)
    for program in programs:
        server.register_prog(program)
    await server.start()
    Datagrams = datagram_transport()

    class To(Datagrams):
        def __init__(self, shared, caller):
            self.shared, self.caller = shared, caller

        @property
        def client_addr(self):
            return self.caller

        async def write_msg_bytes(self, msg):
            self.shared.socket.sendto(msg, self.caller)

        def close(self):
            pass

    _, shared = await datagrams(work, Datagrams, work.port)
    while True:
        data, caller = await shared.received.get()
        unpacker = xdrlib.Unpacker(data)
        call = RPCMsg.unpack(unpacker)
        await server.handle_message(To(shared, caller), (call, data[unpacker.get_position():]))


async def nfs_server(work):
    """Versions 2 and 3 with their mount protocols, all on one port."""
    from pathlib import Path

    from shenaniganfs.fs import SimpleDirectory, SimpleFile, SimpleFS, VerifyingFileHandleEncoder
    from shenaniganfs.fs_manager import EvictingFileSystemManager, create_fs
    from shenaniganfs.nfs2 import MountV1Service, NFSV2Service
    from shenaniganfs.nfs3 import MountV3Service, NFSV3Service

    kept = {path.name.encode(): path.read_bytes()[:work.size(2_000, 60_000)] for path in Path(work.files).iterdir()}

    class Files(SimpleFS):
        read_only, num_blocks, free_blocks, avail_blocks = False, 10**6, 10**5, 10**5

        def __init__(self):
            super().__init__()
            self.track_entry(SimpleDirectory(mode=0o777, name=b"", root_dir=True))
            for name, content in kept.items():
                self.root_dir.link_child(SimpleFile(mode=0o644, name=name, contents=bytearray(content)))

    manager = EvictingFileSystemManager(VerifyingFileHandleEncoder(b"secret"), {b"/srv": lambda call: create_fs(Files, call)},
                                        client_allowed=20)

    class Service(NFSV3Service):
        """As libnfs wants it: 8 KiB at once or more, and of the rights only those that were asked for."""

        async def ACCESS(self, call, asked):
            told = await super().ACCESS(call, asked)
            if told.resok:
                told.resok.access &= asked.access
            return told

        async def FSINFO(self, *asked):
            told = await super().FSINFO(*asked)
            if told.resok:
                told.resok.rtmax = told.resok.wtmax = 8192
            return told

    await serve_calls(work, [service(manager) for service in (MountV1Service, NFSV2Service, MountV3Service, Service)])


async def portmapper(work):
    """Versions 2 to 4, with programs that are nowhere."""
    from shenaniganfs.portmanager import PortBinding, PortManager, SimplePortMapper, SimpleRPCBind

    ports = PortManager()
    for program, version, port in work.random.sample(PROGRAMS, work.random.randint(2, len(PROGRAMS))):
        for over in work.pick(("tcp", "udp"), ("tcp", "udp"), ("udp",)):
            ports.set_port(PortBinding(program, version, over, "0.0.0.0", port, work.pick("superuser", "unknown", "32")))
    await serve_calls(work, [SimplePortMapper(ports), SimpleRPCBind(ports)])


def calls(work, program, over, port=None):
    """A client of that program with a user's credentials, or with none; what datagrams lose is said again."""
    import xdrlib

    from shenaniganfs.client import TCPClient
    from shenaniganfs.generated.rfc1831 import AuthFlavor, AuthsysParms, OpaqueAuth

    user = AuthsysParms(work.random.getrandbits(32), work.word().encode(), *work.pick((0, 0), (1000, 1000), (501, 20)),
                        [work.random.randrange(2000) for _ in range(work.count(0, 12))])
    packer = xdrlib.Packer()
    AuthsysParms.pack(packer, user)
    credentials = work.pick(None, *3 * [OpaqueAuth(AuthFlavor.AUTH_SYS, packer.get_buffer())])

    class Streamed(TCPClient, program):
        async def connect(self):
            await self.reach()
            write = self.transport.write_msg

            async def write_msg(header, body):
                if credentials:
                    header.header.cbody.cred = credentials
                await write(header, body)

            self.transport.write_msg = write_msg

        async def reach(self):
            await super().connect()

    class Datagrams(Streamed):
        async def reach(self):
            loop = asyncio.get_running_loop()
            _, self.transport = await loop.create_datagram_endpoint(datagram_transport(), remote_addr=(self.host, self.port))
            self.pump_replies_task = asyncio.create_task(self.pump_replies())

        async def send_call(self, proc_id, *args, xid=None):
            xid = self.gen_xid()
            for tries_before in range(5):
                try:
                    return await asyncio.wait_for(super().send_call(proc_id, *args, xid=xid), 0.7 * 1.5**tries_before)
                except asyncio.TimeoutError:
                    pass
            raise TimeoutError(f"no answer to {proc_id}")

    client = {"tcp": Streamed, "udp": Datagrams}[over](work.host, port or work.port)
    client.most = {"tcp": 4096, "udp": 1024}[over]  # that stays in one packet
    return client


async def portmap_client(work):
    from shenaniganfs.generated import rfc1833_portmapper, rfc1833_rpcbind

    old, over = work.random.random() < 0.6, work.pick("udp", "udp", "tcp")
    mapper = rfc1833_portmapper.PMAP_PROG_2_CLIENT if old else rfc1833_rpcbind.RPCBPROG_4_CLIENT
    async with calls(work, mapper, over) as client:
        for _ in range(work.count(1, 6)):
            program, version, _ = work.pick(*PROGRAMS)
            wanted = (rfc1833_portmapper.Mapping(program, version, work.pick(6, 17), 0) if old
                      else rfc1833_rpcbind.RPCB(program, version, work.pick(b"tcp", b"udp"), b"", b""))
            kind = work.random.random()
            if kind < 0.2:
                await client.DUMP()
            elif kind < 0.3:
                await client.NULL()
            elif old:
                await client.GETPORT(wanted)
            else:
                await work.pick(client.GETADDR, client.GETVERSADDR)(wanted)
            await asyncio.sleep(work.pause(0.002, 1))


async def nfs_client(work):
    """`more` has the port of the mount protocol, the folder that is mounted, and over what."""
    from shenaniganfs.generated import rfc1813 as nfs

    port, path, over = int(work.more[0]), work.more[1].encode(), work.pick(*work.more[2:])
    # Where mounting has a port of its own, it is called over streams there.
    async with calls(work, nfs.MOUNT_PROGRAM_3_CLIENT, over if port == work.port else "tcp", port) as mount:
        for method in work.random.sample([mount.NULL, mount.EXPORT, mount.DUMP], work.random.randint(0, 2)):
            await method()
        root = (await mount.MNT(path)).body.mountinfo.fhandle
        async with calls(work, nfs.NFS_PROGRAM_3_CLIENT, over) as files:
            await files.FSINFO(nfs.FSINFO3Args(root))
            for _ in range(work.count(1, 8)):
                await work.pick(look_around, read, read, write)(work, files, root)
                await asyncio.sleep(work.pause(0.002, 0.8))
        await mount.UMNT(path)


async def look_around(work, files, root):
    from shenaniganfs.generated import rfc1813 as nfs

    for _ in range(work.count(1, 5)):
        call, asked = work.pick((files.GETATTR, nfs.GETATTR3Args(root)), (files.ACCESS, nfs.ACCESS3Args(root, 0x1F)),
                                (files.FSSTAT, nfs.FSSTAT3Args(root)), (files.PATHCONF, nfs.PATHCONF3Args(root)),
                                (files.READDIR, nfs.READDIR3Args(root, 0, bytes(8), work.pick(512, files.most))),
                                (files.READDIRPLUS, nfs.READDIRPLUS3Args(root, 0, bytes(8), 512, files.most)))
        await call(asked)


async def read(work, files, root):
    from shenaniganfs.generated import rfc1813 as nfs

    name = str(work.random.randint(1, 14)).encode()
    found = (await files.LOOKUP(nfs.LOOKUP3Args(nfs.DiropArgs3(root, name)))).body.resok
    if found:
        size = work.pick(512, 1024, files.most)
        for place in range(work.count(1, 24)):
            await files.READ(nfs.READ3Args(found.obj_handle, place * size, size))


async def write(work, files, root):
    from shenaniganfs.generated import rfc1813 as nfs

    now = nfs.SetTime(nfs.TimeHow.SET_TO_SERVER_TIME)
    how = nfs.Createhow3(nfs.UNCHECKED, nfs.SAttr3(0o644, None, None, None, now, now))
    where = nfs.DiropArgs3(root, f"{work.word()}.{work.word()}".encode())
    made = (await files.CREATE(nfs.CREATE3Args(where, how))).body.resok
    if made:
        size = work.pick(200, 1024, files.most)
        for place in range(work.count(1, 16)):
            data = work.random.randbytes(size)
            await files.WRITE(nfs.WRITE3Args(made.obj_handle, place * size, size, work.pick(nfs.UNSTABLE, nfs.FILE_SYNC), data))
        await files.GETATTR(nfs.GETATTR3Args(made.obj_handle))
        if work.random.random() < 0.5:
            await files.REMOVE(nfs.REMOVE3Args(where))


def pynfs_client(work):
    """Over streams, from a port that only root has. `more` as for `nfs_client`."""
    from pyNfsClient import Mount, NFSv3

    port, path = int(work.more[0]), work.more[1]
    user = {"flavor": 1, "machine_name": work.word(), "uid": 0, "gid": 0, "aux_gid": [work.random.randrange(99)]}
    mount, files = Mount(work.host, port, 10, user), NFSv3(work.host, work.port, 10, user)
    mount.connect()
    root = mount.mnt(path)["mountinfo"]["fhandle"]
    files.connect()
    for _ in range(work.count(1, 8)):
        kind, name = work.random.random(), str(work.random.randint(1, 14))
        if kind < 0.3:
            work.pick(files.getattr, files.fsstat, files.fsinfo, files.pathconf, files.readdirplus)(root)
        else:
            found = files.lookup(root, name).get("resok")
            for place in range(work.count(1, 16) if found else 0):
                files.read(found["object"]["data"], place * 1024, 1024)
        work.think(0.002, 0.8)
    mount.umnt()


def sip_registrar(work):
    """Wants to know who registers; some calls it leaves without an answer, as a phone that is off."""
    from twisted.internet import reactor
    from twisted.protocols import sip

    agent = work.pick(work.word(), f"{work.word()}/{work.random.randint(1, 20)}.2 {work.word()}")
    allowed = ", ".join(("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "MESSAGE", "NOTIFY", "REFER")[:work.random.randint(4, 8)])

    class Challenge:
        def getChallenge(self, _):
            return f'nonce="{work.random.getrandbits(128):x}",algorithm=MD5' + work.pick("", ',qop="auth"')

    class Registrar(sip.RegisterProxy):
        registry = locator = sip.InMemoryRegistry(work.host)
        authorizers = {"digest": Challenge()}

        def responseFromRequest(self, code, request):
            response = super().responseFromRequest(code, request)
            response.addHeader("server", agent)
            return response

        def handle_REGISTER_request(self, message, caller):
            return (self.register if "authorization" in message.headers else self.unauthorized)(message, *caller)

        def answer(self, code, message, **headers):
            response = self.responseFromRequest(code, message)
            for name, value in headers.items():
                response.addHeader(name, value)
            self.deliverResponse(response)

        def handle_OPTIONS_request(self, message, _):
            self.answer(200, message, allow=allowed, accept="application/sdp")

        def handle_MESSAGE_request(self, message, _):
            self.answer(work.pick(200, 200, 404, 480), message)

        def handle_CANCEL_request(self, message, _):
            self.answer(200, message)

        def handle_INVITE_request(self, message, _):
            codes = work.pick((), (), (100,), (100, 180), (100, 486), (404,), (100, 180, 480))
            for place, code in enumerate(codes):
                reactor.callLater(place * work.pause(0.05, 1), self.answer, code, message)

    reactor.listenUDP(work.port, Registrar(work.host, work.port), interface=work.host)
    reactor.run()


def sip_phone(work):
    """One of many kinds of phone, from any port: registers, asks whether the other end is alive, calls who may not answer."""
    import hashlib
    import socket
    import time

    from twisted.protocols import sip

    own, port, user = work.more[0], work.random.randint(1_025, 32_000), work.word()
    agent = work.pick(None, work.word(), work.text(10, 60).replace("\n", " "))
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    line.bind((own, port))
    line.connect((work.host, work.port))
    number = work.random.randrange(1, 9999)

    def say(method, body="", branch=None, call=None, **headers):
        nonlocal number
        number += method not in ("CANCEL", "ACK")
        message = sip.Request(method, sip.URL(work.host, None if method == "REGISTER" else "bob", port=work.port))
        branch = branch or f"z9hG4bK{work.random.getrandbits(64):x}"
        told = {"via": f"SIP/2.0/UDP {own}:{port};branch={branch}", "max-forwards": "70",
                "from": f"<sip:{user}@{work.host}>;tag={number}",
                "to": f"<sip:{user if method == 'REGISTER' else 'bob'}@{work.host}>", "cseq": f"{number} {method}",
                "call-id": call or f"{work.random.getrandbits(96):x}@{own}", "contact": f"<sip:{user}@{own}:{port}>",
                **({"user-agent": agent} if agent else {}), **headers, "content-length": str(len(body))}
        for name, value in told.items():
            message.addHeader(name, value)
        message.body = body
        line.send(message.toString().encode())
        return branch

    def heard(limit):
        """The final answer within that time."""
        end, found = time.monotonic() + limit, []
        parser = sip.MessagesParser(found.append)
        while (left := end - time.monotonic()) > 0:
            line.settimeout(left)
            try:
                parser.dataReceived(line.recv(65_535))
            except (TimeoutError, ConnectionRefusedError):
                return None
            parser.dataDone()
            if found and found[-1].code >= 200:
                return found[-1]
        return None

    def register():
        call, expires = f"{work.random.getrandbits(96):x}@{own}", str(work.pick(60, 300, 3600))
        for left in reversed(range(work.count(1, 4))):
            when = work.pick(expires, "0") if not left else expires
            say("REGISTER", call=call, expires=when)
            answer = heard(2)
            if answer and answer.code == 401:
                digest = hashlib.md5(work.random.randbytes(8)).hexdigest()
                wanted = answer.headers["www-authenticate"][0]
                say("REGISTER", call=call, expires=when,
                    authorization=f'{wanted},username="{user}",uri="sip:{work.host}",response="{digest}"')
                heard(2)
            work.think(0.1, 1.5)

    def ping():
        call = f"{work.random.getrandbits(96):x}@{own}"
        alone = work.random.random() < 0.4
        for _ in range(work.count(1, 9)):
            if alone and work.random.random() < 0.6:
                line.send(work.pick(b"\r\n\r\n", b"\0\0\0\0", b"\r\n"))  # that a router keeps the way back open
            else:
                say("OPTIONS", call=call)
                heard(1)
            work.think(0.1, 2)

    def talk():
        for _ in range(work.count(1, 6)):
            say("MESSAGE", work.text(1, 600), **{"content-type": "text/plain"})
            heard(1.5)
            work.think(0.05, 1.5)

    def call():
        nonlocal number
        codecs = work.random.sample((0, 3, 8, 9, 18, 101), work.random.randint(1, 6))
        body = (f"v=0\r\no={user} {number} 1 IN IP4 {own}\r\ns=-\r\nc=IN IP4 {own}\r\nt=0 0\r\nm=audio {port + 1} RTP/AVP "
                f"{' '.join(map(str, codecs))}\r\n" + "".join(f"a=rtpmap:{codec} x/8000\r\n" for codec in codecs))
        known = f"{work.random.getrandbits(96):x}@{own}"
        branch, answer, wait = None, None, work.pick(0.2, 0.5, 0.5)
        for _ in range(work.random.randint(1, 4)):
            number -= branch is not None
            branch = say("INVITE", body, branch, known, **{"content-type": "application/sdp"})
            answer = heard(wait)
            if answer:
                break
            wait *= 2
        say("ACK" if answer else "CANCEL", branch=branch, call=known)
        heard(0.5)

    for _ in range(work.pick(1, 1, 2)):
        work.pick(register, register, ping, ping, talk, call, call)()


if __name__ == "__main__":
    main(globals())
