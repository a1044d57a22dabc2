"""SMTP: the standard library and smtpd, twisted. POP3: twisted, poplib. IMAP: imaplib, IMAPClient."""

from . import main


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


def twisted_pop3(work):
    from twisted.cred import checkers, credentials, portal
    from twisted.internet import protocol, reactor
    from twisted.mail import pop3
    from zope.interface import implementer

    class Box(pop3.Mailbox):
        messages = [letter(work).as_bytes() for _ in range(8)]

        def listMessages(self, index=None):
            lengths = [len(message) for message in self.messages]
            return lengths if index is None else lengths[index]

        def getMessage(self, index):
            import io
            return io.BytesIO(self.messages[index])

        def getUidl(self, index):
            return f"message{index}".encode()

        def deleteMessage(self, index):
            pass

    @implementer(portal.IRealm)
    class Realm:
        def requestAvatar(self, *_):
            return pop3.IMailbox, Box(), lambda: None

    @implementer(pop3.IServerFactory)
    class Factory(protocol.Factory):
        """What it says that it can do, some of it this round's."""

        challengers = {b"CRAM-MD5": credentials.CramMD5Credentials}
        name, expires, delay = work.pick(b"twisted", work.word().encode()), work.pick(None, 30), work.pick(None, 2)

        def cap_IMPLEMENTATION(self):
            return self.name

        def cap_EXPIRE(self):
            if self.expires is None:
                raise NotImplementedError
            return self.expires

        def cap_LOGIN_DELAY(self):
            if self.delay is None:
                raise NotImplementedError
            return self.delay

        def perUserExpiration(self):
            return False

        def perUserLoginDelay(self):
            return False

        def buildProtocol(self, _):
            server = pop3.POP3()
            server.factory, server.portal = self, portal.Portal(Realm(), [users])
            return server

    users = checkers.InMemoryUsernamePasswordDatabaseDontUse(bob=b"secret")
    reactor.listenTCP(work.port, Factory(), interface=work.host)
    reactor.run()


def mailbox(work):
    """Writes the letters that Debian's servers of POP3 have, to the file after the name."""
    from mailbox import mbox

    box = mbox(work.more[0])
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
