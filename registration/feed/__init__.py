"""The feed: every committed event once, in commit order for each manifest, for consumers and hooks."""
