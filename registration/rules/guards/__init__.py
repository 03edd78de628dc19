"""Guards: what can be demanded before an action is taken. Pure functions; see `registration.core.policy`."""
