// HTTP of small answers, as interfaces have it: koa, hapi; axios as a page's script has it.
"use strict";

const { main } = require("./work.cjs");

const METHODS = ["GET", "GET", "GET", "GET", "POST", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"];

function record(work, largest) {
  return { id: work.int(1, 1e6), [work.word()]: work.text(1, largest), ok: true };
}

// How one site answers, for both frameworks: status, headers, and a body or pieces of one.
function site(work) {
  const largest = work.size(60, 4_000);
  const extra = work.pick({}, { "Cache-Control": "no-store", "X-Request-Id": work.word(), Vary: "Origin" });
  async function* pieces(wrap, low, high) {
    for (let left = work.count(2, 12); left > 0; left--) {
      yield wrap(JSON.stringify(record(work, largest)));
      await work.think(low, high);
    }
  }
  return async (method, path, fields) => {
    if (method === "OPTIONS") {
      const allowed = { "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": METHODS.join() };
      return { status: 204, headers: { ...extra, ...allowed } };
    }
    if (path === "/login") return { status: 302, headers: { ...extra, Location: "/", "Set-Cookie": `session=${work.word()}` } };
    if (fields["if-none-match"] && work.draw() < 0.8) return { status: 304, headers: { ETag: fields["if-none-match"] } };
    if (method === "DELETE" || path === "/beacon") return { status: 204, headers: extra };
    const typed = (kind, body, status = 200) => ({ status, headers: { ...extra, "Content-Type": kind }, body });
    if (path === "/events") return typed("text/event-stream", pieces((text) => `data: ${text}\n\n`, 0.02, 1.2));
    if (path === "/export") return typed("application/x-ndjson", pieces((text) => `${text}\n`, 0.001, 0.1));
    if (path === "/poll") await work.think(0.1, 3);
    if (path === "/favicon.ico" || work.draw() < 0.04) return typed("application/json", '{"error":"Not Found"}', 404);
    if (path === "/" || path.startsWith("/static")) return typed("text/html; charset=utf-8", work.text(200, 20_000));
    return typed("application/json", JSON.stringify(work.pick(record(work, largest), record(work, largest), [], { ok: true })));
  };
}

function koaServer(work) {
  const Koa = require("koa");
  const { Readable } = require("node:stream");
  const answer = site(work);
  const app = new Koa();
  app.silent = true; // clients leave before the last event
  app.use(async (context) => {
    for await (const _ of context.req);
    const { status, headers, body } = await answer(context.method, context.path, context.headers);
    context.status = status;
    context.set(headers);
    if (body !== undefined) context.body = typeof body === "string" ? body : Readable.from(body);
  });
  app.listen(work.port, work.host);
}

async function hapiServer(work) {
  const Hapi = require("@hapi/hapi");
  const { Readable } = require("node:stream");
  const answer = site(work);
  const server = Hapi.server({ host: work.host, port: work.port });
  const handler = async (request, h) => {
    const { status, headers, body } = await answer(request.method.toUpperCase(), request.path, request.headers);
    // Streams of objects are none to it.
    const given = body === undefined || typeof body === "string" ? body : Readable.from(body, { objectMode: false });
    const response = h.response(given).code(status);
    for (const [name, value] of Object.entries(headers)) response.header(name, value);
    return response;
  };
  server.route({ method: ["GET", "OPTIONS"], path: "/{path*}", handler });
  server.route({ method: ["POST", "PUT", "DELETE"], path: "/{path*}", handler, options: { payload: { parse: false } } });
  await server.start();
}

// Calls of a page on connections that stay, or on one for each.
async function axiosClient(work) {
  const { default: axios } = require("axios");
  const { Agent } = require("node:http");
  const agent = new Agent({ keepAlive: work.draw() < 0.8, maxSockets: work.int(1, 3) });
  const version = work.int(100, 148);
  const headers = {
    "User-Agent": `Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${version}.0.0.0 Safari/537.36`,
    "sec-ch-ua": `"Chromium";v="${version}", "Google Chrome";v="${version}", "Not;A=Brand";v="24"`,
    "sec-ch-ua-mobile": "?0",
    "sec-ch-ua-platform": '"Linux"',
    "Sec-Fetch-Mode": "cors",
    Referer: `http://${work.word()}.example.net/${work.word()}`,
    "Accept-Language": work.pick("en-US,en;q=0.9", "es-ES,es;q=0.9,en;q=0.8"),
    Cookie: `sid=${work.bytes(10, 400).toString("base64url")}`,
  };
  const client = axios.create({
    baseURL: `http://${work.urlHost}:${work.port}`,
    headers,
    httpAgent: agent,
    timeout: 15_000,
    validateStatus: () => true,
    maxRedirects: work.pick(0, 5),
  });
  if (work.draw() < 0.4) client.defaults.headers.Authorization = `Bearer ${work.bytes(40, 500).toString("base64url")}`;
  const kind = work.pick("calls", "calls", "/poll", "/events");
  for (let left = kind === "/events" ? work.int(1, 3) : work.count(1, 16); left > 0; left--) {
    const method = kind === "calls" ? work.pick(...METHODS) : "GET";
    const called = work.pick("/", "/export", "/login", `/api/${work.word()}`, `/api/items/${work.int(1, 999)}`);
    const url = kind === "calls" ? called : kind;
    const fields = method === "GET" && work.draw() < 0.2 ? { "If-None-Match": `"${work.word()}"` } : {};
    const data = method.startsWith("P") ? work.pick(record(work, 900), new URLSearchParams(record(work, 300))) : undefined;
    const one = () => client.request({ method, url, headers: fields, data });
    await Promise.all(Array.from({ length: work.pick(1, 1, 1, 3) }, one));
    await work.think(0.003, 1.5);
  }
  agent.destroy();
}

main({ koaServer, hapiServer, axiosClient });
