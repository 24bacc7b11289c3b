from __future__ import annotations

import pytest

from tools.oldest import constraints, requirements


def test_each_is_bound_to_the_oldest_version_that_it_admits() -> None:
    given = ["attrs>=24.2", "twisted[tls]>=26.10", "prometheus-client>=0.22"]
    assert list(constraints(given)) == ["attrs==24.2", "twisted==26.10", "prometheus-client==0.22"]


@pytest.mark.parametrize("given", ["attrs", "attrs<25", "attrs>=24.2,<25"])
def test_one_that_names_no_oldest_version_is_an_error(given: str) -> None:
    with pytest.raises(ValueError, match=f"^{given}: no oldest version is named"):
        list(constraints([given]))


def test_all_that_a_user_installs_name_one() -> None:
    names = {each.partition("==")[0] for each in constraints(requirements())}
    assert {"autobahn", "twisted", "pyopenssl", "service-identity", "shtab", "hiredis"} < names
