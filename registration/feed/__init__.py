"""Level 4, the feed: every committed event once, in commit order for each manifest, for whoever follows a registry."""
