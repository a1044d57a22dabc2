"""HTTP: aiohttp, the standard library, hypercorn, waitress, gunicorn, tornado, twisted; httpx, requests, urllib3,
tornado, twisted. WebSocket: websockets, websocket-client, aiohttp. gRPC: grpcio. QUIC: aioquic, qh3.
"""

from . import main

PATHS = ("/", "/index.html", "/api/v1/items", "/static/app.js", "/favicon.ico", "/login", "/search?q=abc", "/feed.xml")
AGENTS = ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "okhttp/4.12", "python", "Go-http-client/1.1")


def answer(draw, path):
    """A body for a path: files are large, interfaces small."""
    high = 400_000 if "static" in path else 8_000 if "api" in path else 60_000
    return draw.randbytes(int(80 * (high / 80) ** draw.random()))


def aiohttp_server(work):
    from aiohttp import WSMsgType, web

    async def handle(request):
        await request.read()
        return web.Response(body=answer(work.random, request.path), content_type="application/octet-stream")

    async def socket(request):
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        async for message in connection:
            if message.type == WSMsgType.TEXT:
                for _ in range(work.count(1, 3)):
                    await connection.send_str(work.text())
            elif message.type == WSMsgType.BINARY:
                await connection.send_bytes(work.bytes(2, 4_000))
        return connection

    app = web.Application(client_max_size=2**24)
    app.router.add_get("/ws", socket)
    app.router.add_route("*", "/{path:.*}", handle)
    web.run_app(app, host=work.host, port=work.port, print=None)


def standard_server(work):
    import http.server
    import socket

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = work.pick("HTTP/1.1", "HTTP/1.0")

        def do_GET(self):
            length = int(self.headers.get("Content-Length", 0))
            self.rfile.read(length)
            body = answer(work.random, self.path)
            self.send_response(404 if "favicon" in self.path else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_POST = do_PUT = do_HEAD = do_GET

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6 if work.six else socket.AF_INET

    Server((work.host, work.port), Handler).serve_forever()


def hypercorn(work):
    """HTTP/1.1, and HTTP/2 to those that speak it at once; `tls KEY CERTIFICATE` after the name."""
    import asyncio

    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        body = answer(work.random, scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        for start in range(0, len(body), 16_384):
            await send({"type": "http.response.body", "body": body[start:start + 16_384], "more_body": True})
        await send({"type": "http.response.body"})

    config = Config()
    config.bind = [f"{work.url_host}:{work.port}"]
    config.loglevel = "ERROR"
    if work.more:
        config.keyfile, config.certfile = work.more
    return serve(app, config, shutdown_trigger=asyncio.Event().wait)


async def httpx_client(work):
    """A visit: some requests on one connection. `https` and `h2` choose the protocol."""
    import httpx

    secure, two = "https" in work.more, "h2" in work.more
    base = f"http{'s' if secure else ''}://{work.url_host}:{work.port}"
    async with httpx.AsyncClient(http1=not two, http2=two, verify=False, timeout=15,
                                 headers={"User-Agent": work.pick(*AGENTS)}) as client:
        for _ in range(work.count(1, 8)):
            if work.random.random() < 0.25:
                await client.post(base + "/api/v1/items", content=work.bytes(20, 30_000))
            else:
                await client.get(base + work.pick(*PATHS))
            import asyncio
            await asyncio.sleep(work.pause())


def requests_client(work):
    import requests

    base = f"http{'s' if 'https' in work.more else ''}://{work.url_host}:{work.port}"
    requests.packages.urllib3.disable_warnings()
    session = requests.Session()
    session.verify = False
    session.headers["User-Agent"] = work.pick(*AGENTS)
    for _ in range(work.count(1, 6)):
        kind = work.random.random()
        if kind < 0.2:
            session.post(base + "/api/v1/items", json={work.word(): work.text() for _ in range(work.count())}, timeout=15)
        elif kind < 0.3:
            session.head(base + "/", timeout=15)
        else:
            session.get(base + work.pick(*PATHS), timeout=15)
        work.think()


def visit(work):
    """What a session asks for, one after the other: method, path, headers, body."""
    headers = work.pick({}, {"User-Agent": work.pick(*AGENTS), "Accept": "*/*"})
    if work.random.random() < 0.3:
        headers["Cookie"] = "session=" + work.bytes(16, 1_500).hex()
    for _ in range(work.pick(1, work.count(1, 12))):
        method = work.pick("GET", "GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE")
        item = f"/api/v1/items/{work.size(1, 9_999)}"
        path = work.pick(*PATHS, f"/{work.word()}") if method in ("GET", "HEAD") else item
        special = {"Range": f"bytes=0-{work.size(1, 60_000)}"} if work.random.random() < 0.1 else {}
        body = work.text(5, 30_000).encode() if method in ("POST", "PUT") else None
        yield method, path, headers | special, body


def manners(work):
    """Headers that a site adds to all it says."""
    return {f"X-{work.word()}": work.bytes(3, 80).hex() for _ in range(work.count(0, 6))}


def flask_app(work):
    """For the servers of WSGI."""
    from flask import Flask, jsonify, redirect, request, send_file

    app, headers = Flask("shop", static_folder=None), manners(work)

    @app.after_request
    def add(response):
        response.headers.update(headers)
        return response

    @app.get("/api/v1/items")
    def items():
        return jsonify([{"name": work.word(), "text": work.text(2, 300)} for _ in range(work.count(0, 40))])

    @app.route("/api/v1/items/<int:number>", methods=["GET", "POST", "PUT", "DELETE"])
    def item(number):
        return ("", 204) if request.method == "DELETE" else (jsonify(number=number, size=len(request.data)), 201)

    @app.get("/login")
    def login():
        return redirect("/")

    @app.get("/feed.xml")
    def feed():
        return (work.text(20, 4_000) for _ in range(work.count(1, 10)))

    @app.get("/", defaults={"path": ""})
    @app.get("/<path:path>")
    def page(path):
        return ("nothing here", 404) if "favicon" in path else send_file(work.file(), "text/plain", conditional=True)

    return app


def waitress_server(work):
    import waitress

    waitress.serve(flask_app(work), listen=f"{work.url_host}:{work.port}", ident=work.pick("", "waitress", work.word()))


def gunicorn_server(work):
    import sys

    from gunicorn.app.base import BaseApplication

    class Server(BaseApplication):
        def load_config(self):
            for name, value in {"bind": f"{work.url_host}:{work.port}", "worker_class": "gthread", "threads": 8}.items():
                self.cfg.set(name, value)

        def load(self):
            return flask_app(work)

    sys.argv[1:] = []  # it would read them, too
    Server().run()


async def tornado_server(work):
    import asyncio

    from tornado.web import Application, RequestHandler, StaticFileHandler

    headers = manners(work)

    class Items(RequestHandler):
        def set_default_headers(self):
            for name, value in headers.items():
                self.set_header(name, value)

        async def get(self):
            for _ in range(work.count(1, 6)):
                self.write({work.word(): work.text(2, 2_000)})
                if work.random.random() < 0.3:
                    await self.flush()

        def post(self):
            self.set_status(work.pick(200, 201, 202, 400))
            self.finish({"id": work.word()})

        put = post

        def delete(self):
            self.set_status(204)

    Application([("/api.*|/login|/search|/feed.*", Items),
                 ("/()", StaticFileHandler, {"path": work.files, "default_filename": "2"}),
                 ("/(.*)", StaticFileHandler, {"path": work.files})]).listen(work.port, work.host)
    await asyncio.Event().wait()


async def tornado_client(work):
    import asyncio

    from tornado.httpclient import AsyncHTTPClient

    client = AsyncHTTPClient()
    for method, path, headers, body in visit(work):
        await client.fetch(f"http://{work.url_host}:{work.port}{path}", method=method, headers=headers, body=body,
                           follow_redirects=work.pick(True, False), raise_error=False)
        await asyncio.sleep(work.pause())


def twisted_server(work):
    from twisted.internet import endpoints, reactor
    from twisted.web.resource import Resource
    from twisted.web.server import Site
    from twisted.web.static import File
    from twisted.web.util import Redirect

    headers = manners(work)

    class Items(Resource):
        isLeaf = True

        def render(self, request):
            for name, value in headers.items():
                request.setHeader(name, value)
            request.setResponseCode(work.pick(200, 200, 200, 201, 404))
            return answer(work.random, "/api")

    pages = File(work.files, defaultType="text/plain")
    pages.putChild(b"api", Items())
    pages.putChild(b"search", Items())
    pages.putChild(b"login", Redirect(b"/2"))
    pages.putChild(b"index.html", File(str(work.file())))
    address = work.host.replace(":", r"\:")
    endpoints.serverFromString(reactor, f"tcp{6 if work.six else ''}:{work.port}:interface={address}").listen(Site(pages))
    reactor.run()


def twisted_client(work):
    from io import BytesIO

    from twisted.internet import task
    from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, readBody
    from twisted.web.http_headers import Headers

    async def session(reactor):
        agent = Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=work.pick(True, False)))
        for method, path, headers, body in visit(work):
            url = f"http://{work.url_host}:{work.port}{path}".encode()
            fields = Headers({name: [value] for name, value in headers.items()})
            response = await agent.request(method.encode(), url, fields, FileBodyProducer(BytesIO(body)) if body else None)
            await readBody(response)
            await task.deferLater(reactor, work.pause())

    task.react(session)


def urllib3_client(work):
    import urllib3

    pool = urllib3.HTTPConnectionPool(work.url_host, work.port, maxsize=work.pick(1, 4))
    for method, path, headers, body in visit(work):
        pool.request(method, path, headers=headers, body=body, redirect=work.pick(True, False), timeout=15)
        work.think()


async def websockets_server(work):
    import asyncio

    from websockets.asyncio.server import serve

    async def talk(connection):
        async for message in connection:
            if work.random.random() < 0.7:
                await connection.send(message[: work.size(1, 3_000)])
            else:
                for _ in range(work.count(1, 5)):
                    await connection.send(work.text(2, 1_500))
                    await asyncio.sleep(work.pause(0.001, 0.2))

    async with serve(talk, work.host, work.port):
        await asyncio.Event().wait()


async def websockets_client(work):
    import asyncio

    from websockets.asyncio.client import connect

    async with connect(f"ws://{work.url_host}:{work.port}/ws") as connection:
        for _ in range(work.count(2, 20)):
            await connection.send(work.pick(work.text(2, 800), work.bytes(2, 3_000)))
            if work.random.random() < 0.6:
                try:
                    await asyncio.wait_for(connection.recv(), 3)
                except TimeoutError:
                    pass
            await asyncio.sleep(work.pause())


def websocket_client(work):
    import websocket

    connection = websocket.create_connection(f"ws://{work.url_host}:{work.port}/ws", timeout=3)
    for _ in range(work.count(2, 15)):
        connection.send(work.text(2, 600))
        try:
            connection.recv()
        except websocket.WebSocketTimeoutException:
            pass
        work.think()
    connection.close()


def grpc_server(work):
    from concurrent import futures

    import grpc

    def one(request, _):
        return work.bytes(5, 5_000)

    def many(request, _):
        for _ in range(work.count(2, 30)):
            yield work.bytes(5, 3_000)

    handlers = {"Get": grpc.unary_unary_rpc_method_handler(one), "Watch": grpc.unary_stream_rpc_method_handler(many)}
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("store.Items", handlers),))
    server.add_insecure_port(f"{work.url_host}:{work.port}")
    server.start()
    server.wait_for_termination()


def grpc_client(work):
    import grpc

    with grpc.insecure_channel(f"{work.url_host}:{work.port}") as channel:
        get, watch = channel.unary_unary("/store.Items/Get"), channel.unary_stream("/store.Items/Watch")
        for _ in range(work.count(1, 10)):
            if work.random.random() < 0.7:
                get(work.bytes(5, 2_000), timeout=8)
            else:
                for _ in watch(work.bytes(5, 200), timeout=8):
                    pass
            work.think()


def quic_library(name):
    """aioquic, or qh3, which kept its interface and has another TLS: what is used of it."""
    from importlib import import_module
    from types import SimpleNamespace

    modules = [import_module(f"{name}.{part}") for part in
               ("asyncio", "h3.connection", "h3.events", "quic.configuration")]
    return SimpleNamespace(**{name: value for module in modules for name, value in vars(module).items()})


def qh3_client(work):
    return aioquic_client(work, "qh3")


async def aioquic_server(work):
    """HTTP/3: KEY CERTIFICATE after the name."""
    import asyncio

    from aioquic.asyncio import QuicConnectionProtocol, serve
    from aioquic.h3.connection import H3Connection
    from aioquic.h3.events import DataReceived, HeadersReceived
    from aioquic.quic.configuration import QuicConfiguration
    from aioquic.quic.events import ProtocolNegotiated

    class Server(QuicConnectionProtocol):
        http = None

        def quic_event_received(self, event):
            if isinstance(event, ProtocolNegotiated):
                self.http = H3Connection(self._quic)
            if self.http is None:
                return
            for happened in self.http.handle_event(event):
                if isinstance(happened, (HeadersReceived, DataReceived)) and happened.stream_ended:
                    path = "/"
                    if isinstance(happened, HeadersReceived):
                        path = dict(happened.headers)[b":path"].decode()
                    self.http.send_headers(happened.stream_id, [(b":status", b"200")])
                    self.http.send_data(happened.stream_id, answer(work.random, path), end_stream=True)
                    self.transmit()

    key, certificate = work.more
    configuration = QuicConfiguration(alpn_protocols=["h3"], is_client=False)
    configuration.load_cert_chain(certificate, key)
    await serve(work.host, work.port, configuration=configuration, create_protocol=Server)
    await asyncio.Event().wait()


async def aioquic_client(work, library="aioquic"):
    import asyncio
    import ssl

    quic = quic_library(library)

    class Client(quic.QuicConnectionProtocol):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.http, self.waiting = quic.H3Connection(self._quic), {}

        async def fetch(self, path, body):
            stream = self._quic.get_next_available_stream_id()
            done = self.waiting[stream] = asyncio.get_running_loop().create_future()
            self.http.send_headers(stream, [(b":method", b"POST" if body else b"GET"), (b":scheme", b"https"),
                                            (b":authority", b"www.example.net"), (b":path", path.encode())], not body)
            if body:
                self.http.send_data(stream, body, True)
            self.transmit()
            await asyncio.wait_for(done, 10)

        def quic_event_received(self, event):
            for happened in self.http.handle_event(event):
                if isinstance(happened, (quic.HeadersReceived, quic.DataReceived)) and happened.stream_ended:
                    self.waiting.pop(happened.stream_id).set_result(None)

    configuration = quic.QuicConfiguration(alpn_protocols=["h3"], is_client=True, verify_mode=ssl.CERT_NONE,
                                      server_name=work.pick("www.example.net", "api.example.org"))
    async with quic.connect(work.host, work.port, configuration=configuration, create_protocol=Client) as client:
        for _ in range(work.count(1, 6)):
            paths = [work.pick(*PATHS) for _ in range(work.count(1, 4))]
            body = work.bytes(20, 9_000) if work.random.random() < 0.2 else b""
            await asyncio.gather(*(client.fetch(path, body) for path in paths))
            await asyncio.sleep(work.pause())


if __name__ == "__main__":
    main(globals())
