"""HTTP that says little at a time: pages and interfaces as browsers ask for them (FastAPI on uvicorn, Flask on werkzeug,
Django's runserver, bottle on cheroot; http.client, aiohttp, httpx), PowerShell over WS-Management (psrpcore; pypsrp),
WebDAV (WsgiDAV; webdavclient3, webdav4).
"""

from . import main
from .web import manners

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]


def site(work):
    """How one site answers, for every framework below: status, headers, and a body or what makes it piece by piece."""
    import json

    largest, page, extra = work.size(60, 4_000), work.size(300, 30_000), work.pick({}, manners(work))
    extra |= work.pick({}, {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})

    def record():
        return json.dumps({"id": work.size(1, 10**6), work.word(): work.text(1, largest), "ok": True}).encode()

    def events():
        for number in range(work.count(2, 12)):
            yield b"id: %d\ndata: %s\n\n" % (number, record())
            work.think(0.02, 1.2)

    def export():
        for _ in range(work.count(1, 20)):
            yield record() + b"\n"
            work.think(0.001, 0.1)

    def answer(method, path, fields):
        kind = {"Content-Type": "application/json"} | extra
        if method == "OPTIONS":
            return 204, extra | {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": ", ".join(METHODS),
                                 "Access-Control-Allow-Headers": "content-type, authorization"}, b""
        if path == "/login":
            return 303, extra | {"Location": "/", "Set-Cookie": f"session={work.bytes(16, 120).hex()}; HttpOnly; Path=/"}, b""
        if "if-none-match" in fields and work.random.random() < 0.8:
            return 304, {"ETag": fields["if-none-match"]}, b""
        if method == "DELETE" or path == "/beacon":
            return 204, extra, b""
        if path == "/events":
            return 200, kind | {"Content-Type": "text/event-stream"}, events()
        if path == "/export":
            return 200, kind | {"Content-Type": "application/x-ndjson"}, export()
        if path == "/poll":
            work.think(0.1, 3)
        if path == "/favicon.ico" or work.random.random() < 0.04:
            return 404, kind, b'{"detail":"Not Found"}'
        if path == "/" or path.startswith("/static"):
            told = work.random.randbytes(int(page * work.pause(0.3, 3)) // 2).hex().encode()
            aim = "text/html; charset=utf-8" if path == "/" else "text/javascript"
            return 200, kind | {"Content-Type": aim, "ETag": f'"{work.bytes(4, 20).hex()}"'}, told
        return work.pick(200, 200, 201) if method == "POST" else 200, kind, work.pick(record(), record(), b"[]", b'{"ok":true}')

    return answer


def uvicorn_server(work):
    import uvicorn
    from fastapi import Depends, FastAPI, Request, Response
    from fastapi.responses import StreamingResponse

    app, answer = FastAPI(), site(work)

    async def read(request: Request):
        await request.body()

    @app.api_route("/{path:path}", methods=METHODS, dependencies=[Depends(read)])
    def everything(request: Request):
        status, headers, body = answer(request.method, request.url.path, request.headers)
        return (Response if isinstance(body, bytes) else StreamingResponse)(body, status, headers)

    uvicorn.run(app, host=work.host, port=work.port, log_level="error", server_header=work.pick(True, False),
                timeout_keep_alive=work.pick(3, 5, 60))


def werkzeug_server(work):
    from flask import Flask, Response, request

    app, answer = Flask("site", static_folder=None), site(work)

    @app.route("/", defaults={"path": ""}, methods=METHODS)
    @app.route("/<path:path>", methods=METHODS)
    def everything(path):
        request.get_data()
        status, headers, body = answer(request.method, request.path, request.headers)
        return Response(body, status, headers)

    app.run(work.host, work.port, threaded=True)


def django_server(work):
    import django
    from django.conf import settings
    from django.core.servers.basehttp import run
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse, StreamingHttpResponse
    from django.urls import re_path

    answer = site(work)

    def everything(request):
        fields = {name.lower(): value for name, value in request.headers.items()}
        status, headers, body = answer(request.method, request.path, fields)
        kind = HttpResponse if isinstance(body, bytes) else StreamingHttpResponse
        return kind(body, status=status, headers=headers)

    middleware = ["security.SecurityMiddleware", "clickjacking.XFrameOptionsMiddleware", "gzip.GZipMiddleware"]
    settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=(re_path("", everything),), LOGGING_CONFIG=None,
                       MIDDLEWARE=[f"django.middleware.{name}" for name in middleware[:work.random.randint(0, 3)]])
    django.setup()
    run(work.host, work.port, get_wsgi_application(), ipv6=work.six, threading=True)


def cheroot_server(work):
    from bottle import Bottle, HTTPResponse, request
    from cheroot.wsgi import Server

    app, answer = Bottle(), site(work)

    @app.route("/", method=METHODS)
    @app.route("/<path:path>", method=METHODS)
    def everything(path=""):
        request.body.read()
        status, headers, body = answer(request.method, request.path, request.headers)
        return HTTPResponse(body, status, **headers)

    Server((work.host, work.port), app, server_name=work.pick("app", "www.example.net"), timeout=work.pick(3, 10)).start()


def browser(work):
    """The headers of one browser: a function of what they are for and of the page they come from."""
    version, phone = work.random.randint(100, 148), work.random.random() < 0.2
    system, name = work.pick(("Windows NT 10.0; Win64; x64", "Windows"), ("X11; Linux x86_64", "Linux"),
                             ("Macintosh; Intel Mac OS X 10_15_7", "macOS"))
    if phone:
        system, name = f"Linux; Android {work.random.randint(9, 16)}; {work.pick('K', 'SM-A515F', 'Pixel 8')}", "Android"
    kind = work.pick("chrome", "chrome", "edge", "firefox", "safari")
    host = work.pick(f"{work.url_host}:{work.port}", f"{work.word()}.example.net:{work.port}", f"{work.word()}.local")
    base = {"Host": host, "Connection": "keep-alive"}
    trusted = work.pick(True, False)  # as its own machine is: other places without TLS are told less
    if trusted and kind in ("chrome", "edge"):
        brand = {"chrome": "Google Chrome", "edge": "Microsoft Edge"}[kind]
        base |= {"sec-ch-ua": f'"Chromium";v="{version}", "{brand}";v="{version}", "Not;A=Brand";v="24"',
                 "sec-ch-ua-mobile": f"?{int(phone)}", "sec-ch-ua-platform": f'"{name}"'}
    agent = {"firefox": f"Gecko/20100101 Firefox/{version}.0",
             "safari": f"AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.{version % 7} Safari/605.1.15"}
    chromium = f"AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 {'Mobile ' * phone}Safari/537.36"
    chromium += f" Edg/{version}.0.0.0" * (kind == "edge")
    base["User-Agent"] = f"Mozilla/5.0 ({system}) {agent.get(kind, chromium)}"
    language = work.pick("en-US,en;q=0.9", "en-US,en;q=0.5", "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7", "fr,fr-FR;q=0.8,en-US;q=0.5")
    cookies = [f"{work.pick('_ga', 'csrftoken', 'sessionid', 'theme', work.word())}={work.bytes(4, 120).hex()}"
               for _ in range(work.count(0, 8))]
    bearer = work.pick("", "", f"Bearer {work.bytes(40, 350).hex()}")

    def fields(aim, page):
        accept = {"document": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
                  "empty": work.pick("*/*", "application/json, text/plain, */*"),
                  "image": "image/avif,image/webp,image/*,*/*;q=0.8"}
        more = {"Accept": accept.get(aim, "*/*")}
        if aim == "document":
            more = {"Upgrade-Insecure-Requests": "1"} | more
        elif bearer and aim == "empty":
            more["Authorization"] = bearer
        if trusted:
            more |= {"Sec-Fetch-Site": "same-origin" if page else "none",
                     "Sec-Fetch-Mode": {"document": "navigate", "empty": "cors"}.get(aim, "no-cors"), "Sec-Fetch-Dest": aim}
        if page:
            more["Referer"] = f"http://{host}{page}"
        more |= {"Accept-Encoding": work.pick("gzip, deflate", "identity"), "Accept-Language": language}
        return base | more | ({"Cookie": "; ".join(cookies)} if cookies else {})

    return fields


def visit(work):
    """What a browser asks a site for: pages and what belongs to them, then calls of the page's scripts."""
    import json
    from urllib.parse import urlencode

    fields, page = browser(work), ""
    kind = work.pick("pages", "calls", "calls", "polls", "events")
    for number in range(work.count(1, 6) if kind == "events" else work.count(1, 16)):
        if (kind == "pages" or number == 0) and work.random.random() < 0.5:
            yield "GET", page or "/", fields("document", page), None
            page = work.pick("/", "/app", f"/{work.word()}?tab={work.word()}")
        elif kind == "pages":
            aim = work.pick("script", "style", "image")
            path = {"script": f"/static/{work.word()}.js", "style": "/static/site.css", "image": "/favicon.ico"}[aim]
            again = {"If-None-Match": f'W/"{work.bytes(4, 20).hex()}"'} if work.random.random() < 0.3 else {}
            yield "GET", path, fields(aim, page or "/") | again, None
        elif kind == "polls":
            path = work.pick("/poll", "/poll", f"/api/state?since={work.size(1, 10**12)}")
            yield "GET", path, fields("empty", page or "/"), None
        elif kind == "events" and number:
            stream = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
            yield "GET", "/events", fields("empty", page or "/") | stream, None
        else:
            path = f"/api/{work.pick('items', 'users/me', 'search?q=' + work.word(), work.word())}"
            method = work.pick("GET", "GET", "GET", "POST", "POST", "PUT", "DELETE", "HEAD", "OPTIONS")
            record = {work.word(): work.text(1, 400) for _ in range(work.count(1, 6))}
            what, body = work.pick(("application/json", json.dumps(record)),
                                   ("application/x-www-form-urlencoded", urlencode(record)))
            if method in ("POST", "PUT"):
                place, headers = work.pick(path, path, "/login", "/beacon"), fields("empty", page or "/")
                yield method, place, headers | {"Content-Type": what, "Origin": f"http://{headers['Host']}"}, body.encode()
            elif method == "OPTIONS":
                yield method, path, fields("empty", page or "/") | {"Access-Control-Request-Method": "PUT"}, None
            else:
                yield method, work.pick(path, path, path, "/export"), fields("empty", page or "/"), None


def http_client(work):
    """On one connection, opened before it is needed now and then; `chunks` where the server takes bodies in such."""
    from http.client import HTTPConnection

    connection = HTTPConnection(work.host, work.port, timeout=15)
    connection.connect()
    if work.random.random() < 0.3:
        work.think(0.2, 3)
    for method, path, headers, body in visit(work):
        chunked = body and "chunks" in work.more and work.random.random() < 0.4
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        length = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(body))} if body else {}
        for name, value in (headers | length).items():
            connection.putheader(name, value)
        parts = [body[start:start + 300] for start in range(0, len(body), 300)] if chunked else body
        connection.endheaders(parts, encode_chunked=bool(chunked))
        connection.getresponse().read()
        work.think(0.003, 1.5)
    connection.close()


async def aiohttp_client(work):
    """Calls one after the other or some at once, on a few connections that stay."""
    import asyncio

    from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

    base, together = f"http://{work.url_host}:{work.port}", work.pick(1, 1, 2, 4)
    careful = work.random.random() < 0.3  # asks whether its body is wanted, as programs of .NET do (RFC 9110 section 10.1.1)
    async with ClientSession(connector=TCPConnector(limit=work.random.randint(1, 3)), cookie_jar=DummyCookieJar(),
                             timeout=ClientTimeout(15)) as session:
        async def ask(method, path, headers, body):
            follow = work.pick(True, False)
            async with session.request(method, base + path, headers=headers, data=body, allow_redirects=follow,
                                       expect100=careful and bool(body)) as answer:
                await answer.read()

        asked = []
        for request in visit(work):
            asked.append(ask(*request))
            if len(asked) == together:
                await asyncio.gather(*asked)
                asked = []
                await asyncio.sleep(work.pause(0.003, 1.5))
        await asyncio.gather(*asked)


def httpx_client(work):
    import httpx

    base, follow = f"http://{work.url_host}:{work.port}", work.pick(True, False)
    with httpx.Client(base_url=base, timeout=15, follow_redirects=follow) as client:
        for method, path, headers, body in visit(work):
            client.request(method, path, headers=headers, content=body)
            work.think(0.003, 1.5)


def psrp_server(work):
    """Pools of PowerShell and commands within WS-Management, behind the users of `ntlm_handler`."""
    import uuid
    from base64 import b64decode, b64encode
    from xml.etree import ElementTree

    from psrpcore import CreatePipelineEvent, EndOfPipelineInputEvent, PSRPPayload, ServerPipeline, ServerRunspacePool, StreamType
    from pypsrp.encryption import WinRMEncryption

    from .web_services import ntlm_handler, serve

    windows = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
    pools = {}

    class Shell:
        """A pool with what is to be said of it and of its pipelines, each a fragment for an answer."""

        def __init__(self):
            self.pool, self.said = ServerRunspacePool(), {}

        def hear(self, data, pipeline=None):
            self.pool.receive_data(PSRPPayload(b64decode(data), StreamType.default, pipeline))
            while event := self.pool.next_event():
                alone = isinstance(event, CreatePipelineEvent) and event.pipeline.no_input
                if alone or isinstance(event, EndOfPipelineInputEvent):
                    self.run(self.pool.pipeline_table[event.pipeline_id])
            while payload := self.pool.data_to_send(largest):
                self.said.setdefault(payload.pipeline_id, []).append(payload.data)

        def run(self, pipeline):
            pipeline.start()
            for _ in range(work.count(0, 12)):
                work.pick(pipeline.write_output, pipeline.write_output, pipeline.write_verbose)(work.text(2, 1_500))
            pipeline.write_output(work.word())  # as a file's name, which a copy is told
            pipeline.complete()

    largest = work.size(600, 12_000)

    def manage(asked):
        """The answer to an envelope."""
        asked = ElementTree.fromstring(asked)
        action, message = (asked.findtext(f".//{{*}}{name}") for name in ("Action", "MessageID"))
        found = {part.tag.partition("}")[2]: part for part in asked.find("{*}Body").iter()}
        shell = next((part.text for part in asked.iter() if part.get("Name") == "ShellId"), None)
        place = pools.get(shell)
        body = ""
        if action.endswith("transfer/Create"):
            shell = found["Shell"].get("ShellId", str(uuid.uuid4()).upper())
            if "creationXml" in found:
                pools[shell] = Shell()
                pools[shell].hear(found["creationXml"].text)
            body = (f"<rsp:Shell><rsp:ShellId>{shell}</rsp:ShellId><rsp:Owner>EXAMPLE\\user</rsp:Owner>"
                    "<rsp:ShellRunTime>P0DT0H0M0S</rsp:ShellRunTime></rsp:Shell>"
                    f'<t:ResourceCreated><a:ReferenceParameters><w:SelectorSet><w:Selector Name="ShellId">{shell}</w:Selector>'
                    "</w:SelectorSet></a:ReferenceParameters></t:ResourceCreated>")
        elif action.endswith("shell/Command"):
            command = found["CommandLine"].get("CommandId", str(uuid.uuid4()).upper())
            if place:
                ServerPipeline(place.pool, uuid.UUID(command))
                place.hear(found["Arguments"].text, uuid.UUID(command))
            body = f"<rsp:CommandResponse><rsp:CommandId>{command}</rsp:CommandId></rsp:CommandResponse>"
        elif action.endswith("shell/Send"):
            command = found["Stream"].get("CommandId")
            place.hear(found["Stream"].text, uuid.UUID(command) if command else None)
            body = "<rsp:SendResponse/>"
        elif action.endswith("shell/Receive"):
            work.think(0.003, 0.8)
            command = found["DesiredStream"].get("CommandId")
            left = place.said.get(uuid.UUID(command) if command else None, []) if place else None
            data = (left.pop(0) if left else b"") if place else work.bytes(1, 4_000)
            done = not left if place else work.random.random() < 0.6
            state = f'<rsp:CommandState CommandId="{command}" State="{windows}/CommandState/{"Done" if done else "Running"}"/>'
            body = (f'<rsp:ReceiveResponse><rsp:Stream Name="stdout">{b64encode(data).decode()}</rsp:Stream>'
                    f"{state if command else ''}</rsp:ReceiveResponse>")
        elif action.endswith("shell/Signal"):
            body = "<rsp:SignalResponse/>"
        elif action.endswith("transfer/Delete"):
            pools.pop(shell, None)
        return (f'<s:Envelope xml:lang="en-US" xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:rsp="{windows}"'
                ' xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"'
                ' xmlns:t="http://schemas.xmlsoap.org/ws/2004/09/transfer"'
                ' xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd">'
                f"<s:Header><a:Action>{action}Response</a:Action><a:MessageID>uuid:{str(uuid.uuid4()).upper()}</a:MessageID>"
                "<a:To>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:To>"
                f"<a:RelatesTo>{message}</a:RelatesTo></s:Header><s:Body>{body}</s:Body></s:Envelope>").encode()

    class Handler(ntlm_handler(work)):
        # Headers and body in two packets or in one; the second waits for what Nagle has it wait for, or not.
        wbufsize = work.pick(0, 0, -1)
        disable_nagle_algorithm = work.pick(True, False)

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not self.known():
                return
            if not body:
                self.reply(200)
            elif body.startswith(b"--Encrypted"):
                cipher = WinRMEncryption(self.context, WinRMEncryption.SPNEGO)
                kind, told = cipher.wrap_message(manage(cipher.unwrap_message(body, "Encrypted Boundary")))
                self.reply(200, told, [("Content-Type", f'{kind};protocol="{cipher.protocol}";boundary="Encrypted Boundary"')])
            else:
                self.reply(200, manage(body), [("Content-Type", "application/soap+xml;charset=UTF-8")])

    serve(work, Handler)


def psrp_client(work):
    """Scripts in a pool that stays, with pauses; commands; files that are copied over."""
    import tempfile

    from pypsrp.client import Client
    from pypsrp.powershell import PowerShell, RunspacePool

    from .web_services import ACCOUNTS

    client = Client(work.host, port=work.port, username=work.pick(*ACCOUNTS), password="secret", ssl=False,
                    auth=work.pick("ntlm", "negotiate"), encryption=work.pick("auto", "auto", "auto", "never"))
    # Of a fragment: as large as these envelopes, which are smaller than Windows allows.
    client.wsman.update_max_payload_size(work.size(6_000, 22_000))
    kind = work.pick("pool", "pool", "pool", "commands", "copy")
    if kind == "pool":
        with RunspacePool(client.wsman) as pool:
            for _ in range(work.count(1, 12)):
                shell = PowerShell(pool)
                if work.random.random() < 0.4:
                    shell.add_script(work.text(40, 8_000))
                else:
                    shell.add_cmdlet(work.pick("Get-Process", "Get-Service", "Get-ChildItem")).add_parameter("Name", work.word())
                shell.invoke(input=(work.text(5, 900) for _ in range(work.count(1, 5))) if work.random.random() < 0.3 else None)
                shell.close()
                work.think(0.01, 2)
    elif kind == "commands":
        for _ in range(work.count(1, 5)):
            client.execute_cmd(" ".join(work.word() for _ in range(work.count(1, 200))))
            work.think(0.01, 2)
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(work.bytes(500, 150_000))
            file.flush()
            client.copy(file.name, rf"C:\Users\{work.word()}\{work.word()}.msi")
    client.close()


def wsgidav_server(work):
    """A share: FOLDER after the name. For anybody or for one user."""
    from cheroot.wsgi import Server
    from wsgidav.wsgidav_app import WsgiDAVApp

    users = work.pick(True, {"user": {"password": "secret"}})
    app = WsgiDAVApp({"provider_mapping": {"/": work.more[0]}, "simple_dc": {"user_mapping": {"*": users}}, "verbose": 0,
                      "http_authenticator": {"accept_basic": True, "accept_digest": True, "default_to_digest": False},
                      "property_manager": True, "lock_storage": True})
    Server((work.host, work.port), app, timeout=work.pick(5, 30)).start()


def webdavclient3_client(work):
    """With a folder of its own: other sessions go on at the same time. Few things, for each takes connections of its own."""
    from io import BytesIO

    from webdav3.client import Client

    # It names the standard port in `Destination`, too, where `Host` has none: the server takes that for another one.
    place = f"http://{work.url_host}" + (f":{work.port}" if work.port != 80 else "")
    client = Client({"webdav_hostname": place, "webdav_login": "user", "webdav_password": "secret"})
    folder = work.word() + work.word()
    client.mkdir(folder)
    for _ in range(work.count(1, 3)):
        name = f"{folder}/{work.word()}"
        client.upload_to(BytesIO(work.bytes(5, 80_000)), name)
        work.pick(lambda: client.list(folder, get_info=True), lambda: client.info(name), lambda: client.check(f"{name}x"),
                  lambda: client.download_from(BytesIO(), name), lambda: client.copy(name, f"{name}-copy"),
                  lambda: client.move(name, f"{name}-moved"), lambda: client.clean(name))()
        work.think()


def webdav4_client(work):
    from io import BytesIO

    from webdav4.client import Client

    client = Client(f"http://{work.url_host}:{work.port}", auth=("user", "secret"), timeout=15)
    folder = work.word() + work.word()
    client.mkdir(folder)
    for _ in range(work.count(1, 8)):
        name = f"{folder}/{work.word()}"
        client.upload_fileobj(BytesIO(work.bytes(5, 80_000)), name)
        work.pick(lambda: client.ls(folder), lambda: client.info(name), lambda: client.exists(f"{name}x"),
                  lambda: client.download_fileobj(name, BytesIO()), lambda: client.copy(name, f"{name}-copy"),
                  lambda: client.move(name, f"{name}-moved"), lambda: client.remove(name))()
        work.think()


if __name__ == "__main__":
    main(globals())
