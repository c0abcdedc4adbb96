"""Logins vouched for by others: identity providers, what they say, and whom it makes of somebody."""
