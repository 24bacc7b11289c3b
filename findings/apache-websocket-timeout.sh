#!/usr/bin/env bash
# One would guess that `timeout=2` of a ProxyPass ends a WebSocket on which nothing was sent for
# 2 seconds, as it ends a request. Once a connection is upgraded, mod_proxy waits for the larger of the
# two sockets' timeouts: the backend's (`timeout=`, ProxyTimeout) and the client's (`Timeout`, 60 s).
# This matters here because an operator who sets only `timeout=` to match --ping-interval sees no
# effect below a minute; docs/gateways.md sets both.
set -eu
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
version=$(apt-cache policy apache2-bin | sed -n 's/ *Candidate: //p')
apt-get download -q "apache2-bin=$version" >/dev/null 2>&1 || { echo "cannot install"; exit 2; }
dpkg -x apache2-bin_*.deb "$folder/root"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check websockets==17.4 || { echo "cannot install"; exit 2; }
free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
front=$(free_port)
behind=$(free_port)
modules="$folder/root/usr/lib/apache2/modules"
cat >apache.conf <<CONF
LoadModule mpm_event_module $modules/mod_mpm_event.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule proxy_module $modules/mod_proxy.so
LoadModule proxy_http_module $modules/mod_proxy_http.so
ServerName localhost
ServerRoot "$folder"
DefaultRuntimeDir "$folder"
PidFile apache.pid
ErrorLog /dev/null
User nobody
Group #65534
Listen 127.0.0.1:$front
Timeout 6
ProxyPass / http://127.0.0.1:$behind/ upgrade=websocket timeout=2
CONF
cat >run.py <<'PY'
import asyncio, sys, time
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

front, behind = map(int, sys.argv[1:])

async def main():
    quiet = {"ping_interval": None}
    async with serve(lambda connection: connection.wait_closed(), "127.0.0.1", behind, **quiet):
        for _ in range(100):
            try:
                client = await connect(f"ws://127.0.0.1:{front}/", **quiet)
                break
            except OSError:
                await asyncio.sleep(0.1)
        began = time.monotonic()
        await asyncio.wait_for(client.wait_closed(), 30)
        print(f"ended after {time.monotonic() - began:.0f} s, code {client.close_code}")

asyncio.run(main())
PY
"$folder/root/usr/sbin/apache2" -v | head -1
"$folder/root/usr/sbin/apache2" -D FOREGROUND -f "$folder/apache.conf" &
chmod 755 "$folder"
said=$(timeout 60 v/bin/python run.py "$front" "$behind")
echo "Timeout 6, timeout=2: $said"
case "$said" in
"ended after 6 s"* | "ended after 7 s"*) echo "as found" ;;
*)
  echo "CHANGED"
  exit 1
  ;;
esac
