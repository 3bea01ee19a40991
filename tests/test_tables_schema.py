"""The schema: what a column is, and what `validate` lets through."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from projectai_lab import tables
from projectai_lab.errors import TableError
from projectai_lab.tables import schema
from projectai_lab.tables._columns import TABLES
from tests.data import attempt_records, golden, goldens

NAMES = (
    *("executions", "events", "activities", "attempts", "timers", "child_workflows"),
    *("messages", "workflow_tasks", "payloads"),
)
MAKERS = {name: getattr(tables, name) for name in NAMES}


def made(name: str, histories: object) -> pd.DataFrame:
    """Make a table, with attempt records where it takes them."""
    if name in ("activities", "attempts"):
        return MAKERS[name](histories, recorder=attempt_records())
    return MAKERS[name](histories)


@pytest.mark.parametrize("name", NAMES)
def test_empty_history_gives_empty_tables_with_the_same_columns(name: str) -> None:
    empty, full = made(name, []), made(name, goldens())
    assert len(empty) == 0
    assert len(full) > 0
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    assert empty.attrs == {"schema": f"projectai_lab/{name}/1", "clock": "unknown"}


@pytest.mark.parametrize("name", NAMES)
def test_every_table_keeps_its_own_schema(name: str) -> None:
    table = made(name, goldens())
    described = schema.columns(name).set_index("column")
    assert list(table.columns) == list(described.index)
    assert [str(dtype) for dtype in table.dtypes] == described["dtype"].tolist()
    assert table.attrs == {"schema": f"projectai_lab/{name}/1", "clock": "fast"}
    pd.testing.assert_frame_equal(tables.validate(table), table)


@pytest.mark.parametrize("name", NAMES)
def test_every_table_begins_with_namespace_workflow_id_and_run_id(name: str) -> None:
    assert list(made(name, [])[:0].columns[:3]) == ["namespace", "workflow_id", "run_id"]


@pytest.mark.parametrize("name", NAMES)
def test_every_column_has_a_meaning_and_a_duration_a_unit(name: str) -> None:
    described = schema.columns(name)
    assert (described.meaning.str.len() > 2).all()
    spans = described.column.str.endswith("_s")
    assert (described.unit[spans] == "s").all()
    assert (described.dtype[spans] == "float64").all()
    times = described.column.str.endswith("_time")
    assert (described.dtype[times] == "datetime64[ns, UTC]").all()
    assert described.clock[times].isin(["server", "worker"]).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", ["some", "none"])
def test_parquet_round_trip_keeps_dtypes_and_attrs(name: str, rows: str, tmp_path: Path) -> None:
    table = made(name, goldens() if rows == "some" else [])
    table.to_parquet(tmp_path / "table.parquet")
    back = tables.validate(pd.read_parquet(tmp_path / "table.parquet"))
    pd.testing.assert_frame_equal(back, table)
    assert back.attrs == table.attrs


@pytest.mark.parametrize("name", NAMES)
def test_missing_values_are_na_and_never_empty_text(name: str) -> None:
    table = made(name, goldens())
    texts = table.select_dtypes("str")
    assert not (texts == "").any(axis=None)


def test_columns_of_an_unknown_table_names_the_known_ones() -> None:
    with pytest.raises(TableError, match="no table 'rows'; there are executions, events"):
        schema.columns("rows")


def test_validate_names_a_missing_column() -> None:
    with pytest.raises(TableError, match="events has no column event_time"):
        tables.validate(tables.events(golden("clean")).drop(columns="event_time"))


def test_validate_names_an_unknown_column() -> None:
    with pytest.raises(TableError, match="timers has unknown column mine"):
        tables.validate(tables.timers([]).assign(mine=1))


def test_validate_tells_how_to_mend_the_order() -> None:
    table = tables.timers([])
    turned = table[table.columns[::-1]]
    with pytest.raises(TableError, match="columns in another order; df") as caught:
        tables.validate(turned, "timers")
    assert "schema.columns('timers').column" in str(caught.value)


def test_validate_names_the_column_of_a_wrong_dtype() -> None:
    table = tables.events(golden("clean")).astype({"attempt": "float64"})
    with pytest.raises(TableError, match=r"events\.attempt is float64, must be Int64") as caught:
        tables.validate(table)
    assert vars(caught.value)["column"] == "attempt"


def test_validate_names_unknown_categories() -> None:
    table = tables.timers(golden("everything"))
    table["status"] = pd.Categorical(["MAYBE"] * len(table))
    with pytest.raises(TableError, match=r"timers\.status has unknown values: MAYBE"):
        tables.validate(table)


def test_validate_refuses_a_run_given_twice() -> None:
    table = tables.events([golden("clean"), golden("clean")])
    with pytest.raises(TableError, match="events holds rows twice, the first being") as caught:
        tables.validate(table)
    assert vars(caught.value)["key"]["event_id"] == 1


def test_validate_refuses_a_row_without_its_key() -> None:
    table = tables.events(golden("clean"))
    table.loc[3, "event_id"] = pd.NA
    with pytest.raises(TableError, match=r"events\.event_id has no value in some rows"):
        tables.validate(table)


def test_validate_asks_for_the_table_when_attrs_do_not_say() -> None:
    with pytest.raises(TableError, match=r'say which: validate\(df, "events"\)'):
        tables.validate(pd.DataFrame())


def test_validate_refuses_another_schema_version() -> None:
    table = tables.timers([])
    table.attrs["schema"] = "projectai_lab/timers/9"
    with pytest.raises(TableError, match="timers has schema version 9; this kit reads 1"):
        tables.validate(table)


def test_frame_takes_rows_and_columns_alike() -> None:
    row = ("default", "w", "r", 5, "1", "FIRED", 10**18, 10**18 + 5, 0.0, 5e-9, None)
    by_row = schema.frame("timers", [row], clock="fast")
    names = schema.columns("timers").column
    by_column = schema.frame("timers", {n: [v] for n, v in zip(names, row, strict=True)})
    pd.testing.assert_frame_equal(by_row, by_column, check_flags=False)
    assert by_row.started_time[0] == pd.Timestamp("2001-09-09T01:46:40Z")
    assert pd.isna(by_row.lag_s[0])


def test_frame_names_the_columns_that_are_missing() -> None:
    with pytest.raises(TableError, match="timers has no column namespace, workflow_id"):
        schema.frame("timers", {"timer_id": ["1"]})


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_history_is_refused_with_the_next_step(name: str) -> None:
    with pytest.raises(TableError, match=r"expected histories, got str; .*histories\.load\(path\)"):
        MAKERS[name]("req-1.json")
    with pytest.raises(TableError, match="expected histories, found dict among them"):
        MAKERS[name]([{"events": []}])


def test_the_reference_page_is_what_the_schema_says() -> None:
    page = Path(__file__).parents[1] / "docs" / "tables.md"
    assert page.read_text(encoding="utf-8") == schema.reference() + "\n"


def test_the_reference_names_every_column_of_every_table() -> None:
    sections = schema.reference().split("\n## ")[1:]
    assert [section.split("\n")[0] for section in sections] == list(TABLES)
    for section, table in zip(sections, TABLES.values(), strict=True):
        rows = [line.split(" | ") for line in section.split("\n") if line.startswith("| `")]
        assert [row[0] for row in rows] == [f"| `{column.name}`" for column in table.columns]
        assert all(len(row) == 5 for row in rows)


def test_clocks_of_several_servers_are_all_named() -> None:
    runs = [golden("clean", clock="virtual"), golden("mixed"), golden("timeouts", clock=None)]
    assert tables.events(runs).attrs["clock"] == "fast, unknown, virtual"
    assert tables.executions(runs).clock.astype(object).tolist()[:2] == ["virtual", "fast"]
