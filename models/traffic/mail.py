"""SMTP: the standard library and smtpd, twisted. POP3: twisted, poplib, twisted's client. IMAP: imaplib, IMAPClient."""

from . import main


def line(work, low=3, high=90):
    return work.text(low, high).replace("\n", " ")


def letter(work):
    from email.message import EmailMessage

    message = EmailMessage()
    message["From"], message["To"] = f"{work.word()}@example.net", "bob@example.net"
    message["Subject"] = work.text(5, 60).replace("\n", " ")
    message.set_content(work.text(20, 6_000))
    if work.random.random() < 0.3:
        message.add_attachment(work.bytes(500, 200_000), maintype="application", subtype="pdf", filename="report.pdf")
    return message


def smtpd_server(work):
    """The standard library's, which Python 3.12 no longer has."""
    import asyncore
    import smtpd

    class Sink(smtpd.SMTPServer):
        def process_message(self, *_, **__):
            return None

    Sink((work.host, work.port), None, data_size_limit=10_000_000)
    asyncore.loop()


def twisted_smtp(work):
    """Of a host name and a way of answering that are this round's."""
    from twisted.internet import defer, protocol, reactor
    from twisted.mail import smtp
    from zope.interface import implementer

    @implementer(smtp.IMessage)
    class Message:
        def lineReceived(self, line):
            pass

        def eomReceived(self):
            return defer.succeed(work.pick(None, f"queued as {work.word()}"))

        def connectionLost(self):
            pass

    @implementer(smtp.IMessageDelivery)
    class Delivery:
        def receivedHeader(self, *_):
            return b"Received: here"

        def validateFrom(self, _, origin):
            return origin

        def validateTo(self, _):
            return Message

    host = work.pick("mx", "mail.example.net", f"{work.word()}.{work.word()}.example.org").encode()
    kind = work.pick(smtp.ESMTP, smtp.ESMTP, smtp.SMTP)

    def session():
        server = kind()
        server.host, server.delivery, server.MAX_LENGTH = host, Delivery(), 1_000_000
        return server

    factory = protocol.Factory.forProtocol(session)
    reactor.listenTCP(work.port, factory, interface=work.host)
    reactor.run()


def smtplib_client(work):
    import smtplib

    with smtplib.SMTP(work.host, work.port, local_hostname=f"{work.word()}.example.net", timeout=15) as connection:
        for _ in range(work.count(1, 4)):
            connection.send_message(letter(work), "alice@example.net",
                                    [f"{work.word()}@example.net" for _ in range(work.count(1, 3))])
            work.think(0.01, 0.5)


# Those of RFC 2449 and later, and what servers add: any of them may be missing.
CAPABILITIES = [b"RESP-CODES", b"AUTH-RESP-CODE", b"PIPELINING", b"STLS", b"UTF8", b"LANG", b"EXPIRE 30",
                b"EXPIRE NEVER", b"LOGIN-DELAY 2", b"LOGIN-DELAY 900", b"X-XOBLITERATE", b"XTND XLST", b"EXPIRE 60 USER",
                b"CELERITY"]


def plain_dialogue(initial):
    """What is asked in PLAIN, if it has not been said with the command: gives the name and the password."""
    _, user, password = (initial or (yield b"")).split(b"\0")
    return user, password


def login_dialogue(initial):
    user = initial or (yield b"Username:")
    return user, (yield b"Password:")


def pop3_phrases(work):
    """How a server says what twisted says in its own words."""
    return {
        b"USER accepted, send PASS": work.pick(b"", b"send PASS", b"Password required for bob.", line(work).encode()),
        "Authentication succeeded": work.pick(b"", b"Logged in.", b"Welcome", b"User successfully logged on.",
                                              f"bob's mailbox has {work.size(1, 400)} messages".encode(),
                                              line(work).encode()),
        b"": work.pick(b"", b"Bye", b"POP3 server signing off", b"Logging out, messages deleted.", b"Sayonara"),
    }


def twisted_pop3(work):
    serve_pop3(work, letters=8)


def twisted_sasl(work):
    """Lets in by SASL as well, in a letter box that is often empty; not always by APOP."""
    serve_pop3(work, letters=work.pick(2, 5, 12, 40), sasl=True)


def serve_pop3(work, letters, sasl=False):
    import base64
    import functools

    from twisted.cred import checkers, credentials, portal
    from twisted.internet import protocol, reactor
    from twisted.mail import pop3
    from zope.interface import implementer

    all_letters = [letter(work).as_bytes() for _ in range(letters)]
    label = work.pick("message{}", "UID{}-1700000000", "0000{:04x}63a1f0e2", "{}.M1P2Q3.mx.example.net,S=4000", "{}")

    class Box(pop3.Mailbox):
        def __init__(self):
            share = work.pick(0, 0.3, 1, 1) if sasl else 1
            self.messages = all_letters[:int(letters * share)]

        def listMessages(self, index=None):
            lengths = [len(message) for message in self.messages]
            return lengths if index is None else lengths[index]

        def getMessage(self, index):
            import io
            return io.BytesIO(self.messages[index])

        def getUidl(self, index):
            return label.format(index + 1).encode()

        def deleteMessage(self, index):
            pass

    @implementer(portal.IRealm)
    class Realm:
        def requestAvatar(self, *_):
            return pop3.IMailbox, Box(), lambda: None

    class Session(pop3.POP3):
        """As twisted has it, in other words, and with the mechanisms that take a name and a password."""

        greeting = work.pick(b"", b"ready", b"POP3 ready", f"{work.word()} POP3 server ready".encode(),
                             b"Hello there.", line(work).encode())
        stamped = not sasl or work.pick(True, False)
        phrases = pop3_phrases(work)
        listing = work.pick(b"", b"CAPA", b"Capability list follows", b"Here's what I can do:")
        capabilities = work.random.sample(CAPABILITIES, work.random.randint(0, 8))
        dialogues = {b"PLAIN": plain_dialogue, b"LOGIN": login_dialogue}
        dialogue = None

        def connectionMade(self):
            self.magic = self.generateMagic()
            self.successResponse(self.greeting + b" " + self.magic if self.stamped else self.greeting)
            self.setTimeout(self.timeOut)

        def successResponse(self, message=b""):
            super().successResponse(self.phrases.get(message, message))

        def authenticateUserAPOP(self, user, digest):
            # The library compares the digest with text: it lets nobody in who sends it as bytes.
            return super().authenticateUserAPOP(user, digest.decode("ascii", "replace"))

        def listCapabilities(self):
            mechanisms = [b"SASL " + b" ".join(self.factory.challengers)] if self.factory.challengers else []
            return [b"TOP", b"UIDL", b"USER", *self.capabilities, *mechanisms, *self.factory.implementation]

        def do_CAPA(self):
            self.sendLine(b"+OK " + self.listing)
            for capability in self.listCapabilities():
                self.sendLine(capability)
            self.sendLine(b".")

        def do_AUTH(self, mechanism=None, initial=None):
            name = mechanism and mechanism.upper()
            if name not in self.dialogues or name not in self.factory.challengers:
                return super().do_AUTH(mechanism)
            self.dialogue = self.dialogues[name](initial and base64.b64decode(initial))
            self.state = "AUTH"
            self.go_on(None)

        def state_AUTH(self, answer):
            if not self.dialogue:
                return super().state_AUTH(answer)
            if answer == b"*":
                self.state, self.dialogue = "COMMAND", None
                return self.failResponse(b"Authentication cancelled")
            self.go_on(base64.b64decode(answer))

        def go_on(self, answer):
            """To the next question, or to what the user and the password open."""
            try:
                self.sendLine(b"+ " + base64.b64encode(self.dialogue.send(answer)))
            except StopIteration as end:
                self.state, self.dialogue = "COMMAND", None
                self._userIs, password = end.value
                self.do_PASS(password)

    @implementer(pop3.IServerFactory)
    class Factory(protocol.Factory):
        """What it says that it can do, some of it this round's."""

        mechanisms = work.random.sample([b"PLAIN", b"LOGIN", b"CRAM-MD5"], work.random.randint(1, 3))
        host = work.pick(b"mx", b"mail.example.net", work.word().encode())
        challengers = dict.fromkeys(mechanisms if sasl else [b"CRAM-MD5"],
                                    functools.partial(credentials.CramMD5Credentials, host))
        implementation = work.pick([], [b"IMPLEMENTATION " + work.pick(b"twisted", line(work).encode())])

        def buildProtocol(self, _):
            server = Session()
            server.factory, server.portal = self, portal.Portal(Realm(), [users])
            return server

    users = checkers.InMemoryUsernamePasswordDatabaseDontUse(bob=b"secret")
    reactor.listenTCP(work.port, Factory(), interface=work.host)
    reactor.run()


def mailbox(work):
    """Writes the letters that Debian's servers of POP3 have, to the file after the name."""
    from mailbox import mbox

    fill(work, mbox(work.more[0]))


def maildir(work):
    """Likewise as a folder of a file each."""
    from mailbox import Maildir

    fill(work, Maildir(work.more[0]))


def fill(work, box):
    for _ in range(work.random.randint(8, 30)):
        box.add(letter(work))
    box.close()


def poplib_client(work):
    import poplib

    connection = poplib.POP3(work.host, work.port, timeout=15)
    if work.random.random() < 0.4:
        connection.capa()
    connection.user("bob")
    connection.pass_("secret")
    connection.stat()
    if work.random.random() < 0.5:
        connection.uidl()
    for _ in range(work.count(0, 5)):
        number = work.random.randint(1, 8)
        connection.retr(number) if work.random.random() < 0.7 else connection.top(number, 5)
        work.think(0.005, 0.3)
    connection.quit()


def poplib_sasl(work):
    """As programs with a window do: asks what the server can do, takes a mechanism of these, then looks what is new."""
    import base64
    import poplib

    class Pop3(poplib.POP3):
        def authenticate(self, mechanism, *answers):
            """What the library lacks; each answer is to a question of the server's."""
            self._shortcmd(f"AUTH {mechanism}")
            for answer in answers:
                self._shortcmd(answer)

        def mechanisms(self):
            return self._longcmd("AUTH")

    def coded(text):
        return base64.b64encode(text.encode()).decode()

    connection = Pop3(work.host, work.port, timeout=15)
    if work.random.random() < 0.2:
        connection.mechanisms()
    offered = connection.capa().get("SASL", [])
    password = "secret" if work.random.random() < 0.93 else work.word()
    whole = coded(f"{work.pick('', 'bob')}\0bob\0{password}")
    ways = {"PLAIN": work.pick(("PLAIN " + whole,), ("PLAIN", whole)),
            "LOGIN": ("LOGIN", coded("bob"), coded(password))}
    usable = [ways[name] for name in offered if name in ways]
    try:
        if usable:
            connection.authenticate(*work.pick(*usable))
        else:
            connection.user("bob")
            connection.pass_(password)
        look_at_letters(work, connection)
    except poplib.error_proto as error:
        print(error)
    connection.quit()


def look_at_letters(work, connection):
    """What is done in most sessions: there is nothing new; otherwise, all that is new is fetched."""
    count, _ = connection.stat()
    for ask in work.random.sample([connection.list, connection.uidl], work.random.randint(0, 2)):
        ask()
    if work.random.random() < 0.15:
        connection.capa()
    first = max(1, count + 1 - work.count(0, 8))
    erase = work.random.random() < 0.4
    heads = work.random.random() < 0.3
    for number in range(first, count + 1):
        connection.top(number, work.pick(0, 0, 20)) if heads else connection.retr(number)
        if erase:
            connection.dele(number)
        if work.random.random() < 0.3:
            work.think(0.003, 0.3)


def twisted_pop3_client(work):
    """Logs in by SASL if it may, by APOP or by name and password otherwise, as the library decides."""
    import base64

    from twisted.internet import defer, endpoints, protocol, reactor, task
    from twisted.mail import pop3

    class Client(pop3.AdvancedPOP3Client):
        allowInsecureLogin = True

        def serverGreeting(self, challenge):
            super().serverGreeting(challenge)
            self.factory.greeted.callback(self)

    factory = protocol.Factory.forProtocol(Client)
    factory.greeted = defer.Deferred()

    @defer.inlineCallbacks
    def session(reactor):
        connected = endpoints.HostnameEndpoint(reactor, work.host.encode(), work.port).connect(factory)
        connected.addErrback(factory.greeted.errback)
        client = yield factory.greeted
        offered = yield client.capabilities()
        if b"PLAIN" in (offered.get(b"SASL") or []) and work.random.random() < 0.8:
            yield client.sendShort(b"AUTH", b"PLAIN " + base64.b64encode(b"\0bob\0secret"))
        else:
            yield client.login(b"bob", b"secret")
        count, _ = yield client.stat()
        asked = [client.listSize, client.listUID, client.noop]
        for ask in work.random.sample(asked, work.random.randint(0, 3)):
            yield ask()
        for number in range(min(count, work.count(0, 10))):
            lines = work.pick(None, None, 0, 15)
            yield client.retrieve(number, lines=lines)
            if work.random.random() < 0.2:
                yield client.delete(number)
            if work.random.random() < 0.4:
                yield task.deferLater(reactor, work.pause(0.003, 0.3), lambda: None)
        yield client.quit()

    task.react(session)


def imaplib_client(work):
    import imaplib

    connection = imaplib.IMAP4(work.host, work.port, timeout=15)
    connection.login("demouser", "demopass")
    connection.list()
    connection.select(work.pick("INBOX", "Sent"))
    for _ in range(work.count(1, 8)):
        work.pick(lambda: connection.fetch(str(work.random.randint(1, 3)), "(BODY[])"),
                  lambda: connection.fetch("1:*", "(FLAGS RFC822.SIZE)"),
                  lambda: connection.search(None, "ALL"), connection.noop,
                  lambda: connection.append("INBOX", None, None, letter(work).as_bytes()))()
        work.think(0.01, 0.6)
    connection.logout()


def imapclient_client(work):
    from imapclient import IMAPClient

    with IMAPClient(work.host, work.port, ssl=False, timeout=15) as client:
        client.login("demouser", "demopass")
        client.select_folder("INBOX")
        messages = client.search("ALL")
        for _ in range(work.count(1, 6)):
            client.fetch(work.pick(messages, messages[:1]), work.pick(["ENVELOPE"], ["FLAGS"], ["BODY[]"]))
            work.think(0.01, 0.5)
        if work.random.random() < 0.4:
            client.idle()
            client.idle_check(timeout=work.pause(0.2, 3))
            client.idle_done()


if __name__ == "__main__":
    main(globals())
