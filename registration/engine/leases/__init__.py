"""Leases: exclusive work on one key, for a time, with fencing numbers. `registration.engine.leases.keeper` says what is promised."""
