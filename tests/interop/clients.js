// A client of one of npm's packages, which says what it is told of the end: node clients.js NAME URL

'use strict';

const [name, url] = process.argv.slice(2);
const kinds = {
  ws: () => require('ws'),
  undici: () => require('undici').WebSocket,
  'faye-websocket': () => require('faye-websocket').Client,
  websocket: () => require('websocket').w3cwebsocket,
};
const client = new (kinds[name]())(url);

client.onopen = () => console.log('open');
client.onerror = () => {};
client.onclose = (event) => {
  console.log(`closed: ${event.code}`);
  process.exit();
};
