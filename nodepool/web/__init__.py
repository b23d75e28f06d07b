"""HTTP: status lists, dashboard, readiness. Empty in this release."""
