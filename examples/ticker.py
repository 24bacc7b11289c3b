"""A live ticker: one program publishes, any number of pages watch.

    twistd -n wsdemo --port 8080 --greeting "" --allow-origin http://localhost:8000 \\
        --admin tcp:8081:interface=127.0.0.1
    python -m http.server 8000            # in another terminal, for the page
    python ticker.py                      # in a third one
    # then open http://localhost:8000/ticker.html

The program knows nothing of who watches, and the service nothing of prices.
"""

import json
import random
import sys
import time

from wsservice.errors import PublishError
from wsservice.publisher import publish

PRICES = {"Apples": 2.40, "Bread": 3.10, "Cheese": 8.75}


def main(pause: float) -> None:
    while True:
        name = random.choice(list(PRICES))
        PRICES[name] = max(0.01, round(PRICES[name] * random.uniform(0.98, 1.02), 2))
        try:
            # Everything at once: a page that was just opened sees all prices with the next tick.
            publish("ticker", json.dumps({"changed": name, "prices": PRICES}))
        except PublishError as error:
            # The service is not there, perhaps for a moment. The next price is a new try.
            print(error, file=sys.stderr)
        time.sleep(pause)


if __name__ == "__main__":
    try:
        main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
    except KeyboardInterrupt:
        pass
