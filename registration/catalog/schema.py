"""The tables of `catalog.sqlite`. User queries depend on them: columns are only ever added."""

from __future__ import annotations

FORMAT = "1"
"""The version of the tables; a catalog of another version is rebuilt."""

TABLES = """\
-- One manifest, as it stands now.
CREATE TABLE manifests (
  number INTEGER PRIMARY KEY,   -- of this row in this file; another one after a rebuild
  id TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL,          -- its place; several states, joined by +, where they are active at once
  version INTEGER NOT NULL,     -- how many events it has
  digest TEXT,                  -- of its document: sha256:…
  kind TEXT,                    -- by the policy in force; none: NULL
  name TEXT NOT NULL,           -- what its document calls itself; without a name, the id
  document_version TEXT,        -- which version of itself the document says it is
  creator TEXT,                 -- who acted first
  actor TEXT,                   -- who acted last
  created_at TEXT NOT NULL,     -- times are RFC 3339, in UTC: 2026-01-31T09:30:00.000000Z
  updated_at TEXT NOT NULL,
  entered_at TEXT NOT NULL,     -- since when it has been in this place
  size_bytes INTEGER NOT NULL,  -- of its log
  head TEXT NOT NULL            -- the hash that its log ends in
);

-- Its document, as JSON text: json_extract(document, '$.version').
CREATE TABLE documents (
  manifest INTEGER PRIMARY KEY, -- manifests.number
  document TEXT NOT NULL
);

-- What happened, one event a row.
CREATE TABLE events (
  manifest INTEGER NOT NULL,    -- manifests.number
  version INTEGER NOT NULL,
  time TEXT NOT NULL,
  action TEXT NOT NULL,
  actor TEXT,
  source TEXT,                  -- the place before; of the first event: NULL
  target TEXT NOT NULL,         -- the place after
  stayed_us INTEGER,            -- how long it had been in `source`, in microseconds, where it left it
  PRIMARY KEY (manifest, version)
) WITHOUT ROWID;

CREATE TABLE tags (
  manifest INTEGER NOT NULL,    -- manifests.number
  tag TEXT NOT NULL,
  PRIMARY KEY (manifest, tag)
) WITHOUT ROWID;

-- Which states are active in a place, parents included.
CREATE TABLE places (
  place TEXT NOT NULL,          -- manifests.state
  state TEXT NOT NULL,
  PRIMARY KEY (place, state)
) WITHOUT ROWID;

-- Manifests that could not be read; they have no row above.
CREATE TABLE unreadable (id TEXT PRIMARY KEY) WITHOUT ROWID;

-- The events, by the ids of their manifests.
CREATE VIEW history AS
  SELECT m.id, e.version, e.time, e.action, e.actor, e.source, e.target, e.stayed_us / 1e6 AS stayed_s
  FROM events AS e JOIN manifests AS m ON m.number = e.manifest;
"""

MACHINERY = """\
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX by_id ON manifests (state, id);
CREATE INDEX by_update ON manifests (state, updated_at, id);
CREATE INDEX by_creation ON manifests (state, created_at, id);
CREATE INDEX by_entry ON manifests (state, entered_at);
CREATE INDEX by_name ON manifests (name);
CREATE INDEX by_kind ON manifests (kind, id) WHERE kind > '';
CREATE INDEX without_kind ON manifests (number) WHERE kind = '';
CREATE INDEX by_actor ON events (actor, manifest);
CREATE INDEX by_stay ON events (source, stayed_us) WHERE stayed_us IS NOT NULL;
CREATE INDEX by_tag ON tags (tag, manifest);
"""
"""Every list reads an index that begins with the place, once per place, and merges the results: so a page
costs as much as its rows, with or without a state, and two indexes fewer are needed. A kind that is not computed yet is ''."""

WORDS = "CREATE VIRTUAL TABLE words USING fts5(said, content='', detail=none, columnsize=0, tokenize='ascii')"
"""By `manifests.number`, the words of `registration.catalog.words`. Measured on documents of 1.2 kB, an index of them costs
4 µs and 70 bytes a manifest, besides finding the words, and answers in 0.3 ms what LIKE takes 10 ms for in 20,000; where
SQLite lacks FTS5, the documents are searched."""
