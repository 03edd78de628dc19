"""Level 4, names: the holders of documents' names, and the aliases of names.

Read `reservations` first: how one manifest, and no other, comes to hold a name. `registry` combines everything, `upkeep`
reports and completes what a crash interrupted.
"""
