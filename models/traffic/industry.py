"""Modbus: pymodbus, pyModbusTCP. OPC UA: asyncua. BACnet: bacpypes3. S7: python-snap7. IEC 60870-5-104: c104. HL7: hl7."""

from . import main


async def pymodbus_server(work):
    from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
    from pymodbus.server import StartAsyncTcpServer

    block = ModbusSequentialDataBlock(1, [work.random.randrange(65536) for _ in range(2000)])
    device = ModbusDeviceContext(di=block, co=block, hr=block, ir=block)
    await StartAsyncTcpServer(ModbusServerContext(devices=device, single=True), address=(work.host, work.port))


async def pymodbus_client(work):
    import asyncio

    from pymodbus.client import AsyncModbusTcpClient

    client = AsyncModbusTcpClient(work.host, port=work.port)
    await client.connect()
    period = work.pause(0.02, 1)
    for _ in range(work.count(3, 40)):
        kind = work.random.random()
        if kind < 0.5:
            await client.read_holding_registers(work.random.randrange(1000), count=work.size(1, 100))
        elif kind < 0.7:
            await client.read_coils(work.random.randrange(1000), count=work.size(1, 500))
        elif kind < 0.85:
            await client.write_register(work.random.randrange(1000), work.random.randrange(65536))
        else:
            await client.write_registers(work.random.randrange(1000), [7] * work.size(1, 60))
        await asyncio.sleep(period)
    client.close()


def pymodbustcp_server(work):
    from pyModbusTCP.server import ModbusServer

    ModbusServer(host=work.host, port=work.port, ipv6=work.six).start()


def pymodbustcp_client(work):
    from pyModbusTCP.client import ModbusClient

    client = ModbusClient(host=work.host, port=work.port, timeout=5)
    for _ in range(work.count(3, 30)):
        kind = work.random.random()
        if kind < 0.6:
            client.read_input_registers(work.random.randrange(1000), work.size(1, 110))
        elif kind < 0.8:
            client.read_discrete_inputs(work.random.randrange(1000), work.size(1, 400))
        else:
            client.write_single_coil(work.random.randrange(1000), work.pick(True, False))
        work.think(0.02, 0.6)
    client.close()


async def asyncua_server(work):
    import asyncio

    from asyncua import Server

    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://{work.url_host}:{work.port}/plant")
    space = await server.register_namespace("http://example.net/plant")
    plant = await server.nodes.objects.add_object(space, "Plant")
    values = [await plant.add_variable(space, f"value{number}", 0.5) for number in range(20)]
    for value in values:
        await value.set_writable()
    async with server:
        while True:
            await asyncio.sleep(0.3)
            await work.pick(*values).write_value(work.random.random())


async def asyncua_client(work):
    import asyncio

    from asyncua import Client

    class Seen:
        def datachange_notification(self, *_):
            pass

    async with Client(f"opc.tcp://{work.url_host}:{work.port}/plant", timeout=8) as client:
        plant = (await client.nodes.objects.get_children())[-1]
        values = await plant.get_children()
        if work.random.random() < 0.5:
            subscription = await client.create_subscription(work.size(50, 800), Seen())
            await subscription.subscribe_data_change(values[: work.count(1, 20)])
            await asyncio.sleep(work.pause(1, 6))
        for _ in range(work.count(1, 20)):
            value = work.pick(*values)
            await (value.read_value() if work.random.random() < 0.7 else value.write_value(work.random.random()))
            await asyncio.sleep(work.pause())


def bacpypes_application(work, port, name):
    from bacpypes3.app import Application
    from bacpypes3.argparse import SimpleArgumentParser

    options = SimpleArgumentParser().parse_args(
        ["--name", name, "--instance", str(work.random.randint(1, 9999)), "--address", f"{work.more[0]}/24:{port}"])
    return Application.from_args(options)


async def bacpypes_server(work):
    import asyncio

    from bacpypes3.local.analog import AnalogValueObject

    work.more = [work.host]
    application = bacpypes_application(work, work.port, "controller")
    for number in range(1, 30):
        application.add_object(AnalogValueObject(
            objectIdentifier=("analogValue", number), objectName=f"room-{number}", presentValue=20.5,
            statusFlags=[0, 0, 0, 0], eventState="normal", outOfService=False, units="degreesCelsius",
            description="t" * work.size(2, 60)))
    await asyncio.Event().wait()


async def bacpypes_client(work):
    """Own address after the name."""
    import asyncio

    from bacpypes3.pdu import Address
    from bacpypes3.primitivedata import ObjectIdentifier, Real

    application = bacpypes_application(work, work.random.randint(50_000, 60_000), "desk")
    there = Address(f"{work.host}:{work.port}")
    for _ in range(work.count(2, 25)):
        item = ObjectIdentifier(f"analog-value,{work.random.randint(1, 29)}")
        kind = work.random.random()
        if kind < 0.6:
            await asyncio.wait_for(application.read_property(
                there, item, work.pick("present-value", "description", "object-name", "units")), 8)
        elif kind < 0.8:
            await asyncio.wait_for(application.read_property_multiple(
                there, [item, ["present-value", "object-name", "description"]]), 8)
        else:
            await asyncio.wait_for(application.write_property(there, item, "present-value", Real(21.5)), 8)
        await asyncio.sleep(work.pause(0.02, 0.8))
    application.close()


def snap7_server(work):
    import time

    from snap7.server import Server
    from snap7.type import SrvArea

    server = Server()
    for number in range(1, 4):
        server.register_area(SrvArea.DB, number, bytearray(work.random.randbytes(4_096)))
    server.start(tcp_port=work.port)
    while True:
        time.sleep(60)


def snap7_client(work):
    from snap7.client import Client

    client = Client()
    client.connect(work.host, 0, 1, work.port)
    for _ in range(work.count(2, 25)):
        where = work.random.randrange(2_000)
        if work.random.random() < 0.7:
            client.db_read(work.random.randint(1, 3), where, work.size(1, 400))
        else:
            client.db_write(work.random.randint(1, 3), where, bytearray(work.bytes(1, 200)))
        work.think(0.02, 0.6)
    client.disconnect()


def c104_server(work):
    import time

    import c104

    server = c104.Server(ip=work.host, port=work.port, tick_rate_ms=100)
    station = server.add_station(common_address=47)
    for number in range(11, 11 + work.count(3, 30)):
        point = station.add_point(io_address=number, type=c104.Type.M_ME_NC_1, report_ms=work.size(200, 3_000) // 100 * 100)
        point.value = work.random.random()
    server.start()
    while True:
        time.sleep(0.4)
        for point in station.points:
            if work.random.random() < 0.2:
                point.value = work.random.random()
                point.transmit(cause=c104.Cot.SPONTANEOUS)


def c104_client(work):
    import c104

    client = c104.Client(tick_rate_ms=100, command_timeout_ms=3_000)
    connection = client.add_connection(ip=work.host, port=work.port, init=work.pick(c104.Init.ALL, c104.Init.INTERROGATION))
    connection.add_station(common_address=47)
    client.start()
    work.think(1, 8)
    client.stop()


def hl7_server(work):
    """Acknowledges each message, as an MLLP listener does."""
    import asyncio

    from hl7.mllp import start_hl7_server

    async def talk(reader, writer):
        while not writer.is_closing():
            try:
                message = await reader.readmessage()
            except asyncio.IncompleteReadError:
                break
            writer.writemessage(message.create_ack())
            await writer.drain()

    async def serve():
        async with await start_hl7_server(talk, host=work.host, port=work.port) as server:
            await server.serve_forever()

    return serve()


async def hl7_client(work):
    import asyncio

    from hl7.mllp import open_hl7_connection

    import hl7

    reader, writer = await open_hl7_connection(work.host, work.port)
    for number in range(work.count(1, 10)):
        message = (f"MSH|^~\\&|LAB|HOSPITAL|EHR|HOSPITAL|20260101120000||ORU^R01|{number}|P|2.5\r"
                   f"PID|1||{work.random.randrange(10**6)}||{work.word()}^{work.word()}||19700101|F\r")
        for line in range(work.count(1, 25)):
            message += f"OBX|{line + 1}|NM|{work.word()}||{work.random.random():.3f}|mmol/L|||||F\r"
        writer.writemessage(hl7.parse(message))
        await writer.drain()
        await asyncio.wait_for(reader.readmessage(), 8)
        await asyncio.sleep(work.pause())
    writer.close()


if __name__ == "__main__":
    main(globals())
