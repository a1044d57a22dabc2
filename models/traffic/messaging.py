"""AMQP: pika, kombu. STOMP: coilmq, stomp.py. NATS: nats-py. IRC: irc. XMPP: slixmpp. Thrift: thriftpy2. Zabbix: a client for
its agent.
"""

from . import main


def pika_client(work):
    import pika

    connection = pika.BlockingConnection(pika.ConnectionParameters(
        work.host, work.port, credentials=pika.PlainCredentials("guest", "guest"), heartbeat=work.pick(0, 5, 30)))
    channel = connection.channel()
    queue = work.word()
    channel.queue_declare(queue, auto_delete=True)
    for _ in range(work.count(1, 15)):
        channel.basic_publish("", queue, work.bytes(5, 10_000))
        if work.random.random() < 0.5:
            channel.basic_get(queue, auto_ack=True)
        work.think(0.005, 0.5)
    connection.close()


def kombu_client(work):
    from kombu import Connection

    with Connection(hostname=work.host, port=work.port, userid="guest", password="guest", transport="amqp") as connection:
        queue = connection.SimpleQueue(work.word())
        for _ in range(work.count(1, 12)):
            queue.put({work.word(): work.text(5, 3_000)})
            if work.random.random() < 0.7:
                queue.get(timeout=5).ack()
            work.think(0.005, 0.5)
        queue.close()


def coilmq_server(work):
    from coilmq.queue import QueueManager
    from coilmq.server.socket_server import StompServer
    from coilmq.store.memory import MemoryQueue
    from coilmq.topic import TopicManager

    StompServer((work.host, work.port), queue_manager=QueueManager(store=MemoryQueue()),
                topic_manager=TopicManager()).serve_forever()


def stomp_client(work):
    import stomp

    connection = stomp.Connection10([(work.host, work.port)])
    connection.connect(wait=True)
    place = f"/{work.pick('queue', 'topic')}/{work.word()}"
    if work.random.random() < 0.6:
        connection.subscribe(place, ack="auto")
    for _ in range(work.count(1, 15)):
        connection.send(place, work.text(5, 5_000))
        work.think(0.01, 0.5)
    connection.disconnect()


async def nats_client(work):
    import asyncio

    import nats

    connection = await nats.connect(f"nats://{work.url_host}:{work.port}", name=work.word())
    subject = work.word()

    async def reply(message):
        if message.reply:
            await message.respond(work.bytes(2, 2_000))

    await connection.subscribe(subject + ".>", cb=reply)
    for _ in range(work.count(1, 20)):
        if work.random.random() < 0.4:
            await connection.request(f"{subject}.ask", work.bytes(2, 500), timeout=5)
        else:
            await connection.publish(f"{subject}.tell", work.bytes(2, 8_000))
        await asyncio.sleep(work.pause(0.002, 0.5))
    await connection.drain()


def irc_server(work):
    import socket

    from irc.server import IRCClient, IRCServer

    IRCServer.address_family = socket.AF_INET6 if work.six else socket.AF_INET
    IRCServer((work.host, work.port), IRCClient).serve_forever()


def irc_client(work):
    import time

    import irc.client

    reactor = irc.client.Reactor()
    connection = reactor.server().connect(work.host, work.port, work.word()[:9], ircname=work.word())
    end = time.monotonic() + 8
    while not connection.is_connected() and time.monotonic() < end:
        reactor.process_once(0.1)
    reactor.process_once(work.pause(0.3, 1))
    channel = f"#{work.pick('help', 'linux', 'news')}"
    connection.join(channel)
    for _ in range(work.count(2, 15)):
        connection.privmsg(channel, work.text(3, 300).replace("\n", " "))
        reactor.process_once(work.pause(0.05, 1))
    connection.quit("bye")
    reactor.process_once(0.2)


def slixmpp_client(work):
    """An account of the server after the name."""
    import asyncio

    import slixmpp

    client = slixmpp.ClientXMPP(f"{work.more[0]}@server.example.net", "secret")
    client.enable_starttls = client.enable_direct_tls = client.enable_plaintext = False
    client.enable_plaintext = True
    client["feature_mechanisms"].unencrypted_plain = True

    async def begin(_):
        client.send_presence()
        await client.get_roster()
        for _ in range(work.count(1, 12)):
            client.send_message(mto=f"{work.pick('alice', 'bob', 'carol')}@server.example.net", mbody=work.text(2, 800))
            await asyncio.sleep(work.pause(0.02, 0.8))
        await client.disconnect()

    client.add_event_handler("session_start", begin)
    client.connect(work.host, work.port)
    client.loop.run_until_complete(asyncio.wait_for(client.disconnected, 20))


THRIFT = "service Store { string get(1: string key), void put(1: string key, 2: string value), list<string> keys() }"


def thrift_interface():
    import io

    import thriftpy2

    return thriftpy2.load_fp(io.StringIO(THRIFT), module_name="store_thrift")


def thrift_server(work):
    import socket

    from thriftpy2.rpc import make_server

    class Store:
        def get(self, _):
            return work.text(2, 5_000)

        def put(self, *_):
            pass

        def keys(self):
            return [work.word() for _ in range(work.count(1, 60))]

    make_server(thrift_interface().Store, Store(), host=work.host, port=work.port, client_timeout=None,
                socket_family=socket.AF_INET6 if work.six else socket.AF_INET).serve()


def thrift_client(work):
    import socket

    from thriftpy2.rpc import client_context

    with client_context(thrift_interface().Store, work.host, work.port, timeout=10_000,
                        socket_family=socket.AF_INET6 if work.six else socket.AF_INET) as client:
        for _ in range(work.count(2, 20)):
            work.pick(lambda: client.get(work.word()), lambda: client.put(work.word(), work.text(2, 5_000)), client.keys)()
            work.think(0.003, 0.5)


def zabbix_client(work):
    """Asks an agent as its server does: one question a connection, in the plain form of its protocol."""
    import socket

    for _ in range(work.count(1, 4)):
        question = work.pick("agent.ping", "agent.version", "system.uname", "system.cpu.load[all,avg1]", "vfs.fs.discovery",
                             "net.if.discovery", "system.sw.os", "vm.memory.size[available]").encode()
        with socket.create_connection((work.host, work.port), timeout=10) as connection:
            connection.sendall(b"ZBXD\1" + len(question).to_bytes(8, "little") + question)
            while connection.recv(4_096):
                pass
        work.think(0.01, 0.8)


if __name__ == "__main__":
    main(globals())
