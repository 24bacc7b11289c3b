#!/usr/bin/env bash
# One would guess that QWebSocket::closeCode() is 1006 after a connection broke without a close
# frame, as RFC 6455 (7.1.5) says and as browsers have it; or at least that it is not a code that
# means that all is well. It is 1000, CloseCodeNormal: what it was before anything happened.
# This matters here because a client that reconnects "unless the code is 1000" never comes back
# after a crash of the service, or after a gateway cut it off; docs/clients.md says what to do.
set -eu
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/v"
"$folder/v/bin/pip" install -q --disable-pip-version-check \
  PyQt6==6.11.0 PyQt6-Qt6==6.11.2 websockets==17.4 || { echo "cannot install"; exit 2; }

cat >"$folder/server.py" <<'PY'
import asyncio
from websockets.asyncio.server import serve

async def handle(connection):
    if connection.request.path == "/close":
        await connection.close(1001)
    else:
        connection.transport.abort()  # as when the process dies

async def main():
    async with serve(handle, "127.0.0.1", 0) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
PY
cat >"$folder/client.py" <<'PY'
import sys
from PyQt6.QtCore import QT_VERSION_STR, QCoreApplication, QTimer, QUrl
from PyQt6.QtWebSockets import QWebSocket

app = QCoreApplication([])
print("Qt", QT_VERSION_STR)
for path in ("close", "break"):
    client = QWebSocket()
    client.disconnected.connect(app.quit)
    client.open(QUrl(f"ws://127.0.0.1:{sys.argv[1]}/{path}"))
    QTimer.singleShot(20000, app.quit)
    app.exec()
    print(path, client.closeCode().value)
PY
"$folder/v/bin/python" "$folder/server.py" >"$folder/port" &
until [ -s "$folder/port" ]; do sleep 0.1; done
said=$(QT_QPA_PLATFORM=offscreen timeout 60 "$folder/v/bin/python" "$folder/client.py" "$(cat "$folder/port")")
echo "$said"
if [ "$said" = "$(printf 'Qt 6.11.0\nclose 1001\nbreak 1000')" ]; then
  echo "as found"
else
  echo "CHANGED"
  exit 1
fi
