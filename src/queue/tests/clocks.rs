//! Time: running time decides, wall time is only told.

use super::*;

const YEAR_US: i64 = 365 * 86_400_000_000;

#[test]
fn steps_of_the_wall_clock_neither_expire_nor_reorder() {
    let mut rig = Rig::new(settings(false), Limits { max_age_us: 60_000_000, ..limits() });
    for (seq, years) in [(0, 0), (1, 56), (2, -30), (3, 56), (4, 1000), (5, 56)] {
        rig.offset = Offset { us: years * YEAR_US, synced: seq > 2 };
        rig.push(seq, 1).unwrap();
        rig.now += 300_000;
        rig.work();
        rig.look_at_clock();
        if seq == 3 {
            rig.crash();
        }
    }
    assert_eq!(rig.core.ledger().dropped.total(), 0);
    assert_eq!(rig.take(0, 10).iter().map(|t| t.1).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn age_goes_on_over_boots_whatever_the_wall_clock_says() {
    let mut rig = Rig::new(settings(false), Limits { max_age_us: 3_600_000_000, ..limits() });
    rig.push(0, 1).unwrap();
    rig.now = 300_000;
    rig.work();
    // It runs for 50 minutes in which nothing is written for a reading's sake.
    for minute in 1..=50 {
        rig.now = minute * 60_000_000;
        rig.look_at_clock();
    }
    rig.offset = Offset { us: -YEAR_US, synced: true };
    rig.reboot("boot 2");
    assert_eq!(rig.core.ledger().waiting(), 1);
    // Until its age is an hour, of which the file may have missed the last ten minutes.
    rig.now = 9 * 60_000_000;
    rig.push(1, 1).unwrap();
    rig.now += 300_000;
    rig.work();
    assert_eq!(rig.core.ledger().dropped.expired, 0);
    rig.now = 21 * 60_000_000;
    rig.look_at_clock();
    assert_eq!((rig.core.ledger().dropped.expired, rig.core.ledger().waiting()), (1, 1));
    // A boot in between that took nothing counts as far as it is known.
    rig.reboot("boot 3");
    rig.now = 300_000;
    rig.look_at_clock();
    rig.now = 30 * 60_000_000;
    rig.look_at_clock();
    rig.reboot("boot 4");
    rig.now = 25 * 60_000_000;
    rig.look_at_clock();
    assert_eq!((rig.core.ledger().dropped.expired, rig.core.ledger().waiting()), (2, 0));
}

#[test]
fn readings_from_before_the_first_time_sync_come_out_right_in_the_next_boot() {
    let mut rig = Rig::late();
    // A clock that was never set, then set: no reading comes any more.
    rig.offset = Offset { us: 5_000_000, synced: false };
    rig.push(7, 1).unwrap();
    rig.now = 300_000;
    rig.work();
    rig.offset = Offset { us: 56 * YEAR_US, synced: true };
    rig.now += 20_000_000;
    rig.look_at_clock();
    // Then the server is gone, and somebody sets the clock wrong: what was known stays.
    rig.offset = Offset { us: 0, synced: false };
    rig.now += 20_000_000;
    rig.look_at_clock();
    rig.reboot("boot 2");
    // In this boot the clock is never set.
    rig.offset = Offset { us: 2_000_000, synced: false };
    rig.push(8, 1).unwrap();
    rig.now = 300_000;
    rig.work();
    rig.reboot("boot 3");
    let at =
        |offset: i64, seq: i64, estimated| (seq.unsigned_abs(), Wall { unix_us: offset + seq, estimated });
    assert_eq!(rig.walls(), [at(56 * YEAR_US, 7, false), at(2_000_000, 8, true)]);
}
