//! What the library for Arduino consists of.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn firmware() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("firmware")
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn it_carries_the_core_as_it_is() {
    let core = firmware().join("core/src");
    let copy = firmware().join("arduino/src/core");
    assert_eq!(names(&core), names(&copy));
    for name in names(&core) {
        let [original, copied] = [&core, &copy].map(|dir| fs::read_to_string(dir.join(&name)).unwrap());
        assert!(original == copied, "{name} differs: make -C firmware arduino-copy");
    }
}

#[test]
fn it_is_made_as_arduino_wants_its_libraries() {
    let library = firmware().join("arduino");
    let properties = fs::read_to_string(library.join("library.properties")).unwrap();
    let property = |key: &str| {
        let value = properties.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        value.unwrap_or_else(|| panic!("no {key}")).to_owned()
    };
    assert_eq!(property("name"), "Serialgate");
    assert_eq!(property("category"), "Communication");
    assert_eq!(property("includes"), "Serialgate.h");
    assert!(!property("paragraph").starts_with(&property("sentence")));
    for key in ["author", "maintainer", "url", "architectures"] {
        assert_ne!(property(key), "", "{key}");
    }
    let json = fs::read_to_string(library.join("library.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["name"], &json["version"]), (&property("name").into(), &property("version").into()));
    assert_eq!((&json["frameworks"], &json["platforms"]), (&"arduino".into(), &"*".into()));
    assert_eq!(json["headers"], property("includes"));
    // The Arduino IDE reads these by lines, and PlatformIO nothing but what it knows.
    const PROPERTIES: [&str; 11] = [
        "name",
        "version",
        "author",
        "maintainer",
        "sentence",
        "paragraph",
        "category",
        "url",
        "architectures",
        "includes",
        "license",
    ];
    let keys: Vec<&str> = properties.lines().map(|line| line.split_once('=').unwrap().0).collect();
    assert_eq!(keys, PROPERTIES);
    assert!(property("name").len() <= 32 && !property("name").contains(' '));
    let version: Vec<u32> = property("version").split('.').map(|part| part.parse().unwrap()).collect();
    assert_eq!(version.len(), 3, "a semantic version");
    for key in json.as_object().unwrap().keys() {
        let known =
            ["name", "version", "description", "keywords", "repository", "license", "headers", "frameworks"];
        assert!(known.contains(&&**key) || ["platforms", "examples"].contains(&&**key), "{key}");
    }
    let keywords = fs::read_to_string(library.join("keywords.txt")).unwrap();
    let header = fs::read_to_string(library.join("src/Serialgate.h")).unwrap()
        + &fs::read_to_string(library.join("src/SerialgateStorage.h")).unwrap();
    let mut words = BTreeSet::new();
    for line in keywords.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        assert!(!line.contains(' ') && line.matches('\t').count() == 1, "one tab in {line:?}");
        let (word, class) = line.split_once('\t').unwrap_or_else(|| panic!("no tab in {line:?}"));
        assert!(["KEYWORD1", "KEYWORD2", "LITERAL1"].contains(&class), "{line:?}");
        assert!(header.contains(word), "{word} is in no header");
        assert!(words.insert(word), "{word} twice");
    }
    for example in names(&library.join("examples")) {
        assert!(library.join(format!("examples/{example}/{example}.ino")).is_file(), "{example}");
    }
    assert!(library.join("README.md").is_file() && library.join("LICENSE").is_file());
}
