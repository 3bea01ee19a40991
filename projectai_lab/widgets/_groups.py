"""Groups of fields: records, lists and dicts, folded until they are opened."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import ipywidgets

from projectai_lab._checks import did_you_mean
from projectai_lab._words import many
from projectai_lab.widgets._fields import Field, InvalidError, Leaf, Line, Noted
from projectai_lab.widgets._fold import Fold
from projectai_lab.widgets._kinds import UNSET, Shape, shape_of, without_none
from projectai_lab.widgets._look import block
from projectai_lab.widgets._panel import show_in
from projectai_lab.widgets._specs import Spec, first_lines, specs_of


class Record(Noted):
    """The fields of a dataclass or a pydantic model, the simple ones first."""

    def __init__(self, spec: Spec, changed: Callable[[], None], make: type) -> None:
        super().__init__(spec, changed)
        self.make = make
        made = [field_of(one, changed) for one in specs_of(make)]
        self.fields: list[Field] = [f for f in made if isinstance(f, Leaf)]
        self.fields += [f for f in made if not isinstance(f, Leaf)]
        about = first_lines(make)
        head = ipywidgets.HTML(block(about)) if about else ipywidgets.HTML()
        self.view.children = [head, self.note, *(one.view for one in self.fields)]

    def read(self) -> Any:
        """Return the record, made of what its fields hold; its own checks speak at the field."""
        values, bad = read_all(self.fields, self.insist)
        self.blame("")
        if bad:
            raise InvalidError(", ".join(bad))
        try:
            return self.make(**values)
        except Exception as error:
            self._blame(str(error) or type(error).__name__)
            raise InvalidError(str(error)) from error

    def _blame(self, words: str) -> None:
        named = [one for one in self.fields if re.search(rf"\b{one.spec.name}\b", words)]
        (named[0] if named else self).blame(words)

    def put(self, value: Any) -> None:
        """Show the parts of a record or of a mapping; TypeError for a name that it lacks."""
        if isinstance(value, self.make):
            value = {one.spec.name: getattr(value, one.spec.name) for one in self.fields}
        if not isinstance(value, Mapping):
            raise ValueError(f"{self.spec.name} must be a {self.make.__name__}, got {value!r}")
        put_all(self.fields, value, self.spec.name)

    def lines(self, above: str = "") -> Iterator[Line]:
        """Yield the lines of its fields."""
        if self.problem:
            yield above + self.spec.name, "", self.problem
        for one in self.fields:
            yield from one.lines(f"{above}{self.spec.name}." if self.spec.name else above)


class Items(Noted):
    """A list or a dict: one field an item, with buttons to add and remove."""

    def __init__(self, spec: Spec, changed: Callable[[], None], shape: Shape) -> None:
        super().__init__(spec, changed)
        self.shape = shape
        self.rows: list[tuple[Leaf | None, Field, Any]] = []
        self.add = ipywidgets.Button(description=f"Add to {spec.name}")
        self.add.on_click(self._more)
        if spec.default not in (UNSET, None):
            self.put(spec.default)
        self._arrange()

    def _append(self, key: Any = UNSET, value: Any = UNSET) -> None:
        name = Leaf(Spec("key", self.shape.key), self.changed) if self.shape.key else None
        item = field_of(Spec("value", self.shape.item), self.changed, folded=False)
        remove = ipywidgets.Button(description="Remove")
        row = (name, item, remove)
        remove.on_click(lambda _: self._less(row))
        self.rows.append(row)
        if name and key is not UNSET:
            name.put(key)
        if value is not UNSET:
            item.put(value)

    def _more(self, _: Any) -> None:
        self._append()
        self._arrange()
        self.changed()

    def _less(self, row: tuple[Leaf | None, Field, Any]) -> None:
        self.rows.remove(row)
        self._arrange()
        self.changed()

    def _arrange(self) -> None:
        views = [w for name, item, go in self.rows for w in (*_view(name), item.view, go)]
        show_in(self.view, [self.note, *views, self.add])

    def read(self) -> Any:
        """Return the list or dict."""
        fields = [one for name, item, _ in self.rows for one in (name, item) if one]
        values, bad = [], []
        for one in fields:
            one.insist = self.insist
            try:
                values.append(one.read())
            except InvalidError:
                bad.append(one.spec.name)
        self.blame("")
        if bad:
            raise InvalidError(", ".join(bad))
        if not self.shape.key:
            return self.shape.make(values)
        if len(set(values[::2])) < len(self.rows):
            self.blame("a key stands there twice")
            raise InvalidError("a key stands there twice")
        return dict(zip(values[::2], values[1::2], strict=True))

    def put(self, value: Any) -> None:
        """Show the items of a list or dict; ValueError for what is neither."""
        fits: Any = Mapping if self.shape.key else Sequence | set | frozenset
        if not isinstance(value, fits) or isinstance(value, str | bytes):
            wanted = "dict" if self.shape.key else "list"
            raise ValueError(f"{self.spec.name} must be a {wanted}, got {value!r}")
        self.rows = []
        pairs: Any = value.items() if self.shape.key else ((UNSET, one) for one in value)
        try:
            for key, one in pairs:
                self._append(key, one)
        finally:
            self._arrange()

    def lines(self, above: str = "") -> Iterator[Line]:
        """Yield the lines of its items."""
        yield above + self.spec.name, many(len(self.rows), "item"), self.problem
        for n, (name, item, _) in enumerate(self.rows):
            place = f"{above}{self.spec.name}[{name.control.value if name else n}]."
            for label, shown, problem in item.lines(place):
                yield label.replace("].value", "]", 1), shown, problem


class Folded(Field):
    """A group that is built when it is opened, and left at its default until then."""

    def __init__(self, spec: Spec, changed: Callable[[], None], make: Callable[..., Field]) -> None:
        super().__init__(spec, changed)
        self._make = make
        self.inner: Field | None = None
        self.optional = without_none(spec.hint)[1]
        self.given = ipywidgets.Checkbox(description="give a value (else None)", indent=False)
        self.given.layout.display = None if self.optional else "none"
        self.body = ipywidgets.VBox([self.given])
        self.fold = Fold(spec.name, self.body)
        self.view = self.fold.view
        self.fold.button.observe(self._opened, "value")
        self.given.observe(lambda _: changed(), "value")
        if spec.required and not self.optional:
            self.fold.open()

    def _opened(self, change: Any) -> None:
        if change["new"]:
            self._build()
            self.changed()

    def _build(self) -> Field:
        if self.inner is None:
            self.inner = self._make(self._edited)
            self.body.children = [self.given, self.inner.view]
            default = self.spec.default
            if default not in (UNSET, None):
                self.inner.put(default)
                self.given.value = True
        return self.inner

    def _edited(self) -> None:
        if self.optional and self.inner and not self.given.value:
            self.given.value = True
        self.changed()

    def read(self) -> Any:
        """Return the group's value; UNSET while it was never opened."""
        if self.inner is None:
            if self.spec.required:
                return None
            return UNSET
        if self.optional and not self.given.value:
            return None
        self.inner.insist = self.insist
        return self.inner.read()

    def put(self, value: Any) -> None:
        """Build the group and show a value."""
        if value is None:
            if not self.optional:
                raise ValueError(f"{self.spec.name} must not be None")
            self.given.value = False
            return
        self._build().put(value)
        self.given.value = True

    def blame(self, words: str) -> None:
        """Show a problem within the group, and open it."""
        if words:
            self._build().blame(words)
            self.fold.open()

    def lines(self, above: str = "") -> Iterator[Line]:
        """Yield the group's lines, or that it is at its default."""
        if self.inner is None or (self.optional and not self.given.value):
            yield above + self.spec.name, "None" if self.optional else "default", ""
        else:
            yield from self.inner.lines(above)


def _view(field: Field | None) -> list[Any]:
    return [field.view] if field else []


def field_of(spec: Spec, changed: Callable[[], None], *, folded: bool = True) -> Field:
    """Return the field for a type; groups are folded."""
    shape = shape_of(without_none(spec.hint)[0])
    if shape is None:
        return Leaf(spec, changed)

    def make(tell: Callable[[], None]) -> Field:
        bare = Spec(spec.name, spec.hint, UNSET, spec.doc)
        return (
            Record(bare, tell, shape.make) if shape.kind == "record" else Items(bare, tell, shape)
        )

    return Folded(spec, changed, make) if folded else make(changed)


def read_all(fields: Sequence[Field], insist: bool) -> tuple[dict[str, Any], list[str]]:
    """Return the values that were given by name, and the names of the fields without one."""
    values, bad = {}, []
    for one in fields:
        one.insist = insist
        try:
            value = one.read()
        except InvalidError:
            bad.append(one.spec.name)
        else:
            if value is not UNSET:
                values[one.spec.name] = value
    return values, bad


def put_all(fields: Sequence[Field], values: Mapping[str, Any], within: str = "") -> None:
    """Show values in the fields of these names; TypeError for a name that no field has."""
    known = {one.spec.name: one for one in fields}
    for name in values:
        if name not in known:
            hint = did_you_mean(str(name), known) or f"there are {', '.join(known) or 'none'}"
            place = f" in {within}" if within else ""
            raise TypeError(f"the form has no field {name!r}{place}; {hint}")
    for name, value in values.items():
        known[name].put(value)


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with dotted names as mappings in mappings; TypeError where two contradict.

    >>> nested({"a": 1, "b.c": 2, "b.d": 3})
    {'a': 1, 'b': {'c': 2, 'd': 3}}
    """
    made: dict[str, Any] = {}
    for path, value in values.items():
        *above, name = path.split(".")
        place = made
        for one in above:
            whole = place.get(one, {})
            if not isinstance(whole, Mapping):
                raise TypeError(f"{path!r} is a part of {one!r}, which is given as a whole too")
            place[one] = dict(whole)
            place = place[one]
        place[name] = value
    return made
