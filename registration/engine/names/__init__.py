"""Level 4, names: who holds what a document calls itself, and where the aliases of a name point.

`reservations` first: how one manifest, and no other, comes to hold a name. `registry` puts it together, `upkeep` tells
and finishes what a crash left.
"""
