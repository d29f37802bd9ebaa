"""Signing in with a password: login, the session behind `sid`, CSRF, logout."""

from __future__ import annotations

from typing import Any, NoReturn
from urllib.parse import unquote

from werkzeug.wrappers import Response

from . import accounts, answers, pages
from .errors import AuthenticationError, CSRFTokenError, DoesNotExistError, SecurityException, throw, tied
from .gate import LOCK_SECONDS, SESSION_SECONDS
from .methods import FORBIDDEN, whitelist
from .web import UNSAFE_METHODS, Cookies, Session, WebContext, posts_only

MAX_PASSWORD_LENGTH = 512

FORBIDDEN["frappe.sessions.get_csrf_token"] = "frappe.sessions.get_csrf_token"


def begin(ctx: WebContext) -> None:
    """What Frappe's HTTPRequest does before anything else: session, CSRF, cookies (auth.py)."""
    ctx.cookies = Cookies(ctx.version, dict(ctx.request.cookies))
    if ctx.form.get("cmd") == "login" or ctx.path == "/api/method/login":
        login(ctx)
    else:
        resume(ctx)
    ctx.started = True
    check_csrf(ctx)


# -- login ---------------------------------------------------------------------------------------------


def login(ctx: WebContext) -> None:
    user = authenticate(ctx, ctx.form.get("usr"), ctx.form.get("pwd"))
    ctx.form.pop("pwd", None)
    enter(ctx, user)


def authenticate(ctx: WebContext, login_name: Any, password: Any) -> str:
    """The user whose password this is; fails as LoginManager.authenticate does."""
    if not (login_name and password):
        fail(ctx, "Incomplete login details")
    if len(str(password)) > MAX_PASSWORD_LENGTH:
        fail(ctx, "Password size exceeded the maximum allowed size")
    user = accounts.find(ctx.site, str(login_name))
    check_lock(ctx, ctx.ip)
    if user is None:
        ctx.gate.failed(ctx.ip)
        fail(ctx, "Invalid login credentials")
    check_lock(ctx, user)
    complaint = complaint_about(ctx, user, str(password))
    if complaint:
        ctx.gate.failed(ctx.ip, user)
        fail(ctx, complaint)
    ctx.gate.succeeded(ctx.ip, user)
    return user


def complaint_about(ctx: WebContext, user: str, password: str) -> str:
    if not accounts.check_password(ctx.site, user, password):
        return "Invalid login credentials"
    if user != "Administrator" and not accounts.row(ctx.site, user)["enabled"]:
        return "User disabled or missing"
    return ""


def fail(ctx: WebContext, text: str) -> NoReturn:
    ctx.response["message"] = text
    raise AuthenticationError


def check_lock(ctx: WebContext, key: str) -> None:
    if ctx.gate.locked(key):
        throw(
            ctx,
            f"Your account has been locked and will resume after {LOCK_SECONDS} seconds",
            SecurityException,
        )


def enter(ctx: WebContext, user: str) -> None:
    """A new session (LoginManager.post_login): its cookies, and who it is in the answer."""
    session = Session() if user == "Guest" else ctx.gate.start(user)
    adopt(ctx, session)
    if user != "Guest":
        now = ctx.site.now_text()
        seen = {"last_login": now, "last_active": now, "last_ip": ctx.ip}
        ctx.store.update("User", user, seen)
    info = accounts.row(ctx.site, user)
    ctx.response["message"] = "No App" if info["user_type"] == "Website User" else "Logged In"
    ctx.response["home_page"] = home_page(ctx, user, info)
    ctx.response["full_name"] = accounts.full_name(info)


def home_page(ctx: WebContext, user: str, info: dict[str, Any]) -> str:
    if user == "Guest":
        return "/login"
    if info["user_type"] == "Website User":
        return "/me"
    # apps.py, get_default_path: the route of the only app besides frappe, which is ERPNext's.
    if "erpnext" in ctx.site.world.installed_apps(ctx.version) and ctx.version < 16:
        return "/app/home"
    return "/app" if ctx.version < 16 else "/desk"


# -- the session of a request --------------------------------------------------------------------------


def resume(ctx: WebContext) -> None:
    # sessions.py: `sid` counts as a parameter too.
    sid = str(ctx.form.get("sid") or unquote(ctx.request.cookies.get("sid", "Guest")))
    session = Session() if sid == "Guest" else ctx.gate.find(sid)
    if session is None or not accounts.known(ctx.site, session.user):
        ctx.response["session_expired"] = 1
        ctx.cookies.delete_all()
        session = Session()
    if session.is_lost:
        # Whose it was is told in vain, and the caller goes on as a guest who has just come.
        tied(ctx, DoesNotExistError(), "User None not found")
        enter(ctx, "Guest")
        return
    adopt(ctx, session)


def adopt(ctx: WebContext, session: Session) -> None:
    """Make it the session of this request and put it into the cookies."""
    ctx.session = session
    ctx.user = ctx.session_user = session.user
    info = accounts.row(ctx.site, session.user)
    if session.user != "Guest":
        ctx.language = info.get("language") or ctx.language
    cookies = ctx.cookies
    cookies.set_sid(session.sid, SESSION_SECONDS)
    cookies.set("system_user", "no" if info["user_type"] == "Website User" else "yes")
    cookies.set("full_name", accounts.full_name(info))
    cookies.set("user_id", session.user)
    cookies.set("user_image", info.get("user_image") or "")
    if ctx.version >= 16:
        cookies.set("user_lang", ctx.language)


def check_csrf(ctx: WebContext) -> None:
    """Only a session that loaded the Desk has a token, and only writes are asked for it."""
    expected = ctx.session.csrf_token
    if ctx.request_method not in UNSAFE_METHODS or not expected:
        return
    given = ctx.headers.get("X-Frappe-CSRF-Token") or ctx.form.pop("csrf_token", None)
    if given != expected:
        ctx.traceback_disabled = True
        throw(ctx, "Invalid Request", CSRFTokenError)


# -- methods -------------------------------------------------------------------------------------------


def end(ctx: WebContext) -> None:
    """LoginManager.logout: the caller goes on as a guest, with cookies both set and deleted."""
    ctx.gate.end(ctx.session.sid)
    ctx.cookies.delete_all()
    enter(ctx, "Guest")


@whitelist("frappe.handler.logout", guest=True)
def logout(ctx: WebContext) -> None:
    posts_only(ctx)
    end(ctx)


@whitelist("frappe.handler.web_logout", guest=True)
def web_logout(ctx: WebContext) -> Response:
    posts_only(ctx)
    end(ctx)
    return answers.html(pages.message("Logged Out", "You have been successfully logged out"))


def is_system_user(ctx: WebContext) -> bool:
    return (
        bool(accounts.known(ctx.site, ctx.user))
        and accounts.row(ctx.site, ctx.user)["user_type"] == "System User"
    )


@whitelist("frappe.auth.get_logged_user")
def get_logged_user(ctx: WebContext) -> str:
    return ctx.user


def drop_sessions_of_disabled_users(ctx: WebContext) -> None:
    """User.on_update of core/doctype/user ends the sessions of a user who is switched off."""
    for event, doctype, name, document in ctx.events:
        if event == "on_update" and doctype == "User" and not document.get("enabled"):
            ctx.gate.end_all(name)
