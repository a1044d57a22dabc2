// What sessions of the programs of Node.js work with, as `Work` of __init__.py has it for those of Python:
// `node MODULE.cjs FUNCTION --host ADDRESS --port PORT [--seed N] [--files DIR] [MORE ...]` runs a function of a module.
"use strict";

const path = require("node:path");
const { parseArgs } = require("node:util");

class Work {
  constructor(options, more) {
    this.host = options.host;
    this.port = Number(options.port);
    this.files = options.files;
    this.more = more;
    this.state = Number(options.seed) >>> 0;
  }

  get six() {
    return this.host.includes(":");
  }

  get urlHost() {
    return this.six ? `[${this.host}]` : this.host;
  }

  // From 0 to 1, by the seed (mulberry32).
  draw() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  // A whole number, both ends included.
  int(low, high) {
    return low + Math.floor(this.draw() * (high - low + 1));
  }

  pick(...choices) {
    return choices[this.int(0, choices.length - 1)];
  }

  // Bytes, each magnitude as likely as the next.
  size(low = 10, high = 20_000) {
    return Math.floor(low * (high / low) ** this.draw());
  }

  // A number of things to do, small ones more often.
  count(low = 1, high = 12) {
    return low ? this.size(low, high + 1) : this.size(1, high + 2) - 1;
  }

  bytes(low = 10, high = 20_000) {
    return Buffer.from(Array.from({ length: this.size(low, high) }, () => this.int(0, 255)));
  }

  text(low = 10, high = 2_000) {
    const letters = "abcdefghijklmnop qrst uvwxyz .,\n";
    return Array.from({ length: this.size(low, high) }, () => letters[this.int(0, letters.length - 1)]).join("");
  }

  word() {
    return Array.from({ length: this.int(3, 14) }, () => String.fromCharCode(this.int(97, 122))).join("");
  }

  // Waits as a user or a device would.
  think(low = 0.003, high = 0.8) {
    return new Promise((resolve) => setTimeout(resolve, 1000 * low * (high / low) ** this.draw()));
  }

  // One of the run's files.
  file() {
    return path.join(this.files, String(this.int(1, 12)));
  }
}

// Runs the function that the command line names: a server until it is killed, a client for one session of work.
function main(functions) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      host: { type: "string" },
      port: { type: "string" },
      files: { type: "string", default: "." },
      seed: { type: "string", default: "0" },
    },
  });
  const [name, ...more] = positionals;
  Promise.resolve(functions[name](new Work(values, more))).catch((error) => {
    console.error(error);
    process.exit(1);
  });
}

module.exports = { main };
