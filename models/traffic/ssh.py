"""SSH: asyncssh, paramiko, libssh2, libssh, Conch of Twisted."""

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


if __name__ == "__main__":
    main(globals())
