"""SIP between calls: twisted."""

from . import main


def sip_registrar(work):
    """Wants to know who registers; some calls it leaves without an answer, as a phone that is off."""
    from twisted.internet import reactor
    from twisted.protocols import sip

    agent = work.pick(work.word(), f"{work.word()}/{work.random.randint(1, 20)}.2 {work.word()}")
    allowed = ", ".join(("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "MESSAGE", "NOTIFY", "REFER")[:work.random.randint(4, 8)])

    class Challenge:
        def getChallenge(self, _):
            return f'nonce="{work.random.getrandbits(128):x}",algorithm=MD5' + work.pick("", ',qop="auth"')

    class Registrar(sip.RegisterProxy):
        registry = locator = sip.InMemoryRegistry(work.host)
        authorizers = {"digest": Challenge()}

        def responseFromRequest(self, code, request):
            response = super().responseFromRequest(code, request)
            response.addHeader("server", agent)
            return response

        def handle_REGISTER_request(self, message, caller):
            return (self.register if "authorization" in message.headers else self.unauthorized)(message, *caller)

        def answer(self, code, message, **headers):
            response = self.responseFromRequest(code, message)
            for name, value in headers.items():
                response.addHeader(name, value)
            self.deliverResponse(response)

        def handle_OPTIONS_request(self, message, _):
            self.answer(200, message, allow=allowed, accept="application/sdp")

        def handle_MESSAGE_request(self, message, _):
            self.answer(work.pick(200, 200, 404, 480), message)

        def handle_CANCEL_request(self, message, _):
            self.answer(200, message)

        def handle_INVITE_request(self, message, _):
            codes = work.pick((), (), (100,), (100, 180), (100, 486), (404,), (100, 180, 480))
            for place, code in enumerate(codes):
                reactor.callLater(place * work.pause(0.05, 1), self.answer, code, message)

    reactor.listenUDP(work.port, Registrar(work.host, work.port), interface=work.host)
    reactor.run()


def sip_phone(work):
    """One of many kinds of phone, from any port: registers, asks whether the other end is alive, calls who may not answer."""
    import hashlib
    import socket
    import time

    from twisted.protocols import sip

    own, port, user = work.more[0], work.random.randint(1_025, 32_000), work.word()
    agent = work.pick(None, work.word(), work.text(10, 60).replace("\n", " "))
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    line.bind((own, port))
    line.connect((work.host, work.port))
    number = work.random.randrange(1, 9999)

    def say(method, body="", branch=None, call=None, **headers):
        nonlocal number
        number += method not in ("CANCEL", "ACK")
        message = sip.Request(method, sip.URL(work.host, None if method == "REGISTER" else "bob", port=work.port))
        branch = branch or f"z9hG4bK{work.random.getrandbits(64):x}"
        told = {"via": f"SIP/2.0/UDP {own}:{port};branch={branch}", "max-forwards": "70",
                "from": f"<sip:{user}@{work.host}>;tag={number}",
                "to": f"<sip:{user if method == 'REGISTER' else 'bob'}@{work.host}>", "cseq": f"{number} {method}",
                "call-id": call or f"{work.random.getrandbits(96):x}@{own}", "contact": f"<sip:{user}@{own}:{port}>",
                **({"user-agent": agent} if agent else {}), **headers, "content-length": str(len(body))}
        for name, value in told.items():
            message.addHeader(name, value)
        message.body = body
        line.send(message.toString().encode())
        return branch

    def heard(limit):
        """The final answer within that time."""
        end, found = time.monotonic() + limit, []
        parser = sip.MessagesParser(found.append)
        while (left := end - time.monotonic()) > 0:
            line.settimeout(left)
            try:
                parser.dataReceived(line.recv(65_535))
            except (TimeoutError, ConnectionRefusedError):
                return None
            parser.dataDone()
            if found and found[-1].code >= 200:
                return found[-1]
        return None

    def register():
        call, expires = f"{work.random.getrandbits(96):x}@{own}", str(work.pick(60, 300, 3600))
        for left in reversed(range(work.count(1, 4))):
            when = work.pick(expires, "0") if not left else expires
            say("REGISTER", call=call, expires=when)
            answer = heard(2)
            if answer and answer.code == 401:
                digest = hashlib.md5(work.random.randbytes(8)).hexdigest()
                wanted = answer.headers["www-authenticate"][0]
                say("REGISTER", call=call, expires=when,
                    authorization=f'{wanted},username="{user}",uri="sip:{work.host}",response="{digest}"')
                heard(2)
            work.think(0.1, 1.5)

    def ping():
        call = f"{work.random.getrandbits(96):x}@{own}"
        alone = work.random.random() < 0.4
        for _ in range(work.count(1, 9)):
            if alone and work.random.random() < 0.6:
                line.send(work.pick(b"\r\n\r\n", b"\0\0\0\0", b"\r\n"))  # that a router keeps the way back open
            else:
                say("OPTIONS", call=call)
                heard(1)
            work.think(0.1, 2)

    def talk():
        for _ in range(work.count(1, 6)):
            say("MESSAGE", work.text(1, 600), **{"content-type": "text/plain"})
            heard(1.5)
            work.think(0.05, 1.5)

    def call():
        nonlocal number
        codecs = work.random.sample((0, 3, 8, 9, 18, 101), work.random.randint(1, 6))
        body = (f"v=0\r\no={user} {number} 1 IN IP4 {own}\r\ns=-\r\nc=IN IP4 {own}\r\nt=0 0\r\nm=audio {port + 1} RTP/AVP "
                f"{' '.join(map(str, codecs))}\r\n" + "".join(f"a=rtpmap:{codec} x/8000\r\n" for codec in codecs))
        known = f"{work.random.getrandbits(96):x}@{own}"
        branch, answer, wait = None, None, work.pick(0.2, 0.5, 0.5)
        for _ in range(work.random.randint(1, 4)):
            number -= branch is not None
            branch = say("INVITE", body, branch, known, **{"content-type": "application/sdp"})
            answer = heard(wait)
            if answer:
                break
            wait *= 2
        say("ACK" if answer else "CANCEL", branch=branch, call=known)
        heard(0.5)

    for _ in range(work.pick(1, 1, 2)):
        work.pick(register, register, ping, ping, talk, call, call)()


if __name__ == "__main__":
    main(globals())
