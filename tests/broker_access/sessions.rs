//! Nobody gets at another user's session.

use crate::site::{Site, VERSIONS, said};

const USERS: &str = "- {name: ada, HASH}\n- {name: eve, HASH}";

const ADA: &str = "-u ada -P hunter2 -i board";

#[test]
fn a_session_is_neither_read_nor_cut_off_by_another_user() {
    for version in VERSIONS {
        let site = Site::start(USERS);
        let stay = if version == "5" { "-x 4294967295" } else { "" };
        let mut ada = site.subscribe(&format!("-V {version} {ADA} -c {stay} -q 1 -t t"));
        for thief in ["-u eve -P hunter2", ""] {
            for clean in ["", "-c"] {
                let stolen = site.publish(&format!("-V {version} {thief} -i board {clean} -t t -m x"));
                let words =
                    if version == "5" { "Client Identifier not valid" } else { "identifier rejected" };
                assert!(said(&stolen).contains(words), "{thief} {clean}: {}", said(&stolen));
            }
        }
        assert!(site.publish("-q 1 -t t -m still").status.success());
        assert_eq!(ada.hear(1), ["still"], "the owner is not even cut off");
        drop(ada);

        // What waits for an absent owner waits for nobody else.
        assert!(site.publish("-q 1 -t t -m private").status.success());
        let refused = site.broker_status("logins_refused");
        let stolen = site.publish(&format!("-V {version} -u eve -P hunter2 -i board -c -t t -m x"));
        assert!(!stolen.status.success(), "{}", said(&stolen));
        assert_eq!(site.broker_status("logins_refused"), refused + 1);
        let mut ada = site.subscribe(&format!("-V {version} {ADA} -c {stay} -q 1 -t t"));
        assert_eq!(ada.hear(1), ["private"]);
    }
}
