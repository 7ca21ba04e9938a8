"""Logged-in users of Airflow's API server."""

from __future__ import annotations


def token_of(role: str | None) -> str:
    """Return the token of a user with a role."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    token: str = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="somebody", role=role))
    return token


def headers_of(role: str | None) -> dict[str, str]:
    """Return the headers of a request of a user with a role."""
    return {"Authorization": f"Bearer {token_of(role)}"}
