"""The HTML of the site: login, consent, the Desk's landing page, and Frappe's message pages."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from typing import Any

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 0; background: #f4f5f6; color: #1f272e; }
main { max-width: 26rem; margin: 12vh auto 0; padding: 2rem; background: #fff; border-radius: .75rem;
       box-shadow: 0 1px 4px rgb(0 0 0 / 12%); }
h1 { font-size: 1.15rem; margin: 0 0 1rem; }
label { display: block; margin: .75rem 0 .25rem; font-size: .85rem; color: #525c66; }
input { width: 100%; box-sizing: border-box; padding: .5rem; border: 1px solid #c7cdd3; border-radius: .4rem; }
.btn { display: inline-block; margin-top: 1rem; padding: .5rem 1.1rem; border: 1px solid #c7cdd3; cursor: pointer;
       border-radius: .4rem; background: #fff; color: inherit; font: inherit; text-decoration: none; }
.btn-primary { background: #171717; border-color: #171717; color: #fff; }
.error { color: #b52a2a; }
small { color: #7c8792; }
"""


def page(title: str, content: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="generator" content="frappe">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{content}\n</main>\n</body>\n</html>\n"
    )


def message(title: str, text: str) -> str:
    """Frappe's frappe.respond_as_web_page."""
    return page(title, f"<h1>{escape(title)}</h1>\n<p>{text}</p>")


def login(redirect_to: str, time_zone: str, *, error: str = "", user: str = "") -> str:
    """A form with Frappe's own field names, posted to the page itself so that it needs no JavaScript."""
    boot = quoted({"time_zone": {"system": time_zone}})
    complaint = f'<p class="error" role="alert">{escape(error)}</p>\n' if error else ""
    return page(
        "Login",
        f"""<h1>Login to Frappe</h1>
{complaint}<form method="post" action="/login" class="form-signin form-login">
<input type="hidden" name="redirect-to" value="{escape(redirect_to)}">
<label for="login_email">Email</label>
<input id="login_email" name="usr" type="text" value="{escape(user)}" autocomplete="username" required autofocus>
<label for="login_password">Password</label>
<input id="login_password" name="pwd" type="password" autocomplete="current-password" required>
<button class="btn btn-primary btn-login" type="submit">Login</button>
</form>
<script type="text/javascript">
window.frappe = {{ boot: {boot} }};
</script>""",
    )


# Where Frappe puts its two buttons: templates/includes/oauth_confirmation.html of each version.
DENY = {15: "btn btn-sm btn-light btn-block mr-3", 16: "btn btn-sm btn-light mr-3"}
ALLOW = {15: "btn btn-sm btn-primary btn-block", 16: "btn btn-sm btn-primary"}
# The script below speaks to Frappe's website bundle, which the sandbox does not serve.
BUNDLE = """<script type="text/javascript">
window.frappe = { ready: function(start) { start(); } };
window.$ = function(selector) {
return { on: function(event, react) { document.querySelector(selector).addEventListener(event, react); } };
};
</script>"""


def consent(version: int, app: str, scopes: Iterable[str], allow_url: str, deny_url: str) -> str:
    """The page that asks the user; its links are read from the script by clients that know Frappe's."""
    buttons = {
        "deny": f'<button id="deny" class="{DENY[version]}">Deny</button>',
        "allow": f'<button id="allow" class="{ALLOW[version]}">Allow</button>',
    }
    order = ("deny", "allow") if version == 15 else ("allow", "deny")
    items = "\n".join(f"<li>{escape(scope)}</li>" for scope in scopes)
    return page(
        "Confirm Access",
        f"""{BUNDLE}
<div>
<div>
<h1>{escape(app)} wants to access the following details from your account</h1>
<ul>
{items}
</ul>
<div>
{buttons[order[0]]}
{buttons[order[1]]}
</div>
</div>
</div>
<script type="text/javascript">
frappe.ready(function() {{
$('#allow').on('click', function(event) {{
window.location.replace({quoted(allow_url)});
}});
$('#deny').on('click', function(event) {{
window.location.replace({quoted(deny_url)});
}});
}});
</script>
<noscript><a class="btn btn-primary" href="{escape(allow_url)}">Allow</a>
<a class="btn" href="{escape(deny_url)}">Deny</a></noscript>""",
    )


def quoted(value: Any) -> str:
    """A value as a page's script has it."""
    return json.dumps(value).replace("<", "\\u003c")


def desk(version: int, user: str, full_name: str, csrf_token: str) -> str:
    """What a signed-in user sees; loading it is what gives a session its CSRF token."""
    boot = quoted({"csrf_token": csrf_token, "user": user, "version": version})
    return page(
        "Frappe",
        f"""<h1>Signed in as {escape(full_name)}</h1>
<p>This is a sandbox of Frappe {version}. It has an API and OAuth, and no Desk.</p>
<p><small>{escape(user)}</small></p>
<a class="btn" href="/logout">Log out</a>
<script type="text/javascript">
window.frappe = {{ boot: {boot} }};
frappe.csrf_token = frappe.boot.csrf_token;
</script>""",
    )


def home(version: int) -> str:
    return page(
        "Home",
        f'<h1>Frappe {version} sandbox</h1>\n<p><a class="btn btn-primary" href="/login">Login</a></p>',
    )
