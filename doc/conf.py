"""Sphinx configuration of the manual."""

import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

from nodepool import __version__

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

project = "Nodepool"
version = release = __version__
extensions = ["configuration_keys"]
html_title = f"Nodepool {release}"
html_theme = "alabaster"
html_theme_options = {"description": "Keeps a CI system supplied with fresh machines", "fixed_sidebar": True}
html_copy_source = False
exclude_patterns = ["build"]
nitpicky = True
man_pages = [
    ("commands", "nodepool", "the command line of Nodepool", "", 1),
    ("running", "nodepool-launcher", "takes requests for nodes and launches them", "", 8),
    ("images", "nodepool-builder", "builds disk images and uploads them", "", 8),
    ("configuration", "nodepool.yaml", "the configuration of Nodepool", "", 5),
]


def _without_links(app: Sphinx, tree: nodes.document, _name: str) -> None:
    """A man page is paper: of a link to another chapter stays the name."""
    if app.builder.name == "man":
        for reference in list(tree.findall(nodes.reference)):
            if reference.get("internal"):
                reference.replace_self(reference.children)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("doctree-resolved", _without_links)
