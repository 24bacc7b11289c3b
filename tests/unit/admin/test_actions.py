from __future__ import annotations

from typing import Any

from wsservice.admin.access import Access
from wsservice.admin.actions import ActionFigures, Actions
from wsservice.admin.exchange import AdminRequest, as_json
from wsservice.admin.tokens import Caller, Right

from ...support import Logged

SHOP = Caller("shop", frozenset({Right.PUBLISH}))
ASKED = AdminRequest("POST", "/publish/a%0ab?token=secret")


def counts(actions: Actions, name: str) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["token"], sample.labels["right"]): sample.value
        for family in ActionFigures(actions, Access()).collect()
        for sample in family.samples
        if sample.name == name
    }


def test_an_action_is_logged_by_name_and_without_its_query(logged: Logged) -> None:
    actions = Actions()
    actions.took(SHOP, Right.PUBLISH, ASKED, as_json(200, {}))
    assert logged.text == (
        "[wsservice#info] admin token shop: POST /publish/a%0ab was answered with 200"
    )
    assert counts(actions, "wsservice_admin_requests_total") == {("shop", "publish"): 1}


def test_a_path_forges_no_line(logged: Logged) -> None:
    asked = AdminRequest("POST", "/publish/\x1b[2J\x85[wsservice#info] forged")
    Actions().took(SHOP, Right.PUBLISH, asked, as_json(200, {}))
    assert len(logged.text.splitlines()) == 1
    assert logged.text.isprintable()


def test_reading_and_callers_without_a_name_are_only_counted(logged: Logged) -> None:
    actions = Actions()
    reply: Any = as_json(200, {})
    actions.took(Caller("grafana", frozenset({Right.READ})), Right.READ, ASKED, reply)
    actions.took(Caller(), Right.CLOSE, ASKED, reply)
    assert logged.text == ""
    assert counts(actions, "wsservice_admin_requests_total") == {
        ("grafana", "read"): 1,
        ("(none)", "close"): 1,
    }


def test_what_is_refused_is_logged_and_counted(logged: Logged) -> None:
    actions = Actions()
    actions.refused(SHOP, Right.CLOSE, ASKED)
    assert "was refused, it has no right to close" in logged.text
    assert "secret" not in logged.text
    assert counts(actions, "wsservice_admin_forbidden_total") == {("shop", "close"): 1}
    assert counts(actions, "wsservice_admin_requests_total") == {}
