"""Servers and clients as TLS libraries are tried with: `python -m traffic.tls_tests server|client ... LIBRARY FOLDER [new|plain]` with
the certificates of `traffic.chains` in the folder: `new` where only TLS 1.3 will do, `plain` where a server knows no protocols to
choose among. What is said inside is alike for all of `tls_libraries`: pages, lines that come back reversed, uploads, readings,
greetings and signs of life.
"""

import select
import socket
import sys
import threading
import time
from types import SimpleNamespace

from . import Work, main
from .tls_libraries import LIBRARIES


class Stream:
    """A connection; the engine of a library turns bytes into records and sees no socket."""

    def __init__(self, connection, engine):
        self.connection, self.engine = connection, engine

    def flush(self):
        if waiting := self.engine.outgoing():
            self.connection.sendall(waiting)

    def move(self, seconds):
        """Waits for the other end and hands over what it sent."""
        if not select.select([self.connection], [], [], max(0, seconds))[0]:
            return False
        data = self.connection.recv(4096)
        if not data:
            raise EOFError
        self.engine.incoming(data)
        return True

    def handshake(self):
        try:
            while not self.engine.handshake():
                self.flush()
                if not self.move(9):
                    raise TimeoutError
        finally:
            self.flush()  # Also the alert, when it failed.

    def send(self, data):
        for start in range(0, len(data), 8192):
            self.engine.write(data[start:start + 8192])
            self.flush()

    def receive(self, seconds):
        """What came, or nothing in that time."""
        until = time.monotonic() + seconds
        while True:
            data = self.engine.read()
            self.flush()
            if data or not self.move(until - time.monotonic()):
                return data

    def drain(self, quiet):
        """Takes what comes until nothing does for a while, or signs of life alone do."""
        until = time.monotonic() + 3
        while self.receive(quiet) and time.monotonic() < until:
            pass

    def close(self):
        try:
            self.engine.close()
            self.flush()
        except Exception:
            pass  # Each library has an error of its own for an end that has failed before.
        self.connection.close()


# Bytes in a long transfer: pure Python encrypts slowly.
MOST = {"tlslite": 60_000, "siotls": 300_000}


def server(work):
    """Answers as s_server does: a page that tells, a file, lines reversed; some greet, and some show that they are alive."""
    library = LIBRARIES[work.more[0]](work, True)
    most = MOST.get(work.more[0], 3_000_000)
    greeting = work.pick(b"", b"", f"220 {work.word()} ready\r\n".encode(), work.text(30, 1_500).encode())
    beat = work.pick(9, 9, work.pause(0.2, 3))
    sign = work.bytes(2, 200)
    record = work.size(200, 8_000)
    listener = socket.create_server((work.host, work.port), family=socket.AF_INET6 if work.six else socket.AF_INET)

    def attend(connection, work):
        stream = Stream(connection, library.new())
        try:
            stream.handshake()
            if greeting:
                stream.send(greeting)
            taken = 0
            while True:
                data = stream.receive(beat)
                if not data:
                    stream.send(sign)
                elif data.startswith(b"GET "):
                    page = work.bytes(300, most if work.random.random() < 0.1 else 30_000)
                    for start in range(0, len(page), record):
                        stream.send(page[start:start + record])
                    if b"close" in data:
                        return
                elif len(data) > 3_000:
                    taken += len(data)
                    if taken > 200_000:
                        stream.send(b"ok\n")
                        taken = 0
                else:
                    stream.send(data[::-1])
        except EOFError:
            pass
        except Exception as error:  # Each library has its own, for alerts too.
            print(type(error).__name__, error.args, file=sys.stderr)
        finally:
            stream.close()

    while True:
        connection, _ = listener.accept()
        options = SimpleNamespace(**vars(work), seed=work.random.random())  # Draws of its own: threads take turns by chance.
        threading.Thread(target=attend, args=(connection, Work(options)), daemon=True).start()


def client(work):
    """Some connections, one after the other; later ones resume, where the library can."""
    library = LIBRARIES[work.more[0]](work, False)
    most = MOST.get(work.more[0], 3_000_000)
    end = time.monotonic() + 6
    act = work.pick(pages, talk, talk, report, report, upload, listen, benchmark)
    for _ in range(work.count(3, 10) if act is benchmark else work.pick(1, 1, work.count(2, 4))):
        stream = Stream(socket.create_connection((work.host, work.port)), library.new())
        try:
            stream.handshake()
            act(work, stream, most)
        except EOFError:
            pass
        except (ConnectionError, TimeoutError, AttributeError, NameError, TypeError):
            raise
        except Exception as error:
            # Refused: too old a version, no authority that it knows.
            print(type(error).__name__, error.args, file=sys.stderr)
        finally:
            stream.close()
        if time.monotonic() > end:
            break


def request(work, more):
    return f"GET /{work.word()} HTTP/1.0\r\nHost: www.example.net\r\nCookie: {work.text(2, 1_200)!r}\r\n{more}\r\n".encode()


def benchmark(work, stream, _):
    """As s_time: the handshake is what counts."""
    if work.random.random() < 0.5:
        stream.send(request(work, "Connection: close\r\n"))
        stream.drain(1)


def pages(work, stream, _):
    for _ in range(work.count(1, 5)):
        stream.send(request(work, work.pick("", "Connection: close\r\n")))
        stream.drain(0.3)
        work.think(0.01, 0.5)


def talk(work, stream, _):
    for _ in range(work.count(1, 30)):
        stream.send(work.text(2, 1_200).encode())
        stream.receive(work.pause(0.02, 1.5))


def report(work, stream, _):
    """A device's readings at its period; what is answered comes in between."""
    period, size = work.pause(0.2, 3), work.size(8, 700)
    for _ in range(int(min(8 / period, work.count(3, 30)))):
        stream.send(work.random.randbytes(size + work.random.randint(0, 3)))
        until = time.monotonic() + period
        while (left := until - time.monotonic()) > 0:
            stream.receive(left)


def upload(work, stream, most):
    left, record = work.size(20_000, most), work.size(3_100, 60_000)
    while left > 0:
        stream.send(work.random.randbytes(min(left, record)))
        left -= record
        if work.random.random() < 0.2:
            stream.receive(work.pause(0.005, 0.3))
    stream.receive(0.3)


def listen(work, stream, _):
    until = time.monotonic() + work.pause(0.5, 8)
    while time.monotonic() < until:
        stream.receive(1)


if __name__ == "__main__":
    main({"server": server, "client": client})
