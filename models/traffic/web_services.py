"""Calls over HTTP: XML-RPC of the standard library; SOAP of spyne and zeep; pywinrm and requests-ntlm with NTLM."""

from . import main
from .web import AGENTS, PATHS, answer


def xmlrpc_server(work):
    import socket
    from socketserver import ThreadingMixIn
    from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

    class Handler(SimpleXMLRPCRequestHandler):
        protocol_version = work.pick("HTTP/1.1", "HTTP/1.0")
        encode_threshold = work.pick(None, 1_400)

    class Server(ThreadingMixIn, SimpleXMLRPCServer):
        address_family = socket.AF_INET6 if work.six else socket.AF_INET

    def state(name):
        return {name: work.text(2, 400), "up": True, "load": work.random.random()}

    def search(word, high):
        return [{"id": work.size(1, 10**6), word: work.text(5, 300)} for _ in range(high)]

    def store(_, data):
        return len(data.data)

    server = Server((work.host, work.port), Handler, logRequests=False, allow_none=True)
    for function in (state, search, store):
        server.register_function(function)
    server.register_introspection_functions()
    server.register_multicall_functions()
    server.serve_forever()


def xmlrpc_client(work):
    from xmlrpc.client import Binary, Fault, MultiCall, ServerProxy

    headers = [("Cookie", work.text(20, 1_000).replace("\n", " "))] if work.random.random() < 0.3 else []
    server = ServerProxy(f"http://{work.url_host}:{work.port}/RPC2", allow_none=True, headers=headers)
    for _ in range(work.count(1, 10)):
        kind = work.random.random()
        if kind < 0.35:
            server.state(work.word())
        elif kind < 0.6:
            server.search(work.word(), work.count(0, 40))
        elif kind < 0.75:
            server.store(work.word(), Binary(work.bytes(5, 60_000)))
        elif kind < 0.9:
            calls = MultiCall(server)
            for _ in range(work.count(1, 6)):
                calls.state(work.word())
            list(calls())
        else:
            try:
                server.missing(work.word())
            except Fault as fault:
                print(fault.faultCode)
        work.think()


def spyne_server(work):
    """SOAP 1.1 with its description, as accounting and machines have it."""
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
    import socket

    from spyne import Application, ComplexModel, Float, Integer, Iterable, ServiceBase, Unicode, rpc
    from spyne.protocol.soap import Soap11
    from spyne.server.wsgi import WsgiApplication

    class Order(ComplexModel):
        number = Integer
        customer = Unicode
        amount = Float
        note = Unicode

    class Orders(ServiceBase):
        @rpc(Unicode, Integer, _returns=Iterable(Order))
        def find(self, customer, count):
            for _ in range(count):
                yield Order(number=work.size(1, 10**8), customer=customer, amount=work.random.random(), note=work.text(2, 300))

        @rpc(Order, _returns=Integer)
        def place(self, order):
            return order.number

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_):
            pass

    class Server(WSGIServer):
        address_family = socket.AF_INET6 if work.six else socket.AF_INET

    space = f"urn:{work.word()}:{work.word()}"
    application = Application([Orders], space, in_protocol=Soap11(validator="lxml"), out_protocol=Soap11())
    make_server(work.host, work.port, WsgiApplication(application), Server, Quiet).serve_forever()


def zeep_client(work):
    from zeep import Client, Transport
    from zeep.cache import InMemoryCache

    client = Client(f"http://{work.url_host}:{work.port}/?wsdl", transport=Transport(cache=InMemoryCache(), timeout=15))
    for _ in range(work.count(0, 8)):
        if work.random.random() < 0.6:
            client.service.find(work.word(), work.count(1, 50))
        else:
            client.service.place({"number": work.size(1, 10**8), "customer": work.word(), "amount": work.random.random(),
                                  "note": work.text(2, 3_000)})
        work.think()


def ntlm_handler(work):
    """Of the standard library's server: it asks who the user is. NTLM alone, or within Negotiate."""
    import http.server
    from base64 import b64decode, b64encode

    import spnego

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version, sys_version = work.pick(("Microsoft-HTTPAPI/2.0", ""), ("Microsoft-IIS/10.0", ""))
        context, last = None, ()

        def reply(self, status, body=b"", headers=()):
            self.send_response(status)
            for name, value in (*headers, *self.last):
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.last = ()
            self.wfile.write(body)

        def known(self):
            """Whether the user is; otherwise asks for more."""
            kind, _, token = self.headers.get("Authorization", "").partition(" ")
            if kind == "Basic" or (self.context and self.context.complete and not token):
                return True
            more = [("WWW-Authenticate", name) for name in ("Negotiate", "NTLM", 'Basic realm="WSMAN"')]
            if token:
                token = b64decode(token)
                if not self.context or self.context.complete:
                    self.context = spnego.server(protocol="ntlm" if token.startswith(b"NTLMSSP") else "negotiate")
                try:
                    answer = self.context.step(token)
                except spnego.exceptions.SpnegoError:
                    self.context = None
                else:
                    more = [("WWW-Authenticate", f"{kind} {b64encode(answer or b'').decode()}")]
                    if self.context.complete:
                        # Negotiate has a last word where NTLM alone has none.
                        self.last = more if answer else ()
                        return True
            self.reply(401, headers=more)
            return False

        def log_message(self, *_):
            pass

    return Handler


def serve(work, handler):
    import http.server
    import socket

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6 if work.six else socket.AF_INET

    Server((work.host, work.port), handler).serve_forever()


def ntlm_server(work):
    """Pages and WS-Management behind NTLM or a password, with messages encrypted where the client has it so."""
    import uuid
    from base64 import b64encode
    from types import SimpleNamespace

    import xmltodict
    from requests_ntlm.requests_ntlm import ShimSessionSecurity
    from winrm.encryption import Encryption

    shell = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"

    def manage(asked):
        """The answer to an envelope."""
        asked = xmltodict.parse(asked)["env:Envelope"]
        action = asked["env:Header"]["a:Action"]["#text"]
        body = None
        if action.endswith("transfer/Create"):
            body = {"rsp:Shell": {"rsp:ShellId": str(uuid.uuid4()), "rsp:Owner": "EXAMPLE\\user", "rsp:State": "Connected"},
                    "w:Selector": {"@Name": "ShellId", "#text": str(uuid.uuid4())}}
        elif action.endswith("shell/Command"):
            body = {"rsp:CommandResponse": {"rsp:CommandId": str(uuid.uuid4())}}
        elif action.endswith("shell/Receive"):
            done = work.random.random() < 0.7
            out = b64encode(work.bytes(1, 12_000)).decode()
            state = {"@State": f"{shell}/CommandState/{'Done' if done else 'Running'}"} | ({"rsp:ExitCode": "0"} if done else {})
            body = {"rsp:ReceiveResponse": {"rsp:Stream": {"@Name": "stdout", "#text": out}, "rsp:CommandState": state}}
            work.think(0.005, 0.8)
        return xmltodict.unparse({"s:Envelope": {
            "@xmlns:s": "http://www.w3.org/2003/05/soap-envelope", "@xmlns:rsp": shell,
            "@xmlns:a": "http://schemas.xmlsoap.org/ws/2004/08/addressing",
            "@xmlns:w": "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd",
            "s:Header": {"a:Action": f"{action}Response", "a:MessageID": f"uuid:{uuid.uuid4()}",
                         "a:RelatesTo": asked["env:Header"]["a:MessageID"]},
            "s:Body": body}}).encode()

    class Handler(ntlm_handler(work)):
        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not self.known():
                return
            if "wsman" not in self.path or not body:
                self.reply(200, answer(work.random, self.path), [("X-Powered-By", "ASP.NET"), ("request-id", str(uuid.uuid4()))])
            elif body.startswith(b"--Encrypted"):
                session = SimpleNamespace(auth=SimpleNamespace(session_security=ShimSessionSecurity(self.context)))
                cipher = Encryption(session, "ntlm")
                told = manage(cipher._decrypt_response(SimpleNamespace(content=body), None))
                kind = f'multipart/encrypted;protocol="{cipher.protocol_string.decode()}";boundary="Encrypted Boundary"'
                self.reply(200, cipher._encrypt_message(told, None) + b"--Encrypted Boundary--\r\n", [("Content-Type", kind)])
            else:
                self.reply(200, manage(body), [("Content-Type", "application/soap+xml;charset=UTF-8")])

        do_POST = do_PUT = do_GET

    serve(work, Handler)


ACCOUNTS = ("EXAMPLE\\user", "EXAMPLE\\administrator", "CORPORATION\\service-of-backups", "A\\b")


def winrm_client(work):
    """Commands and scripts on a machine with Windows."""
    from winrm import Session

    session = Session(f"http://{work.url_host}:{work.port}/wsman", auth=(work.pick(*ACCOUNTS), "secret"),
                      transport=work.pick("ntlm", "ntlm", "basic"), message_encryption=work.pick("auto", "auto", "never"))
    for _ in range(work.count(1, 3)):
        if work.random.random() < 0.5:
            session.run_cmd(work.pick("ipconfig", "dir", "whoami", "sc"), [work.word() for _ in range(work.count(0, 4))])
        else:
            # A script becomes twice as long or more in the command line.
            session.protocol.run_command(shell := session.protocol.open_shell(), f"powershell -enc {work.text(50, 3_000)}")
            session.protocol.close_shell(shell)
        work.think()


def requests_ntlm_client(work):
    """Pages of an intranet and calls of a mail server; with a password that is wrong now and then."""
    import requests
    from requests_ntlm import HttpNtlmAuth

    session = requests.Session()
    session.auth = HttpNtlmAuth(work.pick(*ACCOUNTS, "EXAMPLE\\nobody"), "secret")
    session.headers["User-Agent"] = work.pick(*AGENTS, "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0; Pro)")
    base = f"http://{work.url_host}:{work.port}"
    for _ in range(work.count(1, 6)):
        if work.random.random() < 0.5:
            session.post(f"{base}/EWS/Exchange.asmx", data=work.text(300, 6_000), headers={"Content-Type": "text/xml"}, timeout=15)
        else:
            session.get(base + work.pick(*PATHS), timeout=15)
        work.think()


if __name__ == "__main__":
    main(globals())
