// HTTP: express, node:http; undici, fetch, node:http. TLS: node:https, node:tls. HTTP/2: node:http2. WebSocket: ws.
"use strict";

const { once } = require("node:events");
const fs = require("node:fs");
const { main } = require("./work.cjs");

const PATHS = ["/", "/index.html", "/api/v1/items", "/static/app.js", "/favicon.ico", "/login", "/old", "/feed.xml", "/7"];
const AGENTS = ["Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "okhttp/4.12", "node", "probe/1"];
const METHODS = ["GET", "GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE"];

function token(work, low, high) {
  return work.bytes(low, high).toString("base64url");
}

function record(work) {
  return Object.fromEntries(Array.from({ length: work.count(1, 20) }, () => [work.word(), work.text(2, 200)]));
}

// Headers that a site adds to all it says: none, or those of a portal.
function manners(work) {
  const headers = { "Cache-Control": work.pick("no-store", "max-age=3600, public") };
  for (let more = work.count(0, 8); more > 0; more--) headers[`X-${work.word()}`] = token(work, 3, 90);
  if (work.draw() < 0.4) headers["Set-Cookie"] = `session=${token(work, 16, 600)}; Path=/; HttpOnly`;
  return headers;
}

// What a visit asks for: an interface that is polled, or pages and what belongs to them.
function* visit(work) {
  const small = work.draw() < 0.4;
  const headers = work.draw() < 0.3 ? {} : { "user-agent": work.pick(...AGENTS), accept: "*/*" };
  if (work.draw() < 0.3) headers.cookie = `session=${token(work, 16, 3_000)}`;
  if (work.draw() < 0.2) headers.authorization = `Bearer ${token(work, 20, 800)}`;
  for (let left = work.pick(1, work.count(1, 12)); left > 0; left--) {
    const method = work.pick(...METHODS);
    const special = {};
    if (method === "GET" && work.draw() < 0.2) special["if-modified-since"] = new Date().toUTCString();
    if (method === "GET" && work.draw() < 0.15) special.range = `bytes=${work.size(1, 900)}-${work.size(1_000, 50_000)}`;
    const content = work.draw() < 0.8 ? record(work) : work.text(500, 60_000);
    const body = method.startsWith("P") ? JSON.stringify(content) : undefined;
    if (body) special["content-type"] = "application/json";
    const place = small ? `/api/v1/items/${work.int(1, 99)}` : work.pick(...PATHS, `/${work.word()}`);
    yield { method, path: place, headers: { ...headers, ...special }, body };
  }
}

function expressServer(work) {
  const express = require("express");
  const headers = manners(work);
  const app = express();
  if (work.draw() < 0.5) app.disable("x-powered-by");
  app.use(express.json({ limit: "10mb", strict: false }), (_, response, next) => {
    response.set(headers);
    next();
  });
  app.get("/api/v1/items", (_, response) => response.json(Array.from({ length: work.count(0, 60) }, () => record(work))));
  app
    .route("/api/v1/items/:id")
    .get((request, response) => response.json({ id: request.params.id, ...record(work) }))
    .put((_, response) => response.status(204).end())
    .delete((_, response) => response.sendStatus(work.pick(200, 204, 403)))
    .post((_, response) => response.status(201).json({ id: work.word() }));
  app.get("/old", (_, response) => response.redirect("/7"));
  app.get("/feed.xml", async (_, response) => {
    for (let left = work.count(1, 10); left > 0; left--) {
      response.write(work.text(20, 5_000));
      await work.think(0.001, 0.2);
    }
    response.end();
  });
  app.use(express.static(work.files));
  app.listen(work.port, work.host);
}

// Answers without a framework, for the servers of node:http, node:https and node:http2.
function handler(work) {
  const headers = manners(work);
  const largest = work.size(300, 300_000);
  return async (request, response) => {
    request.resume();
    await once(request, "end");
    if (request.url === "/old") return response.writeHead(302, { Location: "/7" }).end();
    if (request.method === "DELETE") return response.writeHead(204, headers).end();
    if (request.headers["if-modified-since"]) return response.writeHead(304, headers).end();
    const body = Buffer.alloc(work.size(2, request.url.includes("api") ? 900 : largest), "some words ");
    const known = work.draw() < 0.6 ? { "Content-Length": body.length } : {};
    response.writeHead(request.url.length > 16 ? 404 : 200, { ...headers, ...known });
    if (request.method === "HEAD") return response.end();
    const half = work.int(0, body.length);
    response.write(body.subarray(0, half));
    if (work.draw() < 0.2) await work.think(0.001, 0.3);
    response.end(body.subarray(half));
  };
}

function httpServer(work) {
  require("node:http").createServer(handler(work)).listen(work.port, work.host);
}

// KEY CERTIFICATE after the name, as for all servers of TLS.
function identity(work) {
  const [key, cert] = work.more.map((file) => fs.readFileSync(file));
  return { key, cert, requestCert: work.draw() < 0.3, rejectUnauthorized: false, ...versions(work) };
}

function versions(work) {
  return { maxVersion: work.pick("TLSv1.2", "TLSv1.3", "TLSv1.3") };
}

function httpsServer(work) {
  require("node:https").createServer(identity(work), handler(work)).listen(work.port, work.host);
}

// How a client of TLS is: with a name or none, with a certificate of its own where KEY CERTIFICATE stand after the name.
function trust(work) {
  const [key, cert] = work.draw() < 0.4 ? work.more.map((file) => fs.readFileSync(file)) : [];
  const name = work.pick({}, { servername: `${work.word()}.example.net` });
  return { rejectUnauthorized: false, ...versions(work), key, cert, ...name };
}

async function browse(work, library, settings) {
  const agent = new library.Agent({ keepAlive: work.draw() < 0.6, ...settings });
  for (const { method, path: place, headers, body } of visit(work)) {
    const request = library.request({ host: work.host, port: work.port, method, path: place, headers, agent });
    request.end(body);
    const [response] = await once(request, "response");
    response.resume();
    await once(response, "end");
    await work.think();
  }
  agent.destroy();
}

function httpClient(work) {
  return browse(work, require("node:http"), {});
}

function httpsClient(work) {
  return browse(work, require("node:https"), trust(work));
}

// Some requests at once on a connection or two, as undici has it.
async function undiciRequests(work, base, connect) {
  const { Pool } = require("undici");
  const pool = new Pool(base, { connections: work.int(1, 2), pipelining: work.pick(1, 1, 4), connect });
  for (const request of visit(work)) {
    const answers = Array.from({ length: request.method === "GET" ? work.count(1, 3) : 1 }, () => pool.request(request));
    for (const { body } of await Promise.all(answers)) await body.dump({ limit: 2 ** 24 });
    await work.think();
  }
  await pool.close();
}

function undiciClient(work) {
  return undiciRequests(work, `http://${work.urlHost}:${work.port}`);
}

function undiciTlsClient(work) {
  return undiciRequests(work, `https://${work.urlHost}:${work.port}`, trust(work));
}

async function fetchClient(work) {
  for (const { path: place, ...request } of visit(work)) {
    const answer = await fetch(`http://${work.urlHost}:${work.port}${place}`, request);
    await answer.arrayBuffer();
    await work.think();
  }
}

// A protocol of lines inside TLS: a greeting or none, answers of some lines.
function lineServer(work) {
  const greeting = work.pick("", `220 ${work.word()} ready\r\n`, work.text(60, 900));
  const server = require("node:tls").createServer(identity(work), (socket) => {
    socket.on("error", () => socket.destroy());
    socket.on("end", () => socket.end());
    if (greeting) socket.write(greeting);
    require("node:readline").createInterface({ input: socket }).on("line", (line) => {
      for (let left = line === "status" ? 1 : work.count(1, 4); left > 0; left--) socket.write(`${work.text(2, 1_500)}\r\n`);
    });
  });
  server.listen(work.port, work.host);
}

// Commands on one connection, or on two of which the second resumes the first one's session.
async function lineClient(work) {
  const settings = { host: work.host, port: work.port, ...trust(work) };
  let session;
  for (let connections = work.int(1, 2); connections > 0; connections--) {
    const socket = require("node:tls").connect({ ...settings, session });
    socket.on("session", (given) => { session = given; });
    socket.resume();
    await once(socket, "secureConnect");
    for (let left = work.count(0, 10); left > 0; left--) {
      socket.write(work.pick("status\r\n", `get ${work.word()}\r\n`, `${work.text(5, 900).replaceAll("\n", " ")}\r\n`));
      await work.think(0.01, 0.8);
    }
    socket.end();
    await once(socket, "close");
  }
}

function http2Server(work) {
  require("node:http2").createServer(handler(work)).listen(work.port, work.host);
}

// A browser's protocol and the older one on one port, as ALPN has it.
function http2TlsServer(work) {
  require("node:http2").createSecureServer({ ...identity(work), allowHTTP1: true }, handler(work)).listen(work.port, work.host);
}

async function stream(session, { method, path: place, headers, body }) {
  const request = session.request({ ":method": method, ":path": place, ...headers }, { endStream: !body });
  if (body) request.end(body);
  request.resume();
  await once(request, "close");
}

// Streams one after the other or at once; some sessions ping, or only that.
async function http2Requests(work, base, settings) {
  const session = require("node:http2").connect(base, settings);
  await once(session, "connect");
  const together = work.draw() < 0.4;
  const streams = [];
  if (work.draw() < 0.2) await new Promise((done) => session.ping(done));
  for (const request of visit(work)) {
    streams.push(stream(session, request));
    if (!together) {
      await streams.at(-1);
      await work.think();
    }
  }
  await Promise.all(streams);
  session.close();
}

function http2Client(work) {
  return http2Requests(work, `http://${work.urlHost}:${work.port}`, {});
}

function http2TlsClient(work) {
  return http2Requests(work, `https://${work.urlHost}:${work.port}`, trust(work));
}

// Answers as a chat, a feed or an echo does.
function wsServer(work) {
  const { WebSocketServer } = require("ws");
  const kind = work.pick("echo", "feed", "interface");
  const server = new WebSocketServer({ host: work.host, port: work.port, perMessageDeflate: work.draw() < 0.4 });
  server.on("connection", (socket) => {
    if (kind === "feed") {
      const timer = setInterval(() => socket.send(JSON.stringify(record(work))), work.int(30, 700));
      socket.on("close", () => clearInterval(timer));
    }
    socket.on("message", (message, binary) => {
      if (kind === "echo") return socket.send(message, { binary });
      for (let left = work.count(1, 3); left > 0; left--) socket.send(JSON.stringify(record(work)));
    });
  });
}

async function wsClient(work) {
  const WebSocket = require("ws");
  const headers = work.pick({}, { "User-Agent": work.pick(...AGENTS), Cookie: `session=${token(work, 16, 1_500)}` });
  const settings = { headers, perMessageDeflate: work.draw() < 0.5, origin: work.pick(undefined, "https://app.example.net") };
  const socket = new WebSocket(`ws://${work.urlHost}:${work.port}/${work.pick("", "ws", "chat?room=7")}`, settings);
  await once(socket, "open");
  for (let left = work.count(0, 16); left > 0; left--) {
    work.pick(
      () => socket.send(work.text(2, 900)),
      () => socket.send(JSON.stringify(record(work))),
      () => socket.send(work.bytes(2, 5_000)),
      () => socket.ping(),
    )();
    await work.think(0.005, 0.7);
  }
  socket.close(1000);
  await once(socket, "close");
}

main({
  expressServer,
  httpServer,
  httpsServer,
  httpClient,
  httpsClient,
  undiciClient,
  undiciTlsClient,
  fetchClient,
  lineServer,
  lineClient,
  http2Server,
  http2TlsServer,
  http2Client,
  http2TlsClient,
  wsServer,
  wsClient,
});
