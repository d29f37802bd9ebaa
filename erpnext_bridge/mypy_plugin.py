"""
django-stubs' mypy plugin, which knows what else documents have: child rows that they are made with, links by name, a row's parent.

    [tool.mypy]
    plugins = ["erpnext_bridge.mypy_plugin"]  # in place of mypy_django_plugin.main
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from mypy.typeops import make_simplified_union
from mypy.types import AnyType, Instance, NoneType, get_proper_type
from mypy_django_plugin.lib import helpers
from mypy_django_plugin.main import NewSemanalDjangoPlugin
from mypy_django_plugin.transformers.fields import (
    _get_current_field_from_assignment,
    get_field_descriptor_types,
)

if TYPE_CHECKING:
    from mypy.plugin import AttributeContext, FunctionContext, MethodContext
    from mypy.types import Type

_C = TypeVar("_C", "FunctionContext", "MethodContext")


LINK = "erpnext_bridge.fields.Link"
LINK_FIELD, NAME_FIELD = "erpnext_bridge.fields.LinkField", "erpnext_bridge.fields.NameField"
PARENT = "erpnext_bridge.documents.ChildDocument.parent"


class DocumentPlugin(NewSemanalDjangoPlugin):
    """Takes child rows out of what django-stubs compares with a model's fields, and tells what links lead to."""

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        if fullname == LINK:
            return self.link
        hook = super().get_function_hook(fullname)
        return None if hook is None else lambda ctx: hook(self.without_rows(ctx))

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        hook = super().get_method_hook(fullname)
        return None if hook is None else lambda ctx: hook(self.without_rows(ctx))

    def get_attribute_hook(self, fullname: str) -> Callable[[AttributeContext], Type] | None:
        return self.parent if fullname == PARENT else super().get_attribute_hook(fullname)

    def link(self, ctx: FunctionContext) -> Type:
        """Return the type of a link that a text leads: a name, or the documents of a model ("self", "app.Model")."""
        if not isinstance(get_proper_type(ctx.default_return_type), AnyType):
            return ctx.default_return_type
        field = _get_current_field_from_assignment(ctx, self.django_context)
        if field is None:
            return ctx.default_return_type
        api = helpers.get_typechecker_api(ctx)
        made = helpers.lookup_fully_qualified_typeinfo(api, LINK_FIELD if field.is_relation else NAME_FIELD)
        if made is None:
            return ctx.default_return_type
        if not field.is_relation:
            return Instance(
                made, list(get_field_descriptor_types(made, is_set_nullable=True, is_get_nullable=True))
            )
        linked = helpers.lookup_class_typeinfo(api, field.related_model)
        if linked is None:
            return ctx.default_return_type
        either = make_simplified_union([Instance(linked, []), NoneType()])
        return Instance(made, [either, either])

    def parent(self, ctx: AttributeContext) -> Type:
        """Return the document that a row is in."""
        row = get_proper_type(ctx.type)
        model = (
            self.django_context.get_model_class_by_fullname(row.type.fullname)
            if isinstance(row, Instance)
            else None
        )
        if model is None or model._meta.abstract:
            return ctx.default_attr_type
        parent = helpers.lookup_class_typeinfo(
            helpers.get_typechecker_api(ctx), model._meta.get_field("parent").related_model
        )
        return ctx.default_attr_type if parent is None else Instance(parent, [])

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
