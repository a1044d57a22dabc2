// TURN: node-turn, werift-ice.
"use strict";

const { main } = require("./work.cjs");

// Over UDP, for everyone who knows the password.
function nodeTurn(work) {
  const Turn = require("node-turn");
  const server = new Turn({
    listeningIps: [work.host],
    relayIps: [work.host],
    listeningPort: work.port,
    authMech: "long-term",
    realm: work.pick(work.word(), `${work.word()}.${work.word()}.example`, "atlantis-software.net"),
    credentials: new Proxy({}, { get: () => "secret" }),
    debugLevel: "OFF",
  });
  server.software = work.pick("node-turn", work.word(), work.text(4, 60).replaceAll("\n", " "));
  server.start();
}

// An allocation, and what a peer that sends everything back gets and says through it. Kind of account (see ice.py), port
// of the peer and transports after the name.
async function weriftRelayed(work) {
  const { createTurnClient } = require("werift-ice");
  const [kind, port, ...transports] = work.more;
  const [username, password] = account(work, kind);
  const turn = await createTurnClient(
    { address: [work.host, work.port], username, password },
    { lifetime: work.pick(600, work.int(60, 3_600)), transport: work.pick(...transports) },
  );
  const peer = [work.host, Number(port)];
  const end = Date.now() + work.size(300, 6_000);
  const style = work.pick("steady", "messages", "messages", "permission", "silence");
  const [size, step] = [work.size(20, 900), work.pick(10, 20, 20, 30, 60)];
  if (style === "permission") {
    await turn.getPermission(peer);
  }
  while (Date.now() < end) {
    if (style === "steady") {
      await turn.sendData(Buffer.from(work.text(size, size + size / 4 + 2)), peer);
      await new Promise((resolve) => setTimeout(resolve, step));
    } else if (style === "messages") {
      await turn.sendData(Buffer.from(work.text(2, 1_150)), peer);
      await work.think(0.004, 1.5);
    } else {
      await work.think(0.3, 3);
    }
  }
  await turn.close();
  process.exit(0);
}

function account(work, kind) {
  const { createHash, createHmac } = require("node:crypto");
  let name = work.pick(work.word(), `${work.word()}@${work.word()}.example`, work.bytes(4, 40).toString("hex"));
  let password = "secret";
  if (kind === "ejabberd") {
    const [user, host] = [name, "localhost"].map((text) => createHash("sha1").update(text).digest("hex").slice(0, 8));
    name = `${Math.floor(Date.now() / 1000) + work.int(1_000, 90_000)}:${user}${host}`;
    password = createHmac("sha1", "secret").update(name).digest("base64");
  }
  return [name, work.draw() < 0.12 ? work.word() : password];
}

main({ nodeTurn, weriftRelayed });
