// What Node applications do with winston-loki (protobuf in snappy) and splunk-logging. Called by push_clients.py with
// the server's address.

const winston = require("winston");
const LokiTransport = require("winston-loki");
const { Logger } = require("splunk-logging");

const COUNT = 50;
const address = process.argv[2];

async function loki() {
  const problems = [];
  const transport = new LokiTransport({
    host: address,
    labels: { app: "node-shop" },
    json: false,
    batching: true,
    interval: 0.2,
    format: winston.format.simple(),
    onConnectionError: (error) => problems.push(error),
  });
  const logger = winston.createLogger({ transports: [transport] });
  for (let number = 0; number < COUNT; number += 1) {
    logger.error(`cannot pay ${number}`);
  }
  await transport.flush();
  logger.close();
  if (problems.length > 0) {
    throw new Error(`winston-loki: ${problems[0]}`);
  }
}

function splunk() {
  const logger = new Logger({ token: "s3cret", url: address, maxBatchCount: 0 });
  return new Promise((resolve, reject) => {
    logger.error = reject;
    let answered = 0;
    for (let number = 0; number < COUNT; number += 1) {
      logger.send(
        { message: { text: "paid", order: number }, metadata: { source: "node", index: "splunk" } },
        () => {},
      );
    }
    logger.flush((error, response, body) => {
      answered += 1;
      if (error || body.code !== 0) {
        reject(error || new Error(JSON.stringify(body)));
      } else {
        resolve(answered);
      }
    });
  });
}

loki()
  .then(splunk)
  .then(() => process.exit(0))
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
