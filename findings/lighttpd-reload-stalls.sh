#!/usr/bin/env bash
# One would guess that a graceful restart of lighttpd (SIGUSR1) serves new connections while old ones
# come to their end, as nginx, HAProxy and Apache do. lighttpd has one process: it accepts nothing,
# waits for the open connections, and serves again only when the last of them is over. One open
# WebSocket is enough to have everybody wait, first for `server.graceful-shutdown-timeout` (8 s),
# then until its client has ended its side too.
# This matters here because WebSocket connections live for hours: each reload is an outage.
# docs/gateways.md sets a short timeout, and says not to reload under load.
set -eu
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -q lighttpd=1.4.69-1 >/dev/null 2>&1 || { echo "cannot install"; exit 2; }
dpkg -x lighttpd_*.deb "$folder/root"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check websockets==17.4 || { echo "cannot install"; exit 2; }
free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
front=$(free_port)
behind=$(free_port)
cat >lighttpd.conf <<CONF
server.modules = ("mod_proxy")
server.document-root = "$folder"
server.bind = "127.0.0.1"
server.port = $front
proxy.server = ("" => (("host" => "127.0.0.1", "port" => $behind)))
proxy.header = ("upgrade" => "enable")
CONF
cat >run.py <<'PY'
import asyncio, os, signal, sys, time
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

front, behind, pid = map(int, sys.argv[1:])

async def answers():
    """Whether the backend's answer to a request comes within 2 seconds."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", front)
    except OSError:
        return False
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return bool(await asyncio.wait_for(reader.read(1), 2))
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()

async def main():
    async with serve(lambda connection: connection.wait_closed(), "127.0.0.1", behind):
        while not await answers():
            await asyncio.sleep(0.1)
        async with connect(f"ws://127.0.0.1:{front}/") as client:
            print("answers before:", await answers())
            os.kill(pid, signal.SIGUSR1)
            await asyncio.sleep(4)
            print("WebSocket open 4 s after SIGUSR1:", client.state.name == "OPEN")
            print("answers 4 s after SIGUSR1:", await answers())
        until = time.monotonic() + 30
        while not await answers() and time.monotonic() < until:
            await asyncio.sleep(0.1)
        print("answers once the WebSocket is closed:", await answers())

asyncio.run(main())
PY
LD_LIBRARY_PATH="$folder/root/usr/lib/lighttpd" "$folder/root/usr/sbin/lighttpd" -D -f lighttpd.conf \
  -m "$folder/root/usr/lib/lighttpd" 2>lighttpd.log &
"$folder/root/usr/sbin/lighttpd" -v
said=$(timeout 90 v/bin/python run.py "$front" "$behind" $!)
echo "$said"
expected='answers before: True
WebSocket open 4 s after SIGUSR1: True
answers 4 s after SIGUSR1: False
answers once the WebSocket is closed: True'
if [ "$said" = "$expected" ]; then
  echo "as found"
else
  echo "CHANGED"
  exit 1
fi
