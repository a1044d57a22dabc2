// SIP: sip. STUN: stun.
"use strict";

const { main } = require("./work.cjs");

const METHODS = "INVITE, ACK, CANCEL, OPTIONS, BYE, MESSAGE, SUBSCRIBE, NOTIFY, INFO, REFER, UPDATE, PRACK";

// A registrar and the telephones behind it, in one.
function sipServer(work) {
  const sip = require("sip");
  const style = {
    server: work.pick(undefined, work.word(), `${work.word()}/${work.int(1, 20)}.${work.int(0, 9)} (${phrase(work)})`),
    allow: METHODS.split(", ").slice(0, work.int(4, 12)).join(", "),
    realm: work.draw() < 0.6 ? `${work.word()}.example` : undefined,
    ringing: new Map(),
    sessions: new Map(),
  };
  const answers = { REGISTER: register, INVITE: ring, CANCEL: stop, SUBSCRIBE: notify, ACK: () => {} };
  sip.start({ address: work.host, port: work.port }, (request) =>
    (answers[request.method] ?? accept)(work, sip, style, request));
}

// What fits into one line of a header.
function phrase(work) {
  return Array.from({ length: work.int(1, 6) }, () => work.word()).join(" ");
}

function reply(sip, style, request, status, reason, headers = {}, content = "") {
  const response = sip.makeResponse(request, status, reason);
  response.headers.to.params.tag ??= style.allow.length.toString(36) + request.headers["call-id"].slice(0, 6);
  Object.assign(response.headers, style.server && { server: style.server }, headers);
  sip.send({ ...response, content });
}

function accept(work, sip, style, request) {
  const able = { allow: style.allow, accept: "application/sdp", supported: "replaces, timer" };
  reply(sip, style, request, 200, "OK", request.method === "OPTIONS" ? able : {});
}

function register(work, sip, style, request) {
  const digest = require("sip/digest");
  const id = request.headers["call-id"];
  const session = style.sessions.get(id) ?? { realm: style.realm };
  style.sessions.set(id, session);
  if (style.realm && !digest.authenticateRequest(session, request, { user: "alice", password: "secret" })) {
    sip.send(digest.challenge(session, sip.makeResponse(request, 401, "Unauthorized")));
    return;
  }
  reply(sip, style, request, 200, "OK", { contact: request.headers.contact, expires: request.headers.expires ?? 3600 });
}

// Rings for a while; then there is an answer, or the caller gave up.
function ring(work, sip, style, request) {
  const [status, reason] = work.pick([200, "OK"], [200, "OK"], [200, "OK"], [486, "Busy Here"], [404, "Not Found"]);
  if (work.draw() < 0.7) {
    reply(sip, style, request, 100, "Trying");
  }
  if (status === 200) {
    reply(sip, style, request, 180, "Ringing");
  }
  const contact = [{ uri: `sip:bob@${work.host}:${work.port}` }];
  const headers = status === 200 ? { contact, allow: style.allow, "content-type": "application/sdp" } : {};
  const content = status === 200 ? sdp(work, work.host) : "";
  const timer = setTimeout(() => reply(sip, style, request, status, reason, headers, content), work.size(20, 1_500));
  style.ringing.set(request.headers["call-id"], { timer, request });
}

function stop(work, sip, style, request) {
  reply(sip, style, request, 200, "OK");
  const { timer, request: invite } = style.ringing.get(request.headers["call-id"]) ?? {};
  if (invite) {
    clearTimeout(timer);
    reply(sip, style, invite, 487, "Request Terminated");
  }
}

function notify(work, sip, style, request) {
  reply(sip, style, request, 202, "Accepted", { expires: request.headers.expires, contact: [{ uri: request.uri }] });
  const { to, from, contact, event, "call-id": id } = request.headers;
  sip.send({
    method: "NOTIFY",
    uri: contact[0].uri,
    headers: {
      to: from,
      from: { ...to, params: { tag: work.word() } },
      "call-id": id,
      cseq: { method: "NOTIFY", seq: work.int(1, 99) },
      event,
      "subscription-state": "active;expires=600",
      contact: [{ uri: request.uri }],
      "content-type": "text/plain",
    },
    content: work.text(20, 700),
  });
}

function sdp(work, host) {
  const codecs = { 0: "PCMU/8000", 3: "GSM/8000", 8: "PCMA/8000", 9: "G722/8000", 18: "G729/8000", 97: "iLBC/8000" };
  const offered = Object.entries(codecs).slice(0, work.int(1, 6));
  const lines = offered.map(([number, name]) => `a=rtpmap:${number} ${name}`);
  const numbers = offered.map(([number]) => number).join(" ");
  return ["v=0", `o=${work.word()} ${work.int(1, 999_999)} 1 IN IP4 ${host}`, `s=${work.pick("-", "call", work.word())}`,
    `c=IN IP4 ${host}`, "t=0 0", `m=audio ${work.int(5_000, 30_000) * 2} RTP/AVP ${numbers}`, ...lines,
    ...work.pick([], ["a=sendrecv"], ["a=ptime:20", "a=sendrecv", "a=rtcp-mux"]), ""].join("\r\n");
}

// A telephone: registers, asks, sends a message, watches, or calls. Its own address follows the name.
async function sipClient(work) {
  const [own, port] = [work.more[0], work.int(20_000, 24_000)];
  const sip = require("sip").create({ address: own, port }, (request) => {
    sip.send(require("sip").makeResponse(request, 200, "OK"));
  });
  const over = work.pick("", "", ";transport=tcp");
  const phone = { sip, own, port, over, agent: work.pick(undefined, work.word(), `${work.word()} ${phrase(work)}`) };
  const kinds = { OPTIONS: once, MESSAGE: once, SUBSCRIBE: once, REGISTER: registration, INVITE: call };
  const rounds = work.pick(1, 1, work.count(1, 5));
  for (let round = 0; round < rounds; round += 1) {
    const kind = work.pick("OPTIONS", "MESSAGE", "SUBSCRIBE", "REGISTER", "REGISTER", "INVITE", "INVITE");
    await Promise.race([kinds[kind](work, phone, kind), work.think(4, 4.1)]);
    await work.think(0.02, 0.5);
  }
  process.exit(0);
}

function message(work, phone, method) {
  const user = work.pick("bob", "carol", work.word(), String(work.int(100, 9_999)));
  const uri = `sip:${user}@${work.host}:${work.port}${phone.over}`;
  const me = { uri: `sip:alice@${phone.own}:${phone.port}`, params: { tag: work.word() } };
  const bodies = { MESSAGE: ["text/plain", work.text(2, 900)], INVITE: ["application/sdp", sdp(work, phone.own)] };
  const [type, content] = bodies[method] ?? [undefined, ""];
  const headers = {
    to: { uri: method === "REGISTER" ? me.uri : uri }, from: { name: work.pick(undefined, work.word()), ...me },
    "call-id": work.word() + work.pick("", `@${phone.own}`), cseq: { method, seq: work.int(1, 9_999) },
    contact: [{ uri: me.uri + phone.over }], "max-forwards": 70, ...(type && { "content-type": type }),
    ...(phone.agent && { "user-agent": phone.agent }),
    ...(work.draw() < 0.4 && { allow: METHODS, supported: "replaces, timer, path" }),
    ...(["REGISTER", "SUBSCRIBE"].includes(method) && { expires: work.int(60, 3_600) }),
    ...(method === "SUBSCRIBE" && { event: work.pick("presence", "message-summary", "dialog") }),
  };
  return { method, uri, headers, content };
}

// The final answer.
function answered(phone, request) {
  return new Promise((resolve) => phone.sip.send(request, (response) => response.status >= 200 && resolve(response)));
}

function once(work, phone, method) {
  return answered(phone, message(work, phone, method));
}

async function registration(work, phone, method) {
  const digest = require("sip/digest");
  const request = message(work, phone, method);
  const response = await answered(phone, request);
  if (response.status === 401) {
    const password = work.draw() < 0.85 ? "secret" : work.word();
    request.headers.cseq.seq += 1;
    request.headers.via = [];
    digest.signRequest({}, request, response, { user: "alice", password });
    await answered(phone, request);
  }
}

// Talks for a while, if it is answered before the caller gives up.
async function call(work, phone, method) {
  const invite = message(work, phone, method);
  const patience = work.draw() < 0.25 ? work.size(10, 400) : 60_000;
  const timer = setTimeout(() => phone.sip.send(within(invite, "CANCEL", { via: [invite.headers.via[0]] })), patience);
  const response = await answered(phone, invite);
  clearTimeout(timer);
  if (response.status >= 300) {
    return;
  }
  const { to } = response.headers;
  phone.sip.send(within(invite, "ACK", { to, via: [] }));
  await work.think(0.05, 3);
  await answered(phone, within(invite, "BYE", { to, cseq: { method: "BYE", seq: invite.headers.cseq.seq + 1 } }));
}

// A request of the same call.
function within(invite, method, more) {
  const { to, from, "call-id": id, cseq } = invite.headers;
  return { method, uri: invite.uri, headers: { to, from, "call-id": id, cseq: { method, seq: cseq.seq }, ...more } };
}

function stunServer(work) {
  const stun = require("stun");
  const { STUN_BINDING_RESPONSE, STUN_EVENT_BINDING_REQUEST } = stun.constants;
  const name = `node/v${work.int(12, 22)}.${work.int(0, 9)}.0 stun/v1.0.0`;
  const software = work.pick(undefined, work.word(), name, phrase(work));
  const [mapped, fingerprint] = [work.draw() < 0.4, work.draw() < 0.4];
  const server = stun.createServer({ type: work.six ? "udp6" : "udp4" });
  server.on(STUN_EVENT_BINDING_REQUEST, (request, { address, port }) => {
    const message = stun.createMessage(STUN_BINDING_RESPONSE, request.transactionId);
    message.addXorAddress(address, port);
    if (mapped) {
      message.addAddress(address, port);
    }
    if (software) {
      message.addSoftware(software);
    }
    if (fingerprint) {
      message.addFingerprint();
    }
    server.send(message, port, address);
  });
  server.listen(work.port, work.host);
}

// Over IPv4: one binding, or some from one socket; as a browser's agent asks, or as plain as can be.
async function stunClient(work) {
  const stun = require("stun");
  const server = stun.createServer({ type: "udp4", socket: require("node:dgram").createSocket("udp4") });
  const rich = work.draw() < 0.5;
  const rounds = work.pick(1, 1, work.count(1, 8));
  for (let round = 0; round < rounds; round += 1) {
    const message = stun.createMessage(stun.constants.STUN_BINDING_REQUEST);
    if (rich) {
      dress(work, message);
    }
    const options = { server, message, timeout: work.pick(250, 500), retries: 3 };
    await stun.request(`${work.host}:${work.port}`, options).catch(() => {});
    await work.think(0.02, 0.8);
  }
  process.exit(0);
}

function dress(work, message) {
  if (work.draw() < 0.5) {
    message.addSoftware(work.word());
  }
  if (work.draw() < 0.6) {
    message.addUsername(`${work.word()}:${work.word()}`);
    message.addPriority(work.int(1, 2 ** 31 - 1));
    message.addMessageIntegrity(work.word());
  }
  message.addFingerprint();
}

main({ sipServer, sipClient, stunServer, stunClient });
