"""Security headers of all pages of the plugin."""

from __future__ import annotations

from typing import Final

from fruits_features.client.serve.guards import PAGE_POLICY

FRAMED_BY_AIRFLOW: Final = "frame-ancestors 'self'"
"""Airflow's UI shows the pages in frames of its own origin. No other site may."""
POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    f"{FRAMED_BY_AIRFLOW}"
)
"""Most pages have no scripts, images or forms. Their style is in the page."""
REPORT_POLICY: Final = (
    "sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    f"base-uri 'none'; form-action 'none'; {FRAMED_BY_AIRFLOW}"
)
"""A report contains names from users. It runs its scripts in a sandbox, without Airflow's session."""
RECOGNITION_POLICY: Final = f"{PAGE_POLICY}; {FRAMED_BY_AIRFLOW}"
"""The page that recognises photos has a script of its own."""
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
