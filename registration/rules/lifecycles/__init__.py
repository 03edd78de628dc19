"""Level 3, the definitions: lifecycles that run on the engine. Data and pure functions."""
