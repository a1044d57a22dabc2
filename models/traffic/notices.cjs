// What is sent unasked. SNMP traps: net-snmp of npm. SSDP: node-ssdp, peer-ssdp.
"use strict";

const { createSocket } = require("node:dgram");
const { once } = require("node:events");
const { promisify } = require("node:util");

const snmp = require("net-snmp");
const { Client, Server } = require("node-ssdp");
const { createPeer } = require("peer-ssdp");

const { main } = require("./work.cjs");

const COMMUNITIES = ["public", "private", "noc", "monitoring", "read-only-9f3a"];
const INTERFACE = "1.3.6.1.2.1.2.2.1";
// As in notices.py.
const ENGINES = ["80001f8880e9630000d61ff449", "800000090300001122334455", "8000000001020304"];
const KEYS = { authKey: "of-some-length", privKey: "of-other-length" };
const USERS = [
  { name: "operator", level: snmp.SecurityLevel.authPriv, authProtocol: snmp.AuthProtocols.sha,
    privProtocol: snmp.PrivProtocols.aes, ...KEYS },
  { name: "watch", level: snmp.SecurityLevel.authNoPriv, authProtocol: snmp.AuthProtocols.md5, ...KEYS },
  { name: "guest", level: snmp.SecurityLevel.noAuthNoPriv },
];

function trapReceiver(work) {
  const transport = work.six ? "udp6" : "udp4";
  const receiver = snmp.createReceiver({ address: work.host, port: work.port, transport }, () => {});
  COMMUNITIES.forEach((community) => receiver.getAuthorizer().addCommunity(community));
  USERS.forEach((user) => receiver.getAuthorizer().addUser(user));
}

// A device with something to tell, from one port: traps or informs. With `communities`, none of version 3.
async function notify(work) {
  const { Integer, IpAddress, OctetString, Counter } = snmp.ObjectType;
  const communities = [snmp.Version1, snmp.Version2c, snmp.Version2c];
  const version = work.pick(...communities, ...(work.more.includes("communities") ? [] : [snmp.Version3, snmp.Version3]));
  // Who asks for the receiver's engine before an inform asks at `port`.
  const options = { port: work.port, trapPort: work.port, transport: work.six ? "udp6" : "udp4", timeout: 2000, retries: 2,
    version, engineID: work.pick(...ENGINES) };
  const session = version === snmp.Version3 ? snmp.createV3Session(work.host, work.pick(...USERS), options)
    : snmp.createSession(work.host, work.pick(...COMMUNITIES), options);
  const confirmed = version !== snmp.Version1 && work.draw() < 0.3;
  const index = work.int(1, 48);
  const objects = [
    { oid: `${INTERFACE}.1.${index}`, type: Integer, value: index },
    { oid: `${INTERFACE}.2.${index}`, type: OctetString, value: work.pick("eth", "ge-0/0/", "GigabitEthernet1/0/") + index },
    { oid: `${INTERFACE}.8.${index}`, type: Integer, value: work.int(1, 2) },
    { oid: `${INTERFACE}.10.${index}`, type: Counter, value: work.size(1, 2 ** 31) },
    { oid: "1.3.6.1.6.3.18.1.3.0", type: IpAddress, value: `192.0.2.${work.int(1, 250)}` },
    { oid: `1.3.6.1.4.1.${work.size(9, 50_000)}.1.0`, type: OctetString, value: work.text(5, 220).replaceAll("\n", " ") },
  ];
  const [low, high] = work.pick([0.003, 0.1], [0.1, 2.5], [0.5, 3]);
  for (let left = work.count(1, 9); left > 0; left--) {
    const what = work.pick(work.int(0, 4), `1.3.6.1.4.1.${work.size(9, 50_000)}.0.${work.int(1, 99)}`);
    const told = objects.slice(0, work.int(0, objects.length));
    await promisify(confirmed ? session.inform : session.trap).call(session, what, told, {});
    await work.think(low, high);
  }
  session.close();
}

const KINDS = ["upnp:rootdevice", "urn:schemas-upnp-org:device:MediaRenderer:1", "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
  "urn:schemas-upnp-org:service:ContentDirectory:1", "urn:schemas-upnp-org:service:AVTransport:1",
  "urn:schemas-upnp-org:service:WANIPConnection:1", "urn:schemas-upnp-org:service:RenderingControl:1",
  "urn:dial-multiscreen-org:service:dial:1"];

const udn = (work) => `uuid:${Array.from({ length: 4 }, () => work.int(0x10000000, 0xffffffff).toString(16)).join("-")}`;
const more = (work) => work.pick({}, { "X-RINCON-HOUSEHOLD": work.word() },
  { "BOOTID.UPNP.ORG": work.size(1, 10 ** 9), "01-NLS": udn(work), OPT: '"http://schemas.upnp.org/upnp/1/0/"; ns=01' });
const location = (work) => `http://192.0.2.${work.int(2, 250)}:${work.int(80, 60_000)}/${work.pick("desc.xml", `${work.word()}/device.xml`)}`;

// node-ssdp over a socket of ours, to the server's address: the group is not reached across a router.
async function started(work, Kind, address, sourcePort) {
  const node = new Kind({ ssdpIp: work.host, ssdpPort: work.port, explicitSocketBind: true, sourcePort, udn: udn(work),
    ttl: work.pick(60, 100, 1800, 86_400), location: location(work), adInterval: 10 ** 9, headers: more(work) });
  const socket = createSocket(work.six ? "udp6" : "udp4");
  socket.addMembership = () => {};
  node.sockets = { [address]: socket };
  KINDS.filter(() => work.draw() < 0.5).forEach((kind) => node.addUSN(kind));
  node._initAdLoop = () => {};
  await node.start();
  return node;
}

// Devices that answer from the port of the service or from one of their own; `more` has these.
async function ssdpServer(work) {
  const server = await started(work, Server, work.host, work.port);
  const send = server._send.bind(server);
  const other = createSocket(work.six ? "udp6" : "udp4").bind(Number(work.more[0]), work.host);
  const apart = work.draw() < 0.5;
  server._send = async (header, host, port, done) => {
    await work.think(0.002, 1);
    return apart ? other.send(header.toBuffer(), port, host, done) : send(header, host, port, done);
  };
}

async function search(work) {
  const client = await started(work, Client, work.more[0], 0);
  for (let left = work.count(1, 5); left > 0; left--) {
    client.search(work.pick("ssdp:all", ...KINDS));
    await work.think(0.02, 2);
  }
  await work.think(0.5, 1);
  client.stop();
}

async function advertise(work) {
  const device = await started(work, Server, work.more[0], 0);
  for (let left = work.count(1, 4); left > 0; left--) {
    device.advertise(work.draw() < 0.85);
    await work.think(0.05, 2.5);
  }
  device._stop();
}

// peer-ssdp over a socket of ours, to the server's address in place of the group's.
async function peer(work, port, host) {
  const socket = createSocket(work.six ? "udp6" : "udp4").bind(port, host);
  await once(socket, "listening");
  const peer = createPeer();
  peer.mcSocket = { send: (make) => socket.send(make(host)[0], work.port, work.host) };
  return { peer, socket };
}

async function peerBursts(work) {
  const { peer: device, socket } = await peer(work, 0, work.more[0]);
  const [id, where, server] = [udn(work), location(work), `${work.word()} UPnP/1.0 ${work.word()}/${work.int(1, 9)}`];
  const kinds = KINDS.filter(() => work.draw() < 0.6);
  const extra = more(work);
  for (let left = work.count(1, 4); left > 0; left--) {
    const method = work.pick("alive", "alive", "alive", "update", "byebye");
    for (const kind of [id, ...kinds]) {
      device[method]({ NT: kind, USN: kind === id ? id : `${id}::${kind}`, SERVER: server, LOCATION: where, ...extra });
      await work.think(0.0005, 0.2);
    }
    await work.think(0.05, 2);
  }
  socket.close();
}

// Some of them, as some are far slower than others.
const atOnce = (device) => (work) => Promise.all(Array.from({ length: work.int(1, 4) }, () => device(work)));

main({ trapReceiver, trapSender: atOnce(notify), ssdpServer, ssdpSearcher: atOnce(search), ssdpDevice: atOnce(advertise),
  peerDevice: atOnce(peerBursts) });
