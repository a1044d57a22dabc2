"""SMTP: the standard library and smtpd. POP3: poplib. IMAP: imaplib, IMAPClient; twisted serves both."""

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


def smtplib_client(work):
    import smtplib

    with smtplib.SMTP(work.host, work.port, local_hostname=f"{work.word()}.example.net", timeout=15) as connection:
        for _ in range(work.count(1, 4)):
            connection.send_message(letter(work), "alice@example.net",
                                    [f"{work.word()}@example.net" for _ in range(work.count(1, 3))])
            work.think(0.01, 0.5)


def twisted_pop3(work):
    from twisted.internet import protocol, reactor
    from twisted.mail import pop3

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

    class Server(pop3.POP3):
        def authenticateUserPASS(self, user, password):
            from twisted.internet import defer
            return defer.succeed((pop3.IMailbox, Box(), lambda: None))

    factory = protocol.Factory.forProtocol(Server)
    reactor.listenTCP(work.port, factory, interface=work.host)
    reactor.run()


def poplib_client(work):
    import poplib

    connection = poplib.POP3(work.host, work.port, timeout=15)
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
