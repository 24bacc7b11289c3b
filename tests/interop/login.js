// Logs in to a server that asks for a credential, in the ways that ws has.
//
//   node login.js URL header TOKEN       in Authorization
//   node login.js URL subprotocol TOKEN  in a subprotocol, beside another one
//   node login.js URL alone TOKEN        in the only subprotocol
//   node login.js URL message TOKEN      as the first message

'use strict';

const WebSocket = require('ws');

const [url, way, token] = process.argv.slice(2);
const subprotocols = { subprotocol: ['chat', `bearer.${token}`], alone: [`bearer.${token}`] };
const headers = way === 'header' ? { Authorization: `Bearer ${token}` } : {};
const socket = new WebSocket(url, subprotocols[way] || [], { headers });

socket.on('open', () => {
  console.log(`open: ${socket.protocol || 'no subprotocol'}`);
  if (way === 'message') socket.send(token);
});
socket.on('message', (data) => {
  console.log(`received: ${data}`);
  socket.close();
});
socket.on('unexpected-response', (_request, response) => {
  console.log(`refused: ${response.statusCode} ${response.headers['www-authenticate']}`);
  process.exit();
});
socket.on('error', (error) => console.log(`error: ${error.message}`));
socket.on('close', (code, reason) => console.log(`closed: ${code} ${reason}`));
