// mosca on two ports: plain and WebSocket.
const mosca = require("mosca");
const [tcp, , ws] = process.argv.slice(2);
new mosca.Server({
  interfaces: [
    { type: "mqtt", host: "127.0.0.1", port: Number(tcp) },
    { type: "http", host: "127.0.0.1", port: Number(ws), bundle: true },
  ],
  persistence: { factory: mosca.persistence.Memory },
});
