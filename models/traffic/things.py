"""MQTT: amqtt, paho-mqtt. CoAP: aiocoap."""

from . import main


async def amqtt_broker(work):
    import asyncio

    from amqtt.broker import Broker

    config = {"listeners": {"default": {"type": "tcp", "bind": f"{work.url_host}:{work.port}"}},
              "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}}
    await Broker(config).start()
    await asyncio.Event().wait()


def paho(work):
    """A sensor, a display or both on one connection, of a protocol version of its own."""
    import paho.mqtt.client as mqtt

    # amqtt speaks 3.1.1 only.
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=work.word(), protocol=mqtt.MQTTv311)
    client.connect(work.host, work.port, keepalive=work.size(5, 60))
    client.loop_start()
    role = work.pick("sensor", "display", "both")
    topic = f"{work.pick('house', 'plant', 'car')}/{work.word()}"
    if role != "sensor":
        client.subscribe([(topic + "/#", work.pick(0, 1, 2)), ("plant/#", 0)])
    for _ in range(work.count(2, 25)):
        if role == "display":
            work.think(0.05, 1)
            continue
        payload = work.pick(f"{work.random.random():.2f}", f'{{"t":{work.random.random():.3f},"u":"C"}}', work.bytes(5, 3_000))
        client.publish(f"{topic}/{work.pick('t', 'rh', 'state')}", payload, qos=work.pick(0, 0, 1, 2),
                       retain=work.pick(False, True)).wait_for_publish(5)
        work.think(0.01, 1)
    client.disconnect()
    client.loop_stop()


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


async def aiocoap_server(work):
    import asyncio

    import aiocoap
    from aiocoap import resource

    class Value(resource.ObservableResource):
        def __init__(self, content):
            super().__init__()
            self.content = content

        def update(self):
            self.content = work.bytes(1, 60)
            self.updated_state()

        async def render_get(self, _):
            return aiocoap.Message(payload=self.content)

        async def render_put(self, request):
            self.content = request.payload
            return aiocoap.Message(code=aiocoap.CHANGED)

    site = resource.Site()
    site.add_resource([".well-known", "core"], resource.WKCResource(site.get_resources_as_linkheader))
    ticking = Value(b"20.5")
    site.add_resource(["temperature"], ticking)
    for number, low, high in ((1, 2, 30), (2, 100, 900), (3, 2_000, 20_000)):
        site.add_resource(["value", str(number)], Value(work.bytes(low, high)))
    await aiocoap.Context.create_server_context(site, bind=(work.host, work.port))
    while True:
        await asyncio.sleep(0.5)
        ticking.update()


async def aiocoap_client(work):
    import asyncio

    import aiocoap

    context = await aiocoap.Context.create_client_context()
    base = f"coap://{work.url_host}:{work.port}"
    for _ in range(work.count(1, 12)):
        kind = work.random.random()
        transport = aiocoap.NON if work.random.random() < 0.3 else aiocoap.CON
        if kind < 0.5:
            path = work.pick("/temperature", "/value/1", "/value/2", "/value/3", "/.well-known/core")
            request = aiocoap.Message(code=aiocoap.GET, mtype=transport, uri=base + path)
            await asyncio.wait_for(context.request(request).response, 15)
        elif kind < 0.8:
            request = aiocoap.Message(code=aiocoap.PUT, mtype=transport, uri=base + "/value/1", payload=work.bytes(1, 900))
            await asyncio.wait_for(context.request(request).response, 15)
        else:
            running = context.request(aiocoap.Message(code=aiocoap.GET, uri=base + "/temperature", observe=0))
            await asyncio.wait_for(running.response, 15)
            await asyncio.sleep(work.pause(0.5, 4))
            running.observation.cancel()
        await asyncio.sleep(work.pause(0.01, 1))
    await context.shutdown()


if __name__ == "__main__":
    main(globals())
