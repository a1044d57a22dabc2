"""DNS: dnslib serves, dnspython asks; zones for other servers. NTP: ntplib asks and answers."""

from . import main

NAMES = ("www", "static", "api", "mail", "ns1", "cdn", "login", "update", "telemetry", "img", "db", "intranet")


def dnslib(work):
    """Answers for a zone, over UDP and TCP, with answers of many sizes."""
    import random
    import time

    from dnslib import QTYPE, RR
    from dnslib.server import BaseResolver, DNSServer

    class Zone(BaseResolver):
        def resolve(self, request, _):
            reply = request.reply()
            name = str(request.q.qname)
            draw = random.Random(name)
            kind = QTYPE[request.q.qtype]
            if draw.random() < 0.15:
                reply.header.rcode = 3
            elif kind == "AAAA":
                reply.add_answer(*RR.fromZone(f"{name} 60 AAAA 2001:db8:2::{draw.randint(1, 999)}"))
            elif kind == "TXT":
                reply.add_answer(*RR.fromZone(f'{name} 60 TXT "{"k" * draw.randint(5, 240)}"'))
            elif kind == "MX":
                for number in range(draw.randint(1, 4)):
                    reply.add_answer(*RR.fromZone(f"{name} 60 MX {number} mx{number}.{name}"))
            else:
                for number in range(draw.randint(1, 6)):
                    reply.add_answer(*RR.fromZone(f"{name} 60 A 198.51.100.{draw.randint(1, 250)}"))
            return reply

    for tcp in (False, True):
        DNSServer(Zone(), address=work.host, port=work.port, tcp=tcp,
                  server=sixfold(tcp) if work.six else None).start_thread()
    while True:
        time.sleep(60)


def sixfold(tcp):
    import socket

    from dnslib.server import TCPServer, UDPServer

    base = TCPServer if tcp else UDPServer
    return type("Six", (base,), {"address_family": socket.AF_INET6})


def dnspython(work):
    """A burst of questions, each from a socket of its own."""
    import dns.message
    import dns.query

    for _ in range(work.count(1, 8)):
        name = f"{work.pick(*NAMES)}.{work.pick('example.net', 'example.org', 'corp.example.com')}"
        query = dns.message.make_query(name, work.pick("A", "A", "AAAA", "TXT", "MX", "HTTPS"),
                                       use_edns=work.pick(None, 0), want_dnssec=work.pick(False, False, True))
        ask = dns.query.tcp if work.random.random() < 0.15 else dns.query.udp
        ask(query, work.host, port=work.port, timeout=4)
        work.think(0.002, 0.3)


def zone(work):
    """Prints a zone of some size for servers that read them, with the names that clients ask for."""
    def quoted(low, high):
        return " ".join(f'"{work.text(low, high).strip()}"'.replace("\n", " ") for _ in range(work.count(1, 4)))

    print("$TTL", work.size(1, 86_400))
    print(f"@ SOA ns1 hostmaster {work.size(1, 10**9)} 3600 900 86400 300\n@ NS ns1\n@ NS ns2\nns2 A 198.51.100.3")
    print(f"@ TXT {quoted(5, 120)}\nkey TXT {quoted(100, 250)}\n_sip._udp SRV 10 {work.size(1, 90)} 5060 voice")
    for number in range(work.count(1, 5)):
        print(f"@ MX {10 * number} {work.pick('mail', work.word())}")
    for name in NAMES:
        for _ in range(work.count(1, 9)):
            print(name, "A", f"198.51.100.{work.size(1, 250)}")
        if work.random.random() < 0.6:
            print(f"{name} AAAA 2001:db8:2::{work.size(1, 9_999):x}")
        print(name, "MX 5 mail" if work.random.random() < 0.3 else f"TXT {quoted(3, 240)}")
    for number in range(work.count(3, 200)):
        print(f"host{number}", work.pick(f"A 198.51.100.{number % 250}", f"CNAME {work.pick(*NAMES)}"))


def ntplib_server(work):
    """Answers in ntplib's form of packets."""
    import socket
    import time

    from ntplib import NTPPacket, system_to_ntp_time

    listener = socket.socket(socket.AF_INET6 if work.six else socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((work.host, work.port))
    while True:
        datagram, sender = listener.recvfrom(1_500)
        now = system_to_ntp_time(time.time())
        asked = NTPPacket()
        asked.from_data(datagram)
        told = NTPPacket(version=asked.version, mode=4)
        told.stratum, told.poll, told.precision, told.ref_id = 2, asked.poll, -20, 0xC6336402
        told.ref_timestamp, told.orig_timestamp, told.recv_timestamp = now - 40, asked.tx_timestamp, now
        told.tx_timestamp = system_to_ntp_time(time.time())
        listener.sendto(told.to_data(), sender)


def ntplib(work):
    """A few samples, as a clock is set."""
    from ntplib import NTPClient

    for _ in range(work.count(1, 4)):
        NTPClient().request(work.host, version=work.pick(2, 3, 4), port=work.port, timeout=4)
        work.think(0.05, 1.5)


if __name__ == "__main__":
    main(globals())
