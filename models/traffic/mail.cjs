// SMTP: smtp-server, nodemailer. POP3: node-pop3, mailpop3.
"use strict";

const { main } = require("./work.cjs");

// Answers of this round: what it can do, whom it lets in and which recipients it knows.
function smtpServer(work) {
  const { SMTPServer } = require("smtp-server");
  const name = work.pick("mx", "mail.example.net", `${work.word()}.example.org`);
  const busy = work.pick(0, 0, work.size(5, 200));
  const refused = (message, responseCode) => Object.assign(new Error(message), { responseCode });
  const options = {
    name,
    banner: work.pick(undefined, "ready", work.text(5, 80).replace(/\n/g, " ")),
    size: work.pick(undefined, work.size(300_000, 30_000_000)),
    authOptional: true,
    authMethods: work.pick(["PLAIN"], ["PLAIN", "LOGIN"], ["LOGIN", "PLAIN", "CRAM-MD5"]),
    hideSTARTTLS: true,
    hidePIPELINING: work.pick(true, false),
    hide8BITMIME: work.pick(true, false),
    hideENHANCEDSTATUSCODES: work.pick(true, false),
    disabledCommands: work.pick([], ["AUTH"]),
    disableReverseLookup: true,
    onAuth: ({ username, password }, _, done) =>
      password === "secret" || !password ? done(null, { user: username }) : done(refused("Authentication failed", 535)),
    onRcptTo: ({ address }, _, done) => done(address.startsWith("nobody") ? refused("No such user here", 550) : null),
    onData: (stream, _, done) => {
      stream.resume();
      stream.on("end", () => setTimeout(() => done(null, work.pick(undefined, `queued as ${work.word()}`)), busy));
    },
  };
  new SMTPServer(options).listen(work.port, work.host);
}

function letter(work) {
  const to = Array.from({ length: work.count(1, 3) }, () => `${work.word()}@example.net`);
  return {
    from: `${work.word()}@example.net`,
    to: work.draw() < 0.1 ? "nobody@example.net" : to,
    subject: work.text(5, 60),
    text: work.text(5, 6_000),
    html: work.draw() < 0.4 ? `<p>${work.text(20, 20_000)}</p>` : undefined,
    attachments: work.draw() < 0.2 ? [{ filename: "report.pdf", content: work.bytes(500, 200_000) }] : [],
  };
}

async function nodemailerClient(work) {
  const { createTransport } = require("nodemailer");
  const transport = createTransport({
    host: work.host,
    port: work.port,
    ignoreTLS: true,
    name: work.pick("localhost", `${work.word()}.example.net`),
    pool: true,
    maxConnections: work.pick(1, 1, 2),
    maxMessages: work.pick(1, 5, 100),
    connectionTimeout: 10_000,
  });
  const mailed = () => transport.sendMail(letter(work)).catch((error) => console.log(error.message));
  if (work.draw() < 0.15) {
    await transport.verify();
  } else {
    for (let left = work.count(1, 4); left > 0; left -= 1) {
      await mailed();
      await work.think(0.005, 0.5);
    }
  }
  transport.close();
}

// Asks to be let in first, as a program that submits letters does; at times with a wrong password.
async function nodemailerSubmission(work) {
  const { createTransport } = require("nodemailer");
  const transport = createTransport({
    host: work.host,
    port: work.port,
    ignoreTLS: true,
    auth: { user: work.word(), pass: work.pick("secret", "secret", "secret", work.word()) },
    authMethod: work.pick("PLAIN", "LOGIN"),
    connectionTimeout: 10_000,
  });
  await transport.sendMail(letter(work)).catch((error) => console.log(error.message));
}

async function nodePop3(work) {
  const Pop3 = require("node-pop3");
  const pop3 = new Pop3({
    host: work.host,
    port: work.port,
    user: "bob",
    password: work.pick("secret", "secret", "secret", "secret", work.word()),
    timeout: 10_000,
  });
  const kinds = [
    () => pop3.STAT(),
    () => pop3.LIST(),
    () => pop3.UIDL(),
    () => pop3.NOOP(),
    () => pop3.RETR(work.int(1, 8)),
    () => pop3.RETR(work.int(1, 8)),
    () => pop3.TOP(work.int(1, 8), work.int(0, 20)),
    () => pop3.command("DELE", work.int(1, 9)),
    () => pop3.RSET(),
  ];
  try {
    for (let left = work.count(0, 8); left > 0; left -= 1) {
      await work.pick(...kinds)();
      await work.think(0.005, 0.4);
    }
    if (work.draw() < 0.5) await pop3.RSET();
    await pop3.QUIT();
  } catch (error) {
    // Refused, or there is no such letter: it goes.
    console.log(error.message);
  }
}

// Lets itself in by SASL where the server says that it may.
async function mailPop3(work) {
  const Pop3 = require("mailpop3");
  const { once } = require("node:events");
  const client = new Pop3(work.port, work.host, { enabletls: false });
  client.data.stls = true; // Without it, the library insists on TLS before PLAIN.
  const ask = (command, ...values) => {
    const answered = once(client, command);
    client[command](...values);
    return answered;
  };
  await once(client, "connect");
  const [, , offered] = await ask("capa");
  const mechanisms = ["PLAIN", "CRAM-MD5"].filter((name) => new RegExp(`SASL.*${name}`).test(offered));
  const password = work.pick("secret", "secret", "secret", "secret", work.word());
  const [open] = mechanisms.length
    ? await ask("auth", work.pick(...mechanisms), "bob", password)
    : await ask("login", "bob", password);
  if (open) await lookAtLetters(work, ask);
  await ask("quit");
}

async function lookAtLetters(work, ask) {
  const [, { count }] = await ask("stat");
  for (const command of work.pick([], ["list"], ["uidl"], ["list", "uidl"])) await ask(command);
  const erase = work.draw() < 0.3;
  for (let number = Math.max(1, Number(count) + 1 - work.count(0, 8)); number <= count; number += 1) {
    await (work.draw() < 0.3 ? ask("top", number, work.int(0, 20)) : ask("retr", number));
    if (erase) await ask("dele", number);
    await work.think(0.003, 0.3);
  }
}

main({ smtpServer, nodemailerClient, nodemailerSubmission, nodePop3, mailPop3 });
