"""The catalog: a projection of all logs into one SQLite file, so that finding doesn't read every manifest.

`catalog.sqlite` is disposable: no decision depends on it. If it is missing, damaged, or of another release or registry, it
is rebuilt; if it can't be written, a catalog in memory answers.
No commit touches it. Each question first catches up from the feed, so its answer includes every commit acknowledged
before.

Read `rows` (the row of one manifest, as a pure fold of its events) and `filters` (the questions) first; `projection` writes
the former, `selecting` answers the latter, `catalog` combines them.
"""
