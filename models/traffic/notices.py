"""What is sent unasked. SNMP traps: pysnmp. SSDP: async-upnp-client, ssdp, ssdpy."""

import asyncio

from . import main
from .management import COMMUNITIES, INTERFACES, SYSTEM

TRAPS = "1.3.6.1.6.3.1.1.5"
# Who sends traps of version 3 is an engine that the receiver knows: these, of several makers.
ENGINES = ("80001f8880e9630000d61ff449", "800000090300001122334455", "8000000001020304")
USERS = (("operator", "authPriv"), ("watch", "authNoPriv"), ("guest", "noAuthNoPriv"))


def keys(level):
    """Of a user of version 3: protocols and passphrases for that level."""
    from pysnmp.entity import config

    return {"authPriv": {"authProtocol": config.USM_AUTH_HMAC96_SHA, "authKey": "of-some-length",
                         "privProtocol": config.USM_PRIV_CFB128_AES, "privKey": "of-other-length"},
            "authNoPriv": {"authProtocol": config.USM_AUTH_HMAC96_MD5, "authKey": "of-some-length"},
            "noAuthNoPriv": {}}[level]


def pysnmp_receiver(work):
    """Traps and informs of all versions."""
    from pysnmp.carrier.asyncio.dgram import udp, udp6
    from pysnmp.entity import config, engine
    from pysnmp.entity.rfc3413 import ntfrcv
    from pysnmp.proto.api import v2c

    receiver = engine.SnmpEngine()
    carrier, transport = (udp6, udp6.Udp6AsyncioTransport) if work.six else (udp, udp.UdpAsyncioTransport)
    config.add_transport(receiver, carrier.DOMAIN_NAME, transport().open_server_mode((work.host, work.port)))
    for place, community in enumerate(COMMUNITIES):
        config.add_v1_system(receiver, f"area{place}", community)
    for user, level in USERS:
        config.add_v3_user(receiver, user, **keys(level))
        for known in ENGINES:
            config.add_v3_user(receiver, user, **keys(level), securityEngineId=v2c.OctetString(hexValue=known))
    ntfrcv.NotificationReceiver(receiver, lambda *_: None)
    receiver.transport_dispatcher.job_started(1)
    receiver.transport_dispatcher.run_dispatcher()


async def at_once(device, work):
    """Some of them, as some are far slower than others."""
    await asyncio.gather(*(device(work) for _ in range(work.random.randint(1, 4))))


async def pysnmp_notifier(work):
    """Traps or informs. With `communities`, none of version 3."""
    await at_once(notify, work)


async def notify(work):
    """A device with something to tell, from one port."""
    from pysnmp.hlapi.v3arch.asyncio import (CommunityData, ContextData, NotificationType, ObjectIdentity, SnmpEngine,
                                             Udp6TransportTarget, UdpTransportTarget, UsmUserData, send_notification)
    from pysnmp.proto import rfc1902 as kind

    version = work.pick(1, 2, 2) if "communities" in work.more else work.pick(1, 2, 2, 3, 3)
    user, level = work.pick(*USERS)
    who = UsmUserData(user, **keys(level)) if version == 3 else CommunityData(work.pick(*COMMUNITIES), mpModel=version - 1)
    engine = SnmpEngine(kind.OctetString(hexValue=work.pick(*ENGINES)))
    target = await (Udp6TransportTarget if work.six else UdpTransportTarget).create((work.host, work.port), timeout=2, retries=2)
    confirmed = version > 1 and work.random.random() < 0.3
    index = work.random.randint(1, 48)
    objects = [(f"{INTERFACES}.2.1.1.{index}", kind.Integer32(index)),
               (f"{INTERFACES}.2.1.2.{index}", kind.OctetString(work.pick("eth", "ge-0/0/", "GigabitEthernet1/0/") + str(index))),
               (f"{INTERFACES}.2.1.7.{index}", kind.Integer32(work.pick(1, 2))),
               (f"{INTERFACES}.2.1.8.{index}", kind.Integer32(work.pick(1, 2))),
               (f"{SYSTEM}.5.0", kind.OctetString(work.word())),
               (f"1.3.6.1.4.1.{work.size(9, 50_000)}.2.{index}.0", kind.OctetString(work.text(5, 220).replace("\n", " ")))]
    low, high = work.pick((0.003, 0.1), (0.1, 2.5), (0.5, 3))
    for left in reversed(range(work.count(1, 9))):
        told = NotificationType(ObjectIdentity(work.pick(f"{TRAPS}.{work.random.randint(1, 5)}",
                                                         f"1.3.6.1.4.1.{work.size(9, 50_000)}.0.{work.random.randint(1, 99)}")))
        told.add_varbinds(*work.random.sample(objects, work.random.randint(0, len(objects))))
        error, *_ = await send_notification(engine, who, target, ContextData(), "inform" if confirmed else "trap", told)
        if error:
            raise RuntimeError(error)
        await asyncio.sleep(work.pause(low, high) if left else 0.05)
    engine.close_dispatcher()


# What devices are, of the UPnP forum and of makers.
KINDS = ("device:MediaServer:1", "device:MediaRenderer:1", "device:InternetGatewayDevice:2", "device:WANConnectionDevice:1",
         "device:Basic:1", "device:Printer:1", "service:ConnectionManager:1", "service:ContentDirectory:1",
         "service:AVTransport:1", "service:RenderingControl:1", "service:WANIPConnection:1",
         "service:WANCommonInterfaceConfig:1", "service:Layer3Forwarding:1")
SOUGHT = ("ssdp:all", "upnp:rootdevice", *(f"urn:schemas-upnp-org:{kind}" for kind in KINDS[:5]),
          "urn:dial-multiscreen-org:service:dial:1", "urn:schemas-sony-com:service:ScalarWebAPI:1")


class Device:
    """A device by the seed: what stands in its messages."""

    def __init__(self, work):
        import uuid

        self.work = work
        self.udn = f"uuid:{uuid.UUID(int=work.random.getrandbits(128), version=4)}"
        self.types = ["upnp:rootdevice", self.udn,
                      *(f"urn:schemas-upnp-org:{kind}" for kind in work.random.sample(KINDS, work.random.randint(1, 9)))]
        path = work.pick("description.xml", "rootDesc.xml", "dd.xml", f"{work.word()}/{work.word()}/desc/device.xml")
        self.location = f"http://192.0.2.{work.random.randint(2, 250)}:{work.random.randint(80, 60_000)}/{path}"
        number = work.random.randint(1, 19)
        self.server = work.pick("Linux/3.14 UPnP/1.0 MiniDLNA/1.2", f"{work.word()}/{number} UPnP/1.1 {work.word()}/2.{number}",
                                f"Linux/5.{number}, UPnP/1.0, Portable SDK for UPnP devices/1.14.{number}")
        self.age = work.pick(60, 100, 120, 1800, 1810, 86_400)
        more = [("BOOTID.UPNP.ORG", str(work.size(1, 10**9))), ("CONFIGID.UPNP.ORG", str(work.size(1, 10**6))),
                ("OPT", '"http://schemas.upnp.org/upnp/1/0/"; ns=01'), ("01-NLS", self.udn[5:]),
                ("X-User-Agent", work.word()), ("hue-bridgeid", self.udn[-16:].upper())]
        self.more = dict(work.random.sample(more, work.random.randint(0, 4)))

    def usn(self, kind):
        return kind if kind == self.udn else f"{self.udn}::{kind}"

    def notice(self, kind, host, nts="ssdp:alive"):
        """Headers of a NOTIFY."""
        alive = {"CACHE-CONTROL": f"max-age={self.age}", "LOCATION": self.location, "SERVER": self.server}
        told = alive if nts == "ssdp:alive" else {}
        return {"HOST": host, **told, "NT": kind, "NTS": nts, "USN": self.usn(kind), **self.more}

    def found(self, sought):
        """Headers of each answer to a search."""
        kinds = self.types if sought == "ssdp:all" else [sought if sought in SOUGHT else self.types[0]]
        return [{"CACHE-CONTROL": f"max-age={self.age}", "EXT": "", "LOCATION": self.location, "SERVER": self.server, "ST": kind,
                 "USN": self.usn(kind), **self.more} for kind in kinds]

    def bursts(self):
        """Notices in their order, each with the pause after it: of all kinds, one to three times, some that it leaves."""
        work = self.work
        host = work.pick("239.255.255.250:1900", f"{work.url_host}:{work.port}")
        gap = work.pick(0.0005, 0.02, 0.1, 0.2)
        for _ in range(work.pick(1, 2, 3)):
            nts = "ssdp:byebye" if work.random.random() < 0.15 else "ssdp:alive"
            for kind in self.types:
                yield self.notice(kind, host, nts), work.pause(gap / 2, gap * 2)
            yield None, work.pause(0.1, 2)


async def datagrams(work, protocol, port=0):
    """A socket of ours that is bound where the server is (`port`), or joined to it."""
    loop = asyncio.get_running_loop()
    ends = {"local_addr": (work.host, port)} if port else {"remote_addr": (work.host, work.port)}
    return await loop.create_datagram_endpoint(protocol, **ends)


async def answer(work, device, sought, longest, send):
    """As devices do: some time within that of the search, one datagram an answer."""
    await asyncio.sleep(work.pause(0.002, min(longest, 2)))
    for headers in device.found(sought):
        send(headers)
        await asyncio.sleep(work.pause(0.0005, 0.08))


async def upnp_responder(work):
    """Devices that answer from a port of their own, as many do (`more` has such ports), or from that of the service."""
    from async_upnp_client.ssdp import SsdpProtocol, build_ssdp_packet

    loop = asyncio.get_running_loop()
    devices = [Device(work) for _ in range(work.count(1, 4))]
    _, own = await datagrams(work, lambda: SsdpProtocol(loop), work.port)
    _, other = await datagrams(work, lambda: SsdpProtocol(loop), int(work.more[0]))

    async def search(line, headers):
        if line.startswith("M-SEARCH"):
            for device in devices:
                sender, to = work.pick(own, other), headers.get_lower("_remote_addr")
                await answer(work, device, headers["st"], int(headers.get("mx", 1)),
                             lambda told: sender.send_ssdp_packet(build_ssdp_packet("HTTP/1.1 200 OK", told), to))

    own.async_on_data = search
    await asyncio.Event().wait()


async def ssdp_responder(work):
    """Of the package `ssdp`."""
    from ssdp.aio import SSDP
    from ssdp.messages import SSDPResponse

    device, tasks = Device(work), set()

    class Server(SSDP):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, addr):
            super().datagram_received(data, addr[:2])

        def response_received(self, response, addr):
            pass

        def request_received(self, request, addr):
            if request.method == "M-SEARCH":
                sought = dict(request.headers)
                task = asyncio.ensure_future(answer(work, device, sought["ST"], int(sought["MX"]), lambda told: SSDPResponse(
                    200, "OK", headers=told).sendto(self.transport, addr)))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

    await datagrams(work, Server, work.port)
    await asyncio.Event().wait()


def ssdpy_server(work):
    from ssdpy import SSDPServer

    device = Device(work)
    SSDPServer(device.usn("upnp:rootdevice"), proto="ipv6" if work.six else "ipv4", port=work.port, iface=b"eth0",
               device_type="upnp:rootdevice", location=device.location, max_age=device.age,
               extra_fields=device.more).serve_forever()


async def upnp_searcher(work):
    await at_once(upnp_search, work)


async def upnp_search(work):
    """Searches, some repeated, from one port."""
    import socket

    from async_upnp_client.search import SsdpSearchListener

    scope = (0, socket.if_nametoindex("eth0")) if work.six else ()
    target, source = (work.host, work.port, *scope), ("::" if work.six else "0.0.0.0", 0, *scope)
    listener = SsdpSearchListener(callback=lambda _: None, source=source, target=target, timeout=work.pick(1, 1, 2, 3),
                                  search_target=work.pick(*SOUGHT))
    await listener.async_start()
    for _ in range(work.count(1, 5)):
        listener.async_search()
        await asyncio.sleep(work.pause(0.02, 2))
        if work.random.random() < 0.4:
            listener.search_target = work.pick(*SOUGHT)
    await asyncio.sleep(1)
    listener.async_stop()


def ssdpy_searcher(work):
    """To the server's address in place of the group's."""
    from ssdpy import SSDPClient

    client = SSDPClient(proto="ipv6" if work.six else "ipv4", port=work.port, timeout=work.pause(0.3, 2))
    client._address = (work.host, work.port)
    for _ in range(work.count(1, 4)):
        client.m_search(work.pick("ssdp:all", "upnp:rootdevice", work.pick(*SOUGHT)), mx=work.pick(1, 1, 2))


async def devices(work, packet):
    """Some that tell of themselves, each from a port of its own; `packet` makes a message of the headers."""
    async def bursts(work):
        transport, _ = await datagrams(work, asyncio.DatagramProtocol)
        device = Device(work)
        for headers, pause in device.bursts():
            if headers:
                transport.sendto(packet(device, headers))
            await asyncio.sleep(pause)

    await at_once(bursts, work)


async def upnp_device(work):
    from async_upnp_client.ssdp import build_ssdp_packet

    await devices(work, lambda _, headers: build_ssdp_packet("NOTIFY * HTTP/1.1", headers))


async def ssdp_device(work):
    """Of the package `ssdp`."""
    from ssdp.messages import SSDPRequest

    await devices(work, lambda _, headers: bytes(SSDPRequest("NOTIFY", headers=headers)))


async def ssdpy_device(work):
    from ssdpy.protocol import create_notify_payload

    await devices(work, lambda device, headers: create_notify_payload(
        headers["HOST"], headers["NT"], headers["USN"], device.location, max_age=device.age, extra_fields=device.more))


if __name__ == "__main__":
    main(globals())
