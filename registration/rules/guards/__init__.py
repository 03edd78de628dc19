"""Guards: preconditions of actions. Pure functions; see `registration.core.policy`."""
