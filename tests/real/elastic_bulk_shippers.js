// What Node applications ship logs with: the official client of three major versions with its bulk helper, winston and
// pino. Called by elastic_bulk_shippers.py with the server's address and how many events.

const assert = require("node:assert");
const { once } = require("node:events");
const { setTimeout } = require("node:timers/promises");

const address = process.argv[2];
const COUNT = Number(process.argv[3]);

async function* documents() {
  for (let number = 0; number < COUNT; number += 1) {
    yield { "@timestamp": new Date(), message: `no money ${number}`, number, "log.level": "error" };
  }
}

async function official(version) {
  const { Client } = require(`es${version}`);
  const client = new Client({ node: address, compression: version === 7 ? "gzip" : true });
  // Version 7 wraps its answers.
  const body = (answer) => (version === 7 ? answer.body : answer);
  const index = `js-${version}`;

  assert.match(body(await client.info()).version.number, /^\d+\.\d+\.\d+$/);
  assert.equal(body(await client.ping()), true);
  assert.equal(body(await client.license.get()).license.status, "active");

  const stats = await client.helpers.bulk({
    datasource: documents(),
    onDocument: (document) => ({ create: { _index: index, _id: `${document.number}` } }),
    flushBytes: 50_000,
    onDrop: (dropped) => {
      throw new Error(JSON.stringify(dropped));
    },
  });
  assert.equal(stats.successful, COUNT);
  assert.equal(stats.failed, 0);

  // The same once more: each is answered for itself, none is stored twice.
  const statuses = [];
  const again = await client.helpers.bulk({
    datasource: documents(),
    onDocument: (document) => ({ create: { _index: index, _id: `${document.number}` } }),
    onDrop: (dropped) => statuses.push(dropped.status),
  });
  assert.equal(again.successful, 0);
  assert.deepEqual(new Set(statuses), new Set([409]));

  // Other verbs in one request: each item has its own answer under its own verb.
  const operations = [
    { update: { _index: index, _id: "1" } },
    { doc: { note: "updated" } },
    { delete: { _index: index, _id: "2" } },
    { delete: { _index: index, _id: "no-such-id" } },
    { index: { _index: index, _id: "3" } },
    { "@timestamp": new Date(), message: "replaced", number: 3 },
  ];
  const parameters = { refresh: true, pipeline: "a-pipeline-nobody-knows" };
  const reply = body(await client.bulk(version === 9 || version === 8 ? { operations, ...parameters } : { body: operations, ...parameters }));
  return { verbs: reply.items.map((item) => [Object.keys(item)[0], Object.values(item)[0].status]), errors: reply.errors };
}

async function winston() {
  const { createLogger } = require("winston");
  const { ElasticsearchTransport } = require("winston-elasticsearch");
  const transport = new ElasticsearchTransport({
    clientOpts: { node: address, compression: true },
    index: "winston",
    ensureIndexTemplate: true,
    buffering: true,
    flushInterval: 100,
    source: "node-shop",
  });
  const problems = [];
  transport.on("error", (error) => problems.push(error));
  const logger = createLogger({ transports: [transport] });
  logger.on("error", (error) => problems.push(error));
  for (let number = 0; number < COUNT; number += 1) {
    logger.error(`no money ${number}`, { number });
  }
  // A flush before it is connected does nothing, and one beside the timer's does not wait for that: so until all is there.
  const { Client } = require("es8");
  const client = new Client({ node: address });
  const isStored = async () =>
    (await client.count({ index: "winston*", ignore_unavailable: true })).count === COUNT;
  for (let tries = 0; tries < 200 && problems.length === 0 && !(await isStored()); tries += 1) {
    await setTimeout(100);
  }
  logger.end();
  await once(logger, "finish");
  assert.deepEqual(problems, []);
}

async function pino() {
  const stream = require("pino-elasticsearch")({
    node: address,
    index: "pino",
    opType: "create",
    esVersion: 8,
    flushBytes: 50_000,
    flushInterval: 100,
  });
  const problems = [];
  for (const event of ["error", "insertError", "unknown"]) {
    stream.on(event, (problem) => problems.push(problem));
  }
  const logger = require("pino")({ level: "info", timestamp: require("pino").stdTimeFunctions.isoTime }, stream);
  for (let number = 0; number < COUNT; number += 1) {
    logger.error({ number }, `no money ${number}`);
  }
  const inserted = once(stream, "insert");
  stream.end();
  const [stats] = await inserted;
  assert.deepEqual(problems, []);
  assert.equal(stats.successful, COUNT);
}

async function main() {
  const verbs = {};
  for (const version of [7, 8, 9]) {
    verbs[version] = await official(version);
  }
  await winston();
  await pino();
  console.log(JSON.stringify(verbs));
}

main()
  .then(() => process.exit(0))
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
