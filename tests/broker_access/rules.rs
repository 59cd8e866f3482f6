//! What a user may publish, and subscribe to.

use crate::site::{Site, VERSIONS, said, until};

const USERS: &str = "\
- {name: esp, HASH, publish: [\"sensors/%c/#\", \"up/%u\"], subscribe: [\"cmd/%c/+\", \"all/#\"]}
- {name: mute, HASH, publish: []}
- {name: deaf, HASH, subscribe: []}";

const ESP: &str = "-u esp -P hunter2";

#[test]
fn only_what_is_allowed_is_passed_on() {
    let site = Site::start(USERS);
    for version in VERSIONS {
        let mut watcher =
            site.subscribe(&format!("-V 5 -q 2 -t sensors/# -t up/# -t $SYS/x -F %t={version}=%p"));
        let dropped = site.broker_status("dropped");
        for qos in 0..=2 {
            let publish = |topic: &str| {
                site.publish(&format!("-V {version} {ESP} -i dev1 -q {qos} -t {topic} -m {qos}"))
            };
            for topic in ["sensors/dev2/temp", "sensors", "up/other", "up/esp/x", "$SYS/x", "sensors/dev1x"] {
                let denied = publish(topic);
                assert!(denied.status.success(), "{}", said(&denied));
                let is_told = said(&denied).contains("Not authorized");
                // 3.1.1 has no word for it, and QoS 0 gets no answer at all.
                assert_eq!(is_told, version == "5" && qos > 0, "{topic} {qos}: {}", said(&denied));
            }
            for topic in ["sensors/dev1/temp", "sensors/dev1", "up/esp"] {
                assert!(publish(topic).status.success());
            }
            let heard = watcher.hear(3);
            let expected = ["sensors/dev1/temp", "sensors/dev1", "up/esp"];
            assert_eq!(heard, expected.map(|topic| format!("{topic}={version}={qos}")));
        }
        assert_eq!(site.broker_status("dropped") - dropped, 18);
    }
    let told = site.log().matches("not allowed to publish").count();
    assert_eq!(told, 3, "once for each first level: {}", site.log());
}

#[test]
fn a_subscription_is_granted_as_a_whole_or_not_at_all() {
    let site = Site::start(USERS);
    for version in VERSIONS {
        for filter in ["#", "cmd/#", "cmd/+/x", "cmd/dev2/x", "$share/g/cmd/dev2/x", "$SYS/#", "+/x"] {
            let denied = site.try_subscribe(&format!("-V {version} {ESP} -i dev1 -t {filter}"));
            assert!(
                said(&denied).contains("All subscription requests were denied"),
                "{filter}: {}",
                said(&denied)
            );
        }
        for filter in ["cmd/dev1/x", "cmd/dev1/+", "all/+/x", "all/#", "$share/g/all/#"] {
            drop(site.subscribe(&format!("-V {version} {ESP} -i dev1 -t {filter}")));
        }
        let denied = site.try_subscribe(&format!("-V {version} -u deaf -P hunter2 -t x"));
        assert!(said(&denied).contains("All subscription requests were denied"), "{}", said(&denied));
        drop(site.subscribe(&format!("-V {version} -u mute -P hunter2 -t #")));
    }
    // One of two: what is granted works.
    let mut half = site.subscribe(&format!("-V 5 {ESP} -i dev1 -t cmd/dev2/x -t cmd/dev1/x"));
    assert!(site.publish("-t cmd/dev2/x -m secret -q 1").status.success());
    assert!(site.publish("-t cmd/dev1/x -m mine -q 1").status.success());
    assert_eq!(half.hear(1), ["mine"]);
}

#[test]
fn a_client_id_cannot_widen_the_rules() {
    let site = Site::start(USERS);
    for id in ["+", "#", "dev1/x"] {
        for filter in ["cmd/+/x", "cmd/dev1/x", "cmd/#"] {
            let denied = site.try_subscribe(&format!("-V 5 {ESP} -i {id} -t {filter}"));
            assert!(
                said(&denied).contains("All subscription requests were denied"),
                "{id}: {}",
                said(&denied)
            );
        }
        let denied = site.publish(&format!("-V 5 {ESP} -i {id} -q 1 -t sensors/dev1/x -m x"));
        assert!(said(&denied).contains("Not authorized"), "{id}: {}", said(&denied));
    }
}

#[test]
fn a_will_and_a_retained_message_are_held_to_the_same_rules() {
    let site = Site::start(USERS);
    for version in VERSIONS {
        let words = if version == "5" { "Not authorized" } else { "not authorised" };
        let will = |topic: &str| {
            format!(
                "-V {version} {ESP} -i dev1 -t all/x --will-topic {topic} --will-payload gone --will-qos 1"
            )
        };
        let refused = site.try_subscribe(&will("sensors/dev2/will"));
        assert!(said(&refused).contains(words), "{}", said(&refused));

        let mut watcher = site.subscribe("-V 5 -q 1 -t sensors/dev1/will");
        drop(site.subscribe(&will("sensors/dev1/will")));
        assert_eq!(watcher.hear(1), ["gone"], "a client that is killed leaves its will");

        site.publish(&format!("-V {version} {ESP} -i dev1 -q 1 -r -t other -m forged"));
        assert!(
            site.publish(&format!("-V {version} {ESP} -i dev1 -q 1 -r -t up/esp -m kept")).status.success()
        );
        assert_eq!(site.subscribe("-V 5 -t other -t up/esp").hear(1), ["kept"]);
    }
    until("nobody is left", || site.broker_status("clients") == 0);
    // The gateway's own status is the other one.
    assert_eq!(site.broker_status("retained"), 2);
}
