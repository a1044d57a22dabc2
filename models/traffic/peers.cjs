// Ethereum: devp2p of ethereumjs, as it is now and as it was in its third version, before compression and fork identifiers.
"use strict";

const { createHash } = require("node:crypto");
const { createSocket } = require("node:dgram");
const frames = require("./peers_frames.cjs");
const { main } = require("./work.cjs");

// Both versions under one set of names.
const NOW = {
  devp2p: () => require("@ethereumjs/devp2p"),
  capabilities(work) {
    const { ETH } = this.devp2p();
    const all = [ETH.eth62, ETH.eth63, ETH.eth64, ETH.eth65, ETH.eth66, ETH.eth67, ETH.eth68];
    const [oldest, newest] = [work.pick(0, 0, 1, 1, 4), work.pick(6, 6, 6, 5, 4)];
    return all.slice(oldest, newest + 1);
  },
  chain(work, name) {
    const common = require("@ethereumjs/common");
    const hardfork = work.pick("shanghai", "cancun", "cancun", "prague");
    return new common.Common({ chain: common[name], hardfork });
  },
};
const THEN = {
  devp2p: () => require("ethereumjs-devp2p"),
  capabilities(work) {
    const { ETH } = this.devp2p();
    return work.pick([ETH.eth62, ETH.eth63], [ETH.eth63], [ETH.eth62]);
  },
  chain: () => undefined,
};
// Both as nodes of 2017 to 2020, whose writes and manners are other ones.
const LIKE_GO = [THEN, NOW].map((age) => ({
  ...age,
  others: true,
  capabilities(work) {
    const { ETH } = this.devp2p();
    const all = [ETH.eth62, ETH.eth63, ETH.eth64, ETH.eth65].filter(Boolean);
    const oldest = work.pick(0, 0, 0, 1);
    return all.slice(oldest, work.int(2, all.length));
  },
}));
const CHAINS = { Mainnet: 1, Sepolia: 11_155_111, Holesky: 17_000 };

// The event emitter of an object: itself, or what it has for that.
const events = (object) => object.events ?? object;

const digest = (text) => createHash("sha256").update(text).digest();

function random(work, length) {
  return Buffer.from(Array.from({ length }, () => work.int(0, 255)));
}

// A whole number of so many bytes: without zeros in front.
function number(work, length) {
  const bytes = random(work, length);
  if (length) {
    bytes[0] ||= 1;
  }
  return bytes;
}

function clientName(work) {
  const [major, minor, build] = [work.int(8, 26), work.int(0, 12), random(work, 4).toString("hex")];
  return Buffer.from(work.pick(
    `Geth/v1.${major}.${minor}-stable-${build}/linux-amd64/go1.${work.int(18, 23)}.${work.int(0, 9)}`,
    `Geth/${work.word()}/v1.${major}.${minor}-unstable-${build}-20240${work.int(101, 928)}/windows-amd64/go1.22.1`,
    `Nethermind/v1.${major}.${minor}+${build}/linux-x64/dotnet8.0.${work.int(0, 9)}`,
    `erigon/v2.${major}.${minor}-${build}/linux-amd64/go1.21.${work.int(0, 9)}`,
    `besu/v23.${major}.${minor}/linux-x86_64/openjdk-java-17`,
    `reth/v1.${major}.${minor}-${build}/x86_64-unknown-linux-gnu`,
    "ethereumjs-devp2p/linux-x64/nodejs",
  ));
}

// The key of the node at a port, which follows from it: others know its identity, as from an enode address.
const keyAt = (port) => digest(`node at ${port}`);

function discovery(work, age, key, endpoint, options) {
  const { DPT } = age.devp2p();
  const dpt = new DPT(key, {
    endpoint,
    common: options.chain,
    timeout: 2_000,
    createSocket: () => {
      const socket = createSocket(work.six ? "udp6" : "udp4");
      return options.serves && age.others ? frames.deaf(work, socket) : socket;
    },
    ...options,
  });
  // Some of the nodes that others tell of are out of reach.
  events(dpt).on("error", () => {});
  return dpt;
}

function transport(work, age, key, options) {
  const { RLPx, Peer } = age.devp2p();
  if (age.others) {
    frames.vary(work, Peer);
  } else if (work.draw() < 0.6) {
    writeWhole(Peer);
  }
  const rlpx = new RLPx(key, {
    clientId: age.others ? frames.clientName(work) : clientName(work),
    capabilities: age.capabilities(work),
    timeout: 4_000,
    common: options.chain,
    remoteClientIdFilter: options.unwanted,
    listenPort: age.others ? work.pick(null, 30_303) : null,
    ...options,
  });
  // Refused, reset, of another chain: the everyday life of a node.
  events(rlpx).on("error", () => {});
  events(rlpx).on("peer:error", (peer) => {
    // The old one does not hang up by itself, and reads what it cannot decrypt again and again.
    if (age === THEN && peer._state === "Auth") {
      peer._socketData.consume(peer._socketData.length);
      peer._socket.destroy();
    } else if (age === THEN && peer._connected) {
      peer.disconnect(0x10); // what is wrong is of the subprotocol: another chain
    }
  });
  return rlpx;
}

// Most implementations write a frame at once, these its header first.
function writeWhole(Peer) {
  const sendMessage = Peer.prototype._sendMessage;
  Peer.prototype._sendMessage = function whole(...message) {
    this._socket.cork();
    const sent = sendMessage.apply(this, message);
    this._socket.uncork();
    return sent;
  };
}

// Serves a chain, and tells each peer of new transactions and blocks.
function node(work, age) {
  const key = keyAt(work.port);
  const chain = age.chain(work, "Mainnet");
  const endpoint = { address: work.host, udpPort: work.port, tcpPort: work.port };
  // It knows some nodes from before, and does not ask them while we watch.
  const dpt = discovery(work, age, key, endpoint, { refreshInterval: 36_000_000, chain, serves: true });
  dpt.bind(work.port, work.host);
  for (let known = work.int(0, 13); known > 0; known -= 1) {
    const address = work.six ? `2001:db8:113::${work.int(1, 9_999)}` : `203.0.113.${work.int(1, 254)}`;
    dpt._kbucket.add({ id: random(work, 64), address, udpPort: 30_303, tcpPort: 30_303 });
  }
  const maxPeers = work.pick(1, 2, 3, 25, 50);
  const unwanted = work.pick(undefined, undefined, ["besu"], ["windows"]);
  const rlpx = transport(work, age, key, { maxPeers, listenPort: work.port, chain, unwanted });
  const busy = work.size(100, 3_000);
  events(rlpx).on("peer:added", (peer) => {
    const [eth] = peer.getProtocols();
    greet(work, eth, "Mainnet");
    events(eth).on("message", (code, payload) => answer(work, age, eth, code, payload));
    events(eth).once("status", () => {
      const timer = setInterval(() => gossip(work, age, eth), busy * (0.5 + work.draw()));
      peer._socket.once("close", () => clearInterval(timer));
    });
  });
  rlpx.listen(work.port, work.host);
  // A peer that is gone in the middle of a message is no reason to stop.
  process.on("uncaughtException", (error) => console.error(error.message));
}

function greet(work, eth, chain) {
  eth.sendStatus({
    networkId: CHAINS[chain], // of old versions; new ones have it from the chain
    td: number(work, work.int(1, 10)),
    bestHash: random(work, 32),
    genesisHash: digest(chain),
  });
}

// Sends what the version of the protocol knows, if the peer is there still; requests are numbered since eth/66.
function send(eth, code, payload) {
  try {
    eth.sendMessage(code, payload);
  } catch (error) {
    console.error(error.message);
  }
}

const numbered = (eth) => eth.getVersion() >= 66;

function codes(age) {
  const { ETH, EthMessageCodes } = age.devp2p();
  return EthMessageCodes ?? ETH.MESSAGE_CODES;
}

function header(work) {
  const more = work.pick([], [number(work, 5)], [number(work, 5), random(work, 32)]);
  const bloom = work.draw() < 0.3 ? Buffer.alloc(256) : random(work, 256);
  return [random(work, 32), random(work, 32), random(work, 20), random(work, 32), random(work, 32), random(work, 32), bloom,
    number(work, 0), number(work, work.int(1, 4)), number(work, 4), number(work, work.int(0, 4)), number(work, 4),
    random(work, work.int(0, 32)), random(work, 32), random(work, 8), ...more];
}

// A transfer, or a call of a contract with arguments of 32 bytes each, most of them small.
function transaction(work) {
  const argument = () => (work.draw() < 0.6 ? Buffer.concat([Buffer.alloc(28), random(work, 4)]) : random(work, 32));
  const call = () => Buffer.concat([random(work, 4), ...Array.from({ length: work.count(1, 40) }, argument)]);
  const data = work.draw() < 0.4 ? Buffer.alloc(0) : call();
  const body = [number(work, work.int(0, 2)), number(work, 5), number(work, 3), random(work, 20),
    number(work, work.int(0, 9)), data];
  const signature = [number(work, 1), number(work, 32), number(work, 32)];
  if (work.draw() < 0.4) {
    return [...body, ...signature];
  }
  // One with a type (EIP-2718): a string to the list that it is in.
  const { RLP } = require("@ethereumjs/rlp");
  return Buffer.concat([Buffer.from([2]), RLP.encode([number(work, 1), ...body, [], ...signature])]);
}

function many(count, make) {
  return Array.from({ length: count }, make);
}

function block(work) {
  return [many(work.count(0, 30), () => transaction(work)), []];
}

function receipt(work) {
  const log = () => [random(work, 20), many(work.int(1, 4), () => random(work, 32)), random(work, 32 * work.int(0, 4))];
  return [number(work, 1), number(work, 4), Buffer.alloc(256), many(work.int(0, 4), log)];
}

function answer(work, age, eth, code, payload) {
  const code_of = codes(age);
  const [id, asked] = numbered(eth) ? payload : [undefined, payload];
  const wanted = Math.min(Number(`0x${Buffer.from(asked?.[1] ?? []).toString("hex") || "0"}`), 192);
  const share = () => Math.ceil(asked.length * work.pick(1, 1, 0.5));
  const replies = {
    [code_of.GET_BLOCK_HEADERS]: () => [code_of.BLOCK_HEADERS, many(wanted, () => header(work))],
    [code_of.GET_BLOCK_BODIES]: () => [code_of.BLOCK_BODIES, many(share(), () => block(work))],
    [code_of.GET_RECEIPTS]: () => [code_of.RECEIPTS, many(share(), () => many(work.int(0, 8), () => receipt(work)))],
    [code_of.GET_NODE_DATA]: () => [code_of.NODE_DATA, many(share(), () => random(work, work.size(30, 532)))],
    [code_of.GET_POOLED_TRANSACTIONS]: () => [code_of.POOLED_TRANSACTIONS, many(share(), () => transaction(work))],
  };
  const [kind, reply] = replies[code]?.() ?? [];
  if (kind !== undefined) {
    setTimeout(() => send(eth, kind, numbered(eth) ? [id, reply] : reply), work.pick(0, 1, work.size(1, 100)));
  }
}

function gossip(work, age, eth) {
  const code = codes(age);
  const hashes = many(work.count(1, 60), () => random(work, 32));
  const kinds = [[code.TX, () => many(work.count(1, 12), () => transaction(work))]];
  if (work.draw() < 0.2) {
    kinds.push([code.NEW_BLOCK_HASHES, () => [[random(work, 32), number(work, 4)]]]);
    kinds.push([code.NEW_BLOCK, () => [[header(work), ...block(work)], number(work, 9)]]);
  }
  if (eth.getVersion() >= 68) {
    const sizes = hashes.map(() => number(work, work.int(1, 2)));
    kinds.push([code.NEW_POOLED_TRANSACTION_HASHES, () => [Buffer.alloc(hashes.length, 2), sizes, hashes]]);
  } else if (eth.getVersion() >= 65) {
    kinds.push([code.NEW_POOLED_TRANSACTION_HASHES, () => hashes]);
  }
  const [kind, make] = work.pick(...kinds);
  send(eth, kind, make());
}

// What a node that synchronizes asks for.
function ask(work, age, eth) {
  const code = codes(age);
  const start = work.pick(random(work, 32), number(work, work.int(1, 4)));
  const hashes = (most) => many(work.count(1, most), () => random(work, 32));
  const kinds = [
    [code.GET_BLOCK_HEADERS, [start, number(work, 1).fill(work.pick(1, 1, work.size(1, 192))), number(work, 0), number(work, 0)]],
    [code.GET_BLOCK_BODIES, hashes(32)],
  ];
  if (eth.getVersion() >= 63) {
    kinds.push([code.GET_RECEIPTS, hashes(16)]);
  }
  if (eth.getVersion() >= 63 && eth.getVersion() <= 66) {
    kinds.push([code.GET_NODE_DATA, hashes(100)]);
  }
  if (eth.getVersion() >= 65) {
    kinds.push([code.GET_POOLED_TRANSACTIONS, hashes(40)]);
  }
  const [kind, payload] = work.pick(...kinds);
  send(eth, kind, numbered(eth) ? [number(work, work.int(1, 8)), payload] : payload);
}

// Connects to the node: some are of another chain, know it under another identity or have too little in common with it.
async function connect(work, age) {
  const chain = work.draw() < 0.75 ? "Mainnet" : work.pick("Sepolia", "Holesky");
  const rlpx = transport(work, age, random(work, 32), { maxPeers: 5, chain: age.chain(work, chain) });
  const other = work.draw() < 0.05 ? 1 : 0;
  const known = new (age.devp2p().RLPx)(keyAt(work.port + other), { capabilities: [], maxPeers: 0 });
  const id = Buffer.from(known.id ?? known._id);
  const over = new Promise((resolve) => events(rlpx).once("peer:removed", resolve));
  const session = new Promise((resolve) => events(rlpx).once("peer:added", async (peer) => {
    const [eth] = peer.getProtocols();
    events(eth).on("message", (code, payload) => answer(work, age, eth, code, payload));
    const agreed = new Promise((met) => events(eth).once("status", met));
    await work.think(0.001, 0.05);
    greet(work, eth, chain);
    await agreed;
    for (let round = work.count(0, 12); round > 0 && !peer._closed; round -= 1) {
      const what = work.draw();
      if (what < 0.65) {
        ask(work, age, eth);
      } else if (what < 0.85) {
        gossip(work, age, eth);
      } else {
        peer._sendPing(); // others do so at other intervals than every 15 seconds
      }
      await work.think(0.01, 1.2);
    }
    resolve();
  }));
  await rlpx.connect({ id, address: work.host, tcpPort: work.port });
  const [socket] = rlpx._peers.values();
  const closed = new Promise((resolve) => socket.once("close", resolve));
  await Promise.race([over, closed, session, work.think(4, 6)]);
  if (work.draw() < 0.7) {
    rlpx.destroy(); // says why it goes
    await work.think(0.05, 0.3);
  }
}

// Asks the node whom it knows: once, or now and then.
async function discover(work, age) {
  const socket = await new Promise((resolve) => {
    const probe = createSocket(work.six ? "udp6" : "udp4");
    // Most nodes ask from the port that they serve at, if no other one behind the address has it.
    probe.once("error", () => probe.bind(0));
    probe.once("listening", () => resolve(probe));
    probe.bind(age.others && work.draw() < 0.6 ? work.port : 0);
  });
  const { port } = socket.address();
  await new Promise((resolve) => socket.close(resolve));
  const tcpPort = work.pick(null, null, port, 30_303);
  const endpoint = { address: work.pick(work.more[0], work.six ? "::" : "0.0.0.0"), udpPort: port, tcpPort };
  const refreshInterval = work.size(500, 20_000);
  const options = { refreshInterval, chain: age.chain(work, "Mainnet") };
  const dpt = discovery(work, age, random(work, 32), endpoint, options);
  await new Promise((resolve, reject) => {
    events(dpt).once("listening", resolve);
    events(dpt).once("error", reject); // another one was faster
    dpt.bind(port);
  });
  const peer = { address: work.host, udpPort: work.port, tcpPort: work.port };
  if (age.others && work.draw() < 0.4) {
    for (let round = work.count(1, 6); round > 0; round -= 1) {
      dpt._server._send(peer, "ping", { version: 4, from: endpoint, to: peer });
      if (work.draw() < 0.2) {
        dpt._server.findneighbours(peer, random(work, 64));
      }
      await work.think(0.2, 2);
    }
  } else if (work.draw() < 0.3) {
    for (let round = work.count(1, 5); round > 0; round -= 1) {
      const known = await dpt.addPeer({ ...peer }).catch(() => undefined);
      await work.think(0.05, 1.5);
      dpt.removePeer(known?.id ?? random(work, 64));
    }
  } else {
    await dpt.bootstrap(peer);
    await work.think(0.2, 5);
  }
}

// A machine's node asks for others, or connects, or both; where there are more machines behind one address, several do.
async function visit(work, age) {
  process.on("uncaughtException", (error) => console.error(error.message));
  const visitors = many(work.pick(1, 1, work.count(1, 6)), async () => {
    await work.think(0.001, 1);
    const [asks, connects] = work.pick([true, false], [false, true], [false, true], [true, true]);
    if (asks) {
      await discover(work, age).catch((error) => console.error(error.message));
    }
    if (connects) {
      await connect(work, age).catch((error) => console.error(error.message));
    }
  });
  await Promise.all(visitors);
  process.exit(0);
}

main({
  ethereumNode: (work) => node(work, NOW),
  ethereumPeer: (work) => visit(work, NOW),
  goEthereumNode: (work) => node(work, work.pick(...LIKE_GO)),
  goEthereumPeer: (work) => visit(work, work.pick(...LIKE_GO)),
  oldEthereumNode: (work) => node(work, THEN),
  oldEthereumPeer: (work) => visit(work, THEN),
});
