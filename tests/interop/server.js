// The tutorial's server, written from ws's own interface; prints its port, then each message.
//
//   node server.js [greet|echo|close CODE] [deflate[:SERVER_BITS:CLIENT_BITS]]
//
// greet (the default) does as the tutorial's, echo answers every message with
// itself, close says goodbye with a code as soon as somebody has said something.
// The bits are those of the windows that both ends compress with.

'use strict';

const { WebSocketServer } = require('ws');

const [role = 'greet', ...rest] = process.argv.slice(2);
const [deflate, serverBits, clientBits] = (rest.at(-1) || '').split(':');
const server = new WebSocketServer({
  host: '127.0.0.1',
  port: 0,
  maxPayload: 0,
  perMessageDeflate: deflate === 'deflate' && {
    threshold: 0,
    ...(serverBits && { serverMaxWindowBits: Number(serverBits) }),
    ...(clientBits && { clientMaxWindowBits: Number(clientBits) }),
  },
});

server.on('listening', () => console.log(`listening on ${server.address().port}`));

server.on('connection', (socket) => {
  console.log(`extensions: ${socket.extensions || 'none'}`);
  socket.on('message', (data, isBinary) => {
    if (role === 'echo') {
      socket.send(data, { binary: isBinary });
    } else if (role === 'close') {
      socket.close(Number(rest[0]), 'as asked');
    } else {
      console.log(`Message received: ${data}`);
    }
  });
  socket.on('close', (code, reason) => console.log(`closed: ${code} ${reason}`));
  socket.on('error', (error) => console.log(`error: ${error.message}`));
  if (role === 'greet') {
    socket.send('Hello from server');
  }
});
