//! Topic names and filters: section 4.7 of both versions.

use super::format::end_after;
use super::packet::*;
use super::site::Site;

/// `#` stands alone in the last level, `+` alone in its level; anything else, and nothing at all, is no
/// filter and closes the connection.
///
/// 5.0: 4.7.1-1 4.7.1-2 4.7.3-1
/// 3.1.1: 4.7.1-2 4.7.1-3 4.7.3-1
#[test]
fn wildcards_fill_their_level() {
    for version in BOTH {
        for filter in [
            "",
            "a#",
            "a/b#",
            "#/a",
            "a/#/b",
            "##",
            "a+",
            "+a",
            "a/+b",
            "a/b+/c",
            "++",
            "+#",
            "a/+#",
            "$share/g/t#",
        ] {
            let code = if filter.is_empty() && version == V3 { 0x82 } else { 0x8F };
            end_after(version, &subscribe(version, 1, &[], &[(b"ok", 0), (filter.as_bytes(), 0)]))
                .expect(version, code);
        }
        let site = Site::new();
        let mut peer = site.client(version, "c");
        for filter in
            ["#", "a/#", "/#", "+/#", "+", "/+", "+/", "+/+", "a/+/b/+", "/", "//", "a//b", " ", "$SYS/#"]
        {
            peer.subscribe(filter, 0);
        }
    }
}

/// A filter matches level by level: `+` one level, also an empty one; `#` the level above it as well.
///
/// 5.0: 4.7.3-4
/// 3.1.1: 4.7.3-4
#[test]
fn filters_match_level_by_level() {
    let cases: [(&str, &[&str], &[&str]); 18] = [
        ("a", &["a"], &["A", "/a", "a/", "ab"]),
        ("a/b", &["a/b"], &["a", "a/b/", "/a/b"]),
        ("a/", &["a/"], &["a"]),
        ("/", &["/"], &["a", "//", "/a"]),
        ("/a", &["/a"], &["a"]),
        ("a//b", &["a//b"], &["a/b", "a/x/b"]),
        ("+", &["a", "é", " "], &["/", "/a", "a/b", "a/"]),
        ("/+", &["/a", "/"], &["a", "//", "/a/b"]),
        ("+/+", &["a/b", "/a", "a/", "/"], &["a", "a/b/c", "//"]),
        ("a/+/b", &["a/x/b", "a//b"], &["a/b", "a/x/y/b"]),
        ("+/", &["a/", "/"], &["a", "a/b"]),
        ("a/#", &["a", "a/", "a/b", "a/b/c", "a//"], &["ab", "ab/c", "/a"]),
        ("a/+/#", &["a/b", "a/", "a/b/c"], &["a"]),
        ("+/#", &["a", "a/b", "/"], &[]),
        ("/#", &["/", "/a", "/a/b"], &["a"]),
        ("+/b/#", &["a/b", "/b", "a/b/c"], &["a", "b", "a/c/b"]),
        ("x/+", &["x/y", "x/$y"], &["x"]),
        ("$a/#", &["$a", "$a/b"], &["a/b"]),
    ];
    for version in BOTH {
        let site = Site::new();
        let mut publisher = site.client(version, "p");
        for (filter, matching, others) in cases {
            let mut subscriber = site.subscriber(version, "s", filter, 0);
            for topic in others.iter().chain(matching) {
                publisher.say(topic, "x", 0);
            }
            let heard: Vec<_> = subscriber.messages().into_iter().map(|message| message.topic).collect();
            assert_eq!(heard, matching, "{filter}");
        }
    }
}

/// The same for retained messages.
///
/// 5.0: 3.3.1-9 4.7.3-4
/// 3.1.1: 3.3.1-6 4.7.3-4
#[test]
fn filters_match_retained_messages_alike() {
    let site = Site::new();
    let mut publisher = site.client(V5, "p");
    for topic in ["a", "a/", "a/b", "a/b/c", "ab", "/a", "$a", "$a/b"] {
        publisher.publish(&Publish::new(V5, topic, "x", 1).retained());
    }
    for (filter, matching) in [
        ("a/#", &["a", "a/", "a/b", "a/b/c"][..]),
        ("a/+", &["a/", "a/b"]),
        ("+", &["a", "ab"]),
        ("+/+", &["/a", "a/", "a/b"]),
        ("$a/#", &["$a", "$a/b"]),
        ("a/b", &["a/b"]),
    ] {
        let mut subscriber = site.subscriber(V5, "s", filter, 0);
        let mut heard: Vec<_> = subscriber.messages().into_iter().map(|message| message.topic).collect();
        heard.sort();
        assert_eq!(heard, matching, "{filter}");
    }
}

/// Filters that begin with a wildcard do not see topics that begin with `$`.
///
/// 5.0: 4.7.2-1
/// 3.1.1: 4.7.2-1
#[test]
fn wildcards_do_not_see_dollar_topics() {
    for version in BOTH {
        let site = Site::new();
        let mut publisher = site.client(version, "p");
        let mut wild = site.client(version, "w");
        for filter in ["#", "+", "+/+", "+/b/#"] {
            wild.subscribe(filter, 1);
        }
        wild.messages();
        let mut exact = site.subscriber(version, "e", "$a/#", 1);
        for topic in ["$a", "$a/b"] {
            publisher.publish(&Publish::new(version, topic, topic, 1).retained());
        }
        let heard = wild.messages();
        assert!(heard.iter().all(|message| !message.topic.starts_with('$')), "{heard:?}");
        assert_eq!(exact.payloads(), ["$a", "$a/b"]);
        let mut late = site.subscriber(version, "late", "#", 1);
        let heard = late.messages();
        assert!(heard.iter().all(|message| !message.topic.starts_with('$')), "{heard:?}");
    }
}

/// Topics of 65535 bytes are taken. Filters of many levels are taken up to a limit, and refused above it.
///
/// 5.0: 4.7.3-3
/// 3.1.1: 4.7.3-3
#[test]
fn long_topics_are_taken() {
    for version in BOTH {
        let site = Site::new();
        let topic = "t".repeat(65_535);
        let mut subscriber = site.subscriber(version, "s", &topic, 1);
        let mut publisher = site.client(version, "p");
        publisher.say(&topic, "x", 1);
        assert_eq!(subscriber.hear_publish().topic, topic);
        let levels = "/".repeat(65_535);
        publisher.say(&levels, "x", 1);
        assert!(subscriber.try_subscribe(&levels, 0) >= 0x80, "one message is enough to overflow a stack");
        subscriber.subscribe(&"/".repeat(100), 0);
    }
}
