"""Storage of logs: the ledger over a backend; `files` for production, `memory` for tests and experiments."""
