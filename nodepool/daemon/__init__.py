"""What the launcher and the builder are both made of: one decision thread around a pure core.

:mod:`~nodepool.daemon.service` is the life of the process, :mod:`~nodepool.daemon.decisions` its decision thread,
:mod:`~nodepool.daemon.configuration` what it works with. Nothing here knows of nodes or of images.
"""
