"""The cell magics `%%workflow` and `%%activity`."""

from __future__ import annotations

from typing import Any

from IPython.core.magic import Magics, cell_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring

from projectai_lab.cells import _cell, _swap
from projectai_lab.cells._cell import Cell
from projectai_lab.errors import CellError
from projectai_lab.lab import Lab

_NO_LAB = "no Lab is open in this notebook: lab = Lab.open(), then run this cell again"


@magics_class
class LabMagics(Magics):
    """Workflows and activities in cells; see `projectai_lab.cells`."""

    @magic_arguments()
    @argument("name", help="name of the cell's module, such as greet")
    @argument("--lab", help="variable that holds the Lab; needed where several are open")
    @argument(
        "--histories",
        default="100",
        help='stored runs to replay first: how many of the newest, "none", or a path',
    )
    @argument("--force", action="store_true", help="swap even where a stored run does not follow")
    @argument(
        "--upgrade",
        action="store_true",
        help="open runs go on with this code; else they keep the code that they started with",
    )
    @argument("--check", action="store_true", help="only say what would come of it")
    @cell_magic
    def workflow(self, line: str, cell: str) -> Cell:
        """Run this cell as a module of its own and let the Lab's worker run its workflow.

        The cell holds one workflow, its imports, and what else the workflow needs, activities
        too. The worker is swapped only when the stored runs of the Workflow Type follow the code.
        """
        said = parse_argstring(self.workflow, line)
        options = {one: getattr(said, one) for one in ("force", "check", "upgrade")}
        return self._register("workflow", said, cell, stored=said.histories, **options)

    @magic_arguments()
    @argument("name", help="name of the cell's module, such as greet")
    @argument("--lab", help="variable that holds the Lab; needed where several are open")
    @cell_magic
    def activity(self, line: str, cell: str) -> Cell:
        """Run this cell as a module of its own and let the Lab's worker run its activities."""
        return self._register("activity", parse_argstring(self.activity, line), cell)

    def _register(self, kind: str, said: Any, body: str, **options: Any) -> Cell:
        assert self.shell, "a magic is called by a shell"
        names = self.shell.user_ns
        lab = _lab(names, said.lab)
        done = _swap.register(lab, _cell.make(kind, said.name, body, names), **options)
        if not done.checked_only:
            self.shell.push(done.defined)
        return done


def _lab(names: dict[str, Any], name: str | None) -> Lab:
    """Return the notebook's Lab: the named one, or the only one that is open."""
    if name:
        lab = names.get(name)
        if not isinstance(lab, Lab):
            raise CellError(f"--lab {name}: the notebook has no Lab of that name")
        return lab
    labs = {
        id(lab): (name, lab)
        for name, lab in names.items()
        if isinstance(lab, Lab) and not lab.loop.closed and not name.startswith("_")
    }
    if not labs:
        raise CellError(_NO_LAB)
    if len(labs) > 1:
        named = ", ".join(sorted(name for name, _ in labs.values()))
        raise CellError(f"several Labs are open ({named}): say which, with --lab NAME")
    ((_, only),) = labs.values()
    return only
