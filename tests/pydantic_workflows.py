"""A workflow whose input is a pydantic model, where pydantic is installed."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from pydantic import BaseModel, Field  # type: ignore[import-not-found]


class Item(BaseModel):  # type: ignore[misc]
    """One line of an order."""

    name: str
    count: int = Field(default=1, ge=1, description="how many, at least one")


class Order(BaseModel):  # type: ignore[misc]
    """What a customer wants."""

    customer: str = Field(description="whom it goes to")
    items: list[Item] = []
    express: bool = False


@workflow.defn
class Take:
    """Counts what was ordered."""

    @workflow.run
    async def run(self, order: Order) -> int:
        """Return how many things."""
        return sum(item.count for item in order.items)
