use insta::assert_snapshot;

use super::*;
use crate::config::Config;

const HASH: &str =
    "$argon2id$v=19$m=4096,t=1,p=1$c29tZXNhbHQxNmJ5dGVzIQ$AxbPsoar4jn1B/TXxLkKTzwX53OVAvuM6N1Za4BCEU8";

fn parse(users: &str) -> Result<Vec<User>, String> {
    let text = format!("broker:\n  users:\n{}", users.replace("HASH", &format!("'{HASH}'")));
    Config::parse(&text, "s.yaml").map(|config| config.broker.users).map_err(|error| error.to_string())
}

#[test]
fn users_arrive_with_their_hashes_and_filters() {
    let users = parse(
        "    - {name: esp32, password_hash: HASH, publish: ['sensors/%c/#'], subscribe: []}
    - name: board.example.com
    - {name: 'über #1', password_hash: HASH, subscribe: ['$SYS/#', '#']}\n",
    )
    .unwrap();
    let filters = |texts: &[&str]| Some(texts.iter().map(|&text| Arc::from(text)).collect::<Vec<_>>());
    let hash = Hash::parse(HASH).ok();
    assert_eq!(
        users,
        [
            User {
                name: "esp32".into(),
                password: hash.clone(),
                publish: filters(&["sensors/%c/#"]),
                subscribe: filters(&[]),
            },
            User { name: "board.example.com".into(), password: None, publish: None, subscribe: None },
            User {
                name: "über #1".into(),
                password: hash,
                publish: None,
                subscribe: filters(&["$SYS/#", "#"]),
            },
        ]
    );
    assert_eq!(parse("    # none yet\n"), Ok(Vec::new()));
    assert!(!format!("{users:?}").contains("argon2"), "a hash is not shown");
}

#[test]
fn what_is_wrong_with_a_user_is_told_without_its_secrets() {
    let wrong = [
        "    - {password_hash: HASH}\n    - {name: ''}\n",
        "    - {name: a}\n    - {name: a}\n",
        "    - {name: a, password: hunter2}\n",
        "    - {name: a, password_hash: hunter2}\n",
        "    - {name: a, password_hash: $2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW}\n",
        "    - {name: a, password_hash: '$argon2id$v=19$m=1048576,t=2,p=1$c29tZXNhbHQxNmJ5dGVzIQ$AxbPsoar4jn1B/TXxLkKTzwX53OVAvuM6N1Za4BCEU8'}\n",
        "    - {name: a, password_hash: $argon2id$v=19$m=4096,t=1,p=1$c29tZXNhbHQxNmJ5dGVzIQ$AxbPsoar4jn1B/TXxLkKTzwX53OVAvuM6N1Za4BCEU8}\n",
        "    - {name: a, publish: sensors/#, subscribe: ['a#', $share/g/a]}\n",
        "    - {name: a, publsh: []}\n",
        "    - esp32\n",
    ];
    let told: Vec<String> = wrong.map(|users| parse(users).unwrap_err()).into();
    let told = told.join("\n");
    assert!(!told.contains("hunter2") && !told.contains("EixZ") && !told.contains("AxbP"), "{told}");
    assert_snapshot!(told, @r#"
    s.yaml:3:7: a user has no `name`; add a line such as `name: esp32`
    s.yaml:4:14: name: the text is empty; write a value, or leave the key out
    s.yaml:4:7: there is a user `a` already; keep one of the two, or give it another name
    s.yaml:3:27: password: a password does not stand in this file, only its hash; write `password_hash:` and what `serialgate passwd` prints
    s.yaml:3:32: password_hash: this is not of the form $argon2id$v=19$m=…,t=…,p=…$salt$hash; write what `serialgate passwd` prints, in quotes
    s.yaml:3:32: password_hash: this is not argon2id in version 19; write what `serialgate passwd` prints, in quotes
    s.yaml:3:32: password_hash: this needs m=1048576 KiB of memory, which is not within 4096 to 65536; write what `serialgate passwd` prints, in quotes
    s.yaml:3:32: password_hash: the hash ends at its first comma here; put it in quotes
    s.yaml:3:26: publish: here stands a single value, not a list; write `publish: ["sensors/%c/#"]`, or `publish: []` for nothing
    s.yaml:3:49: subscribe: `a#` is not a topic filter; write for example `sensors/+/temp`, `sensors/#` or `devices/%c/#`
    s.yaml:3:55: subscribe: `$share/g/a` is a shared subscription; write the filter that follows the name of the group: it holds for shared subscriptions too
    s.yaml:3:17: a user has no key `publsh`; did you mean `publish`?
    s.yaml:3:7: a user is a group of keys, and here stands a single value; write lines of the form `key: value`
    "#);
}

#[test]
fn there_may_not_be_too_many() {
    let users: String = (0..=MAX_USERS).map(|n| format!("    - {{name: user{n}}}\n")).collect();
    assert!(parse(&users).unwrap_err().contains("the list has 1001 items, and 1000 is the limit"));
    let filters = vec!["a"; MAX_FILTERS + 1].join(",");
    let told = parse(&format!("    - {{name: a, publish: [{filters}]}}\n")).unwrap_err();
    assert!(told.contains("the list has 101 items, and 100 is the limit"), "{told}");
    let deep = vec!["a"; MAX_LEVELS + 1].join("/");
    assert!(
        parse(&format!("    - {{name: a, publish: [{deep}]}}\n")).unwrap_err().contains("too many levels")
    );
}
