"""What the cloud serves, where, and who sees it."""
