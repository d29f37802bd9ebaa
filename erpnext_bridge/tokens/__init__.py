"""Tokens: stored sealed, refreshed by one for all, and revoked when they are out of use."""
