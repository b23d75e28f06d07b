"""The directive ``configuration-keys``: a table of all keys, read out of the schemas by :mod:`tools.reference`."""

from __future__ import annotations

from collections.abc import Iterator

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from tools.reference import Section, sections


class ConfigurationKeys(SphinxDirective):
    """One table per section."""

    def run(self) -> list[nodes.Node]:
        """The tables."""
        return [node for section in sections() for node in self.parse_text_to_nodes("\n".join(_table(section)))]


def _table(section: Section) -> Iterator[str]:
    yield f".. rubric:: {section.title} (:doc:`{section.page}`)"
    yield from ("", ".. list-table::", "   :header-rows: 1", "   :widths: 46 14 40", "")
    yield from ("   * - Key", "     - Required", "     - Accepted value")
    for key in section.keys:
        yield from (f"   * - ``{key.path}``", f"     - {'yes' if key.required else ''}", f"     - {key.value}")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("configuration-keys", ConfigurationKeys)
    return {"parallel_read_safe": True}
