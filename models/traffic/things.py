"""MQTT: amqtt, mqttools, paho-mqtt, gmqtt. CoAP: aiocoap, CoAPthon."""

from . import main


async def amqtt_broker(work):
    import asyncio

    from amqtt.broker import Broker

    config = {"listeners": {"default": {"type": "tcp", "bind": f"{work.url_host}:{work.port}"}},
              "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}}
    await Broker(config).start()
    await asyncio.Event().wait()


async def mqttools_broker(work):
    from mqttools import Broker

    await Broker((work.host, work.port)).serve_forever()


def topic_of(work):
    return "/".join([work.pick("house", "plant", "car", "v1/devices", work.word()), *(work.word() for _ in range(work.count(1, 3)))])


def reading(work):
    """What devices tell: numbers, words, small documents, now and then something larger."""
    return work.pick(
        lambda: f"{work.random.uniform(-20, 120):.{work.pick(0, 1, 2, 4)}f}", lambda: work.pick("on", "off", "OPEN", "CLOSED", "1"),
        lambda: f'{{"t":{work.random.random():.3f},"u":"C"}}', lambda: f'{{"{work.word()}":{work.random.randrange(9999)},'
        f'"{work.word()}":"{work.word()}","time":1796{work.random.randrange(10**6):06}}}', lambda: work.bytes(5, 3_000))()


def version_of(work):
    """The version that the broker speaks, after the name: 5 or, without one, 3.1.1."""
    import paho.mqtt.client as mqtt

    return mqtt.MQTTv5 if "5" in work.more else mqtt.MQTTv311


def quality(work):
    """Of service; mqttools, which speaks version 5, has 0 only."""
    return 0 if "5" in work.more else work.pick(0, 0, 1, 2)


def paho(work):
    """A sensor, a display or both on one connection."""
    import paho.mqtt.client as mqtt

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=work.word(), protocol=version_of(work))
    client.connect(work.host, work.port, keepalive=work.size(5, 60))
    client.loop_start()
    role = work.pick("sensor", "display", "both")
    topic = topic_of(work)
    if role != "sensor":
        client.subscribe([(topic + "/#", quality(work)), ("plant/#", 0)])
    same = reading(work) if work.random.random() < 0.4 else None
    period = work.pause(0.01, 0.5) if work.random.random() < 0.5 else None
    for _ in range(work.count(2, 25)):
        if role == "display":
            work.think(0.05, 1)
            continue
        sent = client.publish(f"{topic}/{work.pick('t', 'rh', 'state')}", same or reading(work), qos=quality(work),
                              retain=work.pick(False, True))
        if work.random.random() < 0.6:
            sent.wait_for_publish(5)
        work.think(period or 0.01, period or 1)
    client.disconnect()
    client.loop_stop()


def paho_once(work):
    """A script that tells one thing or a few, or waits for one, and leaves."""
    import paho.mqtt.publish
    import paho.mqtt.subscribe

    name = {"hostname": work.host, "port": work.port, "protocol": version_of(work), "keepalive": work.size(5, 120),
            "client_id": work.pick("", work.word(), f"{work.word()}-{work.word()}-{work.random.randrange(10**6)}")}
    topic, qos = topic_of(work), quality(work)
    kind = work.random.random()
    if kind < 0.5:
        paho.mqtt.publish.single(topic, reading(work), qos, work.pick(False, True), **name)
    elif kind < 0.7:
        messages = [(topic, reading(work), qos, False) for _ in range(work.count(1, 8))]
        paho.mqtt.publish.multiple(messages, **name)
    else:
        paho.mqtt.publish.single(topic, reading(work), qos, True, **name)
        paho.mqtt.subscribe.simple(topic, qos=qos, msg_count=1, **name)


async def gmqtt_client(work):
    import asyncio

    from gmqtt import Client
    from gmqtt.mqtt.constants import MQTTv50, MQTTv311

    version = MQTTv50 if "5" in work.more else MQTTv311
    client = Client(work.word(), clean_session=True)
    await client.connect(work.host, work.port, version=version, keepalive=work.size(5, 60))
    topic = topic_of(work)
    if work.random.random() < 0.6:
        client.subscribe(topic + work.pick("", "/#"), qos=min(quality(work), 1))
        await asyncio.sleep(work.pause(0.02, 0.3))
    for _ in range(work.count(1, 15)):
        client.publish(topic, reading(work), qos=min(quality(work), 1), retain=work.pick(False, True))
        await asyncio.sleep(work.pause(0.01, 1))
    await client.disconnect()


async def mqttools_client(work):
    import asyncio

    import mqttools

    async with mqttools.Client(work.host, work.port, client_id=work.word(), keep_alive_s=work.size(5, 60)) as client:
        topic = topic_of(work)
        subscribed = work.random.random() < 0.6
        if subscribed:
            await client.subscribe(topic)
        for _ in range(work.count(1, 15)):
            told = reading(work)
            client.publish(mqttools.Message(topic, told if isinstance(told, bytes) else told.encode()))
            if subscribed:
                await asyncio.wait_for(client.messages.get(), 10)
            await asyncio.sleep(work.pause(0.01, 1))


async def amqtt_client(work):
    import asyncio

    from amqtt.client import MQTTClient

    client = MQTTClient(client_id=work.word(), config={"auto_reconnect": False})
    await client.connect(f"mqtt://{work.url_host}:{work.port}/")
    await client.subscribe([(f"{work.word()}/#", work.pick(0, 1))])
    for _ in range(work.count(1, 15)):
        await client.publish(f"{work.word()}/{work.word()}", work.bytes(2, 1_500), qos=work.pick(0, 1, 2))
        await asyncio.sleep(work.pause(0.01, 1))
    await client.disconnect()


# What CoAP servers have to tell, of names of many lengths, and between which sizes.
RESOURCES = {"t": (1, 6), "temperature": (2, 12), "state": (1, 60), "light/1": (1, 30), "sensors/humidity/living-room": (2, 30),
             "config": (100, 900), "dev/model": (5, 40), "log/latest": (2_000, 20_000), "a/b/c/d": (10, 300)}


async def aiocoap_server(work):
    import asyncio

    import aiocoap
    from aiocoap import resource

    class Value(resource.ObservableResource):
        def __init__(self, content):
            super().__init__()
            self.content = content

        def update(self):
            self.content = f"{work.random.uniform(-20, 40):.1f}".encode()
            self.updated_state()

        async def render_get(self, _):
            return aiocoap.Message(payload=self.content)

        async def render_put(self, request):
            self.content = request.payload
            return aiocoap.Message(code=aiocoap.CHANGED)

    site = resource.Site()
    site.add_resource([".well-known", "core"], resource.WKCResource(site.get_resources_as_linkheader))
    values = {path: Value(work.text(*sizes).encode()) for path, sizes in RESOURCES.items()}
    for path, value in values.items():
        site.add_resource(path.split("/"), value)
    await aiocoap.Context.create_server_context(site, bind=(work.host, work.port))
    while True:
        await asyncio.sleep(0.5)
        values["temperature"].update()


async def aiocoap_client(work):
    """One question, or some, or a watch over a value."""
    import asyncio

    import aiocoap

    context = await aiocoap.Context.create_client_context()
    base = f"coap://{work.url_host}:{work.port}/"
    for _ in range(work.pick(1, 1, work.count(1, 12))):
        kind = work.random.random()
        transport = aiocoap.NON if work.random.random() < 0.3 else aiocoap.CON
        if kind < 0.6:
            path = work.pick(*RESOURCES, ".well-known/core", work.word())
            request = aiocoap.Message(code=aiocoap.GET, mtype=transport, uri=base + path)
            await asyncio.wait_for(context.request(request).response, 4)
        elif kind < 0.8:
            request = aiocoap.Message(code=aiocoap.PUT, mtype=transport, uri=base + work.pick("state", "light/1"),
                                      payload=work.bytes(1, 900))
            await asyncio.wait_for(context.request(request).response, 4)
        else:
            running = context.request(aiocoap.Message(code=aiocoap.GET, uri=base + "temperature", observe=0))
            await asyncio.wait_for(running.response, 4)
            await asyncio.sleep(work.pause(0.5, 4))
            running.observation.cancel()
        await asyncio.sleep(work.pause(0.01, 1))
    await context.shutdown()


def coapthon_server(work):
    import threading

    from coapthon.resources.resource import Resource
    from coapthon.server.coap import CoAP

    class Value(Resource):
        def __init__(self, name):
            super().__init__(name, observable=True)
            self.payload = work.text(*RESOURCES[name])

        def render_GET(self, request):
            return self

        def render_PUT(self, request):
            self.payload = request.payload
            return self

    server = CoAP((work.host, work.port))
    values = {path: Value(path) for path in RESOURCES}
    for path, value in values.items():
        server.add_resource(path + "/", value)

    def tick():
        values["temperature"].payload = f"{work.random.uniform(-20, 40):.1f}"
        server.notify(values["temperature"])
        again = threading.Timer(0.5, tick)
        again.daemon = True
        again.start()

    tick()
    server.listen(1)


def coapthon_client(work):
    """One question, or some, and then perhaps a watch over a value; tokens of a length of its own (RFC 7252 section 5.3.1)."""
    import os

    from coapthon.client.helperclient import HelperClient
    from coapthon.utils import generate_random_token

    client = HelperClient(server=(work.host, work.port))
    length = work.pick(1, 2, 4, 8)
    for _ in range(work.pick(1, 1, work.count(1, 12))):
        more = {"timeout": 10, "token": generate_random_token(length)}
        if work.random.random() < 0.7:
            client.get(work.pick(*RESOURCES, ".well-known/core", work.word()), **more)
        else:
            client.put(work.pick("state", "light/1"), work.text(1, 900), **more)
        work.think(0.01, 1)
    if work.random.random() < 0.15:
        client.observe("temperature", lambda _: None)
        work.think(0.5, 4)
    # Its thread for what comes in waits for more than would come.
    os._exit(0)


if __name__ == "__main__":
    main(globals())
