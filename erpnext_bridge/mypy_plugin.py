"""
django-stubs' mypy plugin, which knows that documents are made with their child rows: `SalesOrder(items=[…])`.

    [tool.mypy]
    plugins = ["erpnext_bridge.mypy_plugin"]  # in place of mypy_django_plugin.main
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from mypy.types import Instance, get_proper_type
from mypy_django_plugin.main import NewSemanalDjangoPlugin

if TYPE_CHECKING:
    from mypy.plugin import FunctionContext, MethodContext
    from mypy.types import Type

_C = TypeVar("_C", "FunctionContext", "MethodContext")


class DocumentPlugin(NewSemanalDjangoPlugin):
    """Takes child rows out of what django-stubs compares with a model's fields."""

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        hook = super().get_function_hook(fullname)
        return None if hook is None else lambda ctx: hook(self.without_rows(ctx))

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        hook = super().get_method_hook(fullname)
        return None if hook is None else lambda ctx: hook(self.without_rows(ctx))

    def without_rows(self, ctx: _C) -> _C:
        """Return the call without the keyword arguments that are tables of the document that it makes."""
        made = get_proper_type(ctx.default_return_type)
        tables = self.tables(made) if isinstance(made, Instance) else frozenset()
        if not tables or not ctx.arg_names:
            return ctx
        kept = [place for place, name in enumerate(ctx.arg_names[-1]) if name not in tables]
        return ctx._replace(
            arg_names=[*ctx.arg_names[:-1], [ctx.arg_names[-1][place] for place in kept]],
            arg_types=[*ctx.arg_types[:-1], [ctx.arg_types[-1][place] for place in kept]],
            arg_kinds=[*ctx.arg_kinds[:-1], [ctx.arg_kinds[-1][place] for place in kept]],
            args=[*ctx.args[:-1], [ctx.args[-1][place] for place in kept]],
        )

    def tables(self, made: Instance) -> frozenset[str]:
        # Django is set up by then, and not before.
        from erpnext_bridge.children import child_tables
        from erpnext_bridge.documents import Document

        model = self.django_context.get_model_class_by_fullname(made.type.fullname)
        if model is None or not issubclass(model, Document):
            return frozenset()
        return frozenset(child_tables(model))


def plugin(version: str) -> type[DocumentPlugin]:
    """What mypy asks a plugin's module for."""
    return DocumentPlugin
