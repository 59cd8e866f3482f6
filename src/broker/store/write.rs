//! Batches into the file.

use std::sync::Arc;

use rusqlite::{Connection, params};

use super::schema::CONTENT;
use super::value::{Base, flags, ids, properties, signed};
use crate::broker::journal::{
    Changes, DeliveryChange, DeliveryRow, Flight, Image, Parts, SessionChange, SessionRow, WillRow,
};
use crate::broker::message::Message;
use crate::broker::routing::Subscription;
use crate::mqtt::packet::PacketId;

type Done = rusqlite::Result<()>;

/// Writes into an open transaction.
pub(super) struct Writer<'a> {
    pub(super) db: &'a Connection,
    pub(super) base: Base,
}

impl Writer<'_> {
    /// What changed.
    pub(super) fn changes<P>(&self, changes: &Changes<P>) -> Done {
        for (id, message) in changes.messages.iter() {
            match message {
                Some(message) => self.message(message)?,
                None => self.delete("DELETE FROM message WHERE id = ?1", signed(*id))?,
            }
        }
        for (key, change) in &changes.sessions {
            match change {
                SessionChange::Ended => self.end_session(signed(key.0))?,
                SessionChange::Parts(parts) => self.parts(signed(key.0), parts)?,
            }
        }
        for (topic, retained) in changes.retained.iter() {
            match retained {
                Some((message, _)) => self.retained(topic, *message)?,
                None => self.delete("DELETE FROM retained WHERE topic = ?1", &**topic)?,
            }
        }
        for (client_id, will) in changes.wills.iter() {
            match will {
                Some(will) => self.will(client_id, will)?,
                None => self.delete("DELETE FROM will WHERE client_id = ?1", &**client_id)?,
            }
        }
        Ok(())
    }

    /// Everything, in place of what is there.
    pub(super) fn whole(&self, image: &Image) -> Done {
        for table in CONTENT {
            self.db.execute(&format!("DELETE FROM {table}"), [])?;
        }
        image.messages.values().try_for_each(|message| self.message(message))?;
        for (key, session) in &image.sessions {
            let key = signed(key.0);
            self.session(key, &session.row)?;
            for (filter, subscription) in &session.subscriptions {
                self.subscription(key, filter, *subscription)?;
            }
            session.replays.iter().try_for_each(|filter| self.replay(key, filter))?;
            session
                .deliveries
                .iter()
                .try_for_each(|(position, row)| self.delivery(key, signed(*position), row))?;
            session
                .incoming
                .iter()
                .try_for_each(|(id, is_forwarded)| self.incoming(key, *id, *is_forwarded))?;
        }
        image.retained.iter().try_for_each(|(topic, message)| self.retained(topic, *message))?;
        image.wills.iter().try_for_each(|(client_id, will)| self.will(client_id, will))
    }

    fn parts<P>(&self, key: i64, parts: &Parts<P>) -> Done {
        if let Some(row) = &parts.row {
            self.session(key, row)?;
        }
        for (filter, subscription) in parts.subscriptions.iter() {
            match subscription {
                Some(subscription) => self.subscription(key, filter, *subscription)?,
                None => self.delete_of(
                    "DELETE FROM subscription WHERE session = ?1 AND filter = ?2",
                    key,
                    &**filter,
                )?,
            }
        }
        for (filter, replay) in parts.replays.iter() {
            match replay {
                Some(()) => self.replay(key, filter)?,
                None => {
                    self.delete_of("DELETE FROM replay WHERE session = ?1 AND filter = ?2", key, &**filter)?;
                }
            }
        }
        for (position, delivery) in parts.deliveries.iter() {
            let position = signed(*position);
            match delivery {
                Some(DeliveryChange::Whole(row, _)) => self.delivery(key, position, row)?,
                Some(DeliveryChange::Moved(flight)) => self.moved(key, position, *flight)?,
                None => self.delete_of(
                    "DELETE FROM delivery WHERE session = ?1 AND position = ?2",
                    key,
                    position,
                )?,
            }
        }
        for (id, incoming) in parts.incoming.iter() {
            match incoming {
                Some((is_forwarded, _)) => self.incoming(key, *id, *is_forwarded)?,
                None => self.delete_of(
                    "DELETE FROM incoming WHERE session = ?1 AND packet_id = ?2",
                    key,
                    id.get(),
                )?,
            }
        }
        Ok(())
    }

    fn end_session(&self, key: i64) -> Done {
        self.delete("DELETE FROM session WHERE id = ?1", key)?;
        for table in ["subscription", "replay", "delivery", "incoming"] {
            self.delete(&format!("DELETE FROM {table} WHERE session = ?1"), key)?;
        }
        Ok(())
    }

    fn session(&self, key: i64, row: &SessionRow) -> Done {
        let offline = row.offline.map(|offline| self.base.us(offline.since));
        let ends = row.offline.and_then(|offline| offline.ends).map(|ends| self.base.us(ends));
        self.put(
            "INSERT OR REPLACE INTO session VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
            params![key, &*row.client_id, row.owner.as_deref(), row.expiry_s, offline, ends],
        )
    }

    fn subscription(&self, key: i64, filter: &str, subscription: Subscription) -> Done {
        let Subscription { qos, no_local, retain_as_published, id } = subscription;
        let options = flags(qos, no_local) | i64::from(retain_as_published) << 3;
        self.put(
            "INSERT OR REPLACE INTO subscription VALUES(?1, ?2, ?3, ?4)",
            params![key, filter, options, id],
        )
    }

    fn replay(&self, key: i64, filter: &str) -> Done {
        self.put("INSERT OR REPLACE INTO replay VALUES(?1, ?2)", params![key, filter])
    }

    fn message(&self, message: &Arc<Message>) -> Done {
        self.put(
            "INSERT OR REPLACE INTO message VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                signed(message.id),
                &*message.topic,
                flags(message.qos, message.retain),
                message.expires.map(|expires| self.base.us(expires)),
                properties(&message.properties),
                &*message.payload,
            ],
        )
    }

    fn delivery(&self, key: i64, position: i64, row: &DeliveryRow) -> Done {
        let (packet_id, sent) = match row.flight {
            Flight::Queued => (None, None),
            Flight::Sent { id, order } | Flight::Released { id, order } => {
                (Some(id.get()), Some(signed(order)))
            }
        };
        self.put(
            "INSERT OR REPLACE INTO delivery VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                key,
                position,
                row.message.map(signed),
                flags(row.qos, row.retain),
                ids(&row.subscription_ids),
                packet_id,
                sent,
            ],
        )
    }

    fn moved(&self, key: i64, position: i64, flight: Flight) -> Done {
        match flight {
            Flight::Queued => Ok(()),
            Flight::Sent { id, order } => self.put(
                "UPDATE delivery SET packet_id = ?3, sent = ?4 WHERE session = ?1 AND position = ?2",
                params![key, position, id.get(), signed(order)],
            ),
            Flight::Released { id, order } => self.put(
                "UPDATE delivery SET packet_id = ?3, sent = ?4, message = NULL, ids = NULL, flags = 2
                 WHERE session = ?1 AND position = ?2",
                params![key, position, id.get(), signed(order)],
            ),
        }
    }

    fn incoming(&self, key: i64, id: PacketId, is_forwarded: bool) -> Done {
        self.put("INSERT OR REPLACE INTO incoming VALUES(?1, ?2, ?3)", params![key, id.get(), is_forwarded])
    }

    fn retained(&self, topic: &str, message: u64) -> Done {
        self.put("INSERT OR REPLACE INTO retained VALUES(?1, ?2)", params![topic, signed(message)])
    }

    fn will(&self, client_id: &str, will: &WillRow) -> Done {
        let message = &will.message;
        self.put(
            "INSERT OR REPLACE INTO will VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                client_id,
                &*message.topic,
                flags(message.qos, message.retain),
                message.expiry_s,
                properties(&message.properties),
                &*message.payload,
                will.delay_s,
                will.due.map(|due| self.base.us(due)),
            ],
        )
    }

    fn put(&self, sql: &str, values: impl rusqlite::Params) -> Done {
        self.db.prepare_cached(sql)?.execute(values).map(drop)
    }

    fn delete(&self, sql: &str, key: impl rusqlite::ToSql) -> Done {
        self.put(sql, params![key])
    }

    fn delete_of(&self, sql: &str, session: i64, key: impl rusqlite::ToSql) -> Done {
        self.put(sql, params![session, key])
    }
}
