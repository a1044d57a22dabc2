"""FTP: pyftpdlib, twisted, ftplib. TFTP: tftpy. Git: dulwich. BitTorrent: libtorrent. SMB: impacket."""

from pathlib import Path

from . import main


def pyftpdlib_server(work):
    """First and last data port after the name."""
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.servers import FTPServer

    FTPHandler.authorizer = DummyAuthorizer()
    FTPHandler.authorizer.add_anonymous(work.files, perm="elradfmwMT")
    FTPHandler.passive_ports = range(int(work.more[0]), int(work.more[1]))
    FTPServer((work.host, work.port), FTPHandler).serve_forever()


def twisted_ftp(work):
    """First and last data port after the name."""
    from twisted.cred import credentials, portal
    from twisted.internet import reactor
    from twisted.protocols import ftp

    folder = Path(work.files)

    class Everybody:
        """Lets all in, to the same files; anonymous users, too, who may thus write."""

        credentialInterfaces = (credentials.IUsernamePassword,)

        def requestAvatarId(self, _):
            return folder.name

    factory = ftp.FTPFactory(portal.Portal(ftp.FTPRealm(folder, folder.parent), [Everybody()]))
    factory.allowAnonymous = False
    factory.passivePortRange = range(int(work.more[0]), int(work.more[1]))
    factory.welcomeMessage = work.pick("ready", f"{work.word()} FTP server", work.text(5, 120).replace("\n", " "))
    reactor.listenTCP(work.port, factory, interface=work.host)
    reactor.run()


def ftplib_client(work):
    """Goes on when something is refused: not every server lists without a name, or may be written to."""
    import ftplib
    import io
    from contextlib import suppress

    with ftplib.FTP(timeout=15) as connection:
        connection.connect(work.host, work.port)
        connection.login("anonymous", f"{work.word()}@example.net")
        for _ in range(work.count(1, 5)):
            kind = work.random.random()
            with suppress(ftplib.error_perm):
                if kind < 0.3:
                    connection.retrlines(work.pick("LIST", "NLST"), lambda _: None)
                elif kind < 0.8:
                    connection.retrbinary(f"RETR {work.random.randint(1, 12)}", lambda _: None)
                else:
                    connection.storbinary(f"STOR in-{work.word()}", io.BytesIO(work.bytes(100, 200_000)))
            work.think(0.01, 0.7)
        connection.quit()


def tftpy_server(work):
    import logging

    import tftpy

    logging.disable(logging.CRITICAL)
    tftpy.TftpServer(work.files).listen(work.host, work.port, timeout=3)


def tftpy_client(work):
    import io
    import logging

    import tftpy

    logging.disable(logging.CRITICAL)
    client = tftpy.TftpClient(work.host, work.port, {"blksize": work.pick(512, 512, 1024, 1428)})
    for _ in range(work.count(1, 2)):
        client.download(str(work.random.randint(1, 7)), io.BytesIO(), timeout=3)
        work.think(0.01, 0.3)


def dulwich_server(work):
    """A repository made of the run's files; its folder after the name."""
    import logging

    from dulwich import porcelain
    from dulwich.repo import Repo
    from dulwich.server import DictBackend, TCPGitServer

    logging.disable(logging.CRITICAL)
    folder = work.more[0]
    repository = Repo.init(folder, mkdir=True)
    for number in range(1, 11):
        (Path(folder) / str(number)).write_bytes((Path(work.files) / str(number)).read_bytes())
        porcelain.add(repository, str(Path(folder) / str(number)))
        porcelain.commit(repository, message=f"file {number}", author=b"A <a@example.net>", committer=b"A <a@example.net>")
    TCPGitServer(DictBackend({b"/": repository}), work.host, port=work.port).serve_forever()


def dulwich_client(work):
    import tempfile

    from dulwich import porcelain

    url = f"git://{work.url_host}:{work.port}/"
    for _ in range(work.count(1, 3)):
        if work.random.random() < 0.5:
            porcelain.ls_remote(url)
        else:
            with tempfile.TemporaryDirectory() as folder:
                porcelain.clone(url, folder, errstream=porcelain.NoneStream(), checkout=False)
        work.think()


def libtorrent_pair(work, content, seed):
    import libtorrent

    session = libtorrent.session({
        "listen_interfaces": f"{work.url_host}:{work.port}", "enable_dht": False, "enable_lsd": False,
        "enable_upnp": False, "enable_natpmp": False, "enable_outgoing_utp": False, "enable_incoming_utp": False,
        "allow_multiple_connections_per_ip": True, "in_enc_policy": 2, "out_enc_policy": 2, "alert_mask": 0})
    storage = libtorrent.file_storage()
    libtorrent.add_files(storage, content)
    torrent = libtorrent.create_torrent(storage, 16_384, libtorrent.create_torrent.v1_only)
    libtorrent.set_piece_hashes(torrent, str(Path(content).parent))
    info = libtorrent.torrent_info(torrent.generate())
    return session, info, str(Path(content).parent)


def libtorrent_server(work):
    import time

    sessions = []
    session, _, _ = libtorrent_pair(work, f"{work.files}/1", True)
    for number in range(5, 13):
        _, info, folder = libtorrent_pair(work, f"{work.files}/{number}", True)
        session.add_torrent({"ti": info, "save_path": folder, "flags": 0})
        sessions.append(session)
    while True:
        time.sleep(10)


def libtorrent_client(work):
    """Own address after the name."""
    import tempfile
    import time

    server, port = work.host, work.port
    content = f"{work.files}/{work.random.randint(5, 12)}"
    work.host, work.port = work.more[0], work.random.randint(40_000, 60_000)
    session, info, _ = libtorrent_pair(work, content, False)
    with tempfile.TemporaryDirectory() as folder:
        handle = session.add_torrent({"ti": info, "save_path": folder})
        handle.connect_peer((server, port))
        for _ in range(300):
            if handle.status().is_seeding:
                break
            time.sleep(0.05)
        else:
            return 1


def impacket_server(work):
    from impacket.smbserver import SimpleSMBServer

    server = SimpleSMBServer(listenAddress=work.host, listenPort=work.port, ipv6=work.six)
    server.addShare("FILES", work.files)
    server.setSMB2Support(True)
    server.start()


def impacket_client(work):
    from impacket.smbconnection import SMBConnection

    connection = SMBConnection("SERVER", work.host, sess_port=work.port, timeout=15)
    connection.login("", "")
    for _ in range(work.count(1, 4)):
        if work.random.random() < 0.4:
            connection.listPath("FILES", "*")
        else:
            connection.getFile("FILES", str(work.random.randint(1, 11)), lambda _: None)
        work.think(0.01, 0.5)
    connection.close()


if __name__ == "__main__":
    main(globals())
