//! What the file has.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, Row};

use super::value::{Base, flag, qos, unsigned};
use crate::broker::journal::{DeliveryRow, Flight, Image, Offline, SessionImage, SessionRow, WillRow};
use crate::broker::message::Message;
use crate::broker::routing::{SessionKey, Subscription};
use crate::mqtt::packet::{PacketId, Publish};
use crate::queue::store::StoreError;
use crate::reading::Properties;

/// Everything in the file.
pub(super) fn image(db: &Connection, base: Base) -> Result<Image, StoreError> {
    read(db, base).map_err(|error| match error {
        // What no version of ours writes was not written by us.
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..) => StoreError::Damaged(error.to_string()),
        other => other.into(),
    })
}

fn read(db: &Connection, base: Base) -> rusqlite::Result<Image> {
    let mut image = Image::default();
    each(db, "SELECT id, topic, flags, expires_us, properties, payload FROM message", |row| {
        let message = message(row, base)?;
        image.messages.insert(message.id, Arc::new(message));
        Ok(())
    })?;
    each(db, "SELECT id, client_id, owner, expiry_s, offline_us, ends_us FROM session", |row| {
        let (offline, ends): (Option<i64>, Option<i64>) = (row.get(4)?, row.get(5)?);
        let session = SessionRow {
            client_id: row.get(1)?,
            owner: row.get(2)?,
            expiry_s: row.get(3)?,
            offline: offline
                .map(|us| Offline { since: base.instant(us), ends: ends.map(|us| base.instant(us)) }),
        };
        image.sessions.insert(SessionKey(unsigned(row, 0)?), SessionImage::new(session));
        Ok(())
    })?;
    read_parts(db, &mut image.sessions)?;
    each(db, "SELECT topic, message FROM retained", |row| {
        image.retained.insert(row.get(0)?, unsigned(row, 1)?);
        Ok(())
    })?;
    let wills = "SELECT client_id, topic, flags, expiry_s, properties, payload, delay_s, due_us FROM will";
    each(db, wills, |row| {
        let flags: i64 = row.get(2)?;
        let due: Option<i64> = row.get(7)?;
        let topic: Arc<str> = row.get(1)?;
        let message = Publish {
            expiry_s: row.get(3)?,
            properties: properties(row, 4)?,
            ..Publish::new(topic, row.get::<_, Vec<u8>>(5)?, qos(flags), flag(flags, 2))
        };
        let will = WillRow { message, delay_s: row.get(6)?, due: due.map(|us| base.instant(us)) };
        image.wills.insert(row.get(0)?, will);
        Ok(())
    })?;
    Ok(image)
}

/// What belongs to sessions.
fn read_parts(db: &Connection, sessions: &mut BTreeMap<SessionKey, SessionImage>) -> rusqlite::Result<()> {
    each(db, "SELECT session, filter, options, id FROM subscription", |row| {
        let options: i64 = row.get(2)?;
        let subscription = Subscription {
            qos: qos(options),
            no_local: flag(options, 2),
            retain_as_published: flag(options, 3),
            id: row.get(3)?,
        };
        let filter = row.get(1)?;
        if let Some(session) = of(sessions, row)? {
            session.subscriptions.insert(filter, subscription);
        }
        Ok(())
    })?;
    each(db, "SELECT session, filter FROM replay", |row| {
        let filter: Arc<str> = row.get(1)?;
        if let Some(session) = of(sessions, row)? {
            session.replays.insert(filter);
        }
        Ok(())
    })?;
    each(db, "SELECT session, position, message, flags, ids, packet_id, sent FROM delivery", |row| {
        let (position, delivery) = (unsigned(row, 1)?, delivery(row)?);
        if let Some(session) = of(sessions, row)? {
            session.deliveries.insert(position, delivery);
        }
        Ok(())
    })?;
    each(db, "SELECT session, packet_id, forwarded FROM incoming", |row| {
        let (id, is_forwarded): (u16, bool) = (row.get(1)?, row.get(2)?);
        if let Some(session) = of(sessions, row)? {
            session.incoming.extend(PacketId::new(id).map(|id| (id, is_forwarded)));
        }
        Ok(())
    })?;
    Ok(())
}

fn each(
    db: &Connection,
    sql: &str,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut query = db.prepare(sql)?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}

/// The session that the row names first.
fn of<'a>(
    sessions: &'a mut BTreeMap<SessionKey, SessionImage>,
    row: &Row<'_>,
) -> rusqlite::Result<Option<&'a mut SessionImage>> {
    Ok(sessions.get_mut(&SessionKey(unsigned(row, 0)?)))
}

fn message(row: &Row<'_>, base: Base) -> rusqlite::Result<Message> {
    let flags: i64 = row.get(2)?;
    let expires: Option<i64> = row.get(3)?;
    Ok(Message {
        id: unsigned(row, 0)?,
        is_ours: false,
        topic: row.get(1)?,
        payload: Bytes::from(row.get::<_, Vec<u8>>(5)?),
        qos: qos(flags),
        retain: flag(flags, 2),
        properties: properties(row, 4)?,
        expires: expires.map(|us| base.instant(us)),
    })
}

fn delivery(row: &Row<'_>) -> rusqlite::Result<DeliveryRow> {
    let flags: i64 = row.get(3)?;
    let message = optional(row, 2)?;
    let ids: Option<Vec<u8>> = row.get(4)?;
    let packet_id: Option<u16> = row.get(5)?;
    let order = optional(row, 6)?.unwrap_or(0);
    let flight = match (packet_id.and_then(PacketId::new), message) {
        (None, _) => Flight::Queued,
        (Some(id), Some(_)) => Flight::Sent { id, order },
        (Some(id), None) => Flight::Released { id, order },
    };
    Ok(DeliveryRow {
        message,
        qos: qos(flags),
        retain: flag(flags, 2),
        subscription_ids: ids.map_or(Ok(Vec::new()), |ids| unpack(4, &ids))?,
        flight,
    })
}

fn optional(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    let is_null = row.get_ref(column)? == rusqlite::types::ValueRef::Null;
    if is_null { Ok(None) } else { unsigned(row, column).map(Some) }
}

fn properties(row: &Row<'_>, column: usize) -> rusqlite::Result<Properties> {
    let packed: Option<Vec<u8>> = row.get(column)?;
    packed.map_or_else(|| Ok(Properties::default()), |packed| unpack(column, &packed))
}

fn unpack<T: serde::de::DeserializeOwned>(column: usize, packed: &[u8]) -> rusqlite::Result<T> {
    postcard::from_bytes(packed).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, Box::new(error))
    })
}
