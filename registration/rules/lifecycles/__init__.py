"""The lifecycles that run on the engine. Data and pure functions."""
