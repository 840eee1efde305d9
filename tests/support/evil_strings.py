"""Strings that have broken somebody's paths, databases or pages (reliability tests of path traversal and injection)."""

from __future__ import annotations

_CLIMBING = (
    ".", "..", "...", "." * 64, "/", "//", "\\", "../x", "..\\x", "../../../../etc/passwd", "/etc/passwd", "a/../b", "a/b",
    "a\\b", "./x", "x/.", "x/..", "~", "~root", "~/x", "C:\\x", "C:", "\\\\host\\share", "file:///etc/passwd",
    "%2e%2e%2f", "..%2f", "%2e%2e/", "..%c0%af", "..%00/", "....//", "..;/", "/..", "1.2.3/../../x", "1.2.3\\..\\x",
)  # fmt: skip
_TRIMMED = (
    "", " ", "  ", "x ", " x", "x.", "x..", "x. ", "\0", "x\0", "x\0.dcm", "\0x", "x\ty", "x\ny", "x\r\ny", "\n", "\t",
    "1.2.3 ", "1.2.3\0", "1.2.3.", ".1.2.3", "1..2",
)  # fmt: skip
_RESERVED = (
    "CON", "con", "nul", "NUL.txt", "aux", "COM1", "lpt9.dcm", "PRN", "-rf", "--help", "-", "NO_PATIENT_ID", ".hidden",
    ".htaccess", "index.sqlite/x", "x.part", ".part",
)  # fmt: skip
_INJECTING = (
    "; rm -rf /", "$(id)", "`id`", "| id", "& id", "x;y", "$HOME", "${HOME}", "'", '"', "''", "' OR 1=1 --",
    "'; DROP TABLE archive_instances; --", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "{{7*7}}", "${7*7}",
    "%s%s%n", "%d", "{0}", "*", "?", "[a-z]", "{a,b}", "!x", "#x", "x:y", "x=y", "x|y", "x>y", "x<y", "\x1b[31m",
)  # fmt: skip
_LONG = ("9" * 65, "9" * 255, "9" * 256, "9" * 5000, "1." * 200, "a" * 65, "ä" * 200, "../" * 100)
_UNICODE = (
    "ü", "Müller", "山田^太郎", "\u202e1.2.3", "\u200b", "\ufeff", "．．", "∕etc", "\u2024\u2024", "e\u0301", "é", "\ud800",
    "\udcff", "😀", "\U0010ffff", "Ａ", "ı", "İ", "ß", "\u00a0", "\x7f", "\x80",
)  # fmt: skip
EVIL = _CLIMBING + _TRIMMED + _RESERVED + _INJECTING + _LONG + _UNICODE
