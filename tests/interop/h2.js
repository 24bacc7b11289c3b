// A WebSocket over HTTP/2 (RFC 8441): node h2.js PORT CA [end]
// With `end` the close frame comes with END_STREAM, which a client may send there.
// Prints "no" where the server does not offer it, or what the server said, up to its close code.
const http2 = require('http2')
const fs = require('fs')

const [port, ca, how] = process.argv.slice(2)
const session = http2.connect(`https://localhost:${port}`, { ca: fs.readFileSync(ca) })

function frame(opcode, payload) {
  // A mask of zero.
  return Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length, 0, 0, 0, 0]), payload])
}

let ended = false

function end(said) {
  if (!ended) {
    ended = true
    console.log(said)
    session.destroy()
  }
}

// With a gateway that speaks only HTTP/1.1, TLS fails for want of a protocol, or the answer is
// not HTTP/2.
session.on('error', (error) => {
  end(/^ERR_(SSL_|HTTP2_ERROR)/.test(error.code) ? 'no' : `error ${error.code}`)
})
session.on('remoteSettings', (settings) => {
  if (!settings.enableConnectProtocol) {
    end('no')
    return
  }
  const stream = session.request({
    ':method': 'CONNECT',
    ':protocol': 'websocket',
    ':scheme': 'https',
    ':path': '/websockets/',
    ':authority': `localhost:${port}`,
    'sec-websocket-version': '13'
  }, { endStream: false })
  let octets = Buffer.alloc(0)
  const said = []
  stream.on('response', (headers) => said.push(headers[':status']))
  stream.on('close', () => end([...said, 'over'].join(' ')))
  stream.on('error', (error) => end(`error ${error.code}`))
  stream.on('data', (chunk) => {
    octets = Buffer.concat([octets, chunk])
    while (octets.length >= 2 && octets.length >= 2 + (octets[1] & 127)) {
      const payload = octets.subarray(2, 2 + (octets[1] & 127))
      const opcode = octets[0] & 15
      octets = octets.subarray(2 + payload.length)
      if (opcode === 8) {
        said.push(payload.readUInt16BE(0))
        end(said.join(' '))
        return
      }
      said.push(payload.toString())
      const close = frame(8, Buffer.from([3, 232]))
      if (how === 'end') {
        stream.end(close)
      } else {
        stream.write(close)
      }
    }
  })
})
