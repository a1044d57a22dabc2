// SNMP: net-snmp of npm. SSH: ssh2. LDAP: ldapjs. RADIUS: radius.
"use strict";

const { createSocket } = require("node:dgram");
const { once } = require("node:events");
const { promisify } = require("node:util");

const ldap = require("ldapjs");
const radius = require("radius");
const snmp = require("net-snmp");
const ssh2 = require("ssh2");

const { main } = require("./work.cjs");

const COMMUNITIES = ["public", "private", "noc", "monitoring", "read-only-9f3a"];
const SYSTEM = "1.3.6.1.2.1.1";
const INTERFACE = "1.3.6.1.2.1.2.2.1";
const SNMP = "1.3.6.1.2.1.11";
const STORAGE = "1.3.6.1.2.1.25.2.3.1";
const USER = { name: "operator", level: snmp.SecurityLevel.authPriv, authProtocol: snmp.AuthProtocols.sha,
  authKey: "of-some-length", privProtocol: snmp.PrivProtocols.aes, privKey: "of-other-length" };

const line = (work, low, high) => work.text(low, high).replaceAll("\n", " ");

function addScalar(mib, oid, type, value) {
  mib.registerProvider({ name: oid, type: snmp.MibProviderType.Scalar, oid, scalarType: type,
    maxAccess: snmp.MaxAccess["read-write"] });
  mib.setScalarValue(oid, value);
}

// `columns` holds for each column its number, its type and what makes its value of a row's number.
function addTable(mib, oid, columns, rows) {
  mib.registerProvider({ name: oid, type: snmp.MibProviderType.Table, oid, maxAccess: snmp.MaxAccess["not-accessible"],
    tableColumns: columns.map(([number, type]) =>
      ({ number, name: `column${number}`, type, maxAccess: snmp.MaxAccess["read-only"] })),
    tableIndex: [{ columnName: "column1" }] });
  for (let row = 1; row <= rows; row++) {
    mib.addTableRow(oid, columns.map(([, , value]) => value(row)));
  }
}

// A device of some size (RFC 1213, RFC 2790).
function snmpAgent(work) {
  const { Counter, Gauge, Integer, OctetString, OID, TimeTicks } = snmp.ObjectType;
  const transport = work.six ? "udp6" : "udp4";
  const agent = snmp.createAgent({ address: work.host, port: work.port, transport }, () => {});
  COMMUNITIES.forEach((community) => agent.getAuthorizer().addCommunity(community));
  agent.getAuthorizer().addUser(USER);
  const mib = agent.getMib();
  for (const place of [1, 4, 5, 6]) {
    addScalar(mib, `${SYSTEM}.${place}`, OctetString, line(work, 3, 160));
  }
  addScalar(mib, `${SYSTEM}.2`, OID, `1.3.6.1.4.1.${work.size(1, 50_000)}.1`);
  addScalar(mib, `${SYSTEM}.3`, TimeTicks, work.size(100, 10 ** 8));
  addScalar(mib, `${SYSTEM}.7`, Integer, work.int(1, 79));
  for (let place = 1; place < 30; place++) {
    addScalar(mib, `${SNMP}.${place}`, Counter, work.size(1, 2 ** 31));
  }
  const prefix = work.pick("eth", "ge-0/0/", "GigabitEthernet1/0/", "Vlan", "wan");
  const counter = (number) => [number, Counter, () => work.size(1, 2 ** 31)];
  addTable(mib, INTERFACE, [[1, Integer, (row) => row], [2, OctetString, (row) => prefix + row], [3, Integer, () => 6],
    [4, Integer, () => 1500], [5, Gauge, () => 10 ** 9], [6, OctetString, () => work.bytes(6, 6)], [7, Integer, () => 1],
    [8, Integer, () => work.int(1, 2)], ...[10, 11, 13, 14, 16, 17, 19, 20].map(counter)], work.count(2, 30));
  addTable(mib, STORAGE, [[1, Integer, (row) => row], [3, OctetString, () => line(work, 1, 60)], [4, Integer, () => 4096],
    [5, Integer, () => work.size(1000, 10 ** 8)], [6, Integer, () => work.size(1, 10 ** 6)]], work.count(1, 12));
}

// What a manager asks for at one time.
function askedOfDevice(work) {
  const one = () => work.pick(`${SYSTEM}.${work.int(1, 7)}.0`, `${SNMP}.${work.int(1, 29)}.0`,
    `${INTERFACE}.${work.pick(2, 5, 8, 10, 16)}.${work.int(1, 3)}`);
  return Array.from({ length: work.pick(1, 1, work.count(1, 20)) }, one);
}

// Of `more`, `full` is for agents that know a user of version 3 and take values.
async function snmpManager(work) {
  const full = work.more.includes("full");
  const secure = full && work.draw() < 0.25;
  const version = secure ? snmp.Version3 : work.pick(snmp.Version1, snmp.Version2c, snmp.Version2c);
  const options = { port: work.port, transport: work.six ? "udp6" : "udp4", timeout: 3000, retries: 1, version };
  const session = secure ? snmp.createV3Session(work.host, USER, options)
    : snmp.createSession(work.host, work.pick(...COMMUNITIES), options);
  const ask = (method, ...args) => promisify(session[method]).call(session, ...args).catch(unlessSilent);
  for (let left = work.pick(1, 1, work.count(1, 6)); left > 0; left--) {
    const kind = work.draw();
    if (kind < 0.4) {
      await ask("get", askedOfDevice(work));
    } else if (kind < 0.5) {
      await ask("getNext", askedOfDevice(work));
    } else if (kind < 0.6 && version !== snmp.Version1) {
      await ask("getBulk", askedOfDevice(work).slice(0, 4), 0, work.count(2, 25));
    } else if (kind < 0.75) {
      await ask("subtree", work.pick(SYSTEM, SNMP, `${INTERFACE}.2`, `${INTERFACE}.10`), work.count(1, 20), () => {});
    } else if (kind < 0.85) {
      await ask("tableColumns", INTERFACE.slice(0, -2), [2, 8, 10, 16].slice(0, work.int(1, 4)), work.count(2, 20));
    } else if (full) {
      const oid = `${SYSTEM}.${work.pick(4, 5, 6)}.0`;
      await ask("set", [{ oid, type: snmp.ObjectType.OctetString, value: line(work, 3, 80) }]);
    } else {
      await ask("get", [`${SYSTEM}.${work.pick(1, 3, 5)}.0`]);
    }
    await work.think(0.002, 0.6);
  }
  session.close();
}

// An agent that knows nothing of it has answered; one that is silent has not.
function unlessSilent(error) {
  if (error instanceof snmp.RequestTimedOutError) {
    throw error;
  }
}

function sshServer(work) {
  const algorithm = work.pick("ed25519", "rsa", "ecdsa");
  const bits = { rsa: 2048, ecdsa: 256 }[algorithm];
  const { private: key } = ssh2.utils.generateKeyPairSync(algorithm, { bits });
  const banner = work.draw() < 0.3 ? { banner: work.text(20, 500) } : {};
  const ident = `${work.word()}_${work.int(1, 9)}.${work.int(0, 20)}`;
  const server = new ssh2.Server({ hostKeys: [key], ident, ...banner });
  server.on("connection", (client) => {
    client.on("error", () => {});
    client.on("authentication", (context) =>
      context.method === "password" && context.password === "secret" ? context.accept() : context.reject(["password"]));
    client.on("session", (accept) => serveSession(work, accept()));
  });
  server.listen(work.port, work.host);
}

function serveSession(work, session) {
  session.on("pty", (accept) => accept?.());
  session.on("exec", (accept) => {
    const channel = accept();
    channel.resume();
    channel.write(work.text(3, 40_000));
    channel.exit(0);
    channel.end();
  });
  session.on("shell", (accept) => {
    const channel = accept();
    channel.write("$ ");
    channel.on("data", (typed) => {
      channel.write(typed);
      if (/exit/.test(typed)) {
        channel.exit(0);
        channel.end();
      } else if (/[\r\n]/.test(typed)) {
        channel.write(`${work.text(2, 3_000)}\n$ `);
      }
    });
  });
}

// Of `more`, `sftp` is for servers that have it.
async function sshClient(work) {
  const wrong = work.draw() < 0.1;
  const client = new ssh2.Client();
  client.connect({ host: work.host, port: work.port, username: "root", password: wrong ? work.word() : "secret",
    readyTimeout: 8000 });
  try {
    await once(client, "ready");
  } catch (error) {
    if (!wrong || error.level !== "client-authentication") {
      throw error;
    }
    return;
  }
  const kind = work.draw();
  if (kind < 0.3 && work.more.includes("sftp")) {
    await transfer(work, client);
  } else if (kind < 0.55) {
    await type(work, client);
  } else if (kind < 0.95) {
    for (let left = work.count(1, 5); left > 0; left--) {
      await execute(client, work.pick("uptime", "ls -l /usr/bin", "cat /etc/services", "echo hello", "df"));
      await work.think(0.005, 0.6);
    }
  }
  client.end();
}

async function execute(client, command) {
  const channel = await promisify(client.exec).call(client, command);
  channel.resume();
  await once(channel, "close");
}

async function type(work, client) {
  const channel = await promisify(client.shell).call(client, { term: work.pick("xterm", "vt100", "xterm-256color") });
  const closed = once(channel, "close");
  channel.resume();
  for (let left = work.count(1, 5); left > 0; left--) {
    for (const letter of work.word()) {
      channel.write(letter);
      await work.think(0.02, 0.2);
    }
    channel.write("\n");
    await work.think(0.05, 0.6);
  }
  channel.write("exit\n");
  // Not every shell ends at that word: then the window is closed.
  await Promise.race([closed, work.think(0.5, 2)]);
}

async function transfer(work, client) {
  const sftp = await promisify(client.sftp).call(client);
  for (let left = work.count(1, 3); left > 0; left--) {
    const file = work.file();
    await promisify(sftp.stat).call(sftp, file);
    await work.pick(() => promisify(sftp.fastGet).call(sftp, file, `got${process.pid}`),
      () => promisify(sftp.readdir).call(sftp, work.files),
      () => promisify(sftp.fastPut).call(sftp, file, `${work.files}/sent${process.pid}`))();
    await work.think(0.005, 0.4);
  }
}

const PEOPLE = "ou=people,dc=net";
const WHO_AM_I = "1.3.6.1.4.1.4203.1.11.3";

function ldapServer(work) {
  const server = ldap.createServer();
  const people = Array.from({ length: 80 }, (_, number) => ({ dn: `uid=user${number},${PEOPLE}`, attributes: {
    objectClass: ["inetOrgPerson", "person"], uid: `user${number}`, cn: work.word(), sn: work.word(),
    mail: `user${number}@example.net`, description: work.text(5, 250),
    telephoneNumber: String(work.int(10 ** 6, 10 ** 9)) } }));
  const done = (_, answer, next) => {
    answer.end();
    next();
  };
  server.bind("dc=net", (request, answer, next) => {
    if (request.credentials !== "secret") {
      return next(new ldap.InvalidCredentialsError());
    }
    return done(request, answer, next);
  });
  server.bind("", done);
  server.search("", (request, answer, next) => {
    answer.send({ dn: "", attributes: { objectClass: ["top"], namingContexts: ["dc=net"], supportedLDAPVersion: ["3"],
      vendorName: work.word(), supportedExtension: [WHO_AM_I] } });
    done(request, answer, next);
  });
  server.search("dc=net", (request, answer, next) => {
    people.filter((person) => request.filter.matches(person.attributes)).forEach((person) => answer.send(person));
    done(request, answer, next);
  });
  server.add("dc=net", done);
  server.modify("dc=net", done);
  server.compare("dc=net", (_, answer, next) => {
    answer.end(work.draw() < 0.5);
    next();
  });
  server.exop(WHO_AM_I, (request, answer, next) => {
    answer.responseValue = `dn:${request.connection.ldap.bindDN}`;
    done(request, answer, next);
  });
  server.listen(work.port, work.host);
}

function filterOf(work) {
  return work.pick(`(uid=user${work.int(0, 99)})`, "(objectClass=inetOrgPerson)", `(sn=${work.word()[0]}*)`,
    `(&(objectClass=person)(mail=user${work.int(0, 79)}@example.net))`, `(|(cn=${work.word()})(uid=user${work.int(0, 79)}))`,
    `(!(description=*${work.word().slice(0, 2)}*))`);
}

async function ldapClient(work) {
  const client = ldap.createClient({ url: `ldap://${work.urlHost}:${work.port}`, timeout: 8000, connectTimeout: 8000 });
  const ask = (method, ...args) => promisify(client[method]).call(client, ...args).catch((error) => {
    if (!(error instanceof ldap.LDAPError)) {
      throw error;
    }
  });
  await once(client, "connect");
  const user = `uid=user${work.int(0, 79)},${PEOPLE}`;
  if (work.draw() < 0.8) {
    await ask("bind", work.pick(user, user, ""), work.pick("secret", "secret", "secret", work.word()));
  }
  for (let left = work.count(0, 6); left > 0; left--) {
    await work.think(0.003, 0.4);
    const kind = work.draw();
    if (kind < 0.6) {
      await find(client, work.pick(PEOPLE, PEOPLE, "dc=net"), { filter: filterOf(work), scope: "sub",
        attributes: work.pick([], ["mail"], ["cn", "sn", "mail"], ["uid", "description", "telephoneNumber", "memberOf"]),
        ...work.pick({}, { sizeLimit: work.count(1, 200), timeLimit: 10 }) });
    } else if (kind < 0.68) {
      await find(client, "", { scope: "base" });
    } else if (kind < 0.76) {
      await ask("exop", WHO_AM_I);
    } else if (kind < 0.86) {
      const type = work.pick("description", "mail", "cn");
      const modification = new ldap.Attribute({ type, values: [line(work, 3, 300)] });
      await ask("modify", user, new ldap.Change({ operation: work.pick("replace", "add"), modification }));
    } else if (kind < 0.93) {
      await ask("add", `uid=${work.word()},${PEOPLE}`, { objectClass: "person", cn: work.word(), sn: line(work, 3, 60) });
    } else {
      await ask("compare", user, "sn", work.word());
    }
  }
  await ask("unbind");
}

async function find(client, base, options) {
  const result = await promisify(client.search).call(client, base, options);
  await new Promise((resolve) => result.on("end", resolve).on("error", resolve));
}

const SECRET = "secret";

// Accepts, rejects or challenges, and confirms what is accounted.
function radiusServer(work) {
  const socket = createSocket(work.six ? "udp6" : "udp4");
  const granted = [["Session-Timeout", work.int(60, 86_400)], ["Framed-MTU", 1400], ["Class", work.bytes(4, 60)],
    ["Filter-Id", work.word()], ["Framed-IP-Address", `10.0.${work.int(0, 255)}.${work.int(1, 254)}`]];
  socket.on("message", (message, sender) => {
    const packet = radius.decode({ packet: message, secret: SECRET });
    const wrong = packet.attributes["User-Password"] !== SECRET && !packet.attributes["CHAP-Password"];
    const [code, attributes] = packet.code === "Accounting-Request" ? ["Accounting-Response", []]
      : wrong ? ["Access-Reject", [["Reply-Message", line(work, 3, 120)]]]
        : work.draw() < 0.1 ? ["Access-Challenge", [["State", work.bytes(8, 40)], ["Reply-Message", line(work, 3, 60)]]]
          : ["Access-Accept", granted.slice(0, work.int(0, granted.length))];
    socket.send(radius.encode_response({ packet, code, secret: SECRET, attributes }), sender.port, sender.address);
  });
  socket.bind(work.port, work.host);
}

// Of `more`, `accounting` is for servers that confirm it on the same port.
async function radiusClient(work) {
  const socket = createSocket(work.six ? "udp6" : "udp4");
  for (let left = work.pick(1, 1, work.count(1, 6)); left > 0; left--) {
    const accounts = work.more.includes("accounting") && work.draw() < 0.4;
    const packet = radius.encode(accounts ? accounting(work) : access(work));
    const answered = once(socket, "message", { signal: AbortSignal.timeout(5000) });
    socket.send(packet, work.port, work.host);
    await answered;
    await work.think(0.005, 0.6);
  }
  socket.close();
}

function access(work) {
  const password = work.draw() < 0.25 ? ["CHAP-Password", work.bytes(17, 17)]
    : ["User-Password", work.pick(SECRET, SECRET, work.word())];
  return { code: "Access-Request", secret: SECRET, add_message_authenticator: work.draw() < 0.6,
    attributes: [["User-Name", work.pick("bob", work.word(), `${work.word()}@example.net`)], password, ...ofNas(work)] };
}

function accounting(work) {
  return { code: "Accounting-Request", secret: SECRET, attributes: [["User-Name", work.word()],
    ["Acct-Status-Type", work.pick("Start", "Stop", "Interim-Update")], ["Acct-Session-Id", work.word()],
    ["Acct-Session-Time", work.size(1, 10 ** 5)], ["Acct-Input-Octets", work.size(1, 2 ** 31)],
    ["Acct-Output-Octets", work.size(1, 2 ** 31)], ...ofNas(work)] };
}

// Some of what an access server tells of itself and of the port.
function ofNas(work) {
  const all = [["NAS-IP-Address", "192.0.2.2"], ["NAS-Port", work.int(0, 5000)], ["NAS-Identifier", work.word()],
    ["Called-Station-Id", `02-00-00-00-00-${work.int(10, 99)}:${work.word()}`], ["Calling-Station-Id", "00-11-22-33-44-55"],
    ["NAS-Port-Type", work.pick("Ethernet", "Wireless-802.11", "Virtual")],
    ["Service-Type", work.pick("Framed-User", "Login-User")], ["Framed-MTU", 1400], ["NAS-Port-Id", work.word()],
    ["Connect-Info", "CONNECT 54Mbps 802.11g"]];
  return all.filter(() => work.draw() < 0.6);
}

main({ snmpAgent, snmpManager, sshServer, sshClient, ldapServer, ldapClient, radiusServer, radiusClient });
