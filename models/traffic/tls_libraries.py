"""TLS libraries that few have: OpenSSL 4 as pyOpenSSL brings it (hybrid key exchange, signatures of ML-DSA), BoringSSL as browsers
use it (utls), tlslite-ng, Mbed TLS and siotls. Each gives engines, which turn bytes into records and see no socket.
"""

from pathlib import Path


def chain(work, server):
    """Where the key and the certificates of an end are; `client` has some as well."""
    folder = Path(work.more[1])
    name = "server" if server else "client"
    return folder / f"{name}.key", folder / f"{name}.pem", folder / "root.pem"


def offered(work):
    """A name that is asked for, or none, and protocols that are offered."""
    if "plain" in work.more:
        return None, []
    name = work.pick(None, "www.example.net", ".".join(work.word() for _ in range(work.count(1, 16))) + ".example.net")
    return name, work.pick([], [], ["http/1.1"], ["h2", "http/1.1"], [*(work.word() for _ in range(work.count(1, 12))), "h2"])


class Openssl:
    def __init__(self, work, server):
        from OpenSSL import SSL
        from cryptography.hazmat.primitives.asymmetric import ec

        self.module, self.server, self.session = SSL, server, None
        self.again = work.random.random() < 0.5
        self.renews = not server and work.random.random() < 0.2
        self.name, protocols = offered(work)
        key, certificates, root = chain(work, server)
        self.context = context = SSL.Context(SSL.TLS_METHOD)
        newest = work.pick(SSL.TLS1_3_VERSION, SSL.TLS1_3_VERSION, SSL.TLS1_3_VERSION if "new" in work.more else SSL.TLS1_2_VERSION)
        if server:
            context.set_session_id(b"tests")
            context.set_options(1 << 8)  # SSL_OP_ALLOW_CLIENT_RENEGOTIATION
            context.set_alpn_select_callback(lambda _, names: names[-1])
            if work.random.random() < 0.15:
                context.set_min_proto_version(newest)
        context.set_max_proto_version(newest)
        if work.random.random() < 0.3:
            # No hybrid key, or another one than a client guesses: then it must say hello again.
            context.set_tmp_ecdh(work.pick(ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()))
        if server or work.random.random() < 0.4:
            context.use_privatekey_file(str(key))
            context.use_certificate_chain_file(str(certificates))
        if work.random.random() < (0.3 if server else 0.1):
            if server or work.random.random() < 0.5:
                context.load_verify_locations(str(root))
            context.set_verify(SSL.VERIFY_PEER, None)
            if server:
                context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
                context.load_client_ca(str(root).encode())
        if protocols and not server:
            context.set_alpn_protos([name.encode() for name in protocols])

    def new(self):
        engine = OpensslEngine(self)
        connection = engine.connection = self.module.Connection(self.context, None)
        if self.server:
            connection.set_accept_state()
        else:
            connection.set_connect_state()
            if self.name:
                connection.set_tlsext_host_name(self.name.encode())
            if self.session and self.again:
                connection.set_session(self.session)
        return engine


class OpensslEngine:
    def __init__(self, maker):
        self.maker, self.module = maker, maker.module

    def attempt(self, call, *given):
        try:
            return call(*given)
        except (self.module.WantReadError, self.module.WantWriteError):
            return b""
        except self.module.ZeroReturnError:
            raise EOFError from None

    def handshake(self):
        return self.attempt(self.connection.do_handshake) is None

    def outgoing(self):
        out = []
        while data := self.attempt(self.connection.bio_read, 65536):
            out.append(data)
        return b"".join(out)

    def incoming(self, data):
        self.connection.bio_write(data)

    def write(self, data):
        if self.maker.renews and self.connection.get_protocol_version_name() == "TLSv1.2":
            self.maker.renews = False
            self.connection.renegotiate()
            self.attempt(self.connection.do_handshake)
            return  # What was to be said is not, while a new handshake goes on.
        self.connection.sendall(data)

    def read(self):
        return self.attempt(self.connection.recv, 65536)

    def close(self):
        self.maker.session = self.connection.get_session()
        self.connection.shutdown()


class Boring:
    """As a browser says hello, or as the library does by itself."""

    def __init__(self, work, server):
        import utls

        self.module, self.server, self.session = utls, server, None
        self.name, protocols = offered(work)
        self.context = context = utls.SSLContext(utls.PROTOCOL_TLS_SERVER if server else utls.PROTOCOL_TLS_CLIENT)
        if server:
            key, certificates, _ = chain(work, server)
            context.load_cert_chain(str(certificates), str(key))
            return
        self.name = self.name or "www.example.net"
        context.check_hostname = False
        context.verify_mode = utls.CERT_REQUIRED if work.random.random() < 0.05 else utls.CERT_NONE
        if work.random.random() < 0.6:
            context.set_fingerprint(work.pick(*utls.presets()))
        else:
            context.maximum_version = work.pick(utls.TLSVersion.TLSv1_2, utls.TLSVersion.TLSv1_3)
            if protocols:
                context.set_alpn_protocols(protocols)

    def new(self):
        incoming, outgoing = self.module.MemoryBIO(), self.module.MemoryBIO()
        name = None if self.server else self.name
        connection = self.context.wrap_bio(incoming, outgoing, self.server, name, self.session)
        return BoringEngine(self, connection, incoming, outgoing)


class BoringEngine:
    def __init__(self, maker, connection, incoming, outgoing):
        self.maker, self.connection, self.taken, self.given = maker, connection, incoming, outgoing

    def handshake(self):
        try:
            self.connection.do_handshake()
        except self.maker.module.SSLWantReadError:
            return False
        return True

    def outgoing(self):
        return self.given.read()

    def incoming(self, data):
        self.taken.write(data)

    def write(self, data):
        self.connection.write(data)

    def read(self):
        try:
            data = self.connection.read(65536)
        except self.maker.module.SSLWantReadError:
            return b""
        except self.maker.module.SSLZeroReturnError:
            raise EOFError from None
        if not data:
            raise EOFError
        return data

    def close(self):
        if not self.maker.server:
            self.maker.session = self.connection.session
        try:
            self.connection.unwrap()
        except self.maker.module.SSLError:
            pass


class Buffers:
    """What tlslite-ng takes for a socket."""

    def __init__(self):
        self.taken, self.given = bytearray(), bytearray()

    def recv(self, size):
        if not self.taken:
            raise BlockingIOError(11, "nothing has come")
        data = bytes(self.taken[:size])
        del self.taken[:size]
        return data

    def send(self, data):
        self.given += data
        return len(data)

    def sendall(self, data):
        self.send(data)

    def close(self):
        pass


class Tlslite:
    def __init__(self, work, server):
        from tlslite import api
        from tlslite.sessioncache import SessionCache

        self.module, self.server, self.session = api, server, None
        self.name, protocols = offered(work)
        self.protocols = [bytearray(name.encode()) for name in protocols] or None
        self.more = work.pick(None, None, "heartbeat", "keys")
        key, certificates, _ = chain(work, server)
        self.chain = self.key = None
        if server or work.random.random() < 0.4:
            self.chain = api.X509CertChain()
            self.chain.parsePemList(certificates.read_text())
            self.key = api.parsePEMKey(key.read_text(), private=True)
        self.settings = settings = api.HandshakeSettings()
        settings.maxVersion = work.pick((3, 4), (3, 4), (3, 3), (3, 3), (3, 2), (3, 1))
        if settings.maxVersion < (3, 4):
            settings.versions = [version for version in settings.versions if version <= settings.maxVersion]
        if server:
            settings.maxVersion, settings.versions = (3, 4), [(3, 4), (3, 3), (3, 2), (3, 1)]
            settings.ticketKeys = [work.random.randbytes(32)]
            settings.ticket_count = work.random.randint(0, 4)
            self.cache = work.pick(None, SessionCache())
            self.asks = work.random.random() < 0.3
        settings.ec_point_formats = [0]  # Uncompressed: its reading of Mbed TLS's compressed points fails.
        settings.keyShares = work.pick(["x25519"], ["secp256r1", "x25519"], ["secp256r1", "secp384r1", "x25519", "x448"], [],
                                       ["ffdhe2048", "secp521r1"])
        settings.record_size_limit = work.pick(2**14 + 1, 2**14 + 1, work.size(512, 2**14))
        settings.usePaddingExtension = work.random.random() < 0.5

    def new(self):
        return TlsliteEngine(self)


class TlsliteEngine:
    def __init__(self, maker):
        self.maker, self.buffers = maker, Buffers()
        self.connection = maker.module.TLSConnection(self.buffers)
        if maker.server:
            self.shaking = self.connection.handshakeServerAsync(
                certChain=maker.chain, privateKey=maker.key, reqCert=maker.asks, sessionCache=maker.cache, settings=maker.settings,
                alpn=[bytearray(b"h2"), bytearray(b"http/1.1")])
        else:
            self.shaking = self.connection.handshakeClientCert(
                maker.chain, maker.key, maker.session, maker.settings, serverName=maker.name, alpn=maker.protocols, async_=True)
        self.reading = None

    def handshake(self):
        return next(self.shaking, None) is None

    def outgoing(self):
        data = bytes(self.buffers.given)
        self.buffers.given.clear()
        return data

    def incoming(self, data):
        self.buffers.taken += data

    def write(self, data):
        more, self.maker.more = self.maker.more, None
        if more == "heartbeat" and self.connection.heartbeat_can_send:
            self.connection.send_heartbeat_request(b"alive", 16)
        elif more == "keys" and self.connection.version == (3, 4):
            for _ in self.connection.send_keyupdate_request(1):
                pass
        self.connection.write(data)

    def read(self):
        self.reading = self.reading or self.connection.readAsync(65536)
        data = next(self.reading, b"")
        if data in (0, 1):
            return b""
        self.reading = None
        if not data:
            raise EOFError
        return bytes(data)

    def close(self):
        self.maker.session = self.connection.session
        for _ in self.connection.closeAsync():
            break  # Only says so, and does not wait for the other end's answer.


class Mbedtls:
    def __init__(self, work, server):
        from mbedtls import exceptions, pk, tls, x509

        self.module, self.failure, self.server = tls, exceptions.TLSError, server
        self.name, protocols = offered(work)
        path, certificates, root = chain(work, server)
        end = "-----END CERTIFICATE-----\n"
        parts = [part + end for part in certificates.read_text().split(end)[:-1]]
        own = None
        if server or work.random.random() < 0.4:
            try:
                key = pk.RSA.from_PEM(path.read_text())
            except (TypeError, ValueError):
                key = pk.ECC.from_PEM(path.read_text())
            own = tuple(x509.CRT.from_PEM(part) for part in parts), key
        checked = not server and work.random.random() < 0.15
        settings = tls.TLSConfiguration(
            validate_certificates=checked, certificate_chain=own,
            trust_store=tls.TrustStore.from_pem_file(root) if checked else None,
            lowest_supported_version=tls.TLSVersion.TLSv1,
            highest_supported_version=tls.TLSVersion.TLSv1_2 if server else work.pick(
                tls.TLSVersion.TLSv1_2, tls.TLSVersion.TLSv1_2, tls.TLSVersion.TLSv1_1, tls.TLSVersion.TLSv1),
            max_fragmentation_length=work.pick(None, None, *tls.MaxFragmentLength),
            inner_protocols=[tls.NextProtocol.H2, tls.NextProtocol.HTTP1] if protocols and not server else None)
        self.context = tls.ServerContext(settings) if server else tls.ClientContext(settings)

    def new(self):
        buffer = self.context.wrap_buffers() if self.server else self.context.wrap_buffers(self.name)
        return MbedtlsEngine(self.module, self.failure, buffer)


class MbedtlsEngine:
    def __init__(self, module, failure, buffer):
        self.module, self.failure, self.buffer = module, failure, buffer
        self.given = bytearray()

    def drain(self):
        while data := self.buffer.peek_outgoing(65536):
            self.given += data
            self.buffer.consume_outgoing(len(data))

    def handshake(self):
        while self.buffer._handshake_state is not self.module.HandshakeStep.HANDSHAKE_OVER:
            try:
                self.buffer.do_handshake()
            except self.module.WantReadError:
                return False
            except self.module.WantWriteError:
                self.drain()
        return True

    def outgoing(self):
        self.drain()
        data = bytes(self.given)
        self.given.clear()
        return data

    def incoming(self, data):
        self.buffer.receive_from_network(data)

    def write(self, data):
        while data:
            try:
                data = data[self.buffer.write(data):]
            except self.module.WantWriteError:
                pass
            self.drain()

    def read(self):
        try:
            return self.buffer.read(16384)
        except self.module.WantReadError:
            return b""
        except self.module.RaggedEOF:
            raise EOFError from None
        except self.failure as error:
            if error.err == 0x7880:  # MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY
                raise EOFError from None
            raise

    def close(self):
        self.buffer.shutdown()


class Siotls:
    def __init__(self, work, server):
        import siotls
        from siotls import crypto, iana, pem

        crypto.install("openssl")
        self.module, self.server = siotls, server
        self.name, _ = offered(work)
        self.name = self.name or "www.example.net"
        key, certificates, _ = chain(work, server)
        own = {}
        if server:  # A client's are beyond it.
            own = {"private_key": pem.decode_pem_private_key(key.read_bytes()),
                   "certificate_chain": pem.decode_pem_certificate_chain(certificates.read_bytes())}
        groups = [iana.NamedGroup.x25519, iana.NamedGroup.secp256r1]
        self.settings = siotls.TLSConfiguration(
            "server" if server else "client", key_exchanges=work.pick(groups, groups[::-1], groups[:1], groups[1:]), **own)

    def new(self):
        connection = self.module.TLSConnection(self.settings, **({} if self.server else {"server_hostname": self.name}))
        connection.initiate_connection()
        return SiotlsEngine(connection)


class SiotlsEngine:
    def __init__(self, connection):
        self.connection = connection

    def handshake(self):
        return self.connection.is_post_handshake()

    def outgoing(self):
        return self.connection.data_to_send()

    def incoming(self, data):
        self.connection.receive_data(data)

    def write(self, data):
        self.connection.send_data(data)

    def read(self):
        data = self.connection.data_to_read()
        if not data and not self.connection.is_connected():
            raise EOFError
        return data

    def close(self):
        self.connection.close_sending_end()


LIBRARIES = {"openssl": Openssl, "boring": Boring, "tlslite": Tlslite, "mbedtls": Mbedtls, "siotls": Siotls}
