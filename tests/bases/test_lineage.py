"""What an operator tells about its files, without OpenLineage."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset, AssetAlias

from remote_tasks_provider.bases import lineage
from remote_tasks_provider.bases.lineage import emit_assets, files_written
from remote_tasks_provider.manus.operators import ManusDownloadFilesOperator


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("file:///data/a.csv", ("file", "/data/a.csv")),
        ("/data/a.csv", ("file", "/data/a.csv")),
        ("s3://bucket/data/a.csv", ("s3://bucket", "data/a.csv")),
        ("s3://aws_default@bucket/data/a.csv", ("s3://bucket", "data/a.csv")),
        ("gs://bucket", ("gs://bucket", "/")),
        ("abfss://box@account/a.csv", ("abfss://box@account", "a.csv")),
        ("https://example.com/a.csv?Signature=hush", ("https://example.com", "a.csv")),
    ],
)
def test_place_is_named_as_openlineage_names_it(place: str, name: tuple[str, str]) -> None:
    assert lineage._name(place) == name


@pytest.mark.parametrize(
    ("value", "places"),
    [
        ({"result_path": "file:///a.json", "files": [{"name": "x"}]}, ["file:///a.json"]),
        ({"count": 3, "path": "file:///a.jsonl"}, ["file:///a.jsonl"]),
        ([{"path": "file:///a"}, {"path": "file:///b"}], ["file:///a", "file:///b"]),
        ([{"id": "t1"}, "m1", None], []),
        ({"path": None}, []),
        (None, []),
        ("text", []),
    ],
)
def test_files_are_those_that_the_operator_returns(value: Any, places: list[str]) -> None:
    assert list(files_written(value)) == places


class Events(list[Any]):
    def add(self, asset: Any) -> None:
        self.append(asset)


class OutletEvents(defaultdict[str, Events]):
    """As Airflow's, where an alias stands for its name; below 3.1 it has no hash."""

    def __getitem__(self, alias: Any) -> Events:
        return super().__getitem__(alias.name)


def test_alias_among_the_outlets_gets_an_asset_for_each_file() -> None:
    alias = AssetAlias("reports")
    operator = ManusDownloadFilesOperator(
        task_id="t", remote_task_id="a", output_path="file:///out", outlets=[alias, Asset("s3://bucket/all")]
    )
    events = OutletEvents(Events)
    saved = [{"path": "file:///out/a.csv"}, {"path": "s3://conn@bucket/b.csv"}]

    emit_assets(operator, {"outlet_events": events}, saved)

    assert {name: [one.uri for one in found] for name, found in events.items()} == {
        "reports": ["file:///out/a.csv", "s3://bucket/b.csv"]
    }


def test_operator_without_outlets_needs_no_events() -> None:
    emit_assets(ManusDownloadFilesOperator(task_id="t", remote_task_id="a", output_path="/o"), {}, [{}])
