// MySQL: mysql2's server and client. PostgreSQL: pg, postgres.
"use strict";

const { main } = require("./work.cjs");

// With `wrong` ones some are of a table that there is not.
function questions(work, table, wrong) {
  const one = () =>
    work.pick(
      "select 1",
      `select * from ${table} limit ${work.size(1, 400)}`,
      `select name, price from ${table} limit ${work.size(1, 60)}`,
      `select count(*), sum(price) from ${table}`,
      `select name from ${table} where id = ${work.int(1, 500)}`,
    );
  const mistake = () => wrong && work.draw() < 0.1;
  return Array.from({ length: work.count(1, 10) }, () => (mistake() ? `select * from ${work.word()}` : one()));
}

// Of a stock and a version that are this round's.
function mysql2Server(work) {
  const mysql = require("mysql2");
  const { Types } = mysql;
  const column = (name, columnType) => ({
    catalog: "def",
    schema: "shop",
    table: "item",
    orgTable: "item",
    name,
    orgName: name,
    characterSet: 33,
    columnLength: 250,
    columnType,
    flags: 0,
    decimals: 0,
  });
  const columns = [column("id", Types.LONG), column("name", Types.VAR_STRING), column("price", Types.DOUBLE)];
  const stock = Array.from({ length: 500 }, (_, id) => ({ id, name: work.text(4, 80), price: work.int(1, 1e6) / 100 }));
  const handshake = {
    protocolVersion: 10,
    serverVersion: work.pick("8.0.36", "5.7.44-log", "8.4.2-shop", `5.5.${work.int(1, 60)}-proxy`),
    statusFlags: 2,
    characterSet: work.pick(8, 33, 45),
    // All but compression and TLS, which it does not speak.
    capabilityFlags: 0xffffff & ~0x0820,
    authCallback: ({ user }, done) =>
      user === "app" ? done(null, null) : done(null, { message: `Access denied for user '${user}'`, code: 1045 }),
  };
  // It counts packets on from the handshake, but clients begin anew with each question.
  const renumber = (connection) => Object.assign(connection, { sequenceId: 1 });
  const answer = (connection, query) => {
    const limit = /limit (\d+)/.exec(query);
    renumber(connection);
    if (!/item|select 1/i.test(query)) {
      connection.writeError({ code: 1146, message: `Table '${query.split(" ").pop()}' doesn't exist` });
    } else {
      connection.writeTextResult(stock.slice(0, limit ? Number(limit[1]) : 1), columns);
    }
  };
  const server = mysql.createServer();
  server.on("connection", (connection) => {
    connection.serverHandshake({ ...handshake, connectionId: work.int(1, 90_000) });
    connection.on("query", (query) => answer(connection, query));
    // So it names the texts that begin with SET.
    connection.on("stmt_prepare", () => renumber(connection).writeOk());
    connection.on("error", (error) => console.log(error.message));
  });
  server.listen(work.port, work.host);
}

// `prepared` after the name: some questions are prepared before.
async function mysql2Client(work) {
  const { createConnection } = require("mysql2/promise");
  const refused = (error) => console.log(error.message);
  const connection = await createConnection({
    host: work.host,
    port: work.port,
    user: work.pick("app", "app", "app", "app", "app", work.word()),
    charset: work.pick("utf8mb4", "latin1"),
    connectTimeout: 10_000,
  }).catch(refused);
  if (!connection) return;
  if (work.draw() < 0.3) await connection.ping();
  for (const question of questions(work, "shop.item", true)) {
    const prepared = work.more[0] === "prepared" && work.draw() < 0.5;
    await (prepared ? connection.execute(question) : connection.query(question)).catch(refused);
    await work.think(0.002, 0.4);
  }
  await (work.draw() < 0.8 ? connection.end() : connection.destroy());
}

function place(work, database) {
  const password = work.pick("secret", "secret", "secret", "secret", "secret", work.word());
  return { host: work.host, port: work.port, user: "app", password, database };
}

// Either way of asking: in one message, or parsed, bound and executed. Servers may not get over an error in the latter.
async function pgClient(work) {
  const { Client } = require("pg");
  const queryMode = work.pick("simple", "extended");
  const client = new Client({ ...place(work, "shop"), application_name: work.pick(undefined, work.word()) });
  const refused = (error) => console.log(error.message);
  client.on("error", refused);
  if (!(await client.connect().then(() => true, refused))) {
    // Not every server hangs up.
    client.connection.stream.destroy();
    return;
  }
  for (const text of questions(work, "item", queryMode === "simple")) {
    await client.query({ text, queryMode }).catch(refused);
    await work.think(0.002, 0.4);
  }
  await client.end();
}

async function postgresClient(work) {
  const simple = work.draw() < 0.4;
  // As lists: a host by itself is taken apart at its colons.
  const { host, port, ...rest } = place(work, "shop");
  const options = { ...rest, host: [host], port: [port], max: 1, fetch_types: false, prepare: work.pick(true, false) };
  const sql = require("postgres")(options);
  for (const question of questions(work, "item", simple)) {
    const asked = sql.unsafe(question);
    await (simple ? asked.simple() : asked).catch((error) => console.log(error.message));
    await work.think(0.002, 0.4);
  }
  await sql.end({ timeout: 1 });
}

// The console of pgbouncer, as its administrator or a monitor asks it.
async function pgConsole(work) {
  const { Client } = require("pg");
  const client = new Client(place(work, "pgbouncer"));
  const refused = (error) => console.log(error.message);
  client.on("error", refused);
  if (!(await client.connect().then(() => true, refused))) {
    // Not every server hangs up.
    client.connection.stream.destroy();
    return;
  }
  for (let left = work.count(1, 12); left > 0; left -= 1) {
    const shown = work.pick("stats", "pools", "databases", "clients", "servers", "config", "version", "lists", "users",
      "stats_totals", "sockets", "dns_zones", "mem", work.word());
    await client.query(work.pick(`SHOW ${shown}`, `SHOW ${shown.toUpperCase()};`)).catch(refused);
    await work.think(0.002, 0.6);
  }
  await client.end();
}

main({ mysql2Server, mysql2Client, pgClient, postgresClient, pgConsole });
