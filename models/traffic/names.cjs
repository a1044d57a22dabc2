// DNS: dns2 of npm serves and asks, Node.js itself asks (c-ares).
"use strict";

const dns = require("node:dns");

const dns2 = require("dns2");

const { main } = require("./work.cjs");

const { Packet } = dns2;
const NAMES = ["www", "static", "api", "mail", "ns1", "cdn", "login", "update", "telemetry", "img", "db", "missing"];
const ZONES = ["example.net", "example.org", "corp.example.com"];

// The data of a record by its type.
const DATA = {
  A: (work) => ({ address: `198.51.100.${work.int(1, 254)}` }),
  AAAA: (work) => ({ address: `2001:db8:0:0:0:0:0:${work.int(1, 9999).toString(16)}` }),
  MX: (work, name) => ({ exchange: `${work.word()}.${name}`, priority: work.int(1, 50) }),
  TXT: (work) => ({ data: Array.from({ length: work.count(1, 5) }, () => work.text(5, 250)) }),
  SRV: (work, name) => ({ priority: 10, weight: work.int(0, 90), port: work.int(1, 9999),
    target: `${work.word()}.${name}` }),
  NS: (work, name) => ({ ns: `${work.word()}.${name}` }),
  CNAME: (work, name) => ({ domain: `${work.word()}.${name}` }),
  SOA: (work, name) => ({ primary: `ns1.${name}`, admin: `hostmaster.${name}`, serial: work.int(1, 10 ** 9), refresh: 3600,
    retry: 900, expiration: 86_400, minimum: 300 }),
};

function dns2Server(work) {
  const kindOf = Object.fromEntries(Object.keys(DATA).map((kind) => [Packet.TYPE[kind], kind]));
  const known = new Map();
  const recordsOf = (name, type) => {
    const key = `${name} ${type}`;
    if (!known.has(key)) {
      const one = () =>
        ({ name, type, class: Packet.CLASS.IN, ttl: work.size(1, 86_400), ...DATA[kindOf[type]](work, name) });
      known.set(key, Array.from({ length: kindOf[type] ? work.count(0, 8) : 0 }, one));
    }
    return known.get(key);
  };
  const handle = (request, send) => {
    const response = Packet.createResponseFromRequest(request);
    const [{ name, type }] = request.questions;
    if (name.startsWith("missing")) {
      response.header.rcode = Packet.RCODE.NXDOMAIN;
    } else {
      response.answers.push(...recordsOf(name, type));
    }
    send(response);
  };
  const place = { address: work.host, port: work.port };
  dns2.createServer({ udp: { type: work.six ? "udp6" : "udp4" }, tcp: true, handle }).listen({ udp: place, tcp: place });
}

async function dns2Client(work) {
  const place = { dns: work.host, port: work.port, timeout: 4000 };
  const ask = work.draw() < 0.2 ? dns2.TCPClient(place)
    : dns2.UDPClient({ ...place, socketType: work.six ? "udp6" : "udp4" });
  for (let left = work.count(1, 8); left > 0; left--) {
    const name = `${work.pick(...NAMES)}.${work.pick(...ZONES)}`;
    const options = work.pick({}, { clientIp: "192.0.2.0/24" });
    await ask(name, work.pick("A", "A", "AAAA", "TXT", "MX", "SRV"), Packet.CLASS.IN, options);
    await work.think(0.002, 0.3);
  }
}

async function caresClient(work) {
  const resolver = new dns.promises.Resolver({ timeout: 3000, tries: 2 });
  resolver.setServers([`${work.urlHost}:${work.port}`]);
  for (let left = work.count(1, 5); left > 0; left--) {
    const name = `${work.pick(...NAMES)}.${work.pick(...ZONES)}`;
    const kinds = work.pick(["A"], ["A", "AAAA"], ["AAAA"], ["MX"], ["TXT"], ["SRV"], ["SOA"], ["NS"], ["ANY"]);
    await Promise.all(kinds.map((kind) => resolver.resolve(name, kind).catch(unlessSilent)));
    await work.think(0.002, 0.3);
  }
}

// That there is no such name is an answer.
function unlessSilent(error) {
  if (error.code === dns.TIMEOUT) {
    throw error;
  }
}

main({ dns2Server, dns2Client, caresClient });
