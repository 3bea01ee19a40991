"""Workflows for the tests of the form, in a module that the sandbox loads in no time."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, Literal, NewType

from temporalio import workflow


class Colour(enum.Enum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


@dataclass
class Inner:
    """A part."""

    size: int = 3
    """How large."""


@dataclass
class Order:
    """All that a form can take."""

    name: str
    count: int = 1
    colour: Colour = Colour.RED
    pause: timedelta = timedelta(seconds=1)
    mode: Literal["a", "b"] = "a"
    maybe: int | None = None
    flag: bool = False
    inner: Inner = field(default_factory=Inner)
    extra: Inner | None = None
    tags: list[str] = field(default_factory=list)
    sizes: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError("count must be 1 or more")


@workflow.defn
class Orders:
    """Return the order."""

    @workflow.run
    async def run(self, order: Order) -> str:
        """Tell it."""
        return order.name


@dataclass
class Note:
    """What the converter can send."""

    name: str
    count: int = 1
    tags: list[str] = field(default_factory=list)
    sizes: dict[str, float] = field(default_factory=dict)


@workflow.defn
class Notes:
    """Return the note's name."""

    @workflow.run
    async def run(self, note: Note) -> str:
        """Tell it."""
        return note.name


class Shade(enum.StrEnum):
    """A choice that the converter can send."""

    DARK = "dark"
    LIGHT = "light"


UserId = NewType("UserId", str)


@dataclass
class Parcel:
    """Parts of every sort that the converter can send."""

    owner: UserId
    shade: Shade
    inner: Inner
    shades: list[Shade]
    named: dict[str, Inner]
    weight: float = math.nan
    limit: float = math.inf
    extra: Inner | None = None
    more: list[Inner] | None = None
    mode: Literal["a", "b"] = "a"
    step: Annotated[int, "metres"] = 1
    after: Parcel | None = None
    within: list[Parcel] = field(default_factory=list)


@workflow.defn
class Parcels:
    """Return what the worker was given, as Python."""

    @workflow.run
    async def run(self, parcel: Parcel, copies: int = 1) -> str:
        """Tell it."""
        return f"{parcel!r} x {copies}"


@workflow.defn
class Plain:
    """Takes several plain parameters."""

    @workflow.run
    async def run(self, word: str, times: int = 2, pause: timedelta = timedelta(0)) -> str:
        """Say it."""
        return " ".join([word] * times)


@workflow.defn
class Nothing:
    """Takes no input."""

    @workflow.run
    async def run(self) -> None:
        """End at once."""


@workflow.defn
class Lies:
    """Returns another type than it says."""

    @workflow.run
    async def run(self) -> Inner:
        """Lie."""
        return "no Inner"  # type: ignore[return-value]


@workflow.defn
class Sleeper:
    """Sleeps for as long as it is told."""

    @workflow.run
    async def run(self, seconds: float) -> str:
        """Sleep."""
        await workflow.sleep(seconds)
        return "awake"


@workflow.defn
class Loose:
    """Takes anything, any number of words, and what Temporal never sends."""

    @workflow.run
    async def run(self, value: Any = 1, *more: str, loud: bool = False) -> str:
        """Tell the type, and the words."""
        return " ".join([type(value).__name__, *more])
