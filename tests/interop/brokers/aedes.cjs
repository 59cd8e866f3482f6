// aedes on three ports: plain, TLS, WebSocket.
const fs = require("fs");
const [tcp, tls, ws, certificate, key] = process.argv.slice(2);
(async () => {
  const { Aedes } = await import("aedes");
  const broker = await Aedes.createBroker();
  require("net").createServer(broker.handle).listen(Number(tcp), "127.0.0.1");
  const files = { cert: fs.readFileSync(certificate), key: fs.readFileSync(key) };
  require("tls").createServer(files, broker.handle).listen(Number(tls), "127.0.0.1");
  const { WebSocketServer, createWebSocketStream } = require("ws");
  const http = require("http").createServer();
  const choose = (offered) => (offered.has("mqtt") ? "mqtt" : false);
  const sockets = new WebSocketServer({ server: http, handleProtocols: choose });
  sockets.on("connection", (socket, request) => broker.handle(createWebSocketStream(socket), request));
  http.listen(Number(ws), "127.0.0.1");
})();
