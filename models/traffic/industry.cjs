// Modbus: modbus-serial.
"use strict";

const { main } = require("./work.cjs");

function modbusserialServer(work) {
  const { ServerTCP } = require("modbus-serial");
  const registers = Array.from({ length: 2_000 }, () => work.int(0, 65_535));
  const read = (address) => registers[address % registers.length];
  const write = (address, value) => (registers[address % registers.length] = Number(value));
  const coil = (address) => read(address) % 2 === 1;
  const reads = { getInputRegister: read, getHoldingRegister: read, getCoil: coil, getDiscreteInput: coil };
  const vector = { ...reads, setRegister: write, setCoil: write };
  new ServerTCP(vector, { host: work.host, port: work.port, unitID: work.pick(1, 255) });
}

// A look at one value, or a controller that asks for the same again and again, or for one part after another.
async function modbusserialClient(work) {
  const Modbus = require("modbus-serial");
  const client = new Modbus();
  client.setTimeout(4_000);
  await client.connectTCP(work.host, { port: work.port });
  client.setID(1);
  const same = work.draw() < 0.4 ? request(work) : undefined;
  const rounds = work.pick(1, work.count(1, 30));
  const period = work.size(15, 300) / 1000;
  for (let round = 0; round < rounds; round += 1) {
    // An address that is not there is an answer, too.
    await (same ?? request(work))(client).catch(() => {});
    await work.think(period, 1.2 * period);
  }
  client.close(() => process.exit(0));
}

function request(work) {
  const [from, length] = [work.int(0, 1_000), work.size(1, 100)];
  const value = work.int(0, 65_535);
  return work.pick(
    (client) => client.readHoldingRegisters(from, length),
    (client) => client.readHoldingRegisters(from, work.pick(1, 2, 10)),
    (client) => client.readInputRegisters(from, length),
    (client) => client.readCoils(from, 8 * length),
    (client) => client.readDiscreteInputs(from, length),
    (client) => client.writeRegister(from, value),
    (client) => client.writeRegisters(from, Array(length).fill(value)),
    (client) => client.writeCoil(from, value % 2 === 0),
    (client) => client.writeCoils(from, Array(length).fill(true)),
  );
}

main({ modbusserialServer, modbusserialClient });
