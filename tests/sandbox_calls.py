"""Requests to a sandbox's data without a server in between."""

from __future__ import annotations

import json
from functools import partial

from erpnext_bridge.sandbox import User, World, methods, resources
from erpnext_bridge.sandbox.context import Context, Site

ADMINISTRATOR, ALICE, BOB = "Administrator", "alice@example.com", "bob@example.com"
EVERYTHING = dict.fromkeys(
    ("select", "read", "write", "create", "delete", "submit", "cancel", "amend", "report"), 1
)


def field(fieldname, fieldtype="Data", **more):
    label = fieldname.replace("_", " ").title()
    return {"fieldname": fieldname, "fieldtype": fieldtype, "label": label, **more}


def doctype(name, *fields, permissions=(), **more):
    rules = [{"role": "System Manager", "permlevel": 0, **EVERYTHING}, *permissions]
    return {
        "name": name,
        "module": "Custom",
        "custom": 1,
        "fields": list(fields),
        "permissions": rules,
        **more,
    }


def clerk_rule(**rights):
    return {"role": "Clerk", "permlevel": 0, **rights}


def small_world(*doctypes, rows=None, user_permissions=()):
    """DocTypes of a test, with Alice who may do everything and Bob the clerk."""
    world = World(
        doctypes={one["name"]: one for one in doctypes},
        rows=rows or {},
        user_permissions=list(user_permissions),
    )
    world.add_user(User(ALICE, full_name="Alice Adams", roles=["System Manager", "Desk User"]))
    world.add_user(User(BOB, full_name="Bob Brown", roles=["Clerk", "Desk User"]))
    return world


class Data:
    """The data half of one site; every call is a request of its own."""

    def __init__(self, version, world):
        self.site = Site.open(world, version)
        for verb in ("get", "post", "put", "delete"):
            setattr(self, verb, partial(self.resource, verb.upper()))

    def __enter__(self):
        return self

    def __exit__(self, *problem):
        self.site.store.connection.close()

    def request(self, answer, verb, user, form):
        ctx = Context(self.site, user=user, form=form, request_method=verb)
        try:
            value = answer(ctx)
        except Exception:
            self.site.store.rollback()
            raise
        self.site.store.commit()
        return value

    def resource(self, verb, doctype, name=None, /, user=ADMINISTRATOR, **form):
        """The data of an answer of /api/resource; what is no text is sent as JSON."""
        texts = {key: one if isinstance(one, str) else json.dumps(one) for key, one in form.items()}
        form = texts if verb == "GET" else form
        _, body = self.request(lambda ctx: resources.handle_v1(ctx, doctype, name), verb, user, form)
        return body.get("data")

    def call(self, path, /, **params):
        """The value of a method, called by the Administrator."""
        return self.call_as(ADMINISTRATOR, path, **params)

    def call_as(self, user, path, /, **params):
        return self.request(lambda ctx: methods.call(ctx, path, params), "POST", user, params)

    def names(self, doctype, user=ADMINISTRATOR, **form):
        return [row["name"] for row in self.get(doctype, user=user, **form)]
