"""Telnet: telnetlib3, telnetlib. SNMP: pysnmp, puresnmp, gufo-snmp, aiosnmp. RADIUS: pyrad. Syslog: the standard library.
LDAP: ldaptor, ldap3.
"""

from . import main


async def telnetlib3_server(work):
    import asyncio

    import telnetlib3

    async def shell(reader, writer):
        writer.write("login: ")
        while True:
            line = await reader.readline()
            if not line or line.strip() in ("exit", "quit"):
                break
            writer.write(work.text(2, 1_500).replace("\n", "\r\n") + "\r\n> ")
            await writer.drain()
        writer.close()

    await telnetlib3.create_server(work.host, work.port, shell=shell, connect_maxwait=0.5)
    await asyncio.Event().wait()


def telnetlib_client(work):
    """The standard library's, which Python 3.13 no longer has. It types letter by letter."""
    import telnetlib

    connection = telnetlib.Telnet(work.host, work.port, timeout=10)
    for _ in range(work.count(2, 9)):
        connection.read_very_eager()
        for letter in work.word():
            connection.write(letter.encode())
            work.think(0.01, 0.25)
        connection.write(b"\r\n")
        work.think(0.05, 0.8)
        connection.read_very_eager()
    connection.write(b"exit\r\n")
    try:
        connection.read_all()
    except (EOFError, TimeoutError, ConnectionResetError):
        pass


COMMUNITIES = ("public", "private", "noc", "monitoring", "read-only-9f3a")
SYSTEM, INTERFACES, IP, SNMP, HOST = (f"1.3.6.1.2.1.{group}" for group in (1, 2, 4, 11, 25))


def device(work):
    """What a device of some size tells of itself (RFC 1213, RFC 2790), as sorted pairs of identifier and value."""
    from pysnmp.proto import rfc1902 as kind

    def number():
        return kind.Counter32(work.size(1, 2**31))

    found = {f"{SYSTEM}.{place}.0": kind.OctetString(work.text(3, 120).replace("\n", " ")) for place in (1, 4, 5, 6)}
    found |= {f"{SYSTEM}.2.0": kind.ObjectIdentifier(f"1.3.6.1.4.1.{work.size(1, 50_000)}.1"),
              f"{SYSTEM}.3.0": kind.TimeTicks(work.size(100, 10**8)), f"{SYSTEM}.7.0": kind.Integer32(72)}
    count = work.count(2, 24)
    found[f"{INTERFACES}.1.0"] = kind.Integer32(count)
    for index in range(1, count + 1):
        row = {1: kind.Integer32(index), 2: kind.OctetString(f"{work.pick('eth', 'ge-0/0/', 'GigabitEthernet1/0/', 'Vlan')}{index}"),
               3: kind.Integer32(6), 4: kind.Integer32(1500), 5: kind.Gauge32(10**9),
               6: kind.OctetString(work.random.randbytes(6)), 7: kind.Integer32(1), 8: kind.Integer32(work.pick(1, 2))}
        row |= {column: number() for column in range(10, 21)}
        found |= {f"{INTERFACES}.2.1.{column}.{index}": value for column, value in row.items()}
    found |= {f"{IP}.{place}.0": number() for place in range(1, 20)}
    found |= {f"{SNMP}.{place}.0": number() for place in range(1, 30)}
    for index in range(1, work.count(5, 60)):
        found[f"{HOST}.4.2.1.2.{index}"] = kind.OctetString(work.text(3, 60).replace("\n", " "))
    return sorted((tuple(map(int, name.split("."))), value) for name, value in found.items())


def pysnmp_agent(work):
    import bisect

    from pysnmp.carrier.asyncio.dgram import udp, udp6
    from pysnmp.entity import config, engine
    from pysnmp.entity.rfc3413 import cmdrsp, context
    from pysnmp.proto import rfc1905
    from pysnmp.proto.api import v2c
    from pysnmp.smi import instrum

    told = device(work)
    names, known = [name for name, _ in told], dict(told)

    class Device(instrum.AbstractMibInstrumController):
        def read_variables(self, *asked, **_):
            return [(name, known.get(tuple(name), rfc1905.noSuchInstance)) for name, _ in asked]

        def read_next_variables(self, *asked, **_):
            answer = []
            for name, _ in asked:
                place = bisect.bisect_right(names, tuple(name))
                answer.append((v2c.ObjectIdentifier(names[place]), told[place][1]) if place < len(names)
                              else (name, rfc1905.endOfMibView))
            return answer

    agent = engine.SnmpEngine()
    transport = udp6.Udp6AsyncioTransport() if work.six else udp.UdpAsyncioTransport()
    config.add_transport(agent, (udp6 if work.six else udp).DOMAIN_NAME,
                         transport.open_server_mode((work.host, work.port)))
    for place, community in enumerate(COMMUNITIES):
        config.add_v1_system(agent, f"area{place}", community)
        for version in (1, 2):
            config.add_vacm_user(agent, version, f"area{place}", "noAuthNoPriv", readSubTree=(1, 3, 6), writeSubTree=(1, 3, 6))
    served = context.SnmpContext(agent)
    served.unregister_context_name(v2c.OctetString(""))
    served.register_context_name(v2c.OctetString(""), Device())
    for responder in (cmdrsp.GetCommandResponder, cmdrsp.NextCommandResponder, cmdrsp.BulkCommandResponder):
        responder(agent, served)
    agent.transport_dispatcher.job_started(1)
    agent.transport_dispatcher.run_dispatcher()


def asked_of_device(work):
    """Identifiers that a manager asks for at one time."""
    return [work.pick(*(f"{SYSTEM}.{place}.0" for place in range(1, 8)), *(f"{SNMP}.{place}.0" for place in range(1, 30)),
                      *(f"{INTERFACES}.2.1.{column}.{work.random.randint(1, 3)}" for column in (2, 5, 8, 10, 16)))
            for _ in range(work.pick(1, 1, work.count(1, 12)))]


async def puresnmp_client(work):
    """A socket a question."""
    import asyncio

    from puresnmp import V1, V2C, Client, PyWrapper
    from puresnmp.transport import send_udp

    version = work.pick(V1, V2C, V2C)
    client = PyWrapper(Client(work.host, version(work.pick(*COMMUNITIES)), port=work.port, sender=send_udp))
    kind = work.random.random()
    if kind < 0.6:
        for _ in range(work.count(1, 4)):
            await client.multiget(asked_of_device(work) if version is V2C else [f"{SYSTEM}.{work.pick(1, 2, 4, 5, 6)}.0"])
            await asyncio.sleep(work.pause(0.002, 0.3))
    elif kind < 0.8 or version is V1:
        count = 0
        async for _ in client.walk(work.pick(SYSTEM, SNMP)):
            count += 1
            if count > 8:
                break
    else:
        await client.bulkget([], [SYSTEM, SNMP], max_list_size=work.count(2, 12))


def gufo_client(work):
    """A socket a session: questions, walks one by one and in bulk."""
    from gufo.snmp import SnmpVersion
    from gufo.snmp.sync import SnmpSession

    version = work.pick(SnmpVersion.v1, SnmpVersion.v2c, SnmpVersion.v2c)
    with SnmpSession(addr=work.host, port=work.port, community=work.pick(*COMMUNITIES), version=version, timeout=5) as session:
        for _ in range(work.pick(1, 1, work.count(1, 6))):
            kind = work.random.random()
            if kind < 0.35:
                session.get(f"{SYSTEM}.{work.pick(1, 2, 3, 4, 5, 6)}.0")
            elif kind < 0.55 and version is SnmpVersion.v2c:
                session.get_many(asked_of_device(work))
            elif kind < 0.8 or version is SnmpVersion.v1:
                for _ in session.getnext(work.pick(SYSTEM, SNMP, f"{INTERFACES}.2.1.2", f"{INTERFACES}.2.1.10", f"{HOST}.4.2.1.2")):
                    if work.random.random() < 0.03:
                        break
            else:
                for _ in session.getbulk(work.pick(SYSTEM, INTERFACES, SNMP, HOST), max_repetitions=work.count(2, 30)):
                    pass
            work.think(0.002, 0.6)


async def aiosnmp_client(work):
    """A socket a session, version 2c."""
    import asyncio

    import aiosnmp

    async with aiosnmp.Snmp(host=work.host, port=work.port, community=work.pick(*COMMUNITIES), timeout=5,
                            max_repetitions=work.count(2, 25)) as session:
        for _ in range(work.pick(1, 1, work.count(1, 6))):
            kind = work.random.random()
            if kind < 0.5:
                await session.get(asked_of_device(work))
            elif kind < 0.6:
                await session.get_next(asked_of_device(work))
            elif kind < 0.8:
                await session.walk(work.pick(SYSTEM, f"{INTERFACES}.2.1.2", f"{INTERFACES}.2.1.16"))
            else:
                await session.bulk_walk(work.pick(SYSTEM, f"{INTERFACES}.2.1", SNMP))
            await asyncio.sleep(work.pause(0.002, 0.6))


DICTIONARY = """ATTRIBUTE User-Name 1 string
ATTRIBUTE User-Password 2 string
ATTRIBUTE NAS-IP-Address 4 ipaddr
ATTRIBUTE NAS-Port 5 integer
ATTRIBUTE Service-Type 6 integer
ATTRIBUTE Reply-Message 18 string
ATTRIBUTE Called-Station-Id 30 string
ATTRIBUTE Calling-Station-Id 31 string
ATTRIBUTE NAS-Identifier 32 string
"""


def dictionary():
    import io

    from pyrad.dictionary import Dictionary

    return Dictionary(io.StringIO(DICTIONARY))


def pyrad_server(work):
    from pyrad import packet, server

    class Server(server.Server):
        def HandleAuthPacket(self, request):
            reply = self.CreateReplyPacket(request, **{"Reply-Message": work.text(2, 120)})
            reply.code = work.pick(packet.AccessAccept, packet.AccessAccept, packet.AccessReject)
            self.SendReplyPacket(request.fd, reply)

    running = Server(dict=dictionary(), addresses=[work.host], authport=work.port, acct_enabled=False)
    running.hosts[work.more[0]] = server.RemoteHost(work.more[0], b"secret", "client")
    running.Run()


def pyrad_client(work):
    from pyrad.client import Client
    from pyrad.packet import AccessRequest

    client = Client(server=work.host, authport=work.port, secret=b"secret", dict=dictionary())
    client.timeout = 3
    for _ in range(work.count(1, 4)):
        request = client.CreateAuthPacket(code=AccessRequest, User_Name=work.pick("bob", work.word()))
        request["User-Password"] = request.PwCrypt(work.pick("secret", work.word()))
        request["NAS-IP-Address"] = "192.0.2.2"
        request["NAS-Port"] = work.random.randrange(100)
        if work.random.random() < 0.5:
            request["Calling-Station-Id"], request["Called-Station-Id"] = "00-11-22-33-44-55", work.word()
        client.SendPacket(request)
        work.think(0.01, 0.5)


def syslog_client(work):
    """`tcp` after the name for a stream."""
    import logging
    import logging.handlers
    import socket

    kind = socket.SOCK_STREAM if "tcp" in work.more else socket.SOCK_DGRAM
    handler = logging.handlers.SysLogHandler((work.host, work.port), facility=work.random.randrange(24), socktype=kind)
    handler.ident = f"{work.word()}[{work.random.randrange(9999)}]: "
    if kind == socket.SOCK_STREAM:
        handler.append_nul = False
        handler.setFormatter(logging.Formatter("%(message)s\n"))
    log = logging.getLogger("sys")
    log.addHandler(handler)
    for _ in range(work.count(1, 20)):
        log.error(work.text(10, 500).replace("\n", " "))
        work.think(0.002, 0.6)
    handler.close()


def ldaptor_server(work):
    from ldaptor.inmemory import ReadOnlyInMemoryLDAPEntry
    from ldaptor.interfaces import IConnectedLDAPEntry
    from ldaptor.protocols.ldap.ldapserver import LDAPServer
    from twisted.internet import protocol, reactor
    from twisted.python.components import registerAdapter

    top = ReadOnlyInMemoryLDAPEntry("dc=net", {"objectClass": ["dcObject"], "dc": ["net"]})
    people = top.addChild("ou=people", {"objectClass": ["organizationalUnit"], "ou": ["people"]})
    for number in range(80):
        people.addChild(f"uid=user{number}", {
            "objectClass": ["inetOrgPerson"], "uid": [f"user{number}"], "cn": [work.word()], "sn": [work.word()],
            "mail": [f"user{number}@example.net"], "description": [work.text(5, 200)], "userPassword": ["secret"]})

    class Factory(protocol.ServerFactory):
        protocol = LDAPServer
        root = top

    registerAdapter(lambda factory: factory.root, Factory, IConnectedLDAPEntry)
    reactor.listenTCP(work.port, Factory(), interface=work.host)
    reactor.run()


def ldap3_client(work):
    from ldap3 import ALL_ATTRIBUTES, NONE, SUBTREE, Connection, Server

    user = f"uid=user{work.random.randrange(80)},ou=people,dc=net"
    named = {"user": user, "password": "secret"} if work.random.random() < 0.5 else {}
    with Connection(Server(work.host, work.port, get_info=NONE), **named, receive_timeout=10) as connection:
        for _ in range(work.count(1, 6)):
            question = work.pick(f"(uid=user{work.random.randrange(80)})", "(objectClass=inetOrgPerson)", "(sn=a*)")
            connection.search("ou=people,dc=net", question, SUBTREE, attributes=work.pick(["mail"], ALL_ATTRIBUTES))
            work.think(0.005, 0.5)


if __name__ == "__main__":
    main(globals())
