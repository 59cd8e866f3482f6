//! What anybody would write first: rusqlite as it comes, a row per reading, committed in groups.

use std::path::Path;

use rusqlite::{Connection, params};

use crate::sync::{self, Sync};

/// What a stock log grows to before it is overwritten, in bytes: 1000 pages.
const LOG_BYTES: u64 = 1000 * 4096;

#[derive(Debug)]
pub(crate) struct Stock {
    db: Connection,
    next: i64,
}

impl Stock {
    /// Opens it in `dir`, to be used in this thread alone. `grown`: its log has reached its size, as it has after some minutes of
    /// running; else it grows, as it does after each start.
    pub(crate) fn open(dir: &Path, grown: bool) -> anyhow::Result<Self> {
        sync::set(Sync::All);
        let db = Connection::open(dir.join("stock.db"))?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.execute_batch("CREATE TABLE reading(id INTEGER PRIMARY KEY, data TEXT NOT NULL)")?;
        if grown {
            db.execute_batch(&format!(
                "BEGIN; CREATE TABLE filler(data); INSERT INTO filler VALUES(zeroblob({LOG_BYTES}));
                 DROP TABLE filler; COMMIT"
            ))?;
            db.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))?;
        }
        Ok(Self { db, next: 0 })
    }

    /// Stores `rows` and deletes those below `acknowledged`, in one transaction. Gives the number
    /// behind the last row.
    pub(crate) fn commit(&mut self, rows: &[String], acknowledged: i64) -> anyhow::Result<i64> {
        let tx = self.db.transaction()?;
        tx.prepare_cached("DELETE FROM reading WHERE id < ?1")?.execute([acknowledged])?;
        {
            let mut insert = tx.prepare_cached("INSERT INTO reading VALUES(?1, ?2)")?;
            for row in rows {
                insert.execute(params![self.next, row])?;
                self.next += 1;
            }
        }
        tx.commit()?;
        Ok(self.next)
    }
}
