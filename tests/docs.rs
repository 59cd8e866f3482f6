//! What the documents show is right: every configuration in them parses, every JSON text is JSON.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serialgate::config::Config;

/// Keys of the configuration's first level. A block without one is a part of a bridge.
const FIRST_LEVEL: [&str; 8] =
    ["gateway:", "base:", "ports:", "queue:", "broker:", "bridges:", "control:", "devices:"];

/// A text between fences.
struct Block {
    /// The file, and the line of the first fence.
    place: String,
    /// The word behind the fence.
    kind: String,
    text: String,
}

/// README.md and all of docs/.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        docs.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    files.sort();
    files.push(root.join("README.md"));
    files
}

/// The blocks of `text`, the content of `file`. A fence may be indented, as in a list.
fn blocks(file: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        let Some(kind) = line.trim_start().strip_prefix("```") else { continue };
        let indent = line.len() - line.trim_start().len();
        let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
        let text: Vec<&str> = inside.map(|line| line.get(indent..).unwrap_or(line.trim_start())).collect();
        blocks.push(Block {
            place: format!("{file}:{number}"),
            kind: kind.to_owned(),
            text: text.join("\n"),
        });
    }
    blocks
}

fn all_blocks(kind: &str) -> Vec<Block> {
    let read = |path: &PathBuf| {
        blocks(&path.file_name().unwrap().to_string_lossy(), &fs::read_to_string(path).unwrap())
    };
    let all = documents().iter().flat_map(read).collect::<Vec<_>>();
    all.into_iter().filter(|block| block.kind == kind).collect()
}

/// The configurations that a block shows: one, or several where a comment says `or`. A part of a bridge
/// becomes a whole one.
fn configurations(text: &str) -> Vec<String> {
    let is_or = |line: &str| line.trim_start().starts_with("# or");
    let lines: Vec<&str> = text.lines().collect();
    let alternatives = lines.split(|line| is_or(line)).map(|lines| lines.join("\n"));
    alternatives.map(|text| complete(&text)).collect()
}

fn complete(text: &str) -> String {
    let has = |key: &str| text.lines().any(|line| line.trim_start().starts_with(key));
    if text.lines().any(|line| FIRST_LEVEL.iter().any(|key| line.starts_with(key))) {
        return text.to_owned();
    }
    let written: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let indent = written.iter().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    let body: String = written.iter().map(|line| format!("    {}\n", line.get(indent..).unwrap())).collect();
    let url = if has("url:") { "" } else { "    url: mqtts://broker.example.com\n" };
    format!("bridges:\n  - name: example\n{url}{body}")
}

/// What is wrong with the block.
fn mistake(block: &Block) -> Option<String> {
    configurations(&block.text).into_iter().find_map(|text| {
        let error = Config::parse(&text, "example").err()?;
        Some(format!("{}:\n{error}\n{text}", block.place))
    })
}

#[test]
fn every_configuration_in_the_documents_is_right() {
    let shown = all_blocks("yaml");
    let of_clouds = shown.iter().filter(|block| block.place.starts_with("clouds.md")).count();
    assert!(of_clouds >= 10 && shown.len() > of_clouds, "only {} blocks found", shown.len());
    let mistakes: Vec<String> = shown.iter().filter_map(mistake).collect();
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n\n"));
}

#[test]
fn every_json_text_in_the_documents_is_json() {
    let shown = all_blocks("json");
    assert!(!shown.is_empty());
    for block in shown {
        // A text of several lines may be one object on each.
        let is_json = |text: &str| serde_json::from_str::<serde_json::Value>(text).is_ok();
        assert!(is_json(&block.text) || block.text.lines().all(is_json), "{}", block.place);
    }
}

#[test]
fn a_wrong_example_would_be_found() {
    let document = "\
Words.

```yaml
gateway: pi
prots: []
```

1. In a list:

   ```yaml
   bridges:
     - {name: cloud, ulr: mqtt://x}
   ```

   A part:

   ```yaml
    username: me
    # or, as a file
    usrname: me
   ```
";
    let found = blocks("d.md", document);
    assert_eq!(
        found.iter().map(|block| block.place.as_str()).collect::<Vec<_>>(),
        ["d.md:3", "d.md:10", "d.md:17"]
    );
    for (block, word) in found.iter().zip(["prots", "ulr", "usrname"]) {
        assert!(mistake(block).is_some_and(|mistake| mistake.contains(word)), "{}", block.text);
    }
    let right = Block {
        place: String::new(),
        kind: String::new(),
        text: "    username: me\n    order: oldest".into(),
    };
    assert_eq!(mistake(&right), None);
}

#[test]
fn the_commands_of_the_installation_can_be_run_as_they_stand() {
    let kinds = ["sh", "sh board"];
    let shown: Vec<Block> = kinds.iter().flat_map(|kind| all_blocks(kind)).collect();
    let shown: Vec<&Block> = shown.iter().filter(|block| block.place.starts_with("install.md")).collect();
    assert!(shown.len() >= 10, "only {} blocks found", shown.len());
    for block in shown {
        let checked = Command::new("bash").args(["-n", "-c", &block.text]).output().unwrap();
        assert!(checked.status.success(), "{}: {}", block.place, String::from_utf8_lossy(&checked.stderr));
        for word in ["sudo ", "nano ", "systemctl edit"] {
            assert!(!block.text.contains(word), "{}: `{word}` asks or is not there", block.place);
        }
        let asks = block.text.lines().any(|line| line.contains("apt-get ") && !line.contains("--yes"));
        assert!(!asks, "{}: apt-get would ask", block.place);
    }
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            if link.contains("://") {
                continue;
            }
            let target =
                if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link}", document.display());
            if !heading.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let anchor = |line: &str| {
                    let words = line.trim_start_matches('#').trim().to_lowercase();
                    words
                        .chars()
                        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                        .collect::<String>()
                        .replace(' ', "-")
                };
                assert!(
                    text.lines().any(|line| line.starts_with('#') && anchor(line) == heading),
                    "{}: {link}",
                    document.display()
                );
            }
        }
    }
}
