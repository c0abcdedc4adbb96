"""Who somebody is: proofs of every kind, and the tokens that come of them."""
