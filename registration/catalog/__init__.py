"""The catalog: a projection of all logs into one SQLite file, so that finding doesn't read every manifest.

`catalog.sqlite` is disposable. It is never trusted for a decision and never needed: where it is missing, damaged, of another
release or another registry it is made anew, and where it can't be kept one in memory answers.
No commit touches it. Whoever asks first catches up from the feed, so an answer includes every commit that was
acknowledged before.

Read `rows` (what is known of one manifest, as a pure fold of its events) and `filters` (what is asked) first; `projection`
writes the one, `selecting` answers the other, `catalog` puts them together.
"""
