// What other nodes of Ethereum do otherwise than devp2p of ethereumjs: how they write frames, greet and end sessions, and
// whom they do not answer. All of it is drawn anew for each connection.
"use strict";

// io.Copy of Go hands on that much at once.
const COPIED = 32_768;
const TOO_MANY_PEERS = 4;

// go-ethereum until 1.9 wrote each part of a frame as it came to it: header and its MAC, code, message, padding, MAC.
function inParts(header, body, length) {
  const message = [];
  for (let at = 1; at < length; at += COPIED) {
    message.push(body.subarray(at, Math.min(at + COPIED, length)));
  }
  const parts = [header, body.subarray(0, 1), ...message, body.subarray(length, -16), body.subarray(-16)];
  return parts.filter((part) => part.length > 0);
}

const inHalves = (header, body) => [header, body];
const whole = (header, body) => [Buffer.concat([header, body])];

// How the writes of a connection look, and whether it ends early.
function manners(work, peer) {
  if (!peer.manners) {
    const [write, gathers] = work.pick(
      ...Array(6).fill([inParts, false]), [inParts, true], [inHalves, false], [inHalves, true], [whole, false]);
    // The side that is called has the more reasons to end it: most nodes have as many peers as they want.
    const ends = peer._remoteId === null
      ? ["refused", "refused", "refused", "refused", "unread", "unread", "greeted", "mute", "dropped", "later", "", "", "", ""]
      : ["unread", "greeted", "dropped", "later", ...Array(10).fill("")];
    peer.manners = { write, end: work.pick(...ends), go: write === inParts };
    peer._socket.setNoDelay(!gathers);
  }
  return peer.manners;
}

function writeAs(work, Peer) {
  const send = Peer.prototype._sendMessage;
  Peer.prototype._sendMessage = function written(code, data) {
    const socket = this._socket;
    const parts = [];
    this._socket = { destroyed: socket.destroyed, write: (part) => parts.push(Buffer.from(part)) };
    let sent;
    try {
      sent = send.call(this, code, data);
    } finally {
      this._socket = socket;
    }
    if (parts.length === 2) {
      manners(work, this).write(...parts, 1 + data.length).forEach((part) => socket.write(part));
    }
    return sent;
  };
}

// go-ethereum gives the reason in a list, compressed where all is, and hangs up at once.
function disconnectAs(work, Peer) {
  const disconnect = Peer.prototype._sendDisconnect;
  Peer.prototype._sendDisconnect = function parted(reason) {
    const { go } = manners(work, this);
    const send = this._sendMessage;
    if (go) {
      const list = [0xc1, reason || 0x80];
      const compressed = this.events && this._hello?.protocolVersion >= 5;
      this._sendMessage = (code) => send.call(this, code, Buffer.from(compressed ? [2, 4, ...list] : list));
    }
    disconnect.call(this, reason);
    delete this._sendMessage;
    if (go || work.draw() < 0.3) {
      setTimeout(() => this._socket.destroySoon(), work.pick(0, 0, 1, work.size(1, 500)));
    }
  };
}

// Handshakes of before EIP-8 are of one size. What reads them is in the library, but it never finds that they are such ones.
function handshakeAs(work, Peer) {
  const { _sendAuth: auth, _sendHello: hello } = Peer.prototype;
  Peer.prototype._sendAuth = function sized() {
    this._EIP8 = work.draw() < 0.85;
    auth.call(this);
  };
  const plain = [["_handleAuth", "parseAuthPlain", "_sendAck"], ["_handleAck", "parseAckPlain", "_sendHello"]];
  for (const [name, parse, next] of plain) {
    const handle = Peer.prototype[name];
    Peer.prototype[name] = function read() {
      const bytes = Buffer.from(this._socketData.slice());
      if (name === "_handleAuth" && manners(work, this).end === "mute") {
        this._nextPacketSize = Infinity;
        setTimeout(() => this._socket.destroy(), work.size(200, 5_000));
        return;
      }
      if (bytes[0] !== 4) {
        handle.call(this);
        return;
      }
      const length = this._nextPacketSize;
      this._eciesSession[parse](bytes.subarray(0, length));
      if (this._socketData.consume) {
        this._socketData.consume(length);
      } else {
        this._socketData = this._socketData.subarray(length);
      }
      this._state = "Header";
      this._nextPacketSize = 32;
      process.nextTick(() => this[next]());
    };
  }
  Peer.prototype._sendHello = function greet() {
    if (manners(work, this).end === "refused") {
      this.disconnect(work.pick(TOO_MANY_PEERS, TOO_MANY_PEERS, TOO_MANY_PEERS, 5));
    } else {
      // Only told: what both had would have to be spoken.
      const spoken = this._capabilities;
      this._capabilities = [...spoken, ...besides(work)];
      hello.call(this);
      this._capabilities = spoken;
    }
  };
}

// What a node advertises besides: light clients' protocols and its own ones.
function besides(work) {
  const [name, versions] = work.pick(["les", [1, 2]], ["par", [1, 2, 3]], ["pip", [1]], ["shh", [5, 6]], ["snap", [1]]);
  return work.draw() < 0.5 ? [] : versions.slice(work.int(0, versions.length - 1)).map((version) => ({ name, version }));
}

function endAs(work, Peer) {
  const hello = Peer.prototype._handleHello;
  Peer.prototype._handleHello = function greeted(payload) {
    const { end } = manners(work, this);
    const leave = () => this._closed || this.disconnect(work.pick(TOO_MANY_PEERS, TOO_MANY_PEERS, 0, 3, 5, 6, 8, 11, 16));
    if (end === "unread") {
      leave();
      return;
    }
    hello.call(this, payload);
    if (end === "greeted") {
      setTimeout(leave, work.pick(0, 0, work.size(1, 300)));
    } else if (end === "later") {
      setTimeout(leave, work.size(20, 4_000));
    } else if (end === "dropped") {
      setTimeout(() => this._socket.destroy(), work.pick(0, work.size(1, 2_000)));
    }
  };
}

const changed = new WeakSet();

function vary(work, Peer) {
  if (!changed.has(Peer)) {
    changed.add(Peer);
    [writeAs, disconnectAs, handshakeAs, endAs].forEach((change) => change(work, Peer));
  }
}

// Nodes of before 2021.
function clientName(work) {
  const commit = () => work.int(0x1000_0000, 0xffff_ffff).toString(16);
  const [minor, patch] = [work.int(6, 9), work.int(0, 27)];
  return Buffer.from(work.pick(
    `Geth/v1.${minor}.${patch}-stable-${commit()}/linux-amd64/go1.${work.int(8, 13)}.${work.int(1, 9)}`,
    `Geth/v1.${minor}.${patch}-unstable-${commit()}/windows-amd64/go1.${work.int(8, 13)}`,
    `Geth/${work.word()}/v1.${minor}.${patch}-stable/linux-arm64/go1.11.5`,
    `Parity/v1.${work.int(7, 11)}.${patch}-stable-${commit()}-201804${work.int(10, 30)}/x86_64-linux-gnu/rustc1.24.1`,
    `Parity-Ethereum/v2.${minor}.${patch}-stable-${commit()}-20190${work.int(101, 930)}/x86_64-linux-gnu/rustc1.36.0`,
    `ethereumjs-devp2p/v2.5.${work.int(0, 1)}/linux-x64/nodejs`,
    `pyethapp/v1.5.0/linux2/py2.7.13`,
    "Gwhale/v1.0.1",
  ));
}

// To some it does not answer at all, to some not what they ask before they are known.
function deaf(work, socket) {
  const emit = socket.emit;
  const heard = new Map();
  socket.emit = function heed(name, ...about) {
    if (name === "message") {
      const [message, { address, port }] = about;
      const from = `${address} ${port}`;
      if (!heard.has(from)) {
        heard.set(from, work.pick([], [1, 2], [1, 2], [1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]));
      }
      if (!heard.get(from).includes(message[97])) {
        return false;
      }
    }
    return emit.call(this, name, ...about);
  };
  return socket;
}

module.exports = { clientName, deaf, vary };
