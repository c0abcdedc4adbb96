"""What somebody may do: roles, who has them where, and what they come to."""
