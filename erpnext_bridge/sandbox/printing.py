"""Print as PDF: a real, small document that lists the fields of what is printed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from werkzeug.http import dump_options_header
from werkzeug.wrappers import Response

from . import documents, permissions
from .methods import whitelist
from .web import WebContext

HEADER = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
LINES_A_PAGE = 50


@whitelist("frappe.utils.print_format.download_pdf", guest=True)
def download_pdf(ctx: WebContext, doctype: str, name: str, **options: Any) -> Response:
    document = documents.load(ctx, doctype, name)
    permissions.require(ctx, doctype, "print", document)
    lines = [f"{doctype} {name}", *(f"{key}: {value}" for key, value in printable(document))]
    filename = f"{name.replace(' ', '-').replace('/', '-')}.pdf"
    disposition = dump_options_header("inline" if ctx.version >= 16 else None, {"filename": filename})
    return Response(pdf(lines), headers={"Content-Disposition": disposition}, content_type="application/pdf")


def printable(document: Any) -> Iterable[tuple[str, Any]]:
    for field in document.meta.fields:
        value = document.get(field.fieldname)
        if field.stored and not field.hidden and value not in (None, ""):
            yield field.label, value


def pdf(lines: list[str]) -> bytes:
    """The first page of some lines of text, in the standard Helvetica."""
    moves = b"\n".join(b"(" + escaped(line) + b") Tj T*" for line in lines[:LINES_A_PAGE])
    content = b"BT /F1 11 Tf 14 TL 56 780 Td\n" + moves + b"\nET"
    return assembled(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
            b" /Resources << /Font << /F1 5 0 R >> >> >>",
            b"<< /Length " + str(len(content)).encode() + b" >>\nstream\n" + content + b"\nendstream",
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        ]
    )


def escaped(text: str) -> bytes:
    for character in "\\()":
        text = text.replace(character, f"\\{character}")
    return text.encode("cp1252", "replace")


def assembled(objects: list[bytes]) -> bytes:
    """Objects, the table of where they are, and where that table is."""
    out, places = bytearray(HEADER), []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += str(number).encode() + b" 0 obj\n" + body + b"\nendobj\n"
    table = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    for place in places:
        out += f"{place:010d} 00000 n \n".encode()
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n".encode()
    return bytes(out)
