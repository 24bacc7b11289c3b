#!/usr/bin/env bash
# One would guess that a Twisted protocol that calls transport.pauseProducing() in dataReceived gets
# nothing more until it resumes, whatever the transport: by TCP that is so. By TLS it goes on to get
# what one read has brought, record by record, and the end of the connection right behind it.
# This matters here because a slow behaviour is protected by pausing: a connection that trusted the
# pause lost the last messages of a peer that sent them and left. Ours keeps what comes while it is
# paused, and hands it over before onClose.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check 'twisted[tls]==26.10.0' 2>/dev/null ||
  { echo "cannot install"; exit 2; }
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 \
  -subj /CN=localhost 2>/dev/null

cat >run.py <<'PYTHON'
import socket
import ssl
import sys
import threading
import time

import twisted
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol

how = sys.argv[1]
calls = []


class Pausing(Protocol):
    def dataReceived(self, data):
        calls.append("data")
        self.transport.pauseProducing()
        if len(calls) == 1:
            # Meanwhile the client sends the rest, and ends.
            reactor.callLater(2, self.transport.resumeProducing)
        elif len(calls) == 2:
            reactor.callLater(1, self.end)

    def connectionLost(self, reason):
        calls.append("lost")

    def end(self):
        # How many times data comes depends on the size of records.
        more = " ".join(dict.fromkeys(calls[2:]))
        print(how, "after the second pause:", more or "nothing")
        reactor.stop()


def send(port):
    client = socket.create_connection(("127.0.0.1", port))
    if how == "ssl":
        context = ssl.create_default_context(cafile="cert.pem")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        client = context.wrap_socket(client, server_hostname="localhost")
    client.sendall(b"begin")
    time.sleep(1)
    for _ in range(3):
        client.sendall(b"x" * 20_000)  # more than one read of TCP, and two records of TLS
    if how == "ssl":
        client.unwrap().close()
    else:
        client.close()


def main(port):
    threading.Thread(target=send, args=[port.getHost().port], daemon=True).start()


if how == "tcp":
    print("Twisted", twisted.__version__)
endpoint = f"{how}:0:interface=127.0.0.1"
if how == "ssl":
    endpoint += ":privateKey=key.pem:certKey=cert.pem"
serverFromString(reactor, endpoint).listen(Factory.forProtocol(Pausing)).addCallback(main)
reactor.callLater(20, reactor.stop)
reactor.run()
PYTHON
said=$(env/bin/python run.py tcp && env/bin/python run.py ssl)
echo "$said"
expected='Twisted 26.10.0
tcp after the second pause: nothing
ssl after the second pause: data lost'
if [ "$said" = "$expected" ]; then
  echo "as found"
else
  echo "CHANGED"
  exit 1
fi
