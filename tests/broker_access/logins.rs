//! Right and wrong passwords.

use crate::site::{HASH, Site, VERSIONS, said, until};

const USERS: &str = "- {name: esp, HASH}";

#[test]
fn a_right_password_gets_in_and_a_wrong_one_does_not() {
    let site = Site::start(USERS);
    for version in VERSIONS {
        let publish = |login: &str| site.publish(&format!("-V {version} {login} -t t -m x -q 1"));
        let right = publish("-u esp -P hunter2");
        assert!(right.status.success(), "{}", said(&right));
        let anonymous = publish("");
        assert!(anonymous.status.success(), "on loopback nobody needs a name: {}", said(&anonymous));
        for login in ["-u esp -P hunter3", "-u esp", "-u nobody -P hunter2", "-u ESP -P hunter2"] {
            let wrong = publish(login);
            let words =
                if version == "5" { "Bad User Name or Password" } else { "bad user name or password" };
            assert!(!wrong.status.success() && said(&wrong).contains(words), "{login}: {}", said(&wrong));
        }
        // Back to none: the next version has the same free tries.
        assert!(publish("-u esp -P hunter2").status.success());
    }
    assert_eq!(site.broker_status("logins_refused"), 8);
    let log = site.log();
    assert!(log.contains("the password is wrong") && log.contains("there is no such user"), "{log}");
    let hash = HASH.rsplit('$').next().unwrap();
    assert!(!log.contains(hash) && !log.contains("hunter"), "a secret in the log: {log}");
}

#[test]
fn guessing_is_slowed_down_for_the_guesser_only() {
    let site = Site::start("- {name: esp, HASH}\n- {name: other, HASH}");
    let publish = |login: &str| site.publish(&format!("-V 5 {login} -t t -m x -q 1"));
    let is_paused = |_: &i32| said(&publish("-u esp -P guess")).contains("Connection rate exceeded");
    let guesses = (1..40).find(is_paused).expect("guesses are paused");
    assert!(guesses > 5, "a slip of the finger costs nothing");
    assert!(publish("-u other -P hunter2").status.success(), "another user is not paused");
    // The pauses are short at first; the owner gets in when one is over.
    until("the owner gets in", || publish("-u esp -P hunter2").status.success());
    let told = site.log().matches("login refused").count();
    assert!(told <= 6, "told {told} times");
    let old = site.publish("-V 311 -u esp -P hunter2 -t t -m x -q 1");
    assert!(old.status.success(), "forgiven: {}", said(&old));
}
