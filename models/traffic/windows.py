"""DCE/RPC over TCP with Samba's bindings, which Debian's Python alone has."""

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
    from samba import NTSTATUSError, WERRORError

    try_some(work, calls, (NTSTATUSError, WERRORError))


def try_some(work, calls, refused):
    """Some of the calls in any order, each as often as drawn; a server may refuse."""
    for _ in range(work.count(1, 10)):
        try:
            work.pick(*calls)()
        except refused:
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


if __name__ == "__main__":
    main(globals())
