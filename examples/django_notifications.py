"""Notifications from a Django application to the one person whom they are for.

    twistd -n wsdemo --port 8080 --greeting "" --allow-origin http://localhost:8000 \\
        --admin tcp:8081:interface=127.0.0.1
    python django_notifications.py runserver   # in another terminal: pip install django
    # then open http://localhost:8000/ in two browsers: each gets its own notes

A whole Django project in one page: in yours, the three views are what to look at.
No ASGI, no channel layer: views answer as ever, and publish() tells browsers.
"""

import logging
import os
import secrets
import sys
import threading
from pathlib import Path

from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from wsservice.errors import PublishError
from wsservice.publisher import publish

settings.configure(
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    ROOT_URLCONF=__name__,
    # Give a fixed one to a real application: with a new one at each start, sessions are lost.
    SECRET_KEY=os.environ.get("SECRET_KEY") or secrets.token_hex(),
    # In a signed cookie, so that this example needs no database.
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    SESSION_COOKIE_SAMESITE="Strict",
)

PAGE = Path(__file__).with_name("notifications.html").read_text()


@require_GET
def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(PAGE)


@require_GET
def channel(request: HttpRequest) -> HttpResponse:
    # Whoever knows a channel's name may listen. This one nobody can guess, and only
    # its owner is told: the session's cookie is signed by Django.
    if "channel" not in request.session:
        request.session["channel"] = f"notes/{secrets.token_urlsafe()}"
    return JsonResponse({"channel": request.session["channel"]})


@csrf_exempt  # the cookie is not sent along with what other sites ask for: see above
@require_POST
def order(request: HttpRequest) -> HttpResponse:
    if "channel" not in request.session:
        return HttpResponse("Ask for /channel first.", status=409)
    text = request.body.decode(errors="replace")[:200]
    # A real application would hand this to a queue of jobs (Celery, RQ), which can
    # publish just so. What depends on a transaction belongs into transaction.on_commit().
    note = (request.session["channel"], f"Your order is ready: {text}")
    threading.Timer(0.5, notify, note).start()
    return HttpResponse(status=202)


def notify(channel: str, text: str) -> None:
    try:
        publish(channel, text)
    except PublishError as error:
        # The order is ready all the same. The note is lost, and this is said in the log.
        logging.getLogger(__name__).warning("not notified: %s", error)


urlpatterns = [path("", page), path("channel", channel), path("order", order)]
application = get_wsgi_application()  # for gunicorn, uWSGI and the like

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
