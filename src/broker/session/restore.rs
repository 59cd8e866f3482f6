//! A session as the file has it, both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::{Replay, Room, Session};
use crate::broker::journal::{DeliveryRow, Flight, SessionImage, SessionRow};
use crate::broker::losses::Loss;
use crate::broker::message::{Delivery, Message};
use crate::mqtt::packet::PacketId;

impl Session {
    /// The session that the file has. `lost` gets those of its messages that find no room.
    pub(crate) fn restore(
        image: &SessionImage,
        messages: &BTreeMap<u64, Arc<Message>>,
        room: Room,
        now: Instant,
        lost: &mut impl FnMut(Delivery, Loss),
    ) -> Self {
        let mut session = Self { expiry_s: image.row.expiry_s, ..Self::new() };
        session.kept.set(true);
        session.filters.clone_from(&image.subscriptions);
        for (filter, wanted) in &image.subscriptions {
            if image.replays.contains(filter) {
                session.replays.push_back(Replay {
                    filter: Arc::clone(filter),
                    qos: wanted.qos,
                    subscription_id: wanted.id,
                    after: None,
                });
            }
        }
        image.incoming.iter().for_each(|(id, is_half)| session.incoming.restore(*id, *is_half));
        session.restore_flights(image, messages);
        for (position, row) in &image.deliveries {
            if row.flight == Flight::Queued {
                session.kept.restore(*position, None);
                match delivery(*position, row, messages) {
                    Some(delivery) => session.enqueue(delivery, room, now, lost),
                    None => session.kept.missing(*position),
                }
            }
        }
        session
    }

    fn restore_flights(&mut self, image: &SessionImage, messages: &BTreeMap<u64, Arc<Message>>) {
        let mut under_way: Vec<(u64, PacketId, u64, &DeliveryRow)> = Vec::new();
        for (position, row) in &image.deliveries {
            match row.flight {
                Flight::Queued => {}
                Flight::Sent { id, order } | Flight::Released { id, order } => {
                    under_way.push((order, id, *position, row));
                }
            }
        }
        under_way.sort_unstable_by_key(|(order, ..)| *order);
        for (order, id, position, row) in under_way {
            let message = delivery(position, row, messages);
            self.under_way += message.as_ref().map_or(0, Delivery::bytes);
            self.kept.restore(position, Some((id, order)));
            self.outgoing.restore(id, message, row.qos);
        }
    }

    /// What the file is to have of it; the messages that it refers to go to `messages`.
    pub(crate) fn image(&self, row: SessionRow, messages: &mut BTreeMap<u64, Arc<Message>>) -> SessionImage {
        let mut image = SessionImage::new(row);
        image.subscriptions.clone_from(&self.filters);
        image.replays = self.replays.iter().map(|replay| Arc::clone(&replay.filter)).collect::<BTreeSet<_>>();
        image.incoming = self.incoming.iter().collect();
        for (id, position, order) in self.kept.in_flight() {
            let row = match self.outgoing.get(id) {
                Some(delivery) => {
                    messages.insert(delivery.message.id, Arc::clone(&delivery.message));
                    DeliveryRow { flight: Flight::Sent { id, order }, ..DeliveryRow::new(delivery) }
                }
                None => DeliveryRow { flight: Flight::Released { id, order }, ..DeliveryRow::released() },
            };
            image.deliveries.insert(position, row);
        }
        for delivery in self.queue.iter().filter(|delivery| delivery.position > 0) {
            messages.insert(delivery.message.id, Arc::clone(&delivery.message));
            image.deliveries.insert(delivery.position, DeliveryRow::new(delivery));
        }
        image
    }

    /// The messages that wait for the client, as far as the file has them.
    pub(crate) fn kept_messages(&self) -> Vec<u64> {
        self.outgoing.iter().chain(self.queue.iter()).filter_map(Delivery::kept).collect()
    }
}

fn delivery(position: u64, row: &DeliveryRow, messages: &BTreeMap<u64, Arc<Message>>) -> Option<Delivery> {
    Some(Delivery {
        message: Arc::clone(messages.get(&row.message?)?),
        position,
        qos: row.qos,
        retain: row.retain,
        subscription_ids: row.subscription_ids.clone(),
    })
}
