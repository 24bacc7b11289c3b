#!/usr/bin/env bash
# One would guess that a RESP3 parser keeps an attribute (`|`) apart from the answer that it
# precedes: RESP3 says that a client which does not know a certain attribute ignores it. hiredis
# for Python gives the attribute out as an answer of its own, so each later answer is taken for
# that of the question before it.
# This matters here because answers are matched with questions by their order alone. Our guard in
# front of the parser therefore ends a connection to a server that sends attributes, with one line
# that says so, before any answer is taken for another's.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check hiredis==3.5.0 2>/dev/null ||
  { echo "cannot install"; exit 2; }

said=$("$folder/env/bin/python" - <<'PYTHON'
import hiredis

print("hiredis", hiredis.__version__)
reader = hiredis.Reader()
# The answers to two questions: OK with an attribute, and 7.
reader.feed(b"|1\r\n+ttl\r\n:3600\r\n+OK\r\n:7\r\n")
print([reader.gets() for _ in range(3)])
PYTHON
)
echo "$said"
expected="hiredis 3.5.0
[[b'ttl', 3600], b'OK', 7]"
if [ "$said" = "$expected" ]; then
  echo "as found"
else
  echo "CHANGED"
  exit 1
fi
