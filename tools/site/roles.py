"""What mkdocstrings shows of docstrings: Sphinx's roles become code, and ``::`` opens a code block.

Docstrings of ours say :class:`Name` of a thing and ``text`` of code. Markdown knows the second; this turns the first
into a link to the thing where the site has a page for it, and into code elsewhere.
"""

import re
from collections.abc import Callable
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|func|data|mod|meth|attr|exc):`~?([^`]+)`")
LITERAL = re.compile(r"::\n\n((?:[ ]{4}.*\n?|\n)+)")


def markdown(text: str, link: Callable[[str], str | None] = lambda name: None) -> str:
    """Return a docstring in Markdown; ``link`` gives the full name of what the site documents, None for the rest."""

    def role(found: re.Match[str]) -> str:
        name = found.group(1)
        target = link(name)
        shown = f"`{name.lstrip('.').rsplit('.', 1)[-1] if target else name.lstrip('.')}`"
        return f"[{shown}][{target}]" if target else shown

    return ROLE.sub(role, LITERAL.sub(lambda found: f":\n\n{found.group(1)}", text))


class Roles(griffe.Extension):
    """Rewrite every docstring when a package has been read."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Rewrite the docstrings of all objects of ``pkg``."""
        public = {
            name: f"{pkg.path}.{wing}.{name}"
            for wing in ("training", "export", "runtime")
            for name in (str(one).strip("'") for one in pkg[wing].exports or ())
        }
        self._visit(pkg, lambda name: public.get(name.rsplit(".", 1)[-1]))

    def _visit(self, thing: griffe.Object, link: Callable[[str], str | None]) -> None:
        if thing.docstring:
            thing.docstring.value = markdown(thing.docstring.value, link)
        for member in thing.members.values():
            if not member.is_alias:
                self._visit(member, link)  # type: ignore[arg-type]
