"""What can be typed for each type, what is refused and where, and which Python it becomes."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, NewType
from uuid import UUID

import pytest

from projectai_lab import Fault, FaultPlan, Latency, RetrySettings, WorkflowInput
from projectai_lab._words import cut
from projectai_lab.widgets._code import Names
from projectai_lab.widgets._fields import Field, InvalidError, Leaf
from projectai_lab.widgets._groups import field_of, nested
from projectai_lab.widgets._kinds import UNSET, kind_of
from projectai_lab.widgets._specs import Spec, specs_of

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


UserId = NewType("UserId", str)
OrderNo = NewType("OrderNo", int)
Nested = NewType("Nested", OrderNo)


class Colour(enum.Enum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Size:
    """A part with a law of its own."""

    width: int = 1
    """In metres."""
    height: int = field(default=1, metadata={"doc": "how high"})

    def __post_init__(self) -> None:
        if self.height < self.width:
            raise ValueError(f"height {self.height} is less than width")
        if self.width == 13:
            raise ValueError("bad luck")


class Info:
    """Stands for a field of pydantic's: what the form asks of it."""

    def __init__(self, annotation: Any, default: Any = UNSET, description: str = "") -> None:
        self.annotation, self.default, self.description = annotation, default, description

    def is_required(self) -> bool:
        """Whether there is no default."""
        return self.default is UNSET

    def get_default(self, *, call_default_factory: bool = False) -> Any:
        """Return the default."""
        return self.default


class Model:
    """Stands for a pydantic model, which is no dependency of the kit."""

    model_fields: ClassVar[Mapping[str, Info]] = {
        "name": Info(str, description="whose it is"),
        "size": Info(int, 3),
    }

    def __init__(self, name: str, size: int = 3) -> None:
        if size > 9:
            raise ValueError("1 validation error for Model\nsize\n  should be at most 9")
        self.name, self.size = name, size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


def made(hint: Any, default: Any = UNSET) -> Field:
    """Return an open field of the type, in a group where the type is one."""
    return field_of(Spec("it", hint, default), lambda: None)


def leaves(of: Field) -> dict[str, Leaf]:
    """Return the controls of a record by name."""
    inner: Any = getattr(of, "inner", of)
    return {one.spec.name: one for one in inner.fields if isinstance(one, Leaf)}


def typed(hint: Any, words: str) -> Any:
    """Return what a text means for a type."""
    one = Leaf(Spec("it", hint), lambda: None)
    one.control.value = words
    return one.read()


@pytest.mark.parametrize(
    ("hint", "words", "value"),
    [
        (int, " 7 ", 7),
        (float, "1e-3", 0.001),
        (float | int, "2", 2.0),
        (str, " as it is ", " as it is "),
        (timedelta, "90", timedelta(seconds=90)),
        (timedelta, "1.5s", timedelta(seconds=1.5)),
        (timedelta, "2 min", timedelta(minutes=2)),
        (timedelta | float, "200 ms", 0.2),
        (timedelta | float | None, "3 h", 10800.0),
        (int | None, "", None),
        (datetime, "2026-01-31T12:00:00+00:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        (Any, "plain", "plain"),
        (Any, '{"a": 1}', {"a": 1}),
        (Any, '"7"', "7"),
        (tuple[int, str], '[1, "a"]', (1, "a")),
        (UserId, "as it is", "as it is"),
        (OrderNo, "7", 7),
        (OrderNo | None, "", None),
        (Annotated[OrderNo, "doc"], "7", 7),
        (float, "inf", math.inf),
        (dict, '{"a": [1]}', {"a": [1]}),
    ],
)
def test_a_text_becomes_a_value_of_the_type(hint: Any, words: str, value: Any) -> None:
    assert typed(hint, words) == value
    assert type(typed(hint, words)) is type(value)


@pytest.mark.parametrize(
    ("hint", "words", "told"),
    [
        (int, "1.5", "not a whole number"),
        (int, HOSTILE, "not a whole number"),
        (float, "much", "not a number"),
        (float, "1e999", "too large a number"),
        (timedelta, "inf", "not a duration"),
        (UserId, "x" * 3 * 2**20, "too long"),
        (timedelta, "soon", "not a duration"),
        (timedelta, "3 fortnights", "type seconds, or 200 ms"),
        (timedelta, "1e300", "too long a duration"),
        (datetime, "tomorrow", "not a time"),
        (Any, '{"a": ', "not JSON"),
        (Any, "[" * 100_000, "nested too deep"),
        (tuple[int, str], "[1, 2", "not JSON"),
        (tuple[int, str], "7", "not a tuple"),
        (list, '{"a": 1}', "not a list"),
        (dict, "[]", "not a dict"),
        (str, "ä" * (2**20), "too long: 6.0 MiB"),
    ],
)
def test_a_wrong_text_is_told_at_its_field(hint: Any, words: str, told: str) -> None:
    one = Leaf(Spec("it", hint), lambda: None)
    one.control.value = words
    with pytest.raises(InvalidError, match=told):
        one.read()
    assert told in one.note.value
    assert 'role="alert"' in one.note.value
    assert "<script" not in one.note.value
    assert "<img" not in one.note.value
    assert [problem for _, _, problem in one.lines()] == [one.problem]


def test_what_is_missing_is_told_only_when_it_is_asked_for() -> None:
    one = Leaf(Spec("it", int), lambda: None)
    with pytest.raises(InvalidError, match="required"):
        one.read()
    assert "required" not in one.note.value
    one.insist = True
    with pytest.raises(InvalidError, match="required"):
        one.read()
    assert "required" in one.note.value
    one.control.value = "3"
    assert one.read() == 3
    assert "required" not in one.note.value


def test_what_a_text_for_anything_was_taken_for_is_said() -> None:
    one = Leaf(Spec("it", Any), lambda: None)
    one.control.value = "7"
    assert one.read() == 7
    assert "taken as a number; in quotes it is text" in one.note.value
    one.put("7")
    assert (one.control.value, one.read()) == ('"7"', "7")


def test_a_new_type_is_typed_as_its_base_wherever_it_stands() -> None:
    assert Leaf(Spec("it", Nested, Nested(OrderNo(3))), lambda: None).control.value == "3"
    assert Leaf(Spec("it", UserId, UserId("u")), lambda: None).control.value == "u"
    group: Any = made(dict[UserId, list[Nested]], {})
    group.put({"u": [1, 2]})
    assert group.read() == {"u": [1, 2]}
    group.inner.rows[0][1].rows[0][1].control.value = "x"
    with pytest.raises(InvalidError):
        group.read()
    assert "not a whole number" in {name: told for name, _, told in group.lines()}["it[u][0]"]


NAN: list[tuple[Any, Any]] = [
    (float, math.nan),
    (float, math.inf),
    (float | None, -math.inf),
    (tuple[float, float], (0.0, math.inf)),
    (dict, {"a": math.nan}),
    (timedelta | float, math.inf),
]


@pytest.mark.parametrize(("hint", "default"), NAN, ids=str)
def test_a_default_that_is_no_number_of_json_holds_without_an_error(
    hint: Any, default: Any
) -> None:
    one = Leaf(Spec("it", hint, default), lambda: None)
    assert one.read() is default
    assert one.problem == ""
    assert 'role="alert"' not in one.note.value
    shown, one.control.value = one.control.value, "[0"
    with pytest.raises(InvalidError):
        one.read()
    one.control.value = shown
    assert one.read() is default


def test_what_a_number_is_sent_as_that_json_lacks_is_said_beside_its_documentation() -> None:
    one = Leaf(Spec("it", float, 1.0, "how long"), lambda: None)
    for typed_, sent in (("nan", "NaN"), ("-inf", "-Infinity")):
        one.control.value = typed_
        one.read()
        assert f"sent as {sent}: workers in Python read it" in one.note.value
        assert "how long" in one.note.value
    one.control.value = "2"
    assert one.read() == 2.0
    assert "sent as" not in one.note.value


def test_a_default_that_cannot_be_typed_is_named_where_nothing_is_typed() -> None:
    one = Leaf(Spec("it", date, date(2026, 1, 31)), lambda: None)
    assert one.control.placeholder == "empty for its default, datetime.date(2026, 1, 31)"
    assert [shown for _, shown, _ in one.lines()] == ["(default)"]


@pytest.mark.parametrize(
    ("hint", "labels", "value"),
    [
        (bool, ["(choose)", "False", "True"], True),
        (Colour, ["(choose)", "RED", "BLUE"], Colour.BLUE),
        (Literal["a", "b"], ["(choose)", "a", "b"], "b"),
        (Colour | None, ["None", "RED", "BLUE"], Colour.BLUE),
    ],
)
def test_a_choice_offers_its_values(hint: Any, labels: list[str], value: Any) -> None:
    one = Leaf(Spec("it", hint), lambda: None)
    assert [label for label, _ in one.control.options] == labels
    one.put(value)
    assert one.read() == value
    with pytest.raises(ValueError, match=f"it: 'c' is not a choice; there are {labels[1]}, "):
        one.put("c")


def test_a_default_is_shown_and_holds() -> None:
    one = Leaf(Spec("it", timedelta, timedelta(minutes=1)), lambda: None)
    assert (one.control.value, one.read()) == ("60.0s", timedelta(minutes=1))
    one.control.value = ""
    assert one.read() is UNSET
    assert kind_of(int | None).optional


def test_a_group_is_built_when_it_is_opened_and_at_its_default_until_then() -> None:
    group: Any = made(Size, Size(2, 3))
    assert group.inner is None
    assert group.read() is UNSET
    group.fold.open()
    assert group.read() == Size(2, 3)
    assert leaves(group)["width"].control.value == "2"
    assert "In metres." in leaves(group)["width"].note.value
    assert "how high" in leaves(group)["height"].note.value


def test_the_checks_of_a_record_speak_at_the_field_that_they_name() -> None:
    group = made(Size)
    leaves(group)["width"].control.value = "5"
    with pytest.raises(InvalidError):
        group.read()
    told = {name: one.problem for name, one in leaves(group).items()}
    assert "height 1 is less than width" in "".join(told.values())
    group.put({"width": 13, "height": 13})
    with pytest.raises(InvalidError):
        group.read()
    assert "bad luck" in [problem for _, _, problem in group.lines()]
    group.put({"width": 1})
    assert group.read() == Size(1, 13)
    assert all(not problem for _, _, problem in group.lines())


def test_an_optional_group_is_none_until_it_is_given() -> None:
    group: Any = made(Size | None, None)
    group.fold.open()
    assert group.read() is None
    leaves(group)["height"].control.value = "4"
    group._edited()
    assert group.read() == Size(1, 4)
    group.put(None)
    assert group.read() is None
    with pytest.raises(ValueError, match="it must not be None"):
        made(Size, Size()).put(None)


def test_lists_and_dicts_grow_and_shrink_by_buttons() -> None:
    group: Any = made(list[int], [1])
    group.fold.open()
    group.inner.add.click()
    group.inner.rows[1][1].control.value = "2"
    assert group.read() == [1, 2]
    group.inner.rows[0][2].click()
    assert group.read() == [2]
    sizes: Any = made(dict[str, Size], {})
    sizes.put({"a": Size(1, 2), "b": {"height": 7}})
    assert sizes.read() == {"a": Size(1, 2), "b": Size(1, 7)}
    sizes.inner.rows[1][0].control.value = "a"
    with pytest.raises(InvalidError, match="a key stands there twice"):
        sizes.read()


@pytest.mark.parametrize(
    ("hint", "value"), [(list[str], "abc"), (list[str], 3), (dict[str, int], [1]), (Size, 3)]
)
def test_a_group_refuses_what_does_not_fit(hint: Any, value: Any) -> None:
    with pytest.raises(ValueError, match="it must be a "):
        made(hint).put(value)


def test_a_name_that_a_group_lacks_is_named_with_the_nearest() -> None:
    with pytest.raises(TypeError, match=r"no field 'widht' in it; did you mean 'width'\?"):
        made(Size).put({"widht": 1})


def test_dotted_names_are_parts() -> None:
    given = {"a": 1}
    assert nested({"b": given, "b.c.d": 2, "e": 3}) == {"b": {"a": 1, "c": {"d": 2}}, "e": 3}
    assert given == {"a": 1}
    with pytest.raises(TypeError, match=r"'b\.c' is a part of 'b', which is given as a whole too"):
        nested({"b": 3, "b.c": 1})


def test_a_model_is_told_by_what_it_has() -> None:
    group = made(Model)
    assert [spec.doc for spec in specs_of(Model)] == ["whose it is", ""]
    group.put({"name": "n", "size": 10})
    with pytest.raises(InvalidError):
        group.read()
    assert "should be at most 9" in leaves(group)["size"].problem
    group.put({"size": 4})
    assert group.read() == Model("n", 4)
    assert Names().expression(Model("n")) == "Model(name='n')"


PASTED = [
    WorkflowInput("x", 3, retry={"simulate_ai_call": RetrySettings(maximum_attempts=2)}),
    WorkflowInput(
        HOSTILE,
        None,
        faults=FaultPlan(
            latency=Latency("uniform", 0.1, 0.2),
            fail_first={"simulate_ai_call": 2},
            rules=(Fault("hang", "*", attempts=(1, 2), window=(0, 10), probability=0.5),),
        ),
        seed=4,
    ),
    [timedelta(milliseconds=1500), datetime(2026, 1, 31, 12, tzinfo=UTC), date(2026, 2, 1)],
    {"colour": Colour.BLUE, "size": [Size(1, 2)], "none": None, "yes": True},
    (1,),
    (1, 2.5, "a\nb", b"\0"),
    {3, 4},
    set(),
    frozenset([5]),
    [math.inf, -math.inf],
    UUID(int=7),
]


@pytest.mark.parametrize("value", PASTED, ids=lambda one: str(type(one).__name__))
def test_the_code_of_a_value_gives_that_value(value: Any) -> None:
    names = Names()
    code = names.expression(value)
    space: dict[str, Any] = {}
    exec("\n".join([*names.imports(), f"it = {code}"]), space)
    assert space["it"] == value


def test_the_code_says_what_is_not_the_default_and_from_where() -> None:
    names = Names()
    code = names.expression(WorkflowInput("x", "u", faults=FaultPlan(latency=Latency(b=1.0))))
    assert code == (
        "WorkflowInput(data='x', user_id='u', faults=FaultPlan(latency=Latency(b=1.0)))"
    )
    assert names.imports() == ["from projectai_lab import FaultPlan, Latency, WorkflowInput"]


def test_what_has_no_code_is_said() -> None:
    @dataclass
    class Local:
        """Nobody can import it."""

    with pytest.raises(ValueError, match="Local is defined inside a function"):
        Names().expression(Local())
    with pytest.raises(ValueError, match="a object has no Python to paste"):
        Names().expression(object())


def test_two_classes_of_one_name_are_told_apart() -> None:
    names = Names()
    other = type("Colour", (), {"__module__": "elsewhere", "__qualname__": "Colour"})
    assert names.of(Colour) == "Colour"
    assert names.of(other) == "elsewhere.Colour"
    assert "import elsewhere" in names.imports()


@pytest.mark.parametrize(
    ("hint", "default"),
    [
        (bool, None),
        (Colour, None),
        (Colour, "red"),
        (int, "many"),
        (str, 5),
        (Literal["a", "b"], "c"),
        (date, date(2026, 1, 31)),
        (Any, object()),
    ],
)
def test_a_default_that_nobody_can_type_holds_until_another_is_given(
    hint: Any, default: Any
) -> None:
    field = Leaf(Spec("x", hint, default), lambda: None)
    assert field.read() is UNSET
    if field.choices:
        field.control.value = 1
        assert field.read() is not UNSET
        field.control.value = 0
    else:
        field.control.value = "{"
        field.control.value = ""
    assert field.read() is UNSET


def test_an_optional_text_that_is_emptied_is_none_as_its_field_says() -> None:
    field = Leaf(Spec("x", str | None, "d"), lambda: None)
    assert field.read() == "d"
    field.control.value = ""
    assert field.read() is None
    assert Leaf(Spec("x", str | None, ""), lambda: None).read() == ""


def test_a_long_text_is_cut_and_its_length_said_where_it_is_told_of() -> None:
    assert (cut("abc", 3), cut("abcd", 3)) == ("abc", "abc… (4 characters)")
    field = Leaf(Spec("x", int), lambda: None)
    field.control.value = "z" * 2000
    with pytest.raises(InvalidError, match=r"^not a whole number: 'z{40}… \(2,000 characters\)'$"):
        field.read()
    ((_, shown, _),) = field.lines()
    assert shown == f"{'z' * 300}… (2,000 characters)"


def test_none_that_is_given_for_anything_is_none() -> None:
    field = Leaf(Spec("x", Any), lambda: None)
    field.put(None)
    assert field.read() is None
    assert "taken as null; in quotes it is text" in field.note.value
    for hint, default in ((Any, None), (int | None, 3), (int, None)):
        field = Leaf(Spec("x", hint, default), lambda: None)
        field.put(None)
        assert field.read() is None
        assert field.note.value == ""
    with pytest.raises(ValueError, match="x: None is not a whole number"):
        Leaf(Spec("x", int, 3), lambda: None).put(None)


def test_an_empty_text_that_is_given_is_one() -> None:
    for hint, default in ((str, UNSET), (str | None, None), (str | None, "d"), (Any, UNSET)):
        field = Leaf(Spec("x", hint, default), lambda: None)
        field.put("")
        assert field.read() == ""


def test_what_is_no_number_of_json_is_no_number_here() -> None:
    field = Leaf(Spec("x", Any), lambda: None)
    field.control.value = "NaN"
    assert field.read() == "NaN"
    field.control.value = '{"a": NaN}'
    with pytest.raises(InvalidError, match="NaN is none of JSON's numbers"):
        field.read()
    field = Leaf(Spec("x", dict), lambda: None)
    field.control.value = '{"a": -Infinity}'
    with pytest.raises(InvalidError, match="-Infinity is none of JSON's numbers"):
        field.read()
