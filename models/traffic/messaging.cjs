// AMQP: amqplib.
"use strict";

const { main } = require("./work.cjs");

// Publishes to a queue of its own, and takes some back: by asking, or as a consumer.
async function amqplibClient(work) {
  const place = { hostname: work.host, port: work.port, heartbeat: work.pick(0, 10, 60) };
  const connection = await require("amqplib").connect(place, { clientProperties: { connection_name: work.word() } });
  const channel = await (work.draw() < 0.5 ? connection.createConfirmChannel() : connection.createChannel());
  const { queue } = await channel.assertQueue(work.pick("", work.word()), { autoDelete: true, exclusive: work.draw() < 0.5 });
  const consumes = work.draw() < 0.5;
  if (consumes) await channel.consume(queue, (message) => message && channel.ack(message));
  for (let left = work.count(0, 15); left > 0; left--) {
    channel.sendToQueue(queue, work.bytes(2, 9_000), { contentType: work.pick(undefined, "text/plain"), persistent: true });
    if (!consumes && work.draw() < 0.5) await channel.get(queue, { noAck: true });
    await work.think(0.003, 0.6);
  }
  await channel.close();
  await connection.close();
}

main({ amqplibClient });
