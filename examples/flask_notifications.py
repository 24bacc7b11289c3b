"""Notifications from a Flask application to the one person whom they are for.

    twistd -n wsdemo --port 8080 --greeting "" --allow-origin http://localhost:5000 \\
        --admin tcp:8081:interface=127.0.0.1
    flask --app flask_notifications run   # in another terminal: pip install flask
    # then open http://localhost:5000/ in two browsers: each gets its own notes

The application answers requests as ever. To tell a browser something later, from
any process and at any time, it publishes on that browser's channel.
"""

import os
import secrets
import threading
from pathlib import Path

from flask import Flask, Response, jsonify, request, session

from wsservice.errors import PublishError
from wsservice.publisher import publish

app = Flask(__name__)
# Give a fixed one to a real application: with a new one at each start, sessions are lost.
app.secret_key = os.environ.get("SECRET_KEY") or secrets.token_hex()
app.config["SESSION_COOKIE_SAMESITE"] = "Strict"  # what other sites ask for comes without it
PAGE = Path(__file__).with_name("notifications.html").read_text()


@app.get("/")
def page() -> str:
    return PAGE


@app.get("/channel")
def channel() -> Response:
    # Whoever knows a channel's name may listen. This one nobody can guess, and only
    # its owner is told: the session's cookie is signed by Flask.
    if "channel" not in session:
        session["channel"] = f"notes/{secrets.token_urlsafe()}"
    return jsonify(channel=session["channel"])


@app.post("/order")
def order() -> tuple[str, int]:
    if "channel" not in session:
        return "Ask for /channel first.", 409
    text = request.get_data(as_text=True)[:200]
    # A real application would hand this to a queue of jobs (Celery, RQ), which can
    # publish just so: publish() needs nothing of Flask.
    note = (session["channel"], f"Your order is ready: {text}")
    threading.Timer(0.5, notify, note).start()
    return "", 202


def notify(channel: str, text: str) -> None:
    try:
        publish(channel, text)
    except PublishError as error:
        # The order is ready all the same. The note is lost, and this is said in the log.
        app.logger.warning("not notified: %s", error)
