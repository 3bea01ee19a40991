"""Fields of a form: each has a control, a note with its documentation or problem, and a value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import ipywidgets

from projectai_lab._words import cut, shorten
from projectai_lab.widgets._kinds import UNSET, check_size, kind_of
from projectai_lab.widgets._look import Html, block, message, text
from projectai_lab.widgets._specs import Spec

Line = tuple[str, str, str]
"""Name, value as text, problem: a row of a form's facts."""
_CHOOSE, _DEFAULT = "(choose)", "(default)"


class InvalidError(ValueError):
    """A field has no usable value; the field says why."""


class Field:
    """A named place for a value; `read` returns UNSET where the default is to hold."""

    view: Any

    def __init__(self, spec: Spec, changed: Callable[[], None]) -> None:
        self.spec, self.changed = spec, changed
        self.insist = False

    def read(self) -> Any:
        """Return the value; raises `InvalidError`, and shows the reason at the field."""
        raise NotImplementedError

    def put(self, value: Any) -> None:
        """Show a value; raises TypeError or ValueError for one of another type."""
        raise NotImplementedError

    def lines(self, above: str = "") -> Iterator[Line]:
        """Yield the facts of the field and of those within it."""
        raise NotImplementedError

    def blame(self, words: str) -> None:
        """Show a problem at the field; none for ""."""
        raise NotImplementedError


class Noted(Field):
    """A field in a box of its own, with a note: its documentation, or its problem."""

    def __init__(self, spec: Spec, changed: Callable[[], None]) -> None:
        super().__init__(spec, changed)
        self.problem = ""
        self.note = ipywidgets.HTML()
        self.view = ipywidgets.VBox()

    def blame(self, words: str) -> None:
        """Show a problem at the field, or its documentation when there is none."""
        self.problem = words
        self._note(message(words, "error") if words else self._doc)

    @property
    def _doc(self) -> Html:
        doc = self.spec.doc
        return Html(f'<div class="dim">{text(doc)}</div>' if doc else "")

    def _note(self, *parts: str) -> None:
        value = block(*parts) if any(parts) else ""
        if self.note.value != value:
            self.note.value = value


class Leaf(Noted):
    """One control: a text that is parsed, or a choice."""

    def __init__(self, spec: Spec, changed: Callable[[], None]) -> None:
        super().__init__(spec, changed)
        self.kind = kind_of(spec.hint)
        self.missing = False
        none = [("None", None)] if self.kind.optional else []
        start = [(_CHOOSE, UNSET)] if spec.required and not none else []
        self.choices = [*start, *none, *self.kind.choices] if self.kind.choices else []
        self.control = self._control()
        self.view.children = [self.control, self.note]
        self._untold = not spec.required and not self._show_default()
        told = not spec.required and not self._untold and not self.choices
        self._given_empty = False
        self._default_text: str | None = self.control.value if told else None
        self.blame("")
        self.control.observe(lambda _: changed(), "value")

    def _show_default(self) -> bool:
        """Show the default; return whether it is one that the type can be typed as."""
        try:
            self._show(self.spec.default)
        except (TypeError, ValueError, AttributeError, OverflowError):
            # Such as None for a bool: it holds until another value is given.
            if self.choices:
                self.choices.insert(0, (_DEFAULT, UNSET))
                self.control.options = [(label, n) for n, (label, _) in enumerate(self.choices)]
                self.control.value = 0
            else:
                self.control.placeholder = (
                    f"empty for its default, {shorten(repr(self.spec.default))}"
                )
            return False
        return True

    def _control(self) -> Any:
        same = {"description": self.spec.name, "style": {"description_width": "10em"}}
        layout = {"width": "min(44em, 98%)"}
        if self.choices:
            options = [(label, n) for n, (label, _) in enumerate(self.choices)]
            return ipywidgets.Dropdown(options=options, layout=layout, **same)
        words = self.kind.words + (", empty for None" if self.kind.optional else "")
        cls = ipywidgets.Textarea if self.kind.lines > 1 else ipywidgets.Text
        more = {"rows": self.kind.lines} if self.kind.lines > 1 else {}
        return cls(placeholder=words, layout=layout, tooltip=words, **same, **more)

    def read(self) -> Any:
        """Return what was typed or chosen."""
        self.missing = False
        try:
            value = self._typed()
            self.blame("")
        except InvalidError:
            # Nobody is told before a first attempt that what is still empty is required.
            self.missing = True
            self.blame("")
            raise
        except ValueError as error:
            self.blame(str(error))
            raise InvalidError(str(error)) from None
        if self.control.value and (words := self.kind.remark(value)):
            self._note(self._doc, words)
        return value

    def _typed(self) -> Any:
        if self.choices:
            value = self.choices[self.control.value][1]
            if value is UNSET:
                return self._missing()
            return value
        typed: str = self.control.value
        given_empty = not typed and self._given_empty
        if typed == self._default_text and not given_empty:
            # Not read back: a text may say less than the default, and nobody has typed it.
            return self.spec.default
        if not typed and self._empty_is_none() and not given_empty:
            return self._missing()
        check_size(typed)
        return self.kind.parse(typed)

    def _empty_is_none(self) -> bool:
        default = self.spec.default
        return (
            self._untold or not isinstance(default, str) or (self.kind.optional and default != "")
        )

    def _missing(self) -> Any:
        if self._untold:
            return UNSET
        if self.kind.optional:
            return None
        if not self.spec.required:
            return UNSET
        if self.insist:
            raise ValueError("required")
        raise InvalidError("required")

    def put(self, value: Any) -> None:
        """Show a value; TypeError or ValueError for one that does not fit."""
        try:
            self._show(value)
            # Typed, an empty text is none; given, it is one.
            self._given_empty = value == ""
        except (TypeError, ValueError, AttributeError) as error:
            labels = ", ".join(label for label, _ in self.kind.choices)
            there = f"; there are {labels}" if labels else ""
            words = f"{self.spec.name}: {value!r} is not {self.kind.words}{there}"
            raise ValueError(words) from error

    def _show(self, value: Any) -> None:
        if self.choices:
            found = [n for n, (_, one) in enumerate(self.choices) if one is value or one == value]
            if not found:
                raise ValueError(f"{value!r} is none of the choices")
            self.control.value = found[0]
        else:
            nothing = value is None and (self.kind.optional or self.spec.default is None)
            self.control.value = "" if nothing else self.kind.show(value)

    def lines(self, above: str = "") -> Iterator[Line]:
        """Yield its own line."""
        shown = self.choices[self.control.value][0] if self.choices else self.control.value
        shown = shown or (_DEFAULT if self._untold else "")
        problem = self.problem or ("required" if self.missing else "")
        yield above + self.spec.name, cut(shown, 300), problem
