"""Names of files as text that stays on its line: for messages, for lists, for headers of a diff.

Names are bytes that anybody chose. Written as they are, they could end a line, move the cursor or
turn the text around them.
"""

from __future__ import annotations

# What reorders or hides text around it: bidi embeddings, overrides, isolates and marks, and the
# line and paragraph separators (Unicode technical report 36).
_TRICKS = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029"
)

# The escapes of C that git writes; other bytes are three octal digits.
_C_ESCAPES = {
    '"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\t": "\\t",
    "\n": "\\n", "\v": "\\v", "\f": "\\f", "\r": "\\r",
}  # fmt: skip


def text_of(name: bytes) -> str:
    """Return a name as text; bytes that are not UTF-8 become surrogates, as `os.fsdecode` does."""
    return name.decode("utf-8", "surrogateescape")


def printable(text: str | bytes) -> str:
    """Return `text` with control, bidi and undecodable characters written as escapes.

    Printing it changes nothing but one line of the terminal, and works with any output encoding
    that has the other characters. Doing it twice changes nothing.
    """
    if isinstance(text, bytes):
        text = text_of(text)
    if text.isprintable() and text.isascii():
        return text
    return "".join(map(_escaped, text))


def quoted(name: str | bytes) -> str:
    """Return a name for a message: printable, in quotes."""
    return f"'{printable(name)}'"


def header_name(name: bytes) -> str:
    r"""Return a name for the header of a diff: in quotes with the escapes of C where it needs them.

    So does git, and `patch` undoes it: `"a/new\nline"`, `"a/\377"`. Letters of any script stay.
    """
    text = text_of(name)
    if text.isprintable() and text.isascii() and not _C_ESCAPES.keys() & set(text):
        return text
    parts = [_C_ESCAPES.get(letter) or _octal(letter) for letter in text]
    return text if parts == list(text) else f'"{"".join(parts)}"'


def _octal(letter: str) -> str:
    if not _is_unsafe(letter):
        return letter
    return "".join(f"\\{byte:03o}" for byte in letter.encode("utf-8", "surrogateescape"))


def _escaped(letter: str) -> str:
    if not _is_unsafe(letter):
        return letter
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    # As Python writes it in a string: \n, \x1b, \u202e.
    return letter.encode("unicode_escape").decode("ascii")


def _is_unsafe(letter: str) -> bool:
    import unicodedata

    return letter in _TRICKS or unicodedata.category(letter) in ("Cc", "Cs")
