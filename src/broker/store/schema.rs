//! The tables of the broker's file.

use rusqlite::Connection;

use crate::queue::store::StoreError;

/// `PRAGMA application_id` of our files: "SGb1".
const APPLICATION_ID: i64 = 0x5347_6231;
/// `PRAGMA user_version` of the newest schema.
const VERSION: i64 = 1;

/// Times are microseconds of `CLOCK_BOOTTIME`, in the boot that `boot` names.
const TABLES: &str = "
CREATE TABLE boot(
  id      INTEGER PRIMARY KEY CHECK (id = 1),
  uuid    TEXT    NOT NULL,     -- of the kernel
  last_us INTEGER NOT NULL      -- when this row was written
) STRICT;
CREATE TABLE session(
  id         INTEGER PRIMARY KEY,
  client_id  TEXT    NOT NULL,
  owner      TEXT,              -- the user whose it is; NULL for anonymous clients
  expiry_s   INTEGER NOT NULL,  -- how long it outlives its connection; 4294967295 for ever
  offline_us INTEGER,           -- since when it has no connection; NULL while it has one
  ends_us    INTEGER            -- when it ends, if it has none; NULL for never
) STRICT;
CREATE TABLE subscription(
  session INTEGER NOT NULL,
  filter  TEXT    NOT NULL,
  options INTEGER NOT NULL,     -- as in SUBSCRIBE: bits 0-1 QoS, 2 no local, 3 retain as published
  id      INTEGER,              -- subscription identifier
  PRIMARY KEY(session, filter)
) STRICT, WITHOUT ROWID;
-- Subscriptions that still get the retained messages of their begin.
CREATE TABLE replay(
  session INTEGER NOT NULL,
  filter  TEXT    NOT NULL,
  PRIMARY KEY(session, filter)
) STRICT, WITHOUT ROWID;
-- Each message once, however many clients wait for it.
CREATE TABLE message(
  id         INTEGER PRIMARY KEY,
  topic      TEXT    NOT NULL,
  flags      INTEGER NOT NULL,  -- bits 0-1 QoS, 2 retain
  expires_us INTEGER,
  properties BLOB,              -- postcard; NULL for none
  payload    BLOB    NOT NULL
) STRICT;
CREATE TABLE delivery(
  session   INTEGER NOT NULL,
  position  INTEGER NOT NULL,   -- in the session's queue
  message   INTEGER,            -- NULL once the client has it
  flags     INTEGER NOT NULL,   -- bits 0-1 QoS, 2 retain
  ids       BLOB,               -- subscription identifiers, postcard; NULL for none
  packet_id INTEGER,            -- NULL while it waits
  sent      INTEGER,            -- the so-manieth that was sent
  PRIMARY KEY(session, position)
) STRICT, WITHOUT ROWID;
-- Messages of QoS 2 that the client has not released.
CREATE TABLE incoming(
  session   INTEGER NOT NULL,
  packet_id INTEGER NOT NULL,
  forwarded INTEGER NOT NULL,   -- a bridge wants it: whether the queue has it, the queue knows
  PRIMARY KEY(session, packet_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE retained(
  topic   TEXT    PRIMARY KEY,
  message INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE will(
  client_id  TEXT    PRIMARY KEY,
  topic      TEXT    NOT NULL,
  flags      INTEGER NOT NULL,  -- bits 0-1 QoS, 2 retain
  expiry_s   INTEGER,
  properties BLOB,
  payload    BLOB    NOT NULL,
  delay_s    INTEGER NOT NULL,
  due_us     INTEGER            -- NULL while the client is connected
) STRICT, WITHOUT ROWID;
";

/// All tables but `boot`.
pub(super) const CONTENT: [&str; 8] =
    ["session", "subscription", "replay", "message", "delivery", "incoming", "retained", "will"];

/// Makes the tables in a new file, or checks that those of an old one are ours.
pub(super) fn prepare(db: &Connection) -> Result<(), StoreError> {
    let application: i64 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (application, version) {
        (0, 0) if tables == 0 => Ok(db.execute_batch(&format!(
            "BEGIN IMMEDIATE; {TABLES}
             PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT;"
        ))?),
        // An older version is brought up to this one here, step by step. There is none yet.
        (APPLICATION_ID, VERSION) => Ok(()),
        // Never set a newer version's file aside: a downgrade must not cost sessions.
        (APPLICATION_ID, newer) => Err(StoreError::Refused(format!(
            "schema version {newer} is newer than this version of the program knows ({VERSION}); install the \
             newer version again, or move the file away and begin without sessions"
        ))),
        (foreign, _) => {
            Err(StoreError::Damaged(format!("not a broker's file of ours (application id {foreign:#x})")))
        }
    }
}
