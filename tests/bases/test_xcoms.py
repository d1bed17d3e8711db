from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from remote_tasks_provider.bases import xcoms
from remote_tasks_provider.bases.xcoms import XCOM_KEYS, hand_over


class TestHandOver:
    def pushed(self, value: Any, *, do_xcom_push: bool = True) -> dict[str, Any]:
        xcoms: dict[str, Any] = {}
        ti = SimpleNamespace(xcom_push=lambda key, value: xcoms.update({key: value}))

        assert hand_over(SimpleNamespace(do_xcom_push=do_xcom_push), {"ti": ti}, value) is value
        return xcoms

    def test_parts_of_an_object_are_xcoms_of_their_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(xcoms, "XCOMS_MAY_BE_NONE", True)
        value = {"id": "t1", "state": "completed", "structured": {"n": 1}, "dlq_id": None, "files": []}

        assert self.pushed(value) == {key: value[key] for key in XCOM_KEYS if key in value}
        assert self.pushed(value).keys() == {"id", "state", "structured", "dlq_id"}

    def test_part_that_is_none_is_left_out_where_airflow_cannot_take_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(xcoms, "XCOMS_MAY_BE_NONE", False)

        assert self.pushed({"id": "t1", "dlq_id": None}) == {"id": "t1"}

    @pytest.mark.parametrize("value", [None, "t1", [{"id": "t1"}], 5])
    def test_value_that_is_no_object_has_no_parts(self, value: Any) -> None:
        assert self.pushed(value) == {}

    def test_user_who_wants_no_xcom_gets_none(self) -> None:
        assert self.pushed({"id": "t1"}, do_xcom_push=False) == {}
