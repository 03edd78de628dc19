"""Leases: exclusive locks that expire, with fencing numbers. The guarantees are in `registration.engine.leases.keeper`."""
