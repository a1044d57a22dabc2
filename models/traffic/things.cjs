// CoAP: coap. MQTT: aedes, MQTT.js.
"use strict";

const { main } = require("./work.cjs");

// What CoAP servers have to tell, of names of many lengths, and between which sizes, as `RESOURCES` of things.py has it.
const RESOURCES = {
  t: [1, 6],
  temperature: [2, 12],
  state: [1, 60],
  "light/1": [1, 30],
  "sensors/humidity/living-room": [2, 30],
  config: [100, 900],
  "dev/model": [5, 40],
  "log/latest": [2_000, 20_000],
  "a/b/c/d": [10, 300],
};
const FORMATS = ["text/plain", "application/json", "application/cbor", "application/octet-stream"];

function coapServer(work) {
  const coap = require("coap");
  const values = new Map(Object.entries(RESOURCES).map(([path, sizes]) => [path, Buffer.from(work.text(...sizes))]));
  const links = Object.keys(RESOURCES).map((path) => `</${path}>;if="${work.word()}"`);
  values.set(".well-known/core", Buffer.from(links.join(",")));
  const [etag, age, slow] = [work.draw() < 0.4, work.draw() < 0.4, work.draw() < 0.4];
  const style = { format: work.pick(undefined, ...FORMATS), etag, age, slow };
  const server = coap.createServer({ type: work.six ? "udp6" : "udp4", piggybackReplyMs: work.size(10, 200) });
  server.on("request", async (request, response) => {
    if (style.slow) {
      await work.think(0.005, 0.6);
    }
    answer(work, values, style, request, response);
  });
  server.listen(work.port, work.host);
}

function answer(work, values, style, request, response) {
  const path = request.url.split("?")[0].slice(1);
  if (request.method === "POST") {
    response.code = "2.01";
    response.setOption("Location-Path", work.word());
    response.end();
  } else if (!values.has(path)) {
    response.code = "4.04";
    response.end(work.pick("", "not found"));
  } else if (request.method === "PUT" || request.method === "DELETE") {
    response.code = request.method === "PUT" ? "2.04" : "2.02";
    response.end(work.pick("", "ok"));
  } else if (request.headers.Observe === 0) {
    watched(work, response);
  } else {
    tell(style, values.get(path), response);
  }
}

function tell(style, value, response) {
  if (style.format) {
    response.setOption("Content-Format", style.format);
  }
  if (style.etag) {
    response.setOption("ETag", "v1");
  }
  if (style.age) {
    response.setOption("Max-Age", 30);
  }
  response.end(value);
}

function watched(work, response) {
  const tell = () => response.write(`${work.int(-20, 40)}.${work.int(0, 9)}`);
  tell();
  const timer = setInterval(tell, work.size(80, 900));
  response.on("finish", () => clearInterval(timer));
}

// One question, or some, or a watch over a value: as devices do from one port or, as scripts do, each from its own.
async function coapClient(work) {
  const coap = require("coap");
  const port = work.draw() < 0.7 ? work.int(20_000, 24_000) : undefined;
  const agent = new coap.Agent({ type: work.six ? "udp6" : "udp4", port });
  const rounds = work.pick(1, 1, work.count(1, 12));
  for (let round = 0; round < rounds; round += 1) {
    const kind = work.draw();
    if (kind < 0.15) {
      await watch(work, coap.request({ ...place(work, "temperature"), agent, observe: true }));
    } else {
      await ask(work, coap, agent, kind < 0.65 ? "GET" : work.pick("PUT", "PUT", "POST", "DELETE"));
    }
    await work.think(0.01, 0.8);
  }
  process.exit(0);
}

function place(work, path) {
  const query = work.draw() < 0.2 ? `${work.word()}=${work.int(0, 999)}` : "";
  return { hostname: work.host, port: work.port, pathname: `/${path}`, query };
}

function ask(work, coap, agent, method) {
  const paths = method === "GET" ? [...Object.keys(RESOURCES), ".well-known/core", work.word()] : ["state", "light/1"];
  const path = work.pick(...paths);
  const request = coap.request({ ...place(work, path), agent, method, confirmable: work.draw() < 0.7 });
  if (work.draw() < 0.3) {
    request.setOption("Accept", work.pick(...FORMATS));
  }
  if (method === "GET") {
    if (path === "log/latest" || work.draw() < 0.1) {
      request.setOption("Block2", Buffer.of(work.int(1, 6)));
    }
  } else if (method !== "DELETE") {
    request.setOption("Content-Format", work.pick(...FORMATS));
    request.write(work.bytes(1, 900));
  }
  return answered(work, request);
}

// Until the whole answer is there, or none comes: what is not confirmable may be lost.
function answered(work, request) {
  return new Promise((resolve) => {
    request.on("response", (response) => response.on("end", resolve).resume());
    request.on("error", resolve);
    setTimeout(resolve, 2_000);
    request.end();
  });
}

function watch(work, request) {
  return new Promise((resolve) => {
    request.on("response", (response) => {
      response.resume();
      setTimeout(() => resolve(response.close()), work.size(300, 4_000));
    });
    request.on("error", resolve);
    setTimeout(resolve, 5_000);
    request.end();
  });
}

// Refuses those who give a password, as one that is wrong.
function aedesBroker(work) {
  const net = require("node:net");
  const broker = require("aedes")({ concurrency: work.pick(10, 100) });
  const returnCode = work.pick(2, 4, 5);
  broker.authenticate = (client, user, password, done) =>
    done(password ? Object.assign(new Error("refused"), { returnCode }) : null, !password);
  net.createServer(broker.handle).listen(work.port, work.host);
}

function topicOf(work) {
  const levels = Array.from({ length: work.count(1, 3) }, () => work.word());
  return [work.pick("house", "plant", "car", "v1/devices", "zigbee2mqtt", work.word()), ...levels].join("/");
}

// What devices tell: numbers, words, documents, now and then something larger.
function reading(work) {
  const number = work.int(-200, 1_200) / 10;
  return work.pick(
    String(number),
    work.pick("on", "off", "OPEN", "CLOSED", "1"),
    `{"t":${number}}`,
    JSON.stringify({ [work.word()]: number, [work.word()]: work.word(), time: 1_796_000_000 + work.int(0, 999_999) }),
    work.bytes(5, 3_000),
  );
}

// After the name: 5 for that version in place of 3.1.1, login for a name and a password.
async function connected(work, login = work.more.includes("login")) {
  const mqtt = require("mqtt");
  const five = work.more.includes("5");
  const will = { topic: `${topicOf(work)}/status`, payload: "offline", qos: quality(work), retain: true };
  // Not every broker answers everything.
  setTimeout(() => process.exit(0), 7_000);
  const client = await mqtt.connectAsync(`mqtt://${work.urlHost}:${work.port}`, {
    protocolVersion: five ? 5 : 4,
    clientId: work.pick(undefined, work.word(), `${work.word()}-${work.int(0, 999_999)}`),
    keepalive: work.size(1, 60),
    reconnectPeriod: 0,
    will: work.draw() < 0.2 ? will : undefined,
    properties: five && work.draw() < 0.4 ? { sessionExpiryInterval: work.int(0, 600), receiveMaximum: 20 } : undefined,
    ...(login && { username: work.word(), password: work.word() }),
  });
  // A connection that is lost ends the session.
  client.on("error", () => process.exit(0)).on("close", () => process.exit(0));
  return client;
}

// Of service; a broker that has 0 only says so after the name.
function quality(work) {
  return work.more.includes("0") ? 0 : work.pick(0, 0, 1, 2);
}

// A sensor, a display or both on one connection, or a device that is only there.
async function mqttjsClient(work) {
  const client = await connected(work);
  const topic = topicOf(work);
  const role = work.pick("sensor", "sensor", "display", "both", "idle");
  if (role === "display" || role === "both") {
    await client.subscribeAsync({ [`${topic}/#`]: { qos: quality(work) }, [work.pick("plant/+/state", "#")]: { qos: 0 } });
  }
  const rounds = role === "idle" ? 0 : work.count(1, 20);
  const same = work.draw() < 0.4 ? reading(work) : undefined;
  for (let round = 0; round < rounds && role !== "display"; round += 1) {
    const sent = client.publishAsync(`${topic}/${work.pick("t", "rh", "state")}`, same ?? reading(work), {
      qos: quality(work), retain: work.draw() < 0.3,
    });
    if (work.draw() < 0.6) {
      await sent;
    }
    await work.think(0.01, 0.5);
  }
  if (role === "idle" || role === "display") {
    await work.think(0.2, 4);
  }
  await left(work, client);
}

// A user's script, or a command line: tells one thing or a few, or waits for one, and leaves.
async function mqttjsOnce(work) {
  const client = await connected(work);
  const [topic, qos] = [topicOf(work), quality(work)];
  const rounds = work.pick(1, 1, 1, work.count(1, 8));
  for (let round = 0; round < rounds; round += 1) {
    await client.publishAsync(topic, work.draw() < 0.9 ? reading(work) : work.bytes(1_000, 60_000), { qos, retain: true });
  }
  if (work.draw() < 0.4) {
    const told = new Promise((resolve) => client.once("message", resolve));
    await client.subscribeAsync(topic, { qos });
    await Promise.race([told, work.think(2, 2.1)]);
  }
  await left(work, client);
}

// With a name and a password where none is known, or without.
async function mqttjsRefused(work) {
  await connected(work, !work.more.includes("login")).then((client) => left(work, client), () => {});
  process.exit(0);
}

// Most say that they go, some are switched off; not every broker closes then.
async function left(work, client) {
  await Promise.race([client.endAsync(work.draw() < 0.15), work.think(0.5, 1)]);
  process.exit(0);
}

main({ coapServer, coapClient, aedesBroker, mqttjsClient, mqttjsOnce, mqttjsRefused });
