//! Who gets in, and with which rights: tables and properties.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::config::Config;
use crate::mqtt::packet::Version;
use crate::topic;

/// `hunter2`.
const HASH: &str =
    "$argon2id$v=19$m=4096,t=1,p=1$c29tZXNhbHQxNmJ5dGVzIQ$AxbPsoar4jn1B/TXxLkKTzwX53OVAvuM6N1Za4BCEU8";

const HERE: &str = "127.0.0.1";
const THERE: &str = "192.0.2.7";

fn access(users: &str) -> Access {
    let text = format!("broker: {{users: [{}]}}", users.replace("HASH", &format!("password_hash: '{HASH}'")));
    Access::new(&Config::parse(&text, "s.yaml").unwrap().broker, [1; SALT_BYTES])
}

fn connect(user: Option<&str>, password: Option<&str>) -> Connect {
    Connect {
        version: Version::V5,
        client_id: "c".into(),
        clean_start: true,
        keep_alive_s: 0,
        session_expiry_s: 0,
        receive_maximum: 1,
        maximum_packet_size: None,
        topic_alias_maximum: 0,
        username: user.map(Arc::from),
        password: password.map(|password| password.to_owned().into()),
        will: None,
    }
}

fn from(address: &str, certificate: Option<&str>) -> Remote {
    Remote { certificate: certificate.map(Arc::from), ..Remote::at(address.parse().unwrap()) }
}

/// The outcome in a word.
fn admitted(access: &Access, connect: &Connect, remote: &Remote) -> String {
    match access.admit(connect, remote) {
        Admission::Granted(Identity::Anonymous) => "anonymous".into(),
        Admission::Granted(Identity::Certificate(name)) => format!("certificate {name}"),
        Admission::Granted(Identity::Password(name)) => panic!("{name} without a check"),
        Admission::Check { user, exists: true, .. } => format!("check {user}"),
        Admission::Check { user, exists: false, .. } => format!("decoy {user}"),
        Admission::Refused(refusal) => format!("{refusal:?}"),
    }
}

#[test]
fn who_gets_in_without_users() {
    let access = access("");
    for (user, password, address, certificate, expected) in [
        (None, None, HERE, None, "anonymous"),
        (Some("a"), Some("x"), HERE, None, "anonymous"),
        (None, None, "::1", None, "anonymous"),
        (None, None, "::ffff:127.0.0.1", None, "anonymous"),
        (None, None, THERE, None, "Anonymous"),
        (Some("a"), Some("x"), THERE, None, "Anonymous"),
        (None, None, THERE, Some("board"), "certificate board"),
        (Some("board"), Some("x"), THERE, Some("board"), "certificate board"),
        (Some("a"), None, THERE, Some("board"), "OtherName"),
    ] {
        let outcome = admitted(&access, &connect(user, password), &from(address, certificate));
        assert_eq!(outcome, expected, "{user:?} {password:?} {address} {certificate:?}");
    }
}

#[test]
fn who_gets_in_with_users() {
    let access = access("{name: esp, HASH}, {name: board}");
    for (user, password, address, certificate, expected) in [
        (None, None, HERE, None, "anonymous"),
        (None, None, THERE, None, "Anonymous"),
        (Some("esp"), Some("x"), HERE, None, "check esp"),
        (Some("esp"), Some("x"), THERE, None, "check esp"),
        (Some("esp"), None, THERE, None, "check esp"),
        (Some("ESP"), Some("x"), THERE, None, "decoy ESP"),
        (Some("nobody"), Some("x"), HERE, None, "decoy nobody"),
        (Some(""), None, HERE, None, "decoy "),
        (None, Some("x"), HERE, None, "decoy "),
        (Some("board"), Some("x"), THERE, None, "decoy board"),
        (None, None, THERE, Some("board"), "certificate board"),
        (Some("board"), Some("x"), THERE, Some("board"), "certificate board"),
        (None, None, THERE, Some("esp"), "certificate esp"),
        (None, None, HERE, Some("stranger"), "UnknownCertificate"),
        (Some("esp"), Some("hunter2"), THERE, Some("board"), "OtherName"),
    ] {
        let outcome = admitted(&access, &connect(user, password), &from(address, certificate));
        assert_eq!(outcome, expected, "{user:?} {password:?} {address} {certificate:?}");
    }
}

#[test]
fn a_decoy_costs_what_the_users_hashes_cost() {
    let Admission::Check { hash, .. } =
        access("{name: esp, HASH}").admit(&connect(Some("x"), None), &from(THERE, None))
    else {
        panic!("no check");
    };
    assert!(hash.reveal().contains("$m=4096,t=1,p=1$") && !hash.fits(b"hunter2"));
}

#[test]
fn neither_hashes_nor_passwords_are_shown() {
    let access = access("{name: esp, HASH}");
    let shown = format!("{access:?} {:?}", access.admit(&connect(Some("esp"), None), &from(THERE, None)));
    assert!(shown.contains("esp") && !shown.contains("argon2") && !shown.contains("AxbP"), "{shown}");
    for refusal in [Denial::NoSuchUser, Denial::WrongPassword] {
        assert_eq!(refusal.told(), Denial::NoSuchUser.told(), "a client must not learn who exists");
    }
}

#[test]
fn rights_follow_from_the_identity_and_end_with_the_user() {
    let before = access("{name: esp, HASH, publish: [a/%c], subscribe: []}");
    let esp = Identity::Password("esp".into());
    let rights = before.rights(&esp, "c").unwrap();
    assert!(rights.may_publish("a/c") && !rights.may_publish("a/d") && !rights.may_subscribe("a/c"));
    assert_eq!(before.rights(&Identity::Anonymous, "c"), Some(Rights::everything()));
    assert_eq!(before.rights(&Identity::Certificate("other".into()), "c"), None);

    let after = access("{name: other}");
    assert_eq!(after.rights(&esp, "c"), None);
    assert!(!after.knows("esp") && after.knows("other"));
    let none = access("");
    assert_eq!(none.rights(&esp, "c"), None, "without users, only certificates count");
    assert_eq!(none.rights(&Identity::Certificate("any".into()), "c"), Some(Rights::everything()));
}

fn under(filters: &[&str], client_id: &str, user: &str) -> Rights {
    let filters: Vec<Arc<str>> = filters.iter().map(|&filter| filter.into()).collect();
    let filters = rights::expand(&filters, client_id, user);
    Rights::new(Some(filters.clone()), Some(filters))
}

#[test]
fn what_may_be_published() {
    for (filters, topic, expected) in [
        (&["a/+"][..], "a/b", true),
        (&["a/+"], "a/b/c", false),
        (&["x", "a/#"], "a", true),
        (&["#"], "a", true),
        (&["#"], "$other", false),
        (&["$other/#"], "$other", true),
        (&["#", "$SYS/#"], "$SYS/broker/uptime", false),
        (&[], "a", false),
        (&["a/%c"], "a/c1", true),
        (&["a/%c"], "a/%c", false),
        (&["a/dev-%c-%u/x"], "a/dev-c1-u1/x", true),
        (&["a/100%"], "a/100%", true),
        (&["a/%x%%u"], "a/%x%u1", true),
    ] {
        assert_eq!(under(filters, "c1", "u1").may_publish(topic), expected, "{filters:?} {topic}");
    }
    assert!(Rights::everything().may_publish("$other"));
    assert!(!Rights::everything().may_publish("$SYS/x"), "that is the broker's own");
}

#[test]
fn what_may_be_subscribed_to() {
    for (filters, wanted, expected) in [
        (&["a/+"][..], "a/b", true),
        (&["a/+"], "a/+", true),
        (&["a/+"], "a/#", false),
        (&["a/#"], "#", false),
        (&["a/#"], "$share/g/a/+", true),
        (&["a/#"], "$share/g/b", false),
        (&["#"], "$share/g/#", true),
        (&["#"], "$SYS/#", false),
        (&["#", "$SYS/#"], "$SYS/#", true),
        // No filter at all: that is another mistake, which has its own reason code.
        (&[], "a#", true),
        (&[], "a", false),
    ] {
        assert_eq!(under(filters, "c1", "u1").may_subscribe(wanted), expected, "{filters:?} {wanted}");
    }
    assert!(Rights::everything().may_subscribe("$SYS/#"));
}

#[test]
fn a_client_id_never_widens_a_filter() {
    for bad in ["+", "#", "a/b", "/", "a+", "x#", ""] {
        for filter in ["a/%c/#", "%c", "a/%c", "x%cx/y"] {
            assert_eq!(rights::expand(&[filter.into()], bad, "u"), [], "{filter} with {bad}");
            let filter = filter.replace("%c", "%u");
            assert_eq!(rights::expand(&[filter.clone().into()], "c", bad), [], "{filter} with {bad}");
        }
    }
    assert_eq!(rights::expand(&["%c/#".into()], "$SYS", "u"), []);
    assert_eq!(*rights::expand(&["a/%c".into()], "$SYS", "u"), ["a/$SYS".into()]);
    // What is put in is not looked at again.
    assert_eq!(*rights::expand(&["a/%c/%u".into()], "%u", "u"), ["a/%u/u".into()]);
    assert_eq!(rights::expand(&["%c".into()], &"x".repeat(topic::MAX_BYTES + 1), "u"), []);
}

proptest! {
    /// Whatever the client id is, a topic that it opens has the levels of the filter, and the id in
    /// the place of `%c`.
    #[test]
    fn a_client_id_opens_nothing_but_its_own_level(id in "[a+#/$%cu]{0,4}", topic in "[a+#/$%cu]{1,8}") {
        prop_assume!(topic::is_valid_name(&topic));
        if under(&["d/%c/t"], &id, "u").may_publish(&topic) {
            prop_assert_eq!(topic, format!("d/{id}/t"));
        }
    }

    /// A granted subscription brings only topics that one of the filters allows.
    #[test]
    fn nothing_comes_by_a_subscription_but_what_is_allowed(
        allowed in "[ab+]/[ab+](/#)?", wanted in "(#|[ab+](/[ab+](/[ab+#])?)?(/#)?)", topic in "[abz](/[abz](/[abz])?)?",
    ) {
        prop_assume!(topic::is_valid_filter(&allowed) && topic::is_valid_filter(&wanted));
        if under(&[&allowed], "c", "u").may_subscribe(&wanted) && topic::matches(&wanted, &topic) {
            prop_assert!(topic::matches(&allowed, &topic), "{} by {} under {}", topic, wanted, allowed);
        }
    }
}

fn source(address: &str) -> Source {
    address.parse::<IpAddr>().unwrap().into()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn failures_are_paused_ever_longer_and_forgiven_by_a_success() {
    let (mut throttle, start) = (Throttle::default(), Instant::now());
    let esp = source(THERE);
    for failure in 1..=5 {
        assert!(!throttle.is_paused(esp, "esp", start), "{failure}");
        throttle.failed(esp, "esp", start);
    }
    assert!(!throttle.is_paused(esp, "esp", start), "five are free");
    let mut now = start;
    for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
        throttle.failed(esp, "esp", now);
        assert!(throttle.is_paused(esp, "esp", now + pause * SECOND - SECOND / 2), "{pause}");
        now += pause * SECOND;
        assert!(!throttle.is_paused(esp, "esp", now), "{pause}");
    }
    assert_eq!(throttle.failures(esp, "esp"), 13);
    throttle.succeeded(esp, "esp");
    throttle.failed(esp, "esp", now);
    assert!(!throttle.is_paused(esp, "esp", now));
}

#[test]
fn an_attacker_locks_out_nobody_elsewhere() {
    let (mut throttle, now) = (Throttle::default(), Instant::now());
    for _ in 0..100 {
        throttle.failed(source(THERE), "esp", now);
    }
    assert!(throttle.is_paused(source(THERE), "esp", now));
    assert!(throttle.is_paused(source(THERE), "other", now), "nor may it go on with other names");
    assert!(!throttle.is_paused(source("192.0.2.8"), "esp", now));
    assert!(!throttle.is_paused(source(HERE), "esp", now));
    assert!(!throttle.is_paused(source(THERE), "esp", now + 61 * SECOND));
}

#[test]
fn on_this_machine_only_the_user_is_paused() {
    let (mut throttle, now) = (Throttle::default(), Instant::now());
    for _ in 0..100 {
        throttle.failed(source("::1"), "esp", now);
    }
    assert!(throttle.is_paused(source(HERE), "esp", now));
    assert!(!throttle.is_paused(source(HERE), "other", now));
}

#[test]
fn many_names_or_addresses_of_one_network_are_one_attacker() {
    let (mut throttle, now) = (Throttle::default(), Instant::now());
    for n in 0..21 {
        assert!(!throttle.is_paused(source(&format!("2001:db8::{n:x}")), "x", now), "{n}");
        throttle.failed(source(&format!("2001:db8::{n:x}")), &format!("user{n}"), now);
    }
    assert!(throttle.is_paused(source("2001:db8::ffff:1"), "esp", now));
    assert!(!throttle.is_paused(source("2001:db8:0:1::1"), "esp", now));
}

#[test]
fn old_failures_are_forgotten_and_the_table_is_bounded() {
    let (mut throttle, start) = (Throttle::default(), Instant::now());
    for _ in 0..10 {
        throttle.failed(source(HERE), "esp", start);
    }
    let later = start + 15 * 60 * SECOND;
    throttle.failed(source(HERE), "esp", later);
    assert_eq!(throttle.failures(source(HERE), "esp"), 1);
    for n in 0..5000 {
        throttle.failed(source(HERE), &format!("user{n}"), later + SECOND);
    }
    assert_eq!(throttle.failures(source(HERE), "esp"), 0, "the oldest gave way");
    assert_eq!(throttle.failures(source(HERE), "user4999"), 1);
    assert!(format!("{throttle:?}").matches("failures").count() <= 2000);
}

#[test]
fn a_login_is_remembered_by_all_its_parts() {
    let hash = Hash::parse(HASH).unwrap();
    let other = Hash::decoy(Some(&hash), [1; SALT_BYTES]).unwrap();
    let mut known = Known::new(&[1; 32]);
    let print = known.print("esp", b"hunter2", &hash);
    known.remember(print);
    assert!(known.contains(&known.print("esp", b"hunter2", &hash)));
    for (user, password, hash) in [
        ("es", &b"phunter2"[..], &hash),
        ("esp", b"hunter", &hash),
        ("esp", b"hunter2", &other),
        ("Esp", b"hunter2", &hash),
    ] {
        assert!(!known.contains(&known.print(user, password, hash)), "{user}");
    }
    assert!(Known::new(&[2; 32]).print("esp", b"hunter2", &hash) != print, "the key counts");
    for n in 0..1000_u32 {
        let print = known.print("esp", &n.to_be_bytes(), &hash);
        known.remember(print);
    }
    assert!(!known.contains(&print), "the oldest gave way");
    known.clear();
    assert!(!known.contains(&known.print("esp", &999_u32.to_be_bytes(), &hash)));
}

#[test]
fn the_same_is_told_once_an_hour_and_not_without_end() {
    let (mut noted, start) = (Noted::default(), Instant::now());
    assert!(noted.is_news("c", "a", start));
    assert!(!noted.is_news("c", "a", start + 59 * 60 * SECOND));
    assert!(noted.is_news("c", "b", start) && noted.is_news("d", "a", start));
    assert!(noted.is_news("c", "a", start + 3600 * SECOND));
    let told = (0..10_000).filter(|n| noted.is_news(&n.to_string(), "a", start + 3600 * SECOND)).count();
    assert!(told <= 500, "{told}");
}
