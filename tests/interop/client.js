// The tutorial's client, written from ws's own interface.
//
//   node client.js URL            sends "Msg from client", prints what comes, stays
//   node client.js URL echo       sends messages of every kind and size to a server that echoes,
//                                 says whether each came back, closes
//   node client.js URL close CODE closes with that code

'use strict';

const crypto = require('crypto');
const WebSocket = require('ws');

const [url, role = 'tutorial', code] = process.argv.slice(2);
const socket = new WebSocket(url); // offers permessage-deflate, as ws does by default

const messages = [
  ['', false],
  ['text ✓ 😀', false],
  [Buffer.alloc(0), true],
  [Buffer.from([0, 255, 254, 10]), true],
  ['a'.repeat(65535), false],
  ['é'.repeat(40000), false],
  [crypto.randomBytes(65536), true],
  [crypto.randomBytes(1000000), true],
];

function echo() {
  let waiting = 0;
  let fragmented = false;
  socket.on('message', (data, isBinary) => {
    const [sent, binary] = fragmented ? ['in three pieces', false] : messages[waiting];
    const same = Buffer.from(sent).equals(data) && binary === isBinary;
    console.log(`${same ? 'same' : 'DIFFERENT'}: ${data.length} ${isBinary ? 'binary' : 'text'}`);
    if (fragmented) {
      socket.close(1000);
      return;
    }
    waiting += 1;
    if (waiting === messages.length) {
      fragmented = true;
      socket.send('in ', { fin: false });
      socket.ping('between');
      socket.send('three ', { fin: false });
      socket.send('pieces', { fin: true });
    }
  });
  socket.on('pong', (data) => console.log(`pong: ${data}`));
  for (const [data, binary] of messages) {
    socket.send(data, { binary });
  }
}

socket.on('open', () => {
  console.log(`extensions: ${socket.extensions || 'none'}`);
  if (role === 'echo') {
    echo();
  } else if (role === 'close') {
    socket.close(Number(code), 'as asked');
  } else {
    socket.on('message', (data) => console.log(`Msg received in client: ${data}`));
    socket.send('Msg from client');
  }
});
socket.on('close', (closeCode, reason) => console.log(`closed: ${closeCode} ${reason}`));
socket.on('error', (error) => console.log(`error: ${error.message}`));
