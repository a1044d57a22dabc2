"""SMB where calls of DCE/RPC go through named pipes: smbprotocol's client, and impacket's in NetBIOS sessions."""

import uuid
from contextlib import suppress

from . import main
from .windows import PASSWORD
from .windows_rpc import poll


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
