"""DCE/RPC over TCP: Samba's Python bindings, and impacket. What is Samba's runs in Debian's Python, which has the bindings."""

import json
import os
from pathlib import Path

from . import main

PASSWORD = "Secret-0"
ENDPOINT_MAPPER = 135

# What an active directory domain controller serves over TCP; NETLOGON, which it serves on another port than these, too.
CONTROLLER = ["wkssvc", "samr", "lsarpc", "drsuapi", "dssetup", "unixinfo", "browser", "eventlog6", "backupkey", "dnsserver"]


def provision(work):
    """A domain for `samba`: folder, first and last port besides its own after the name."""
    import logging

    from samba import param, samdb
    from samba.auth import system_session
    from samba.dsdb import DS_DOMAIN_FUNCTION_2008_R2
    from samba.ndr import ndr_unpack
    from samba.provision import provision as provision_domain

    folder, first, last = Path(work.more[0]), *work.more[1:]
    os.environ["TDB_NO_FSYNC"] = "1"
    word = work.word()
    realm = f"{word}.{work.pick('example.net', 'example.com', 'corp.example.org', 'local', 'lan', 'intra')}"
    host = work.pick("dc", "dc1", "DC01", "server", "WIN-" + work.word()[:8])
    provision_domain(
        logging.getLogger(), system_session(), targetdir=str(folder), realm=realm, domain=word.upper(), hostname=host,
        hostip="127.0.0.1", adminpass=PASSWORD, dom_for_fun_level=DS_DOMAIN_FUNCTION_2008_R2, users="nobody",
        serverrole="active directory domain controller", dns_backend="SAMBA_INTERNAL", skip_sysvolacl=True,
        use_ntvfs=False, batch_mode=True)

    # One server alone has port 135. Where that is the port of the service, clients ask it for the ports of the others.
    mapped = work.port == ENDPOINT_MAPPER
    ports = "" if mapped else "".join(f"rpc server port:{name} = {work.port}\n" for name in CONTROLLER)
    (folder / "smb.conf").write_text(f"""[global]
netbios name = {host}
realm = {realm}
workgroup = {word}
server role = active directory domain controller
server services = rpc, kdc
dcerpc endpoint servers = {'epmapper, ' if mapped else ''}netlogon, {', '.join(CONTROLLER)}
{ports}rpc server port:netlogon = {first}
rpc server dynamic port range = {first}-{last}
krb5 port = {last}
kpasswd port = 0
allow dcerpc auth level connect = yes
interfaces = {work.host}
bind interfaces only = yes
private dir = {folder}/private
lock directory = {folder}
state directory = {folder}/state
cache directory = {folder}/cache
binddns dir = {folder}/bind-dns
pid directory = {folder}
ncalrpc dir = {folder}/ncalrpc
log file = {folder}/log
""")
    # Clients have their tickets, and are not to be seen at the KDC.
    for file, kdc in (("krb5.conf", f"{work.url_host}:{last}"), ("client.conf", "127.0.0.1:1")):
        (folder / file).write_text(f"""[libdefaults]
default_realm = {realm.upper()}
dns_lookup_kdc = false
dns_canonicalize_hostname = false
rdns = false
[realms]
{realm.upper()} = {{
kdc = {kdc}
}}
""")
    lp = param.LoadParm()
    lp.load(str(folder / "smb.conf"))
    sam = samdb.SamDB(url=str(folder / "private/sam.ldb"), lp=lp, session_info=system_session())
    name = f"{host}.{realm}".lower()
    sam.modify_ldif(f"dn: CN={host.upper()},OU=Domain Controllers,{sam.domain_dn()}\nchangetype: modify\n"
                    f"add: servicePrincipalName\nservicePrincipalName: ldap/{name}\n")
    users = ["administrator"]
    for _ in range(work.count(2, 60)):
        users.append(f"{work.word()}{len(users)}")
        sam.newuser(users[-1], PASSWORD, description=work.text(1, 200).strip() or None)
    for _ in range(work.count(1, 12)):
        sam.newgroup(f"{work.word()}-{len(users)}-{work.word()}")
    (folder / "domain").write_text(word.upper())
    (folder / "names").write_text(json.dumps({"realm": realm.upper(), "domain": word.upper(), "host": name, "users": users}))


class Samba:
    """A client's place in a domain: the names that it knows, and bindings as Samba writes them."""

    def __init__(self, work, folder):
        from samba import credentials, param

        os.environ["KRB5_CONFIG"] = f"{folder}/client.conf"
        self.work, self.folder = work, folder
        self.names = json.loads((folder / "names").read_text())
        self.lp = param.LoadParm()
        self.lp.load(str(folder / "smb.conf"))
        self.credentials = credentials.Credentials()
        self.credentials.guess(self.lp)
        # It is of another machine than the server.
        self.credentials.set_workstation(work.word().upper())
        self.credentials.set_domain(self.names["domain"])
        self.credentials.set_username(self.names["users"][0] if work.random.random() < 0.6 else work.pick(*self.names["users"]))
        self.credentials.set_password(PASSWORD)
        self.options = [work.pick("ntlm", "spnego"), work.pick("connect", "sign", "seal", "seal")]
        self.credentials.set_kerberos_state(credentials.DONT_USE_KERBEROS)
        tickets = folder / "tickets"
        if tickets.exists() and work.random.random() < 0.4:
            self.options[0] = work.pick("krb5", "spnego")
            self.credentials.set_username(self.names["users"][0])
            self.credentials.set_kerberos_state(credentials.MUST_USE_KERBEROS)
            self.credentials.set_named_ccache(f"FILE:{tickets}", credentials.SPECIFIED, self.lp)
        elif work.random.random() < 0.1:
            self.options = []
            self.credentials.set_anonymous()
        if work.random.random() < 0.1:
            self.options.append("bigendian")

    def machine(self):
        """The account of the controller itself, the one whose secret is at hand: members have such accounts."""
        from samba import credentials

        machine = credentials.Credentials()
        machine.guess(self.lp)
        machine.set_machine_account(self.lp)
        return machine

    def bind(self, interface, port=None, options=None, credentials=None):
        """Without a port the endpoint mapper is asked, by the library."""
        port = port or self.work.port
        words = [] if port == ENDPOINT_MAPPER else [str(port)]
        words += self.options if options is None else options
        words.append(f"target_hostname={self.names['host']}")
        return interface(f"ncacn_ip_tcp:{self.work.host}[{','.join(words)}]", self.lp, credentials or self.credentials)


def samba_client(work):
    """One session with one interface: folder of the server and port of NETLOGON after the name, then interfaces to draw from."""
    from samba import NTSTATUSError, WERRORError

    samba = Samba(work, Path(work.more[0]))
    name = work.pick(*work.more[2:])
    try:
        SESSIONS[name](work, samba)
    except (NTSTATUSError, WERRORError) as error:
        # Not everybody may do everything; that is an answer, too.
        if "ACCESS_DENIED" not in str(error) and "denied" not in str(error).lower():
            raise


def attempt(work, *calls):
    """Some of the calls in any order, each as often as drawn; a server may refuse."""
    from samba import NTSTATUSError, WERRORError

    for _ in range(work.count(1, 10)):
        try:
            work.pick(*calls)()
        except (NTSTATUSError, WERRORError):
            pass
        work.think(0.002, 0.5)


def samr_session(work, samba):
    from samba.dcerpc import lsa, samr, security

    access = security.SEC_FLAG_MAXIMUM_ALLOWED
    rpc = samba.bind(samr.samr)
    server = rpc.Connect2(work.pick(None, samba.names["host"]), access)
    domains = rpc.EnumDomains(server, 0, 0xFFFFFFFF)[1].entries
    work.think(0.002, 0.2)
    sid = rpc.LookupDomain(server, work.pick(domains[0], domains[0], *domains).name)
    domain = rpc.OpenDomain(server, access, sid)

    def string(text):
        value = lsa.String()
        value.string = text
        return value

    def look_up():
        names = [string(work.pick(*samba.names["users"])) for _ in range(work.count(1, 8))]
        rpc.LookupNames(domain, names)

    def user():
        rids, _ = rpc.LookupNames(domain, [string(work.pick(*samba.names["users"]))])
        handle = rpc.OpenUser(domain, access, rids.ids[0])
        for _ in range(work.count(1, 3)):
            rpc.QueryUserInfo(handle, work.pick(1, 3, 4, 5, 6, 7, 13, 16, 20, 21))
        if work.random.random() < 0.5:
            rpc.GetGroupsForUser(handle)
        rpc.Close(handle)

    def new_user():
        handle = rpc.CreateUser2(domain, string(work.word() + work.word()), samr.ACB_NORMAL, access)[0]
        rpc.DeleteUser(handle) if work.random.random() < 0.5 else rpc.Close(handle)

    attempt(
        work, look_up, user, user, new_user,
        lambda: rpc.QueryDomainInfo(domain, work.pick(1, 2, 3, 5, 6, 7, 8, 11, 12, 13)),
        lambda: rpc.QueryDomainInfo2(domain, work.pick(1, 2, 3, 12)),
        lambda: rpc.EnumDomainUsers(domain, 0, work.pick(0, samr.ACB_NORMAL), work.pick(64, 1024, 0xFFFF)),
        lambda: rpc.EnumDomainGroups(domain, 0, work.pick(128, 0xFFFF)),
        lambda: rpc.EnumDomainAliases(domain, 0, 0xFFFF),
        lambda: rpc.QueryDisplayInfo(domain, work.pick(1, 2, 3), 0, work.count(1, 100), work.pick(512, 0x10000)),
        lambda: rpc.GetDomPwInfo(string(samba.names["domain"])),
        lambda: rpc.RidToSid(domain, work.pick(500, 501, 513)))
    rpc.Close(domain)
    rpc.Close(server)


def lsa_session(work, samba):
    """Over TCP names are translated for those with a secure channel alone; policies are refused."""
    from samba.dcerpc import lsa, security

    if work.port != ENDPOINT_MAPPER or work.random.random() < 0.2:
        rpc = samba.bind(lsa.lsarpc)
        attempt(work, lambda: rpc.OpenPolicy2(work.pick("", "\\\\" + samba.names["host"]), lsa.ObjectAttribute(),
                                              security.SEC_FLAG_MAXIMUM_ALLOWED),
                lambda: rpc.GetUserName(None, None, None))
        return
    rpc = samba.bind(lsa.lsarpc, options=["schannel", work.pick("sign", "seal")], credentials=samba.machine())

    def names():
        strings = []
        for _ in range(work.count(1, 12)):
            string = lsa.String()
            string.string = work.pick("", samba.names["domain"] + "\\") + work.pick(*samba.names["users"])
            strings.append(string)
        rpc.LookupNames4(strings, lsa.TransSidArray3(), lsa.LSA_LOOKUP_NAMES_ALL, 0, 0, 2)

    def sids():
        entries = []
        for _ in range(work.count(1, 20)):
            entries.append(lsa.SidPtr())
            entries[-1].sid = security.dom_sid(work.pick("S-1-5-32-544", "S-1-5-18", "S-1-1-0", "S-1-5-11", "S-1-5-32-545"))
        array = lsa.SidArray()
        array.sids, array.num_sids = entries, len(entries)
        rpc.LookupSids3(array, lsa.TransNameArray2(), 1, 0, 0, 2)

    attempt(work, names, sids)


def drsuapi_session(work, samba):
    """What domain controllers ask each other, and clients who translate names."""
    from samba import credentials, drs_utils
    from samba.dcerpc import drsuapi, misc

    samba.credentials.set_kerberos_state(credentials.DONT_USE_KERBEROS)  # its ticket is not among those at hand
    rpc = samba.bind(drsuapi.drsuapi, options=[work.pick("ntlm", "spnego"), "seal"])
    handle, _ = drs_utils.drs_DsBind(rpc)
    root = ",".join("DC=" + part for part in samba.names["realm"].lower().split("."))

    def names():
        request = drsuapi.DsNameRequest1()
        request.format_offered = drsuapi.DRSUAPI_DS_NAME_FORMAT_NT4_ACCOUNT
        request.format_desired = work.pick(drsuapi.DRSUAPI_DS_NAME_FORMAT_FQDN_1779, drsuapi.DRSUAPI_DS_NAME_FORMAT_GUID,
                                           drsuapi.DRSUAPI_DS_NAME_FORMAT_CANONICAL)
        strings = []
        for _ in range(work.count(1, 10)):
            string = drsuapi.DsNameString()
            string.str = samba.names["domain"] + "\\" + work.pick(*samba.names["users"])
            strings.append(string)
        request.names, request.count = strings, len(strings)
        rpc.DsCrackNames(handle, 1, request)

    def controllers():
        request = drsuapi.DsGetDCInfoRequest1()
        request.domain_name = samba.names["realm"].lower()
        request.level = work.pick(1, 2, 3)
        rpc.DsGetDomainControllerInfo(handle, 1, request)

    def neighbours():
        request = drsuapi.DsReplicaGetInfoRequest1()
        request.info_type = work.pick(0, 1, 2, 3, 4, 5)
        request.object_dn = work.pick(None, root)
        rpc.DsReplicaGetInfo(handle, 1, request)

    def changes():
        request = drsuapi.DsGetNCChangesRequest8()
        naming = drsuapi.DsReplicaObjectIdentifier()
        naming.dn = work.pick("", "CN=Schema,CN=Configuration,", "CN=Configuration,") + root
        request.naming_context = naming
        request.source_dsa_invocation_id = misc.GUID()
        request.destination_dsa_guid = misc.GUID()
        request.highwatermark = drsuapi.DsReplicaHighWaterMark()
        request.replica_flags = drsuapi.DRSUAPI_DRS_INIT_SYNC | drsuapi.DRSUAPI_DRS_WRIT_REP
        request.max_object_count = work.pick(1, 10, 133, 402)
        request.max_ndr_size = work.pick(40_000, 402_116)
        rpc.DsGetNCChanges(handle, 8, request)

    attempt(work, names, names, controllers, neighbours, changes)
    rpc.DsUnbind(handle)


def dns_session(work, samba):
    from samba.dcerpc import dnsserver

    rpc = samba.bind(dnsserver.dnsserver)
    version, name = dnsserver.DNS_CLIENT_VERSION_LONGHORN, samba.names["host"]
    zone = samba.names["realm"].lower()

    def add():
        record = dnsserver.DNS_RPC_RECORD()
        record.wType, record.dwFlags, record.dwTtlSeconds = 1, 0xF0, 900
        record.data = f"10.{work.random.randrange(250)}.{work.random.randrange(250)}.{work.random.randrange(1, 250)}"
        buffer = dnsserver.DNS_RPC_RECORD_BUF()
        buffer.rec = record
        rpc.DnssrvUpdateRecord2(version, 0, name, zone, work.word(), buffer, None)

    attempt(
        work, add,
        lambda: rpc.DnssrvQuery2(version, 0, name, None, "ServerInfo"),
        lambda: rpc.DnssrvQuery2(version, 0, name, zone, "ZoneInfo"),
        lambda: rpc.DnssrvComplexOperation2(version, 0, name, None, "EnumZones", dnsserver.DNSSRV_TYPEID_DWORD,
                                            dnsserver.DNS_ZONE_REQUEST_PRIMARY),
        lambda: rpc.DnssrvEnumRecords2(version, 0, name, zone, work.pick("@", "_msdcs", "_tcp"), None, work.pick(1, 2, 33, 255),
                                       dnsserver.DNS_RPC_VIEW_AUTHORITY_DATA, None, None))


def netlogon_session(work, samba):
    from samba.dcerpc import netlogon

    rpc = samba.bind(netlogon.netlogon, None if work.port == ENDPOINT_MAPPER else int(work.more[1]))
    name = "\\\\" + samba.names["host"]
    attempt(
        work,
        lambda: rpc.netr_DsRGetSiteName(name),
        lambda: rpc.netr_DsRGetDCNameEx2(name, None, 0, samba.names["realm"].lower(), None, None, 0x40000000),
        lambda: rpc.netr_DsRGetDCName(name, samba.names["domain"], None, None, 0),
        lambda: rpc.netr_GetAnyDCName(name, samba.names["domain"]),
        lambda: rpc.netr_GetDcName(name, samba.names["domain"]),
        lambda: rpc.netr_DsrEnumerateDomainTrusts(name, 0x3F),
        lambda: rpc.netr_LogonControl2Ex(name, netlogon.NETLOGON_CONTROL_QUERY, 1, None))


def mapper_session(work, samba):
    """The endpoint mapper's own list, a piece at a time; management calls, which every endpoint has."""
    from samba.dcerpc import epmapper, mgmt, misc

    if work.port != ENDPOINT_MAPPER:
        rpc = samba.bind(mgmt.mgmt, options=[], credentials=None)
        attempt(work, lambda: rpc.inq_if_ids(), lambda: rpc.is_server_listening(), lambda: rpc.inq_princ_name(10, 100))
        return
    rpc = samba.bind(epmapper.epmapper, options=[])
    handle = misc.policy_handle()
    for _ in range(work.count(1, 6)):
        try:
            count, handle, _ = rpc.epm_Lookup(0, None, None, 0, handle, work.pick(1, 4, 10, 100))
        except Exception:
            break
        work.think(0.002, 0.3)


def winreg_session(work, samba):
    from samba.dcerpc import security, winreg

    rpc = samba.bind(winreg.winreg)
    access = security.SEC_FLAG_MAXIMUM_ALLOWED
    root = rpc.OpenHKLM(None, access)

    def string(text):
        value = winreg.String()
        value.name = text
        return value

    def buffer(size):
        value = winreg.StringBuf()
        value.size = size
        return value

    def walk():
        key = rpc.OpenKey(root, string(work.pick("SOFTWARE", "SYSTEM", r"SYSTEM\CurrentControlSet\Services",
                                                 r"SYSTEM\CurrentControlSet\Control\ProductOptions",
                                                 r"SOFTWARE\Microsoft\Windows NT\CurrentVersion")), 0, access)
        for number in range(work.count(1, 5)):
            rpc.EnumKey(key, number, buffer(work.pick(256, 1024, 2048)), buffer(256), None)
        rpc.CloseKey(key)

    attempt(work, walk, walk, lambda: rpc.GetVersion(root), lambda: rpc.QueryInfoKey(root, string("")),
            lambda: rpc.EnumKey(root, work.pick(0, 1), buffer(512), buffer(256), None))
    rpc.CloseKey(root)


SESSIONS = {"samr": samr_session, "lsa": lsa_session, "drsuapi": drsuapi_session, "dns": dns_session,
            "netlogon": netlogon_session, "mapper": mapper_session, "winreg": winreg_session}


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
        rpc = IMPACKET_SESSIONS[work.pick(*work.more[2:])](work, impacket)
    except DCERPCException as error:
        # The second is Samba's way to say it.
        if "denied" not in str(error) and "00000001" not in str(error):
            raise
        return
    if work.random.random() < 0.8:
        rpc.disconnect()


def impacket_attempt(work, *calls):
    """As `attempt`."""
    from impacket.dcerpc.v5.rpcrt import DCERPCException

    for _ in range(work.count(1, 10)):
        try:
            work.pick(*calls)()
        except DCERPCException:
            pass
        work.think(0.002, 0.5)


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

    impacket_attempt(
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
    impacket_attempt(
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
    impacket_attempt(
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
    impacket_attempt(work, lambda: mgmt.hinq_if_ids(rpc), lambda: mgmt.his_server_listening(rpc))
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

    impacket_attempt(work, walk, walk, lambda: rrp.hBaseRegGetVersion(rpc, root), lambda: rrp.hBaseRegQueryInfoKey(rpc, root))
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

        impacket_attempt(work, server, lambda: srvs.hNetrShareEnum(rpc, 1, serverName=name + "\0"),
                         lambda: srvs.hNetrShareGetInfo(rpc, work.pick(*shares)["shi1_netname"], 1))
    elif kind == "workstation":
        rpc.bind(wkst.MSRPC_UUID_WKST, bogus_binds=work.pick(0, 0, 1, 2))
        impacket_attempt(work, lambda: wkst.hNetrWkstaGetInfo(rpc, work.pick(100, 101, 102)))
    elif kind == "tasks":
        rpc.bind(tsch.MSRPC_UUID_TSCHS)
        impacket_attempt(work, lambda: tsch.hSchRpcHighestVersion(rpc),
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

        impacket_attempt(work, service, service, lambda: scmr.hRGetServiceDisplayNameW(rpc, manager, work.word() + "\0", 60))
        scmr.hRCloseServiceHandle(rpc, manager)
    rpc.disconnect()


def samba_services(work):
    """The same with Samba's bindings."""
    from samba import credentials, param
    from samba.dcerpc import srvsvc, svcctl, wkssvc

    lp, anybody = param.LoadParm(), credentials.Credentials()
    anybody.set_anonymous()
    place, name = f"ncacn_ip_tcp:{work.host}[{work.port}]", work.pick("\\\\", "") + work.word()
    kind = work.pick("shares", "workstation", "services")
    if kind == "shares":
        rpc = srvsvc.srvsvc(place, lp, anybody)

        def shares():
            control = srvsvc.NetShareInfoCtr()
            control.level, control.ctr = 1, srvsvc.NetShareCtr1()
            rpc.NetShareEnumAll(name, control, 0xFFFFFFFF, 0)

        attempt(work, shares, lambda: rpc.NetSrvGetInfo(name, 101))
    elif kind == "workstation":
        rpc = wkssvc.wkssvc(place, lp, anybody)
        attempt(work, lambda: rpc.NetWkstaGetInfo(name, work.pick(100, 101, 102)))
    else:
        rpc = svcctl.svcctl(place, lp, anybody)
        manager = rpc.OpenSCManagerW(name, None, 4)

        def service():
            handle = rpc.OpenServiceW(manager, work.word(), 4)
            for _ in range(work.count(1, 4)):
                rpc.QueryServiceStatus(handle)
                work.think(0.002, 0.3)
            rpc.CloseServiceHandle(handle)

        attempt(work, service)
        rpc.CloseServiceHandle(manager)


IMPACKET_SESSIONS = {"samr": impacket_samr, "drsuapi": impacket_drsuapi, "netlogon": impacket_netlogon,
                     "mapper": impacket_mapper, "winreg": impacket_winreg}


if __name__ == "__main__":
    main(globals())
