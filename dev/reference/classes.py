"""One public class as a section of the reference: its import, what it does, its parameters or fields."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from dev.reference.docstrings import Docstring, FindLink, inline, parse, to_markdown

PACKAGE = "remote_tasks_provider"
_TEMPLATED = "Templated."
_STARS = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


class MissingDocstringError(Exception):
    """A public name has no docstring, or a parameter no meaning; the message names it."""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Return a table in Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def docstring_of(owner: Any, name: str) -> Docstring:
    """Return the docstring of a function or class.

    :raises MissingDocstringError: when it has none.
    """
    if not owner.__doc__:
        raise MissingDocstringError(f"{name} has no docstring")
    return parse(owner.__doc__)


def mro(kind: type) -> Iterator[type]:
    """Yield the classes of this provider that a class consists of, itself first."""
    return (owner for owner in kind.__mro__ if owner.__module__.startswith(f"{PACKAGE}."))


class PublicClass:
    """A public class with the parameters of its constructor: an operator, sensor, trigger or agent hook.

    :param module: the module that users import it from.
    """

    def __init__(self, kind: type, module: str) -> None:
        self.kind = kind
        self.name = kind.__name__
        self.module = module
        self.doc = docstring_of(kind, self.name)

    def section(self, link: FindLink) -> list[str]:
        """Return the section in Markdown."""
        return [
            f"## {self.name}",
            "",
            f"`from {self.module} import {self.name}`",
            "",
            to_markdown(self.doc.text, link),
            "",
            *self.details(link),
        ]

    def details(self, link: FindLink) -> list[str]:
        """Return what follows the text: the table of parameters."""
        templated = getattr(self.kind, "template_fields", None)
        columns = ["parameter", *(["templated"] if templated is not None else []), "default", "meaning"]
        rows = []
        for name, (default, meaning) in self.parameters().items():
            meaning = inline(meaning.removesuffix(_TEMPLATED).strip(), link)
            cells = [] if templated is None else ["yes" if name in templated else ""]
            rows.append([f"`{name}`", *cells, default, meaning])
        return [*table(columns, rows), ""] if rows else []

    @cached_property
    def _own(self) -> dict[str, Any]:
        """The defaults of the parameters that this provider adds to Airflow's."""
        found: dict[str, Any] = {}
        for owner in mro(self.kind):
            if "__init__" in vars(owner):
                for name, parameter in inspect.signature(vars(owner)["__init__"]).parameters.items():
                    if name != "self" and parameter.kind is not parameter.VAR_KEYWORD:
                        found.setdefault(name, parameter.default)
        return {name: default for name, default in found.items() if name not in self._renamed}

    @property
    def _renamed(self) -> set[str]:
        """The parameters of a base that this class takes under a name of its own."""
        task_type = getattr(self.kind, "remote_task_type", None)
        is_renamed = task_type is not None and task_type.id_param != "remote_task_id"
        names = {"remote_task_id", "remote_task_ids"} if is_renamed else set()
        names -= inspect.signature(self.kind.__init__).parameters.keys()
        # The base classes of hooks, sensors and operators call it conn_id, as triggers do.
        has_own = hasattr(self.kind, "conn_name_attr") or hasattr(self.kind, "hook_class")
        # A sensor whose tasks never wait for a person has no such parameter.
        can_wait = "on_waiting" in getattr(self.kind, "template_fields", ("on_waiting",))
        return names | ({"conn_id"} if has_own else set()) | (set() if can_wait else {"on_waiting"})

    def parameters(self) -> dict[str, tuple[str, str]]:
        """Return the default and the meaning of each parameter, required ones first.

        :raises MissingDocstringError: when a parameter has no meaning.
        """
        meanings: dict[str, str] = {}
        for owner in mro(self.kind):
            for name, meaning in parse(vars(owner).get("__doc__")).params.items():
                meanings.setdefault(name, meaning)
        found = {}
        for name, default in self._own.items():
            if name not in meanings:
                raise MissingDocstringError(f"{self.name}: parameter {name} has no :param:")
            found[name] = (
                "required" if default is inspect.Parameter.empty else f"`{default!r}`",
                meanings[name],
            )
        for name in meanings:
            if name not in found and self._is_airflows(name):
                found[name] = ("Airflow's", meanings[name])
        return dict(sorted(found.items(), key=lambda item: item[1][0] != "required"))

    def _is_airflows(self, name: str) -> bool:
        return any(
            name in inspect.signature(vars(owner)["__init__"]).parameters
            for owner in self.kind.__mro__
            if owner not in list(mro(self.kind)) and "__init__" in vars(owner)
        )


class HookClass(PublicClass):
    """A hook: its constructor and every public method."""

    #: Only Airflow calls these.
    SKIPPED = frozenset({"get_connection_form_widgets", "get_ui_field_behaviour"})

    def methods(self) -> dict[str, Any]:
        """Return the public methods, those of the class before those of its base."""
        found: dict[str, Any] = {}
        for owner in mro(self.kind):
            for name, value in vars(owner).items():
                if inspect.isfunction(value) and not name.startswith("_") and name not in self.SKIPPED:
                    found.setdefault(name, value)
        return found

    def details(self, link: FindLink) -> list[str]:
        """Return the parameters of the constructor, then a section for each method."""
        lines = super().details(link)
        for name, method in self.methods().items():
            doc = docstring_of(method, f"{self.name}.{name}")
            lines += [f"### {self.name}.{name}", "", "```python", *_signature(name, method), "```", ""]
            lines += [to_markdown(doc.text, link), ""]
            lines += _meanings(doc.params, "parameter", link)
            lines += _meanings(doc.raises, "raises", link)
        return lines


class ModelClass(PublicClass):
    """What a hook returns: its fields and properties."""

    def fields(self) -> dict[str, str]:
        """Return the meaning of each field and property; empty where the name says it all."""
        meanings = parse(self.kind.__doc__).params
        for owner in mro(self.kind):
            meanings = {**parse(vars(owner).get("__doc__")).params, **meanings}
        names = list(getattr(self.kind, "model_fields", ()))
        if dataclasses.is_dataclass(self.kind):
            names = [field.name for field in dataclasses.fields(self.kind)]
        found = {name: meanings.get(name, "") for name in names}
        for owner in reversed(list(mro(self.kind))):
            for name, value in vars(owner).items():
                if isinstance(value, property | cached_property) and not name.startswith("_"):
                    found[name] = parse(value.__doc__).summary
        return found

    def details(self, link: FindLink) -> list[str]:
        """Return the table of fields."""
        rows = [(f"`{name}`", inline(meaning, link)) for name, meaning in self.fields().items()]
        return [*table(("field", "meaning"), rows), ""]


def attribute_docstrings(kind: type) -> dict[str, str]:
    """Return the string below each attribute of a class, as Python itself forgets it."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for node, after in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            found[node.target.id] = " ".join(str(after.value.value).split())
    return found


def _meanings(meanings: dict[str, str], column: str, link: FindLink) -> list[str]:
    if not meanings:
        return []
    rows = [(f"`{name}`", inline(meaning, link)) for name, meaning in meanings.items()]
    return [*table((column, "meaning"), rows), ""]


def _signature(name: str, method: Any) -> list[str]:
    """Return a method's signature as code, a line for each parameter where one line is too long."""
    signature = inspect.signature(method)
    parameters = []
    for one in signature.parameters.values():
        if one.kind is one.KEYWORD_ONLY and "*" not in parameters:
            parameters.append("*")
        if one.name != "self":
            # The annotations are strings; Python would show them in quotes.
            kind = "" if one.annotation is one.empty else f": {one.annotation}"
            default = "" if one.default is one.empty else f" = {one.default!r}"
            parameters.append(f"{_STARS.get(one.kind, '')}{one.name}{kind}{default}")
    end = f") -> {signature.return_annotation}"
    line = f"{name}({', '.join(parameters)}{end}"
    return [line] if len(line) <= 110 else [f"{name}(", *(f"    {one}," for one in parameters), end]
