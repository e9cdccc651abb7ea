"""``report.html``: one page with all that a run found, complete in itself (no network, no script)."""
