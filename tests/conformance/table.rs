//! Which test holds which statement: read from the sources of this suite, and written to
//! `docs/conformance.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::site::PROGRAM;

/// Set to write `docs/conformance.md` anew.
const WRITE: &str = "CONFORMANCE_WRITE";

/// A version's name, and its statements: `id | in our words`, and ` | reason` where no test holds it.
const VERSIONS: [(&str, &str); 2] =
    [("5.0", include_str!("statements/5.0.txt")), ("3.1.1", include_str!("statements/3.1.1.txt"))];

struct Test {
    /// `module::name`.
    name: String,
    /// What its documentation says before the statements.
    words: String,
    /// The statements that it holds, by version.
    holds: BTreeMap<String, Vec<String>>,
}

/// All tests of the suite, in the order of the files.
fn tests() -> Vec<Test> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files.sort();
    files
        .iter()
        .flat_map(|path| {
            let module = path.file_stem().unwrap().to_str().unwrap();
            tests_of(module, &fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// The tests in one file: what stands between `///` and the function's name.
fn tests_of(module: &str, source: &str) -> Vec<Test> {
    let (mut tests, mut comment, mut is_test) = (Vec::new(), Vec::new(), false);
    for line in source.lines() {
        if let Some(text) = line.strip_prefix("///") {
            comment.push(text.trim());
        } else if line == "#[test]" {
            is_test = true;
        } else if !line.starts_with("#[") {
            let name = line.strip_prefix("fn ").and_then(|rest| rest.split('(').next());
            if let Some(name) = name.filter(|_| is_test) {
                tests.push(read(format!("{module}::{name}"), &comment));
            }
            (comment, is_test) = (Vec::new(), false);
        }
    }
    tests
}

fn read(name: String, comment: &[&str]) -> Test {
    let (mut words, mut holds) = (Vec::new(), BTreeMap::new());
    for line in comment.iter().filter(|line| !line.is_empty()) {
        match VERSIONS.iter().find_map(|(version, _)| line.strip_prefix(&format!("{version}: "))) {
            Some(ids) => {
                let version = line.split(':').next().unwrap().to_owned();
                holds.insert(version, ids.split(' ').map(str::to_owned).collect());
            }
            None => words.push(*line),
        }
    }
    Test { name, words: words.join(" "), holds }
}

/// A statement, and the reason why no test holds it.
struct Statement<'a> {
    id: &'a str,
    words: &'a str,
    reason: Option<&'a str>,
}

fn statements(list: &str) -> Vec<Statement<'_>> {
    list.lines()
        .map(|line| {
            let mut parts = line.splitn(3, " | ");
            let (id, words) = (parts.next().unwrap(), parts.next().unwrap());
            Statement { id, words, reason: parts.next() }
        })
        .collect()
}

/// What `docs/conformance.md` has to say below its introduction.
fn tables(tests: &[Test]) -> String {
    let mut text = String::new();
    let mut wrong = Vec::new();
    let mut sections = String::new();
    writeln!(text, "| version | statements | held by tests | a client's duty | other reason |").unwrap();
    writeln!(text, "|---|---|---|---|---|").unwrap();
    for (version, list) in VERSIONS {
        let all = statements(list);
        let known: BTreeSet<_> = all.iter().map(|statement| statement.id).collect();
        assert_eq!(known.len(), all.len(), "a statement of {version} is listed twice");
        for test in tests {
            for id in test.holds.get(version).into_iter().flatten().filter(|id| !known.contains(&***id)) {
                wrong.push(format!("{} holds {id} of {version}, which does not exist", test.name));
            }
        }
        write!(
            sections,
            "\n## MQTT {version}\n\n| statement | says | test, or why there is none |\n|---|---|---|\n"
        )
        .unwrap();
        let mut counts = [0_usize; 3];
        for Statement { id, words, reason } in &all {
            let holds =
                |test: &&Test| test.holds.get(version).is_some_and(|ids| ids.iter().any(|held| held == id));
            let by: Vec<_> = tests.iter().filter(holds).map(|test| format!("`{}`", test.name)).collect();
            let (place, why) = match reason {
                None if by.is_empty() => {
                    wrong.push(format!("{id} of {version} has neither test nor reason"));
                    continue;
                }
                Some(reason) if !by.is_empty() => {
                    wrong.push(format!("{id} of {version} has tests, and yet a reason: {reason}"));
                    continue;
                }
                None => (0, by.join(", ")),
                Some("client") => (1, "a client's duty".to_owned()),
                Some(reason) => (2, (*reason).to_owned()),
            };
            counts[place] += 1;
            writeln!(sections, "| {id} | {words} | {why} |").unwrap();
        }
        let [held, duty, other] = counts;
        writeln!(text, "| {version} | {} | {held} | {duty} | {other} |", all.len()).unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let beyond: Vec<_> =
        tests.iter().filter(|test| test.holds.is_empty() && !test.words.is_empty()).collect();
    write!(sections, "\n## Beyond the statements\n\n| test | holds |\n|---|---|\n").unwrap();
    for test in beyond {
        writeln!(sections, "| `{}` | {} |", test.name, test.words).unwrap();
    }
    text + &sections
}

/// The part of the document that is written by hand ends with this line.
const MARK: &str = "<!-- what follows is written by tests/conformance -->\n";

#[test]
fn the_document_says_what_the_suite_holds() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conformance.md");
    let document = fs::read_to_string(&path).unwrap();
    let (introduction, written) = document.split_once(MARK).expect("the mark");
    let tables = tables(&tests());
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, format!("{introduction}{MARK}\n{tables}")).unwrap();
        return;
    }
    let first = written.trim_start().lines().zip(tables.lines()).find(|(old, new)| old != new);
    assert!(written.trim_start() == tables, "write docs/conformance.md with {WRITE}=1; first: {first:#?}");
}

#[test]
fn statements_and_words_are_read_from_the_documentation() {
    let source = "/// Does it.\n/// Always.\n///\n/// 5.0: 1.2-3 4.5-6\n/// 3.1.1: 7.8-9\n#[test]\nfn a() {\n}\nfn b() {}\n";
    let tests = tests_of("m", source);
    assert_eq!(tests.len(), 1, "`b` is no test");
    assert_eq!((&*tests[0].name, &*tests[0].words), ("m::a", "Does it. Always."));
    assert_eq!(tests[0].holds["5.0"], ["1.2-3", "4.5-6"]);
    assert_eq!(tests[0].holds["3.1.1"], ["7.8-9"]);
}

/// The whole suite again, with the program as people run it. It starts itself, so that each test has a
/// program of its own.
#[test]
fn the_program_passes_too() {
    if std::env::var_os(PROGRAM).is_some() {
        return;
    }
    let mut suite = Command::new(std::env::current_exe().unwrap());
    // Most tests wait most of the time.
    suite.env(PROGRAM, "1").args(["--skip", "table::", "--test-threads", "8"]);
    let output = suite.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
