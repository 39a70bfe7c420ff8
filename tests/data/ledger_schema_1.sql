BEGIN TRANSACTION;
CREATE TABLE balance (
    identity   TEXT    NOT NULL,
    window     TEXT    NOT NULL,
    end_ms     INTEGER NOT NULL,
    file_limit INTEGER NOT NULL DEFAULT 0,
    posted     INTEGER NOT NULL DEFAULT 0,
    held       INTEGER NOT NULL DEFAULT 0,
    crossed    TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (identity, window)
) WITHOUT ROWID;
INSERT INTO "balance" VALUES('department=eng/concurrent/life','life',0,8,0,3,'');
INSERT INTO "balance" VALUES('department=eng/usd/month','2026-11',1795266030000,1000,352,120,'');
INSERT INTO "balance" VALUES('department=eng/user=ada@example.com/requests/minute','2026-11-21T12:00Z',1795266030000,60,5,3,'');
INSERT INTO "balance" VALUES('department=eng/user=ada@example.com/usd/month','2026-11',1795266030000,4000,352,2620,'');
CREATE TABLE freeze (
    identity TEXT    PRIMARY KEY,
    reason   TEXT    NOT NULL,
    until_ms INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO "freeze" VALUES('department=law/usd/month','audit: closed',1795271430000);
CREATE TABLE granted (
    identity TEXT    NOT NULL,
    window   TEXT    NOT NULL,
    amount   INTEGER NOT NULL,
    PRIMARY KEY (identity, window)
) WITHOUT ROWID;
INSERT INTO "granted" VALUES('department=eng/user=ada@example.com/usd/month','2026-11',40);
CREATE TABLE hold (
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
INSERT INTO "hold" VALUES('expired','expired','2ae3e8b6df925f37a3e82238','',0,1795262490000,1795262500000,'[["department=eng/usd/month", "2026-11", 1795266030000, "usd", 1000, [5000, 8000], 40, 40], ["department=eng/user=ada@example.com/usd/month", "2026-11", 1795266030000, "usd", 4000, [], 40, 40], ["department=eng/user=ada@example.com/requests/minute", "2026-11-21T12:00Z", 1795266030000, "requests", 60, [], 1, 1], ["department=eng/concurrent/life", "life", 0, "concurrent", 8, [], 1, 0]]','overrun=0 unknown=0 posted=40,40,1,0 crossed=');
INSERT INTO "hold" VALUES('late','settled_late','e872bea09b982d2ab7695226','44c6852a26bb01544d4f3fa2',0,1795262490000,1795262500000,'[["department=eng/usd/month", "2026-11", 1795266030000, "usd", 1000, [5000, 8000], 60, 60], ["department=eng/user=ada@example.com/usd/month", "2026-11", 1795266030000, "usd", 4000, [], 60, 60], ["department=eng/user=ada@example.com/requests/minute", "2026-11-21T12:00Z", 1795266030000, "requests", 60, [], 1, 1], ["department=eng/concurrent/life", "life", 0, "concurrent", 8, [], 1, 0]]','overrun=0 unknown=0 posted=55,55,1,0 crossed=');
INSERT INTO "hold" VALUES('open','open','99b009d7adb6ce39b73b014b','',0,1795265430000,0,'[["department=eng/usd/month", "2026-11", 1795266030000, "usd", 1000, [5000, 8000], 100, 100], ["department=eng/user=ada@example.com/usd/month", "2026-11", 1795266030000, "usd", 4000, [], 100, 100], ["department=eng/user=ada@example.com/requests/minute", "2026-11-21T12:00Z", 1795266030000, "requests", 60, [], 1, 1], ["department=eng/concurrent/life", "life", 0, "concurrent", 8, [], 1, 0]]','');
INSERT INTO "hold" VALUES('open-too','open','214edc203edbf2fb6dbaf301','',0,1795265430000,0,'[["department=eng/usd/month", "2026-11", 1795266030000, "usd", 1000, [5000, 8000], 20, 20], ["department=eng/user=ada@example.com/usd/month", "2026-11", 1795266030000, "usd", 4000, [], 20, 20], ["department=eng/user=ada@example.com/requests/minute", "2026-11-21T12:00Z", 1795266030000, "requests", 60, [], 1, 1], ["department=eng/concurrent/life", "life", 0, "concurrent", 8, [], 1, 0]]','');
INSERT INTO "hold" VALUES('refused','open','c3cf7be2eff811f5a5d01edb','',1,1795262560000,0,'[["department=eng/user=ada@example.com/usd/month", "2026-11", 1795266030000, "usd", 4000, [], 2500, 2500], ["department=eng/user=ada@example.com/requests/minute", "2026-11-21T12:00Z", 1795266030000, "requests", 60, [], 1, 1], ["department=eng/concurrent/life", "life", 0, "concurrent", 8, [], 1, 0]]','');
INSERT INTO "hold" VALUES('released','released','f272c9ad6e0a6eebe442a14c','1abcf03133308a63a757ab41',0,1795262490000,1795262430000,'[["department=eng/usd/month", "2026-11", 1795266030000, "usd", 1000, [5000, 8000], 50, 50], ["department=eng/user=ada@example.com/usd/month", "2026-11", 1795266030000, "usd", 4000, [], 50, 50], ["department=eng/user=ada@example.com/requests/minute", "2026-11-21T12:00Z", 1795266030000, "requests", 60, [], 1, 1], ["department=eng/concurrent/life", "life", 0, "concurrent", 8, [], 1, 0]]','overrun=0 unknown=0 posted=0,0,1,0 crossed=');
INSERT INTO "hold" VALUES('settled','settled','1ca917e0fe420109736d61eb','ecd6c057ce9c6ba85b578f4a',0,1795262490000,1795262430000,'[["department=eng/usd/month", "2026-11", 1795266030000, "usd", 1000, [5000, 8000], 300, 300], ["department=eng/user=ada@example.com/usd/month", "2026-11", 1795266030000, "usd", 4000, [], 300, 300], ["department=eng/user=ada@example.com/requests/minute", "2026-11-21T12:00Z", 1795266030000, "requests", 60, [], 1, 1], ["department=eng/concurrent/life", "life", 0, "concurrent", 8, [], 1, 0]]','overrun=0 unknown=0 posted=250,250,1,0 crossed=');
INSERT INTO "hold" VALUES('unknown','settled','','57d322514327206e85f91cb9',0,0,1795262500000,'[["department=eng/usd/month", "2026-11", 1795266030000, "usd", 1000, [5000, 8000], 0, 0], ["department=eng/user=ada@example.com/usd/month", "2026-11", 1795266030000, "usd", 4000, [], 0, 0], ["department=eng/user=ada@example.com/requests/minute", "2026-11-21T12:00Z", 1795266030000, "requests", 60, [], 0, 0], ["department=eng/concurrent/life", "life", 0, "concurrent", 8, [], 0, 0]]','overrun=0 unknown=1 posted=7,7,1,0 crossed=');
CREATE TABLE journal (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    TEXT    NOT NULL,
    id      TEXT    NOT NULL,
    at_ms   INTEGER NOT NULL,
    outcome TEXT    NOT NULL,
    detail  TEXT    NOT NULL,
    record  TEXT    NOT NULL
);
INSERT INTO "journal" VALUES(1,'create','0123456789abcdef0123456789abcdef',1795262430000,'created','','{}');
INSERT INTO "journal" VALUES(2,'reserve','settled',1795262430000,'held','0 0:0:1000:0,0:0:4000:0,0:0:60:0,0:0:8:0','{"v":1}');
INSERT INTO "journal" VALUES(3,'reserve','released',1795262430000,'held','0 0:300:1000:0,0:300:4000:0,0:1:60:0,0:1:8:0','{"v":1}');
INSERT INTO "journal" VALUES(4,'reserve','late',1795262430000,'held','0 0:350:1000:0,0:350:4000:0,0:2:60:0,0:2:8:0','{"v":1}');
INSERT INTO "journal" VALUES(5,'reserve','expired',1795262430000,'held','0 0:410:1000:0,0:410:4000:0,0:3:60:0,0:3:8:0','{"v":1}');
INSERT INTO "journal" VALUES(6,'reserve','open',1795262430000,'held','0 0:450:1000:0,0:450:4000:0,0:4:60:0,0:4:8:0','{"v":1}');
INSERT INTO "journal" VALUES(7,'reserve','open-too',1795262430000,'held','0 0:550:1000:0,0:550:4000:0,0:5:60:0,0:5:8:0','{"v":1}');
INSERT INTO "journal" VALUES(8,'settle','settled',1795262430000,'settled','overrun=0 unknown=0 posted=250,250,1,0 crossed=','{"v":1}');
INSERT INTO "journal" VALUES(9,'release','released',1795262430000,'released','overrun=0 unknown=0 posted=0,0,1,0 crossed=','{"v":1}');
INSERT INTO "journal" VALUES(10,'reserve','refused',1795262500000,'held','1 250:220:1000:0,250:220:4000:0,2:4:60:0,0:4:8:0','{"v":1}');
INSERT INTO "journal" VALUES(11,'expire','expired',1795262500000,'expired','overrun=0 unknown=0 posted=40,40,1,0 crossed=','{}');
INSERT INTO "journal" VALUES(12,'expire','late',1795262500000,'expired','overrun=0 unknown=0 posted=60,60,1,0 crossed=','{}');
INSERT INTO "journal" VALUES(13,'settle','late',1795262500000,'settled_late','overrun=0 unknown=0 posted=55,55,1,0 crossed=','{}');
INSERT INTO "journal" VALUES(14,'settle','unknown',1795262500000,'settled','overrun=0 unknown=1 posted=7,7,1,0 crossed=','{}');
INSERT INTO "journal" VALUES(15,'grant','g1',1795262500000,'department=eng/user=ada@example.com/usd/month','40','{}');
INSERT INTO "journal" VALUES(16,'set','s1',1795262500000,'department=eng/usd/month','2000','{}');
INSERT INTO "journal" VALUES(17,'set','s2',1795262500000,'department=eng/concurrent/life','9','{}');
INSERT INTO "journal" VALUES(18,'freeze','f1',1795262500000,'department=law/usd/month','audit: closed','{}');
INSERT INTO "journal" VALUES(19,'freeze','f2',1795262500000,'user=bob/usd/day','leak','{}');
INSERT INTO "journal" VALUES(20,'unfreeze','u2',1795262500000,'user=bob/usd/day','','{}');
CREATE TABLE limit_override (
    identity  TEXT    PRIMARY KEY,
    amount    INTEGER NOT NULL,
    until_ms  INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO "limit_override" VALUES('department=eng/concurrent/life',9,0);
INSERT INTO "limit_override" VALUES('department=eng/usd/month',2000,1795271430000);
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO "meta" VALUES('created_ms','1795262430000');
INSERT INTO "meta" VALUES('epoch','0123456789abcdef0123456789abcdef');
INSERT INTO "meta" VALUES('organization','acme');
INSERT INTO "meta" VALUES('schema','1');
CREATE TABLE operation (
    id      TEXT PRIMARY KEY,
    payload TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO "operation" VALUES('f1','freeze department=law/usd/month 1795271430000 audit: closed');
INSERT INTO "operation" VALUES('f2','freeze user=bob/usd/day 0 leak');
INSERT INTO "operation" VALUES('g1','grant department=eng/user=ada@example.com/usd/month 2026-11 40');
INSERT INTO "operation" VALUES('s1','set department=eng/usd/month 2000 1795271430000');
INSERT INTO "operation" VALUES('s2','set department=eng/concurrent/life 9 0');
INSERT INTO "operation" VALUES('u2','unfreeze user=bob/usd/day');
CREATE INDEX hold_open ON hold (expires_ms) WHERE state = 'open';
CREATE INDEX hold_closed ON hold (closed_ms) WHERE closed_ms > 0;
CREATE INDEX journal_id ON journal (id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('journal',20);
COMMIT;
