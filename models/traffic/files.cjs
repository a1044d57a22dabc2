// FTP: ftp-srv, basic-ftp. TFTP: tftp's server and client.
"use strict";

const path = require("node:path");
const { Readable, Writable } = require("node:stream");
const { main } = require("./work.cjs");

const nowhere = () => new Writable({ write: (_, __, done) => done() });

// First and last data port after the name.
function ftpServer(work) {
  const { FtpSrv } = require("ftp-srv");
  const server = new FtpSrv({
    url: `ftp://${work.urlHost}:${work.port}`,
    pasv_url: work.host,
    pasv_min: Number(work.more[0]),
    pasv_max: Number(work.more[1]),
    anonymous: true,
    greeting: work.pick(undefined, "ready", `FTP server of ${work.word()}`, ["Welcome.", `Mirror of ${work.word()}`]),
    file_format: work.pick("ls", "ls", "ep"),
    log: require("bunyan").createLogger({ name: "ftp", level: "fatal" }),
  });
  server.on("login", ({ username }, resolve, reject) =>
    username === "anonymous" ? resolve({ root: work.files }) : reject(new Error("Who are you?")),
  );
  server.listen();
}

async function basicFtpClient(work) {
  const { Client } = require("basic-ftp");
  const client = new Client(10_000);
  const kinds = [
    () => client.list(),
    () => client.downloadTo(nowhere(), String(work.int(1, 12))),
    () => client.downloadTo(nowhere(), String(work.int(1, 12))),
    () => client.uploadFrom(Readable.from([work.bytes(100, 200_000)]), `in-${work.word()}`),
    () => client.size(String(work.int(1, 13))),
    () => client.pwd(),
    () => client.features(),
    () => client.lastMod(String(work.int(1, 13))),
    () => client.rename(`in-${work.word()}`, work.word()),
  ];
  await client.connect(work.host, work.port);
  const user = work.pick("anonymous", "anonymous", "anonymous", "anonymous", work.word());
  const entered = await client.login(user, `${work.word()}@example.net`).catch(() => null);
  for (let left = entered ? work.count(0, 7) : 0; left > 0; left -= 1) {
    await work.pick(...kinds)().catch((error) => console.log(error.message));
    await work.think(0.005, 0.6);
  }
  client.close();
}

function tftpServer(work) {
  const { createServer } = require("tftp");
  const server = createServer({
    host: work.host,
    port: work.port,
    root: work.files,
    windowSize: work.pick(1, 2, 4, 8),
    blockSize: work.pick(512, 1024, 1468, 8192),
    retries: 2,
    timeout: 1000,
  });
  server.on("error", (error) => console.log(error.message));
  server.on("request", (request) => request.on("error", (error) => console.log(error.message)));
  server.listen();
}

async function tftpClient(work) {
  const { createClient } = require("tftp");
  const client = createClient({
    host: work.host,
    port: work.port,
    windowSize: work.pick(1, 1, 2, 4, 16),
    blockSize: work.pick(512, 512, 1024, 1428, 4096),
    retries: 2,
    timeout: 1000,
  });
  const told = (error) => error && console.log(error.message);
  // No file of its own: the client removes what it could not fetch, be it /dev/null.
  const get = (name) =>
    new Promise((resolve) => client.createGetStream(name).on("error", told).on("close", resolve).resume());
  const put = (number) =>
    new Promise((resolve) => {
      client.put(path.join(work.files, number), `in-${work.word()}`, (error) => resolve(told(error)));
    });
  for (let left = work.count(1, 3); left > 0; left -= 1) {
    const number = String(work.int(1, 7));
    await work.pick(() => get(number), () => get(number), () => get(work.word()), () => put(number))();
    await work.think(0.01, 0.3);
  }
}

main({ ftpServer, basicFtpClient, tftpServer, tftpClient });
