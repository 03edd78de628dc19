"""The values: ids, times, documents, events, commands, snapshots.

Frozen, without behaviour beyond their own shape, and without I/O. Read `events` first.
"""
