"""OpenStack's APIs, one package each, over the core; every package exports `SERVICE` or `SERVICES`."""
