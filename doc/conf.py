"""Sphinx configuration of the manual."""

from nodepool import __version__

project = "Nodepool"
version = release = __version__
html_title = f"Nodepool {release}"
html_theme = "alabaster"
html_theme_options = {"description": "Keeps a CI system supplied with fresh machines", "fixed_sidebar": True}
html_copy_source = False
exclude_patterns = ["build"]
nitpicky = True
