"""Leases: exclusive work on one key, for a time, with fencing numbers. `registration.leases.keeper` says what is promised."""
