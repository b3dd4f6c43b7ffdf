"""What docstrings say with Sphinx's roles and directives, as Markdown, for the API page."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

ROLE = re.compile(r":(?:attr|class|data|func|math|meth|mod):`~?([^`]+)`")
MATH = re.compile(r"^( *)\.\. math::(.*)\n((?:\1 +\S.*\n?|\s*\n(?=\1 +\S))*)", flags=re.MULTILINE)


def markdown(text: str) -> str:
    """Names as code, formulas as blocks of code, and an example as the section that is known as examples.

    Example:
        >>> markdown("See :func:`~stf.api.fit`.")
        'See `stf.api.fit`.'
    """

    def block(found: re.Match[str]) -> str:
        indent, first, rest = found.groups()
        lines = "\n".join(part for part in (first.strip(), textwrap.dedent(rest).strip("\n")) if part)
        return textwrap.indent(f"\n```latex\n{lines}\n```\n", indent)

    text = re.sub(r"^( *)Example:$", r"\1Examples:", text, flags=re.MULTILINE)
    return MATH.sub(block, ROLE.sub(r"`\1`", text))


class Markdown(griffe.Extension):
    """Rewrites every docstring."""

    def on_object(self, *, obj: griffe.Object, **options: Any) -> None:
        """Rewrite that of one object."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)
