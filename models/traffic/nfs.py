"""ONC RPC and NFS, over streams and datagrams: ShenanigaNFS, pyNfsClient."""

import asyncio

from . import main
from .notices import datagrams

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


if __name__ == "__main__":
    main(globals())
