"""Accounts and their users, projects' members and invitations, and visitors who become one of them."""
