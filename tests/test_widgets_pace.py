"""What a monitor reckons from its looks: pace, sparkline, what a run does, the List Filter."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import PendingActivityState, PendingWorkflowTaskState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse

from projectai_lab.widgets._executions import Ask, Row, Seen
from projectai_lab.widgets._pace import Pace
from projectai_lab.widgets._pending import NOTHING, WAITS_AFTER_S, Pending, pending_of
from projectai_lab.widgets._sparkline import HEIGHT, WIDTH, sparkline
from tests.test_widgets_panel import HOSTILE

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def stamp(seconds: float) -> Timestamp:
    """Return a time so many seconds after now."""
    found = Timestamp()
    found.FromDatetime(NOW + timedelta(seconds=seconds))
    return found


def closed(run: str, seconds: float) -> Row:
    """Return a run that took so long."""
    end = NOW + timedelta(seconds=seconds)
    return Row(f"id-{run}", run, "Ask", "COMPLETED", NOW, end)


def seen(done: int, *rows: Row, running: int = 0) -> Seen:
    """Return a look at so many closed runs."""
    counts = Counter({"COMPLETED": done, "RUNNING": running})
    return Seen(Ask(), NOW, rows, counts=counts)


def test_before_the_second_look_there_is_no_rate() -> None:
    pace = Pace()
    assert pace.rate is None
    assert pace.words()[1] == "latency: no closed run seen yet (server's clock)"
    pace.add(seen(5), 0)
    assert pace.rate is None
    assert "not known yet" in pace.words()[0]
    assert "<svg" not in pace.html()


def test_the_rate_is_that_of_the_last_ten_seconds() -> None:
    pace = Pace()
    for second in range(21):
        pace.add(seen(10 * second if second <= 10 else 100 + 2 * (second - 10)), second)
    assert pace.rate == 2
    assert pace.words()[0] == "throughput: 2 closed per s, last 10 s (this computer's clock)"
    assert pace.rates == [10.0] * 10 + [2.0] * 10


def test_looks_further_apart_than_that_have_a_rate_too() -> None:
    pace = Pace()
    pace.add(seen(0), 0)
    pace.add(seen(90), 30)
    assert pace.rate == 3
    assert pace.words()[0] == "throughput: 3 closed per s, last 30 s (this computer's clock)"


def test_running_runs_do_not_count_and_deleted_ones_are_no_negative_rate() -> None:
    pace = Pace()
    pace.add(seen(10, running=1), 0)
    pace.add(seen(10, running=90), 1)
    assert pace.rate == 0
    pace.add(seen(3), 2)
    assert pace.rate == 0
    assert min(pace.rates) == 0


def test_a_paused_run_is_open() -> None:
    pace = Pace()
    pace.add(Seen(Ask(), NOW, counts=Counter(RUNNING=1)), 0)
    pace.add(Seen(Ask(), NOW, counts=Counter(PAUSED=1)), 1)
    assert pace.rate == 0
    assert Row("id", "run", "Ask", "PAUSED", NOW, None).rank == 2


def test_the_latency_is_of_closed_runs_each_counted_once() -> None:
    pace = Pace()
    pace.add(seen(1, closed("a", 1)), 0)
    assert pace.words()[1] == "latency: 1 s, 1 closed run seen (server's clock)"
    pace.add(seen(2, closed("b", 3), closed("a", 1)), 1)
    assert pace.took == [1, 3]
    assert pace.words()[1] == (
        "latency: p50 2 s, p95 2.9 s of the last 2 closed runs seen (server's clock)"
    )
    for number in range(300):
        pace.add(seen(2, closed(str(number), 5)), 2 + number)
    assert pace.took == [5] * 200


def test_a_sparkline_is_an_image_with_a_name() -> None:
    drawn = ET.fromstring(sparkline([1, 4, 2], f"3 values {HOSTILE}"))
    assert drawn.attrib["role"] == "img"
    assert drawn.attrib["aria-label"] == f"3 values {HOSTILE}"
    assert drawn[0].text == f"3 values {HOSTILE}"
    points = [tuple(map(float, one.split(","))) for one in drawn[1].attrib["points"].split()]
    assert [x for x, _ in points] == [2, WIDTH / 2, WIDTH - 2]
    assert [y for _, y in points] == [HEIGHT - 2 - 18 / 4, 2, HEIGHT - 2 - 18 / 2]


@pytest.mark.parametrize("values", [[], [1.0]])
def test_fewer_than_two_values_are_no_line(values: list[float]) -> None:
    assert sparkline(values, "x") == ""


def test_a_line_of_zeros_lies_on_the_ground() -> None:
    assert f'points="2.0,{HEIGHT - 2}.0 {WIDTH - 2}.0,{HEIGHT - 2}.0"' in sparkline([0, 0], "x")


def activity(attempt: int, **facts: Any) -> PendingActivityInfo:
    """Return a pending activity that runs, unless told otherwise."""
    one = PendingActivityInfo(
        attempt=attempt, state=PendingActivityState.PENDING_ACTIVITY_STATE_STARTED, **facts
    )
    one.activity_type.name = "ask"
    return one


def of(*activities: PendingActivityInfo) -> Pending:
    """Return what a run with these activities does."""
    return pending_of(DescribeWorkflowExecutionResponse(pending_activities=activities), NOW)


def test_a_run_that_waits_for_nothing_is_in_no_trouble() -> None:
    assert of() == NOTHING
    assert of(activity(1)) == Pending("ask", 1)


def test_of_several_activities_the_one_with_most_attempts_is_shown() -> None:
    assert of(activity(1), activity(7), activity(2)).doing == "ask and 2 more"
    assert of(activity(1), activity(7)).attempt == 7


def test_a_retry_says_when_it_comes_and_what_failed() -> None:
    again = activity(3, next_attempt_schedule_time=stamp(8), maximum_attempts=5)
    again.state = PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    again.last_failure.message = "too much"
    again.last_failure.application_failure_info.type = "Busy"
    in_8_s = NOW + timedelta(seconds=8)
    assert of(again) == Pending("ask", 3, 5, in_8_s, "Busy: too much", "retrying")


def test_a_timeout_is_named_as_one() -> None:
    again = activity(2)
    again.last_failure.message = "activity StartToClose timeout"
    again.last_failure.timeout_failure_info.SetInParent()
    assert of(again).failure == "timeout: activity StartToClose timeout"


@pytest.mark.parametrize(("waited", "trouble"), [(WAITS_AFTER_S, "stuck"), (1.0, "")])
def test_a_task_that_no_worker_takes_is_stuck_after_a_while(waited: float, trouble: str) -> None:
    waiting = activity(1, scheduled_time=stamp(-waited))
    waiting.state = PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    assert of(waiting).trouble == trouble
    answer = DescribeWorkflowExecutionResponse()
    task = answer.pending_workflow_task
    task.state = PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED
    task.attempt = 1
    task.scheduled_time.CopyFrom(stamp(-waited))
    assert pending_of(answer, NOW).trouble == trouble


def test_a_workflow_task_that_keeps_failing_is_stuck_whatever_else_runs() -> None:
    answer = DescribeWorkflowExecutionResponse(pending_activities=[activity(9)])
    answer.pending_workflow_task.attempt = 4
    failing = pending_of(answer, NOW)
    assert (failing.doing, failing.attempt, failing.trouble) == ("Workflow Task", 4, "stuck")


@pytest.mark.parametrize(
    ("ask", "wanted"),
    [
        (Ask(), ""),
        (Ask("A = 'b' OR C = 'd'"), "(A = 'b' OR C = 'd')"),
        (Ask("", "TIMED_OUT"), "ExecutionStatus = 'TimedOut'"),
        (Ask("A = 'b'", "RUNNING"), "(A = 'b') AND ExecutionStatus = 'Running'"),
    ],
)
def test_a_status_is_added_to_the_whole_filter(ask: Ask, wanted: str) -> None:
    assert ask.filter == wanted


def test_rows_that_need_somebody_come_first() -> None:
    def row(status: str, trouble: str = "") -> Row:
        end = NOW if status == "FAILED" else None
        return Row("id", "run", "Ask", status, NOW, end, Pending(trouble=trouble))  # type: ignore[arg-type]

    ranks = [row("RUNNING", "stuck"), row("RUNNING", "retrying"), row("RUNNING"), row("FAILED")]
    assert [one.rank for one in ranks] == [0, 1, 2, 3]
    assert ranks[0].seconds(NOW + timedelta(seconds=5)) == 5
    assert ranks[0].seconds(NOW - timedelta(seconds=5)) == 0
