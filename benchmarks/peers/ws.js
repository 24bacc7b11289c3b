// npm's ws, with bufferutil: node ws.js BEHAVIOUR PORT [--log FILE] [--tls CERT KEY] [--deflate]

'use strict';

const fs = require('fs');
const https = require('https');
const { WebSocket, WebSocketServer } = require('ws');

const [behaviour, port, ...rest] = process.argv.slice(2);
const after = (name, place = 1) => rest[rest.indexOf(name) + place];

const options = { perMessageDeflate: rest.includes('--deflate') };
const place = { host: '127.0.0.1', port: Number(port) };
let server;
if (rest.includes('--tls')) {
  const secure = https.createServer({
    cert: fs.readFileSync(after('--tls')),
    key: fs.readFileSync(after('--tls', 2)),
  });
  server = new WebSocketServer({ server: secure, ...options });
  secure.listen(place);
} else {
  server = new WebSocketServer({ ...place, ...options });
}

const log = rest.includes('--log') ? fs.createWriteStream(after('--log')) : null;

const behaviours = {
  greeting(socket) {
    socket.on('message', (data) => {
      log.write(`${new Date().toISOString()} Message received: ${data}\n`);
    });
    socket.send('Hello from server');
  },
  echo(socket) {
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  },
  broadcast(socket) {
    socket.on('message', (data, isBinary) => {
      for (const client of server.clients) {
        if (client.readyState === WebSocket.OPEN) {
          client.send(data, { binary: isBinary });
        }
      }
    });
  },
};

server.on('connection', (socket) => {
  socket.on('error', (error) => console.error(error.message));
  behaviours[behaviour](socket);
});
