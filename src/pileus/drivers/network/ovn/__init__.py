"""Networks on OVN: every object becomes rows of the northbound database, and OVN does the rest."""
