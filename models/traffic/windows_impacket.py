"""DCE/RPC over TCP with impacket."""

import json
from pathlib import Path

from . import main
from .windows import ENDPOINT_MAPPER, PASSWORD, try_some


class Impacket:
    """A client of impacket with a connection for one interface."""

    def __init__(self, work, folder):
        self.work, self.names = work, json.loads((folder / "names").read_text())
        self.user = self.names["users"][0] if work.random.random() < 0.6 else work.pick(*self.names["users"])

    def connect(self, interface, port=None, plain=False, sealed=False):
        """The endpoint mapper is asked where the port is its own."""
        from impacket.dcerpc.v5 import epm, rpcrt, transport

        work = self.work
        port = port or work.port
        if port == ENDPOINT_MAPPER and interface not in (epm.MSRPC_UUID_PORTMAP, None):
            mapper = transport.TCPTransport(work.host, port).get_dce_rpc()
            mapper.connect()
            port = int(epm.hept_map(work.host, interface, protocol="ncacn_ip_tcp", dce=mapper).split("[")[-1].rstrip("]"))
            if work.random.random() < 0.7:
                mapper.disconnect()
        tcp = transport.TCPTransport(self.names["host"], port)
        tcp.setRemoteHost(work.host)
        rpc = tcp.get_dce_rpc()
        if not plain:
            level = work.pick(rpcrt.RPC_C_AUTHN_LEVEL_CONNECT, rpcrt.RPC_C_AUTHN_LEVEL_PKT_INTEGRITY,
                              rpcrt.RPC_C_AUTHN_LEVEL_PKT_PRIVACY, rpcrt.RPC_C_AUTHN_LEVEL_PKT_PRIVACY)
            if sealed:
                level = rpcrt.RPC_C_AUTHN_LEVEL_PKT_PRIVACY
            rpc.set_credentials(self.user, PASSWORD, self.names["domain"])
            rpc.set_auth_level(level)
        rpc.connect()
        if interface and interface != epm.MSRPC_UUID_PORTMAP:
            rpc.bind(interface, bogus_binds=work.pick(0, 0, 0, 1, 3))
        return rpc


def impacket_client(work):
    """As `samba_client`."""
    from impacket.dcerpc.v5.rpcrt import DCERPCException

    impacket = Impacket(work, Path(work.more[0]))
    try:
        rpc = SESSIONS[work.pick(*work.more[2:])](work, impacket)
    except DCERPCException as error:
        # The second is Samba's way to say it.
        if "denied" not in str(error) and "00000001" not in str(error):
            raise
        return
    if work.random.random() < 0.8:
        rpc.disconnect()


def attempt(work, *calls):
    from impacket.dcerpc.v5.rpcrt import DCERPCException

    try_some(work, calls, DCERPCException)


def impacket_samr(work, impacket):
    from impacket.dcerpc.v5 import samr

    rpc = impacket.connect(samr.MSRPC_UUID_SAMR, plain=work.random.random() < 0.1)
    connect = work.pick(samr.hSamrConnect, samr.hSamrConnect2, samr.hSamrConnect5)
    server = connect(rpc, serverName=work.pick("", impacket.names["host"]) + "\0")["ServerHandle"]
    domains = samr.hSamrEnumerateDomainsInSamServer(rpc, server)["Buffer"]["Buffer"]
    work.think(0.002, 0.2)
    name = work.pick(domains[0], domains[0], *domains)["Name"]
    sid = samr.hSamrLookupDomainInSamServer(rpc, server, name)["DomainId"]
    domain = samr.hSamrOpenDomain(rpc, server, domainId=sid)["DomainHandle"]
    users = impacket.names["users"]
    info = samr.DOMAIN_INFORMATION_CLASS

    def user():
        rids = samr.hSamrLookupNamesInDomain(rpc, domain, [work.pick(*users)])["RelativeIds"]["Element"]
        handle = samr.hSamrOpenUser(rpc, domain, userId=rids[0])["UserHandle"]
        samr.hSamrQueryInformationUser2(rpc, handle, work.pick(samr.USER_INFORMATION_CLASS.UserGeneralInformation,
                                                               samr.USER_INFORMATION_CLASS.UserAllInformation))
        if work.random.random() < 0.5:
            samr.hSamrGetGroupsForUser(rpc, handle)
        samr.hSamrCloseHandle(rpc, handle)

    attempt(
        work, user, user,
        lambda: samr.hSamrLookupNamesInDomain(rpc, domain, [work.pick(*users) for _ in range(work.count(1, 8))]),
        lambda: samr.hSamrLookupIdsInDomain(rpc, domain, [work.pick(500, 501, 512, 513) for _ in range(work.count(1, 6))]),
        lambda: samr.hSamrEnumerateUsersInDomain(rpc, domain, preferedMaximumLength=work.pick(100, 1000, 0xFFFF)),
        lambda: samr.hSamrEnumerateGroupsInDomain(rpc, domain),
        lambda: samr.hSamrEnumerateAliasesInDomain(rpc, domain),
        lambda: samr.hSamrQueryDisplayInformation(rpc, domain, entryCount=work.count(1, 100)),
        lambda: samr.hSamrQueryInformationDomain2(rpc, domain, work.pick(
            info.DomainGeneralInformation2, info.DomainPasswordInformation, info.DomainLockoutInformation)),
        lambda: samr.hSamrRidToSid(rpc, domain, 500),
        lambda: samr.hSamrGetDomainPasswordInformation(rpc))
    samr.hSamrCloseHandle(rpc, domain)
    return rpc


def impacket_drsuapi(work, impacket):
    from impacket.dcerpc.v5 import drsuapi

    # A directory is asked under seal alone.
    rpc = impacket.connect(drsuapi.MSRPC_UUID_DRSUAPI, sealed=True)
    request = drsuapi.DRSBind()
    request["puuidClientDsa"] = drsuapi.NTDSAPI_CLIENT_GUID
    extensions = drsuapi.DRS_EXTENSIONS_INT()
    extensions["cb"] = len(extensions)
    extensions["dwFlags"] = drsuapi.DRS_EXT_GETCHGREQ_V6 | drsuapi.DRS_EXT_GETCHGREPLY_V6 | drsuapi.DRS_EXT_STRONG_ENCRYPTION
    request["pextClient"]["cb"] = len(extensions)
    request["pextClient"]["rgb"] = list(extensions.getData())
    handle = rpc.request(request)["phDrs"]
    domain = impacket.names["domain"] + "\\"
    attempt(
        work,
        lambda: drsuapi.hDRSDomainControllerInfo(rpc, handle, impacket.names["realm"].lower(), work.pick(1, 2)),
        lambda: drsuapi.hDRSCrackNames(rpc, handle, 0, 2, work.pick(1, 6, 7),
                                       [domain + work.pick(*impacket.names["users"]) for _ in range(work.count(1, 8))]))
    drsuapi.hDRSUnbind(rpc, handle)
    return rpc


def impacket_netlogon(work, impacket):
    from impacket.dcerpc.v5 import nrpc
    from impacket.dcerpc.v5.dtypes import NULL

    port = None if work.port == ENDPOINT_MAPPER else int(work.more[1])
    rpc = impacket.connect(nrpc.MSRPC_UUID_NRPC, port, plain=work.random.random() < 0.6)
    realm, domain = impacket.names["realm"].lower() + "\0", impacket.names["domain"] + "\0"
    attempt(
        work,
        lambda: nrpc.hDsrGetDcNameEx2(rpc, NULL, NULL, 0, realm, NULL, NULL, 0x40000000),
        lambda: nrpc.hDsrGetDcNameEx(rpc, NULL, realm, NULL, NULL, 0),
        lambda: nrpc.hDsrGetSiteName(rpc, NULL),
        lambda: nrpc.hNetrGetAnyDCName(rpc, NULL, domain),
        lambda: nrpc.hNetrServerReqChallenge(rpc, NULL, work.word().upper() + "\0", work.random.randbytes(8)))
    return rpc


def impacket_mapper(work, impacket):
    """The whole list of the endpoint mapper; the management calls that any endpoint has."""
    from contextlib import suppress

    from impacket.dcerpc.v5 import epm, mgmt
    from impacket.dcerpc.v5.rpcrt import DCERPCException

    if work.port == ENDPOINT_MAPPER and work.random.random() < 0.7:
        rpc = impacket.connect(epm.MSRPC_UUID_PORTMAP, plain=True)
        with suppress(DCERPCException):  # one that says that there are no more
            epm.hept_lookup(None, dce=rpc)
        return rpc
    rpc = impacket.connect(None, plain=True)
    rpc.bind(mgmt.MSRPC_UUID_MGMT)
    attempt(work, lambda: mgmt.hinq_if_ids(rpc), lambda: mgmt.his_server_listening(rpc))
    return rpc


def impacket_winreg(work, impacket):
    from impacket.dcerpc.v5 import rrp

    rpc = impacket.connect(rrp.MSRPC_UUID_RRP)
    root = rrp.hOpenLocalMachine(rpc)["phKey"]

    def walk():
        path = work.pick("SOFTWARE", "SYSTEM\\CurrentControlSet\\Services", "SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion",
                         "SYSTEM\\CurrentControlSet\\Control\\ProductOptions")
        key = rrp.hBaseRegOpenKey(rpc, root, path + "\0")["phkResult"]
        for number in range(work.count(1, 5)):
            work.pick(rrp.hBaseRegEnumKey, rrp.hBaseRegEnumValue)(rpc, key, number)
        rrp.hBaseRegCloseKey(rpc, key)

    attempt(work, walk, walk, lambda: rrp.hBaseRegGetVersion(rpc, root), lambda: rrp.hBaseRegQueryInfoKey(rpc, root))
    rrp.hBaseRegCloseKey(rpc, root)
    return rpc


def impacket_server(work):
    """The workstation and server services of impacket's SMB server, and services and tasks of its messages. No endpoint mapper:
    clients know the port. Who comes while another is served, waits."""
    import configparser
    import logging
    import socket

    from impacket.dcerpc.v5 import scmr, tsch
    from impacket.smbserver import SRVSServer, WKSTServer

    logging.disable(logging.CRITICAL)
    server, workstation = SRVSServer(), WKSTServer()
    shares = configparser.ConfigParser()
    shares.read_dict({"global": {"log_file": "None"}} | {
        work.word().upper(): {"share type": work.pick("0", "1", "3"), "comment": work.text(1, 60).strip(), "path": work.files}
        for _ in range(work.count(2, 30))})
    server.setServerConfig(shares)
    server.processConfigFile()
    server.addCallbacks(("6BFFD098-A112-3610-9833-46C3F87E345A", "1.0"), "\\PIPE\\wkssvc", workstation.wkssvcCallBacks)
    tasks = [f"\\{work.word()} {work.word()}" for _ in range(work.count(1, 30))]
    xml = {task: f"<?xml version=\"1.0\"?>\n<Task><Description>{work.text(20, 4000)}</Description></Task>" for task in tasks}

    def manager(data):
        answer = scmr.ROpenSCManagerWResponse()
        answer["lpScHandle"] = work.random.randbytes(20)
        answer["ErrorCode"] = 0
        return answer

    def open_service(data):
        request, answer = scmr.ROpenServiceW(data), scmr.ROpenServiceWResponse()
        found = len(request["lpServiceName"]) % 5
        answer["lpServiceHandle"] = work.random.randbytes(20) if found else bytes(20)
        answer["ErrorCode"] = 0 if found else 1060
        return answer

    def status(data):
        answer = scmr.RQueryServiceStatusResponse()
        for field, value in zip(("dwServiceType", "dwCurrentState", "dwControlsAccepted", "dwWin32ExitCode",
                                 "dwServiceSpecificExitCode", "dwCheckPoint", "dwWaitHint"),
                                (0x20, work.pick(1, 4, 4), 5, 0, 0, 0, 0)):
            answer["lpServiceStatus"][field] = value
        answer["ErrorCode"] = 0
        return answer

    def close(data):
        answer = scmr.RCloseServiceHandleResponse()
        answer["hSCObject"] = bytes(20)
        answer["ErrorCode"] = 0
        return answer

    def display_name(data):
        answer = scmr.RGetServiceDisplayNameWResponse()
        answer["lpDisplayName"] = work.text(5, 60).strip() + "\0"
        answer["lpcchBuffer"] = 60
        answer["ErrorCode"] = 0
        return answer

    def version(data):
        answer = tsch.SchRpcHighestVersionResponse()
        answer["pVersion"] = 0x10004
        answer["ErrorCode"] = 0
        return answer

    def retrieve(data):
        request, answer = tsch.SchRpcRetrieveTask(data), tsch.SchRpcRetrieveTaskResponse()
        answer["pXml"] = xml.get(request["path"].rstrip("\0"), work.pick(*xml.values())) + "\0"
        answer["ErrorCode"] = 0
        return answer

    server.addCallbacks(("367ABB81-9844-35F1-AD32-98F038001003", "2.0"), "\\PIPE\\svcctl", {
        0: close, 6: status, 15: manager, 16: open_service, 20: display_name})
    server.addCallbacks(("86D35949-83C9-4044-B424-DB363231FD0C", "1.0"), "\\PIPE\\atsvc", {0: version, 2: retrieve})
    server._sock = socket.create_server((work.host, work.port), family=socket.AF_INET6 if work.six else socket.AF_INET)
    server.run()


def impacket_services(work):
    """A session of monitoring or management with `impacket_server`."""
    from impacket.dcerpc.v5 import scmr, srvs, transport, tsch, wkst

    tcp = transport.TCPTransport(work.host, work.port)
    rpc = tcp.get_dce_rpc()
    rpc.connect()
    kind = work.pick("shares", "workstation", "services", "tasks")
    if kind == "shares":
        rpc.bind(srvs.MSRPC_UUID_SRVS, bogus_binds=work.pick(0, 0, 1, 2))
        name = "\\\\" + work.word()
        shares = srvs.hNetrShareEnum(rpc, 1, serverName=name + "\0")["InfoStruct"]["ShareInfo"]["Level1"]["Buffer"]

        def server():
            request = srvs.NetrServerGetInfo()
            request["ServerName"], request["Level"] = name + "\0", 101
            rpc.request(request)

        attempt(work, server, lambda: srvs.hNetrShareEnum(rpc, 1, serverName=name + "\0"),
                lambda: srvs.hNetrShareGetInfo(rpc, work.pick(*shares)["shi1_netname"], 1))
    elif kind == "workstation":
        rpc.bind(wkst.MSRPC_UUID_WKST, bogus_binds=work.pick(0, 0, 1, 2))
        attempt(work, lambda: wkst.hNetrWkstaGetInfo(rpc, work.pick(100, 101, 102)))
    elif kind == "tasks":
        rpc.bind(tsch.MSRPC_UUID_TSCHS)
        attempt(work, lambda: tsch.hSchRpcHighestVersion(rpc),
                lambda: tsch.hSchRpcRetrieveTask(rpc, f"\\{work.word()}\0"))
    else:
        rpc.bind(scmr.MSRPC_UUID_SCMR)
        manager = scmr.hROpenSCManagerW(rpc, work.word().upper() + "\0")["lpScHandle"]

        def service():
            name = work.word() + "\0"
            handle = scmr.hROpenServiceW(rpc, manager, name)["lpServiceHandle"]
            for _ in range(work.count(1, 4)):
                scmr.hRQueryServiceStatus(rpc, handle)
                work.think(0.002, 0.3)
            scmr.hRCloseServiceHandle(rpc, handle)

        attempt(work, service, service, lambda: scmr.hRGetServiceDisplayNameW(rpc, manager, work.word() + "\0", 60))
        scmr.hRCloseServiceHandle(rpc, manager)
    rpc.disconnect()


SESSIONS = {"samr": impacket_samr, "drsuapi": impacket_drsuapi, "netlogon": impacket_netlogon,
            "mapper": impacket_mapper, "winreg": impacket_winreg}


if __name__ == "__main__":
    main(globals())
