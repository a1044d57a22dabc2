"""SSH: asyncssh, paramiko, libssh2, libssh, Conch of Twisted. Telnet: telnetlib3, telnetlib. SNMP: pysnmp, puresnmp, gufo-snmp, aiosnmp. RADIUS: pyrad.
Syslog: the standard library. LDAP: ldaptor, ldap3.
"""

from . import main


async def asyncssh_server(work):
    import asyncio

    import asyncssh

    class Open(asyncssh.SSHServer):
        def begin_auth(self, _):
            return True

        def password_auth_supported(self):
            return True

        def validate_password(self, *_):
            return True

    async def shell(process):
        if process.command:
            process.stdout.write(work.text(5, 30_000))
        else:
            process.stdout.write("$ ")
            async for line in process.stdin:
                if line.strip() == "exit":
                    break
                process.stdout.write(work.text(2, 2_000) + "\n$ ")
        process.exit(0)

    await asyncssh.create_server(Open, work.host, work.port, process_factory=shell, sftp_factory=True,
                                 server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")])
    await asyncio.Event().wait()


async def asyncssh_client(work):
    import asyncio

    import asyncssh

    async with asyncssh.connect(work.host, work.port, known_hosts=None, username="root", password="secret") as connection:
        kind = work.random.random()
        if kind < 0.4:
            for _ in range(work.count(1, 4)):
                await connection.run(work.pick("uptime", "ls -l", "dmesg", "cat /etc/motd"))
                await asyncio.sleep(work.pause())
        elif kind < 0.7:
            async with connection.create_process(term_type="xterm") as process:
                for _ in range(work.count(1, 10)):
                    for letter in work.word():
                        process.stdin.write(letter)
                        await asyncio.sleep(work.pause(0.02, 0.3))
                    process.stdin.write("\n")
                    await asyncio.sleep(work.pause(0.05, 0.8))
                process.stdin.write("exit\n")
        else:
            async with connection.start_sftp_client() as files:
                await files.get(str(work.file()), "/dev/null")


def paramiko_client(work):
    """`key FILE` after the name logs in by key."""
    import paramiko

    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    how = {"key_filename": work.more[1]} if work.more else {"password": "secret"}
    client.connect(work.host, work.port, "root", timeout=10, allow_agent=False, look_for_keys=False, **how)
    for _ in range(work.count(1, 4)):
        _, out, _ = client.exec_command(work.pick("uptime", "ls -l /usr/bin", "cat /etc/services", "echo hello"))
        out.read()
        work.think()
    client.close()


COMMANDS = ("uptime", "ls -l /usr/bin", "cat /etc/services", "df -h", "who", "systemctl status", "show running-config")


def choose(work, names, always):
    """Algorithms of these, some or all, and always those that every other side has too."""
    share = work.pick(0.15, 0.4, 0.8, 1)
    names = [name.decode() if isinstance(name, bytes) else name for name in names]
    return [name for name in names if name in always or work.random.random() < share]


def asyncssh_algorithms(work):
    from asyncssh.encryption import get_encryption_algs
    from asyncssh.kex import get_kex_algs
    from asyncssh.mac import get_mac_algs

    # Key exchange with GSSAPI needs tickets; the largest groups take longer than a session here.
    kex = [name for name in get_kex_algs() if not name.startswith((b"gss-", b"rsa", b"diffie-hellman-group-exchange"))]
    return {"kex_algs": choose(work, kex, ("curve25519-sha256",)),
            "encryption_algs": choose(work, get_encryption_algs(),
                                      ("aes128-ctr", "aes256-ctr", "chacha20-poly1305@openssh.com")),
            "mac_algs": choose(work, get_mac_algs(), ("hmac-sha2-256",)),
            "compression_algs": work.pick(["none"], ["none", "zlib@openssh.com"], ["zlib@openssh.com", "none"])}


async def asyncssh_chooser(work):
    """Algorithms, keys and name as an administrator chose them; forwards ports to a service that answers at once."""
    import asyncio

    import asyncssh

    class Machine(asyncssh.SSHServer):
        def connection_made(self, connection):
            self.connection = connection

        def begin_auth(self, _):
            if banner:
                self.connection.send_auth_banner(banner)
            return True

        def password_auth_supported(self):
            return True

        def validate_password(self, _, password):
            return password == "secret"

        def connection_requested(self, *_):
            return service

    async def service(reader, writer):
        while await reader.read(65_536):
            writer.write(work.bytes(20, 9_000))
        writer.close()

    async def shell(process):
        if process.command:
            process.stdout.write(work.text(3, 40_000))
        else:
            process.stdout.write(work.text(5, 1_500) + "\n$ ")
            async for line in process.stdin:
                if line.strip() == "exit":
                    break
                process.stdout.write(work.text(2, 2_500) + "\n$ ")
        process.exit(0)

    banner = work.pick(None, None, work.text(20, 900))
    kinds = work.pick(["ssh-ed25519"], ["ssh-rsa", "ssh-ed25519"], ["ssh-rsa", "ecdsa-sha2-nistp256", "ssh-ed25519"])
    await asyncssh.create_server(
        Machine, work.host, work.port, process_factory=shell, sftp_factory=True, **asyncssh_algorithms(work),
        server_version=work.pick(work.word(), f"AsyncSSH_2.{work.size(1, 30)}", f"{work.word()}_{work.word()} {work.word()}"),
        server_host_keys=[asyncssh.generate_private_key(kind) for kind in kinds])
    await asyncio.Event().wait()


async def asyncssh_chooser_client(work):
    """A file after the name is a key to log in with."""
    import asyncio

    import asyncssh

    how = {"client_keys": [work.more[0]]} if work.more else {"password": "secret", "client_keys": None}
    async with asyncssh.connect(work.host, work.port, known_hosts=None, username="root", config=None, agent_path=None,
                                client_version=work.pick(work.word(), f"AsyncSSH_2.{work.size(1, 30)}"),
                                **how, **asyncssh_algorithms(work)) as connection:
        kind = work.random.random()
        if kind < 0.6:
            for _ in range(1 if work.more else work.count(1, 5)):  # tinysshd allows one.
                await connection.run(work.pick(*COMMANDS))
                await asyncio.sleep(work.pause())
        elif kind < 0.8 and not work.more:
            reader, writer = await connection.open_connection("127.0.0.1", work.pick(80, 3306, 5432))
            for _ in range(work.count(1, 8)):
                writer.write(work.bytes(10, 3_000))
                await reader.read(65_536)
                await asyncio.sleep(work.pause())
            writer.close()
        else:
            await asyncio.sleep(work.pause())


def plain_socket(work):
    import socket

    return socket.create_connection((work.host, work.port), timeout=10)


def libssh2_session(work):
    from ssh2 import session as names

    session = names.Session()
    session.set_timeout(10_000)
    # Some of its own names, in its own order; both directions alike, as its programs have it.
    always = ("curve25519-sha256", "aes128-ctr", "aes256-ctr", "hmac-sha2-256", "ext-info-c", "kex-strict-c-v00@openssh.com")
    for methods in ((names.LIBSSH2_METHOD_KEX,), (names.LIBSSH2_METHOD_CRYPT_CS, names.LIBSSH2_METHOD_CRYPT_SC),
                    (names.LIBSSH2_METHOD_MAC_CS, names.LIBSSH2_METHOD_MAC_SC)):
        if work.random.random() < 0.6:
            chosen = ",".join(choose(work, session.supported_algs(methods[0]), always))
            for method in methods:
                session.method_pref(method, chosen)
    if work.random.random() < 0.2:
        session.flag(names.LIBSSH2_FLAG_COMPRESS)
    socket = plain_socket(work)
    session.handshake(socket)
    return session, socket


def drain(channel):
    """Everything until the end of a command."""
    size, _ = channel.read(32_768)
    while size > 0:
        size, _ = channel.read(32_768)


def libssh2_client(work):
    from ssh2.sftp import LIBSSH2_FXF_READ

    session, _socket = libssh2_session(work)
    if work.random.random() < 0.5:
        session.userauth_list("root")
    session.userauth_password("root", "secret")
    kind = work.random.random()
    if kind < 0.5:
        for _ in range(work.count(1, 5)):
            channel = session.open_session()
            channel.execute(work.pick(*COMMANDS))
            drain(channel)
            channel.close()
            work.think()
    elif kind < 0.7:
        channel = session.open_session()
        channel.pty(work.pick("xterm", "vt100"))
        channel.shell()
        for _ in range(work.count(1, 5)):
            for letter in work.pick(*COMMANDS) + "\n":
                channel.write(letter)
                work.think(0.01, 0.15)
            channel.read(32_768)
        channel.write("exit\n")
        channel.close()
    else:
        try:
            files = session.sftp_init()
        except Exception as error:  # Not every server has files.
            print(error)
            return
        for _ in range(work.count(1, 3)):
            with files.open(str(work.file()), LIBSSH2_FXF_READ, 0) as file:
                for _ in file:
                    pass
            work.think()
    session.disconnect()


def libssh2_guesser(work):
    """Some passwords, of which none is right; or only the banner, or the exchange of keys."""
    kind = work.random.random()
    if kind < 0.2:
        socket = plain_socket(work)
        print(socket.recv(256))
        return
    session, _socket = libssh2_session(work)
    if kind < 0.4:
        return
    for _ in range(work.count(1, 4)):
        try:
            session.userauth_password(work.pick("root", "admin", "ubuntu", "test"), work.word())
        except Exception as error:
            print(type(error).__name__)
        work.think(0.01, 0.5)
    if work.random.random() < 0.5:
        session.disconnect()


def libssh_session(work):
    from ssh import options
    from ssh.session import Session

    session = Session()
    session.options_set(options.HOST, work.host)
    session.options_set(options.USER, "root")
    session.options_set_port(work.port)
    session.options_set(options.TIMEOUT, "10")
    if work.random.random() < 0.6:
        kex = ("curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256", "ecdh-sha2-nistp384",
               "ecdh-sha2-nistp521", "diffie-hellman-group18-sha512", "diffie-hellman-group16-sha512",
               "diffie-hellman-group14-sha256")
        ciphers = ("chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr",
                   "aes192-ctr", "aes128-ctr")
        macs = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")
        ciphers = ",".join(choose(work, ciphers, ("aes256-ctr", "chacha20-poly1305@openssh.com")))
        macs = ",".join(choose(work, macs, ("hmac-sha2-256",)))
        session.options_set(options.KEY_EXCHANGE, ",".join(choose(work, kex, ("curve25519-sha256",))))
        for option, value in ((options.CIPHERS_C_S, ciphers), (options.CIPHERS_S_C, ciphers), (options.HMAC_C_S, macs),
                              (options.HMAC_S_C, macs)):
            session.options_set(option, value)
    session.connect()
    return session


def libssh_client(work):
    """A file after the name is a key to log in with."""
    session = libssh_session(work)
    if work.random.random() < 0.5:
        try:
            session.userauth_none()
        except Exception as error:
            print(type(error).__name__)
    if work.more:
        from ssh.key import import_privkey_file

        session.userauth_publickey(import_privkey_file(work.more[0]))
    else:
        session.userauth_password("root", "secret")
    for _ in range(1 if work.more else work.count(1, 5)):
        channel = session.channel_new()
        channel.open_session()
        if work.random.random() < 0.2:
            channel.request_pty()
        channel.request_exec(work.pick(*COMMANDS))
        drain(channel)
        channel.close()
        work.think()
    session.disconnect()


def libssh_guesser(work):
    session = libssh_session(work)
    for _ in range(work.count(0, 4)):
        try:
            session.userauth_password(work.pick("root", "admin", "pi", "oracle"), work.word())
        except Exception as error:
            print(type(error).__name__)
            if "Denied" not in type(error).__name__:
                break
        work.think(0.01, 0.5)
    session.disconnect()


def pylibssh_client(work):
    """As Ansible works: short commands, and files over SFTP or SCP."""
    from pylibsshext.session import Session

    session = Session()
    session.connect(host=work.host, port=work.port, user="root", password="secret", host_key_checking=False,
                    look_for_keys=False, timeout=10)
    for _ in range(work.count(1, 6)):
        channel = session.new_channel()
        channel.exec_command(work.pick(*COMMANDS, f"/bin/sh -c 'echo {work.word()} && sleep 0'"))
        channel.close()
        work.think()
    session.close()


def conch_algorithms(work):
    from twisted.conch.ssh.transport import SSHTransportBase as Base

    for place, always in (("supportedCiphers", ("aes256-ctr", "aes128-ctr")), ("supportedMACs", ("hmac-sha2-256",)),
                          ("supportedKeyExchanges", ("curve25519-sha256",))):
        names = [name for name in getattr(Base, place) if b"group-exchange" not in name]
        setattr(Base, place, [name.encode() for name in choose(work, names, always)])


def conch_server(work):
    """Shells, commands and files of the machine, with a password."""
    from twisted.conch.ssh import factory, keys
    from twisted.conch.unix import UnixSSHRealm
    from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
    from twisted.cred.portal import Portal
    from twisted.internet import reactor
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    conch_algorithms(work)
    own = {b"ssh-ed25519": keys.Key(ed25519.Ed25519PrivateKey.generate())}
    if work.random.random() < 0.5:
        own[b"ssh-rsa"] = keys.Key(rsa.generate_private_key(65537, 2048))
    server = factory.SSHFactory()
    server.publicKeys, server.privateKeys = {name: key.public() for name, key in own.items()}, own
    server.portal = Portal(UnixSSHRealm(), [InMemoryUsernamePasswordDatabaseDontUse(root=b"secret")])
    reactor.listenTCP(work.port, server, interface=work.host)
    reactor.run()


def conch_client(work):
    """A command on a connection of its own, or some."""
    from twisted.conch.client.knownhosts import KnownHostsFile
    from twisted.conch.endpoints import SSHCommandClientEndpoint
    from twisted.internet import defer, protocol, reactor, task
    from twisted.python.filepath import FilePath

    class Trusting:
        def prompt(self, _):
            return defer.succeed(True)

        def warn(self, _):
            pass

    class Told(protocol.Protocol):
        def __init__(self):
            self.over = defer.Deferred()

        def connectionLost(self, _):
            self.over.callback(None)

    async def session(reactor):
        for _ in range(work.pick(1, 1, 1, 2, 3)):
            told, known = Told(), KnownHostsFile(FilePath(f"known{work.random.random()}"))
            password = work.pick(b"secret", b"secret", b"secret", b"wrong")
            # The connection ends with the command.
            command = SSHCommandClientEndpoint.newConnection(
                reactor, work.pick(*COMMANDS).encode(), b"root", work.host, work.port, password=password, knownHosts=known,
                ui=Trusting())
            try:
                # It does not always see that it was refused.
                await command.connect(protocol.Factory.forProtocol(lambda: told)).addTimeout(6, reactor)
                await told.over.addTimeout(8, reactor)
            except Exception as error:
                print(error)
            await task.deferLater(reactor, work.pause())

    conch_algorithms(work)
    task.react(lambda reactor: defer.ensureDeferred(session(reactor)))


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
