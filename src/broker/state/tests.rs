//! What is kept against a model: whatever happens, the file is at each commit what the memory was,
//! nothing is acknowledged that it does not have, and what comes back is what it has.

use std::future::Future;
use std::task::Waker;

use proptest::prelude::*;

use super::*;
use crate::broker::journal::{Batch, DeliveryRow, Flight, Image};
use crate::flow::Kept;
use crate::mqtt::packet::{Connect, Packet, Publish, Qos, Version, Will};
use crate::mqtt::session::Arrival;

const CLIENTS: [&str; 3] = ["a", "b", "c"];
const TOPICS: [&str; 3] = ["t", "t/x", "u"];
const FILTERS: [&str; 4] = ["t", "t/#", "#", "$share/g/u"];

#[derive(Clone, Debug)]
pub(in crate::broker) enum Step {
    Connect {
        client: usize,
        expiry_s: u32,
        clean: bool,
        will: Option<u32>,
        version: bool,
    },
    Leave {
        client: usize,
        drops_will: bool,
    },
    Subscribe {
        client: usize,
        filter: usize,
        qos: u8,
    },
    Unsubscribe {
        client: usize,
        filter: usize,
    },
    /// From a client, a bridge (3), or ourselves (4).
    Publish {
        from: usize,
        topic: usize,
        qos: u8,
        retain: bool,
        empty: bool,
    },
    Release {
        client: usize,
        id: u16,
    },
    Next {
        client: usize,
    },
    PubAck {
        client: usize,
        id: u16,
    },
    PubRec {
        client: usize,
        id: u16,
        ok: bool,
    },
    PubComp {
        client: usize,
        id: u16,
    },
    GiveWay {
        client: usize,
    },
    Commit,
    /// A batch is taken, and more happens before it is on disk.
    Begin,
    Fail,
    Recover,
    Crash,
}

pub(in crate::broker) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = 0..CLIENTS.len();
    let id = 1_u16..6;
    let connect = (client.clone(), 0_u8..4, any::<bool>(), proptest::option::of(0_u32..2), any::<bool>());
    let publish = (0_usize..5, 0..TOPICS.len(), 0_u8..3, any::<bool>(), any::<bool>());
    let step = prop_oneof![
        4 => connect.prop_map(|(client, expiry, clean, will, version)| Step::Connect {
            client,
            expiry_s: [0, 1000, u32::MAX, u32::MAX][usize::from(expiry)],
            clean: clean && expiry < 3,
            will: will.map(|delay| delay * 100),
            version,
        }),
        2 => (client.clone(), any::<bool>())
            .prop_map(|(client, drops_will)| Step::Leave { client, drops_will }),
        3 => (client.clone(), 0..FILTERS.len(), 0_u8..3)
            .prop_map(|(client, filter, qos)| Step::Subscribe { client, filter, qos }),
        1 => (client.clone(), 0..FILTERS.len())
            .prop_map(|(client, filter)| Step::Unsubscribe { client, filter }),
        8 => publish.prop_map(|(from, topic, qos, retain, empty)| Step::Publish {
            from, topic, qos, retain, empty: empty && retain
        }),
        2 => (client.clone(), id.clone()).prop_map(|(client, id)| Step::Release { client, id }),
        8 => client.clone().prop_map(|client| Step::Next { client }),
        3 => (client.clone(), id.clone()).prop_map(|(client, id)| Step::PubAck { client, id }),
        4 => (client.clone(), id.clone(), prop::bool::weighted(0.9))
            .prop_map(|(client, id, ok)| Step::PubRec { client, id, ok }),
        3 => (client.clone(), id).prop_map(|(client, id)| Step::PubComp { client, id }),
        1 => client.prop_map(|client| Step::GiveWay { client }),
        5 => Just(Step::Commit),
        2 => Just(Step::Begin),
        1 => Just(Step::Fail),
        1 => Just(Step::Recover),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 0..120)
}

/// Told of a commit, and of what the file is to be after it.
type Disk = Box<dyn FnMut(&Batch<Promise>, &Image)>;

/// A broker, and its file.
pub(in crate::broker) struct World {
    /// Told of each commit, and of what the file is to be after it.
    pub(in crate::broker) disk: Option<Disk>,
    state: State,
    file: Image,
    places: [Option<Place>; 3],
    now: Instant,
    /// A batch on its way to the disk, and what the memory was then.
    under_way: Option<(Batch<Promise>, Image)>,
    /// The messages that somebody waits for, by their numbers, and the topics that they clear.
    promised: Vec<(u64, Option<&'static str>, Kept)>,
    is_lost: bool,
    next_id: u16,
    /// The ids of which each client has said PUBREL and not heard PUBCOMP: it must not use them for
    /// another message (MQTT 5.0, 2.2.1).
    releasing: [BTreeSet<PacketId>; 3],
    /// Those of them of which it has said so on this connection: it must not say so again.
    released: [BTreeSet<PacketId>; 3],
}

fn limits() -> Limits {
    Limits { queue_messages: 8, sessions: 3, retained_messages: 2, in_flight: 3, ..Limits::default() }
}

impl World {
    pub(in crate::broker) fn new() -> Self {
        let now = Instant::now();
        let mut world = Self {
            disk: None,
            state: State::new(limits(), now),
            file: Image::default(),
            places: [None; 3],
            now,
            under_way: None,
            promised: Vec::new(),
            is_lost: false,
            next_id: 1,
            releasing: Default::default(),
            released: Default::default(),
        };
        world.start();
        world
    }

    fn start(&mut self) {
        self.state = State::new(limits(), self.now);
        self.state.begin_unread();
        self.state.restore(self.file.clone(), self.now);
        (self.places, self.under_way, self.is_lost) = ([None; 3], None, false);
        self.promised.clear();
    }

    /// What is kept.
    fn image(&self) -> Image {
        let mut image = self.state.image(self.now);
        // Whether a bridge wants a message is asked again, so nobody remembers it.
        image.sessions.values_mut().for_each(|session| {
            session.incoming.values_mut().for_each(|is_forwarded| *is_forwarded = false);
        });
        image
    }

    pub(in crate::broker) fn step(&mut self, step: &Step) {
        match *step {
            Step::Connect { .. } | Step::Leave { .. } => self.come_or_go(step),
            Step::Subscribe { client, filter, qos } => {
                let Some(place) = self.places[client] else { return };
                let filter = SubscribeFilter {
                    filter: FILTERS[filter].into(),
                    qos: Qos::from(qos),
                    no_local: false,
                    retain_as_published: false,
                    retain_handling: RetainHandling::AtSubscribe,
                };
                let id = PacketId::MIN;
                let subscribe = Subscribe { id, filters: vec![filter], subscription_id: Some(7) };
                self.state.subscribe(place, &subscribe).unwrap();
            }
            Step::Unsubscribe { client, filter } => {
                let Some(place) = self.places[client] else { return };
                self.state.unsubscribe(place, &[FILTERS[filter].into()]).unwrap();
            }
            Step::Publish { .. } => self.publish(step),
            Step::Release { client, id } => {
                let (Some(place), Some(id)) = (self.places[client], PacketId::new(id)) else { return };
                if !self.released[client].insert(id) {
                    return;
                }
                self.releasing[client].insert(id);
                self.state.release(place, id).unwrap();
                let answer = Packet::PubComp(Ack::ok(id));
                if self.state.answer(place, answer).unwrap().is_some() {
                    self.hear_comp(client, id);
                }
            }
            Step::Next { client } => self.hear(client),
            Step::PubAck { client, id } => self.with(client, id, Session::puback),
            Step::PubRec { client, id, ok } => {
                let (Some(place), Some(id)) = (self.places[client], PacketId::new(id)) else { return };
                let reason = if ok { Reason::SUCCESS } else { Reason::QUOTA };
                let answer = self.state.pubrec(place, Ack { id, reason }).unwrap();
                if answer == PubRel::Known {
                    self.may_say_rel(place, id);
                }
            }
            Step::PubComp { client, id } => self.with(client, id, Session::pubcomp),
            Step::GiveWay { client } => self.with(client, 1, |session, _| drop(session.give_way())),
            Step::Commit | Step::Begin | Step::Fail | Step::Recover | Step::Crash => self.disk(step),
        }
    }

    fn with(&mut self, client: usize, id: u16, step: impl FnOnce(&mut Session, PacketId)) {
        if let (Some(place), Some(id)) = (self.places[client], PacketId::new(id)) {
            self.state.with_session(place, |session| step(session, id)).unwrap();
        }
    }

    fn come_or_go(&mut self, step: &Step) {
        match *step {
            Step::Connect { client, expiry_s, clean, will, version } => {
                let will = will.map(|delay_s| Will {
                    message: Publish::new("t", "gone", Qos::AtLeastOnce, true),
                    delay_s,
                });
                let connect = Connect {
                    version: if version { Version::V3 } else { Version::V5 },
                    client_id: CLIENTS[client].into(),
                    clean_start: clean,
                    keep_alive_s: 0,
                    session_expiry_s: expiry_s,
                    receive_maximum: 3,
                    maximum_packet_size: None,
                    topic_alias_maximum: 0,
                    username: None,
                    password: None,
                    will,
                };
                let attached = self.state.attach(&connect, None, Arc::default(), self.now);
                let Ok(attached) = attached else { return };
                self.places[client] = Some(attached.place);
                self.released[client].clear();
                if !attached.is_resumed {
                    self.releasing[client].clear();
                }
                attached.will.into_iter().for_each(|will| self.bequeath(will));
            }
            Step::Leave { client, drops_will } => {
                let Some(place) = self.places[client].take() else { return };
                let farewell = Farewell { drops_will, session_expiry_s: None };
                let will = self.state.detach(place, farewell, self.now);
                will.into_iter().for_each(|will| self.bequeath(will));
            }
            _ => {}
        }
    }

    fn bequeath(&mut self, will: Bequest) {
        let origin = Origin::Client { session: will.session, once: None };
        self.state.publish(will.message, origin, self.now);
        self.state.will_published(&will.client_id);
    }

    fn publish(&mut self, step: &Step) {
        let Step::Publish { from, topic, qos, retain, empty } = *step else { return };
        let qos = Qos::from(qos);
        let origin = match from {
            3 => Origin::Bridge,
            4 => Origin::Ours,
            client => {
                let Some(place) = self.places[client] else { return };
                let mut once = None;
                if qos == Qos::ExactlyOnce {
                    self.next_id = self.next_id % 5 + 1;
                    let id = PacketId::new(self.next_id).unwrap();
                    if self.releasing[client].contains(&id) {
                        return;
                    }
                    let arrival = self.state.with_session(place, |session| session.incoming.publish_once(id));
                    if !matches!(arrival, Ok(Ok(Arrival::New))) {
                        return;
                    }
                    once = Some((id, false));
                }
                Origin::Client { session: place.session, once }
            }
        };
        let payload = if empty { "" } else { "x" };
        let publish = Publish::new(TOPICS[topic], payload, qos, retain);
        let published = self.state.publish(publish, origin, self.now);
        let clears = empty.then_some(TOPICS[topic]);
        self.promised.extend(published.kept.map(|kept| (self.state.next_message, clears, kept)));
    }

    /// The client hears what it is to hear next: nothing that the file should know first and does not.
    fn hear(&mut self, client: usize) {
        let Some(place) = self.places[client] else { return };
        match self.state.next_outbound(place, self.now).unwrap() {
            Some(Outbound::Publish(publish)) if publish.qos == Qos::ExactlyOnce => {
                let Some(session) = self.kept(place) else { return };
                let id = publish.id.unwrap();
                let knows = |flight| matches!(flight, Flight::Sent { id: known, .. } if known == id);
                // Unless it was given up meanwhile.
                let is_there =
                    self.image().sessions[&place.session].deliveries.values().any(|row| knows(row.flight));
                assert!(!is_there || session.deliveries.values().any(|row| knows(row.flight)), "{id} sent");
            }
            Some(Outbound::Release(id)) => self.may_say_rel(place, id),
            Some(Outbound::Answer(answer)) => {
                if let Packet::PubComp(ack) = *answer {
                    self.hear_comp(client, ack.id);
                }
            }
            Some(Outbound::Publish(_)) | None => {}
        }
    }

    /// What the file has of a session that is kept.
    fn kept(&self, place: Place) -> Option<crate::broker::journal::SessionImage> {
        let is_kept = self.state.sessions[&place.session].session.kept.is_on();
        (is_kept && !self.is_lost).then(|| self.file.sessions[&place.session].clone())
    }

    fn may_say_rel(&self, place: Place, id: PacketId) {
        let Some(session) = self.kept(place) else { return };
        let goes_on = self.image().sessions[&place.session]
            .deliveries
            .values()
            .any(|row| matches!(row.flight, Flight::Released { id: known, .. } if known == id));
        let is_sent = session
            .deliveries
            .values()
            .any(|row| matches!(row.flight, Flight::Sent { id: known, .. } if known == id));
        assert!(!(goes_on && is_sent), "PUBREL {id} before the file knows that the client has it");
    }

    fn hear_comp(&mut self, client: usize, id: PacketId) {
        self.releasing[client].remove(&id);
        self.released[client].remove(&id);
        let Some(place) = self.places[client] else { return };
        let Some(session) = self.kept(place) else { return };
        let is_new = self.image().sessions[&place.session].incoming.contains_key(&id);
        assert!(is_new || !session.incoming.contains_key(&id), "PUBCOMP {id} before the file forgot it");
    }

    fn disk(&mut self, step: &Step) {
        match step {
            Step::Begin if self.under_way.is_none() && !self.is_lost => {
                let image = self.image();
                self.under_way = Some((self.state.take_batch(), image));
            }
            Step::Commit if !self.is_lost => {
                if self.under_way.is_none() {
                    self.disk(&Step::Begin);
                }
                let (batch, image) = self.under_way.take().unwrap();
                self.committed(batch, &image);
            }
            Step::Fail if !self.is_lost => {
                self.disk(&Step::Begin);
                let batch = self.under_way.take().map(|(batch, _)| batch);
                self.state.not_committed(batch, "no".into());
                self.is_lost = true;
            }
            Step::Recover if self.is_lost => {
                self.is_lost = false;
                let image = self.image();
                let batch = self.state.take_whole(self.now);
                self.committed(batch, &image);
            }
            Step::Crash => self.start(),
            _ => {}
        }
    }

    fn committed(&mut self, batch: Batch<Promise>, expected: &Image) {
        self.file.apply(&batch);
        self.file.sessions.values_mut().for_each(|session| {
            session.incoming.values_mut().for_each(|is_forwarded| *is_forwarded = false);
        });
        assert_eq!(self.file, *expected, "the file is what the memory was");
        if let Some(disk) = &mut self.disk {
            disk(&batch, &self.file);
        }
        self.state.committed(&batch);
        drop(batch);
        self.check_promises();
    }

    /// What is safe, the file has for everybody who still waits for it.
    fn check_promises(&mut self) {
        let image = self.image();
        let mut cx = Context::from_waker(Waker::noop());
        let file = &self.file;
        self.promised.retain_mut(|(message, clears, kept)| {
            if std::pin::Pin::new(kept).poll(&mut cx).is_pending() {
                return true;
            }
            for (key, session) in &image.sessions {
                // Those with the flag were retained, and got to a new subscription since.
                let waits = |row: &DeliveryRow| row.message == Some(*message) && !row.retain;
                for (position, row) in session.deliveries.iter().filter(|(_, row)| waits(row)) {
                    let there = file.sessions.get(key).and_then(|session| session.deliveries.get(position));
                    assert!(there.is_some(), "message {message} at {position} is not safe: {row:?}");
                }
            }
            if let Some(topic) = clears {
                // A newer one may be there, and be cleared in turn by somebody who was promised nothing yet.
                let is_gone = file.retained.get(*topic).is_none_or(|id| id > message);
                assert!(is_gone, "{topic} is cleared, but not in the file");
            }
            for (topic, id) in image.retained.iter().filter(|(_, id)| *id == message) {
                assert_eq!(file.retained.get(topic), Some(id), "a retained message is not safe");
            }
            false
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn the_file_follows_the_memory_and_nothing_is_promised_too_early(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
            world.check_promises();
        }
        world.disk(&Step::Recover);
        world.disk(&Step::Commit);
        world.disk(&Step::Commit);
        prop_assert!(world.promised.is_empty(), "everything is safe in the end");
        // And it comes back as it was, but for what went with the connections.
        let before = world.image();
        world.start();
        world.disk(&Step::Commit);
        let mut after = world.image();
        for (key, session) in &mut after.sessions {
            let online = before.sessions[key].row.offline;
            session.row.offline = online.and(session.row.offline);
        }
        prop_assert_eq!(after, before);
    }
}
