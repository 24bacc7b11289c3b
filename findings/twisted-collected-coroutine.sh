#!/usr/bin/env bash
# One would guess that a coroutine that is garbage together with the connection it waits for ends in
# silence: its `except BaseException` ends the connection, the connection fails the Deferred of the
# question that was under way, and nobody listens to that any more. But the coroutine itself still
# does: the Deferred throws its error into the coroutine while Python is closing it, and the errback
# of the whole gets "ValueError: coroutine already executing" in place of "ended", at a moment that
# only the garbage collector knows, within whatever test or request runs then.
# This matters here because our link to Redis asks sentinels in a coroutine that ends its connection
# when something fails, and logs what it does not expect. It catches `Exception` alone, which leaves
# the collector's GeneratorExit out.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check 'twisted==26.10.0' 2>/dev/null ||
  { echo "cannot install"; exit 2; }

cat >run.py <<'PYTHON'
import gc

import twisted
from twisted.internet.defer import Deferred, ensureDeferred


class Connection:
    def __init__(self):
        self.answer = Deferred()

    def abort(self):
        self.answer.errback(ConnectionError("ended"))


async def ask(connection, errors_to_catch):
    try:
        await connection.answer
    except errors_to_catch:
        connection.abort()
        raise


def errors_of(errors_to_catch):
    errors = []
    asked = ensureDeferred(ask(Connection(), errors_to_catch))
    asked.addErrback(lambda failure: errors.append(repr(failure.value)))
    del asked
    gc.collect()
    return " ".join(errors) or "nothing"


print("Twisted", twisted.__version__)
print("except BaseException:", errors_of(BaseException))
print("except Exception:", errors_of(Exception))
PYTHON
said=$(env/bin/python run.py)
echo "$said"
expected="Twisted 26.10.0
except BaseException: ValueError('coroutine already executing')
except Exception: nothing"
if [ "$said" = "$expected" ]; then
  echo "as found"
else
  echo "CHANGED"
  exit 1
fi
