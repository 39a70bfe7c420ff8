-- The embedded ledger. Amounts are integers in the budget's unit (usd: nano-dollars), instants Unix ms.
CREATE TABLE IF NOT EXISTS meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS balance (
    identity   TEXT    NOT NULL,
    window     TEXT    NOT NULL,
    end_ms     INTEGER NOT NULL,
    file_limit INTEGER NOT NULL DEFAULT 0,
    posted     INTEGER NOT NULL DEFAULT 0,
    held       INTEGER NOT NULL DEFAULT 0,
    crossed    TEXT    NOT NULL DEFAULT '',
    bucket_ms  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (identity, window)
) WITHOUT ROWID;

-- What rolling windows are made of. The slot is the bucket's number since the Unix epoch.
CREATE TABLE IF NOT EXISTS bucket (
    identity TEXT    NOT NULL,
    slot     INTEGER NOT NULL,
    posted   INTEGER NOT NULL,
    PRIMARY KEY (identity, slot)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS hold (
    id            TEXT    PRIMARY KEY,
    state         TEXT    NOT NULL,
    payload       TEXT    NOT NULL,
    close_payload TEXT    NOT NULL DEFAULT '',
    candidate     INTEGER NOT NULL,
    expires_ms    INTEGER NOT NULL,
    closed_ms     INTEGER NOT NULL DEFAULT 0,
    rows          TEXT    NOT NULL,
    closing       TEXT    NOT NULL DEFAULT ''
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS hold_open ON hold (expires_ms) WHERE state = 'open';
CREATE INDEX IF NOT EXISTS hold_closed ON hold (state, closed_ms) WHERE closed_ms > 0;

-- Written by administrators only.
CREATE TABLE IF NOT EXISTS limit_change (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    identity TEXT    NOT NULL,
    added    INTEGER NOT NULL,
    amount   INTEGER NOT NULL,
    from_ms  INTEGER NOT NULL,
    until_ms INTEGER NOT NULL
);

CREATE INDEX IF NOT EXISTS limit_change_of ON limit_change (identity);

CREATE TABLE IF NOT EXISTS freeze (
    identity TEXT    PRIMARY KEY,
    reason   TEXT    NOT NULL,
    until_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS granted (
    identity TEXT    NOT NULL,
    window   TEXT    NOT NULL,
    amount   INTEGER NOT NULL,
    PRIMARY KEY (identity, window)
) WITHOUT ROWID;

-- Standing orders. The meta table has their version.
CREATE TABLE IF NOT EXISTS standing_order (
    seq   INTEGER PRIMARY KEY AUTOINCREMENT,
    id    TEXT    NOT NULL,
    said  TEXT    NOT NULL,
    at_ms INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS operation (
    id      TEXT PRIMARY KEY,
    payload TEXT NOT NULL
) WITHOUT ROWID;

-- Grants that were asked for, and how that was answered ('' and 0: not yet).
CREATE TABLE IF NOT EXISTS request (
    id          TEXT    PRIMARY KEY,
    asked_ms    INTEGER NOT NULL,
    ends_ms     INTEGER NOT NULL,
    said        TEXT    NOT NULL,
    answered_ms INTEGER NOT NULL DEFAULT 0,
    answer      TEXT    NOT NULL DEFAULT ''
) WITHOUT ROWID;

-- Records that were entered, each once by its id.
CREATE TABLE IF NOT EXISTS entered (
    id      TEXT    PRIMARY KEY,
    payload TEXT    NOT NULL,
    at_ms   INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS entered_at ON entered (at_ms);

-- What processes tell each other: at most 65 lines.
CREATE TABLE IF NOT EXISTS board (
    process TEXT    PRIMARY KEY,
    at_ms   INTEGER NOT NULL,
    text    TEXT    NOT NULL
);

CREATE TABLE IF NOT EXISTS journal (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    TEXT    NOT NULL,
    id      TEXT    NOT NULL,
    at_ms   INTEGER NOT NULL,
    outcome TEXT    NOT NULL,
    detail  TEXT    NOT NULL,
    record  TEXT    NOT NULL
);

CREATE INDEX IF NOT EXISTS journal_id ON journal (id);

-- Archives that follow the journal: up to where each has it (0: it has nothing yet).
CREATE TABLE IF NOT EXISTS follower (
    name TEXT    PRIMARY KEY,
    seq  INTEGER NOT NULL
) WITHOUT ROWID;
