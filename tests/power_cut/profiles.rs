//! The workloads.

use std::time::Duration;

use serialgate::config::{Durability, WhenFull};

use crate::workload::Act::{
    Age, Commit, Damage, Deliver, DeliverMixed, Push, Reboot, Refuse, Restart, Rewind, SaveAmid, SaveIdle,
};
use crate::workload::Profile;

const KIB: u64 = 1024;
const A_MONTH: Duration = Duration::from_secs(30 * 86_400);

/// One bridge, which has everything acknowledged in order.
const PLAIN: Profile = Profile {
    name: "plain",
    states: 1200,
    acts: 400,
    weights: &[(Push, 5), (Commit, 4), (Deliver, 2), (Rewind, 1)],
    bridges: 1,
    max_size: SMALL,
    gives_up: false,
    max_age: A_MONTH,
    when_full: WhenFull::DropOldest,
    durability: Durability::Late,
    text: 60,
};

/// The smallest queue there is: its log is written back every forty commits.
const SMALL: u64 = 1024 * KIB;

pub(crate) const PROFILES: &[Profile] = &[
    PLAIN,
    // The file is made, and then a few things happen.
    Profile { name: "creation", states: 1200, acts: 12, weights: &[(Push, 1), (Commit, 1)], ..PLAIN },
    // Each bridge in its own time, each cloud in its own order.
    Profile {
        name: "two_bridges",
        states: 1200,
        weights: &[(Push, 6), (Commit, 4), (Deliver, 2), (DeliverMixed, 3), (Rewind, 1), (Refuse, 1)],
        bridges: 2,
        ..PLAIN
    },
    // The clouds refuse much of it for good.
    Profile {
        name: "dead_letters",
        states: 1000,
        weights: &[(Push, 6), (Commit, 4), (Refuse, 6), (DeliverMixed, 1), (SaveIdle, 1), (Restart, 1)],
        bridges: 2,
        ..PLAIN
    },
    // Many acknowledgements between two commits.
    Profile {
        name: "saves",
        states: 800,
        acts: 600,
        weights: &[(Push, 30), (Commit, 20), (SaveAmid, 1), (SaveIdle, 2), (DeliverMixed, 1)],
        bridges: 2,
        text: 10,
        ..PLAIN
    },
    // Most is delivered before it is committed.
    Profile {
        name: "live",
        states: 600,
        weights: &[(Push, 6), (Commit, 1), (Deliver, 6), (DeliverMixed, 2), (Rewind, 1)],
        bridges: 2,
        ..PLAIN
    },
    // The log is written back and begun again, over and over.
    Profile {
        name: "checkpoints",
        states: 1200,
        weights: &[(Push, 4), (Commit, 6), (Deliver, 4)],

        text: 300,
        ..PLAIN
    },
    // Nobody takes anything: the oldest go.
    Profile {
        name: "eviction",
        states: 800,
        acts: 500,
        weights: &[(Push, 6), (Commit, 6), (DeliverMixed, 1), (Rewind, 1)],
        bridges: 2,
        gives_up: true,
        text: 1500,
        ..PLAIN
    },
    // Nobody takes anything: new ones are refused.
    Profile {
        name: "refusal",
        states: 600,
        acts: 500,
        weights: &[(Push, 6), (Commit, 6), (Deliver, 1), (Restart, 1)],
        when_full: WhenFull::DropNewest,
        text: 1500,
        ..PLAIN
    },
    // Time passes.
    Profile {
        name: "age",
        states: 600,
        weights: &[(Push, 6), (Commit, 4), (Deliver, 4), (Age, 1), (SaveIdle, 1)],
        max_age: Duration::from_secs(3600),
        gives_up: true,
        ..PLAIN
    },
    Profile {
        name: "restarts",
        states: 800,
        weights: &[(Push, 8), (Commit, 4), (Deliver, 1), (DeliverMixed, 2), (Restart, 1), (Reboot, 1)],
        bridges: 2,
        ..PLAIN
    },
    Profile {
        name: "quarantine",
        states: 800,
        weights: &[(Push, 12), (Commit, 8), (Deliver, 2), (Reboot, 1), (Damage, 2)],
        ..PLAIN
    },
    // Nothing is sent before it is committed.
    Profile {
        name: "always",
        states: 600,
        weights: &[(Push, 5), (Commit, 4), (Deliver, 3), (DeliverMixed, 1)],
        durability: Durability::Always,
        bridges: 2,
        ..PLAIN
    },
];

/// Workloads that are done once more without enough syncing.
pub(crate) const CONTROLS: &[Profile] = &[
    PLAIN,
    Profile { name: "checkpoints", text: 300, weights: &[(Push, 4), (Commit, 6), (Deliver, 4)], ..PLAIN },
];
