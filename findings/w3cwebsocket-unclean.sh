#!/usr/bin/env bash
# One would guess that `wasClean` of a CloseEvent is true whenever the closing handshake was done,
# as the HTML standard says and as browsers, ws and undici have it. W3CWebSocket of npm's
# `websocket` sets it for the code 1000 only: a clean close with 1001, 1008, 1011 or 4000 is
# said to be unclean, though both sides have sent their close frames. (It answers each of these with
# 1000, where one would guess that it sends the code back.)
# This matters here because the service closes with 1001 whenever it stops: a client that logs or
# counts unclean ends sees a fault in each deployment. docs/clients.md says to look at the code.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --prefix "$folder" websocket@1.0.35 ws@8.23.0 >/dev/null ||
  { echo "cannot install"; exit 2; }

cat >run.js <<'JS'
const { WebSocketServer, WebSocket } = require('ws')
const { w3cwebsocket } = require('websocket')
console.log('websocket', require('websocket/package.json').version)
console.log('ws', require('ws/package.json').version)
const server = new WebSocketServer({ host: '127.0.0.1', port: 0 }, async () => {
  const url = `ws://127.0.0.1:${server.address().port}/`
  for (const [name, Client] of [['websocket', w3cwebsocket], ['ws', WebSocket]]) {
    for (const code of [1000, 1001, 1008, 4000]) {
      const answered = new Promise((resolve) => server.once('connection', (connection) => {
        connection.on('close', (code) => resolve(code))
        connection.close(code)
      }))
      const event = await new Promise((resolve) => { new Client(url).onclose = resolve })
      console.log(name, event.code, 'answered', await answered, 'wasClean', event.wasClean)
    }
  }
  server.close()
})
JS
said=$(timeout 60 node run.js)
echo "$said"
expected='websocket 1.0.35
ws 8.23.0
websocket 1000 answered 1000 wasClean true
websocket 1001 answered 1000 wasClean false
websocket 1008 answered 1000 wasClean false
websocket 4000 answered 1000 wasClean false
ws 1000 answered 1000 wasClean true
ws 1001 answered 1001 wasClean true
ws 1008 answered 1008 wasClean true
ws 4000 answered 4000 wasClean true'
if [ "$said" = "$expected" ]; then
  echo "as found"
else
  echo "CHANGED"
  exit 1
fi
