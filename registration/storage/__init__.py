"""Stores: where logs are kept. `files` for real, `memory` for tests and for trying things out."""
