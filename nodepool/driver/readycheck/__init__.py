"""readycheck: does a new machine work? Commands that the operator names are run on it over SSH.

The launcher asks before it calls a node of a label with ``ready-check`` ready. Requests and results are in
:mod:`nodepool.driver.readycheck.request`; :class:`nodepool.driver.readycheck.checker.Checker` does the work.
"""
