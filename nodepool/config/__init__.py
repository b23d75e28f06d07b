"""nodepool.yaml: reading it (``load``), what it says (``settings``), and what a reload cannot change (``restart``)."""
