"""What the demo's web server logs: pages, and never the query string, in which ERPNext hands over its codes."""

from __future__ import annotations

import logging
import re

QUERY = re.compile(r"\?\S*")


class Pages(logging.Filter):
    """Drops the lines of static files, and from all others what follows a question mark."""

    def filter(self, record: logging.LogRecord) -> bool:
        line = record.getMessage()
        record.msg, record.args = QUERY.sub("", line), ()
        return " /static/" not in line
