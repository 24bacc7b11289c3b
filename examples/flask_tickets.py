"""A Flask application with sessions, whose pages connect as the user of their session.

    twistd -n wsdemo --port 8080 --protocol members.Members --auth tickets \\
        --allow-origin http://localhost:5000 --admin tcp:8081:interface=127.0.0.1
    flask --app flask_tickets run   # in another terminal: pip install flask
    # then open http://localhost:5000/ in two browsers, and give each another name

A page asks the application for a ticket, for each connection anew. The service takes a
ticket once, within 30 seconds, so one that is seen in a log of URLs lets nobody in.
"""

import os
import secrets
from pathlib import Path

from flask import Flask, Response, jsonify, request, session

from wsservice.errors import PublishError
from wsservice.publisher import ticket

app = Flask(__name__)
# Give a fixed one to a real application: with a new one at each start, sessions are lost.
app.secret_key = os.environ.get("SECRET_KEY") or secrets.token_hex()
app.config["SESSION_COOKIE_SAMESITE"] = "Strict"  # what other sites ask for comes without it
PAGE = Path(__file__).with_name("tickets.html").read_text()


@app.get("/")
def page() -> str:
    return PAGE


@app.post("/login")
def login() -> tuple[str, int]:
    # A real application checks a password here.
    session["user"] = request.get_data(as_text=True)[:40]
    return "", 204


@app.post("/ticket")
def new_ticket() -> tuple[str, int] | Response:
    if "user" not in session:
        return "Log in first.", 401
    try:
        return jsonify(ticket=ticket(session["user"], {"role": "member"}))
    except PublishError as error:
        app.logger.warning("no ticket: %s", error)
        return "Try again later.", 503
