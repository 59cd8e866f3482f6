//! The entries of `forward` and `receive`: a filter, or a filter with what is special about it.

use super::read::{Problems, Table, Wrong, text};
use super::tree::{Node, Value};
use crate::mqtt::packet::Qos;
use crate::topic::{Route, RouteError, Routes};

/// Most entries of one list.
const MAX_ROUTES: usize = 256;

/// Reads the list `key`; `None` where the key is not there. `empty` is what is wrong with a list
/// without entries, and what to do about it.
pub(super) fn read_all(
    key: &'static str,
    table: &mut Table<'_>,
    empty: (&str, &str),
    problems: &mut Problems,
) -> Option<Routes> {
    let example = format!("`{key}: [\"sensors/#\"]`");
    let items = table.list(key, MAX_ROUTES, &example, problems)?;
    if let (true, Some(place)) = (items.is_empty(), table.place_of(key)) {
        let (what, instead) = empty;
        problems.add_for(key, place, &Wrong::new(what, format!("{instead}, or write {example}")));
    }
    Some(items.iter().filter_map(|item| read(key, item, problems)).collect())
}

fn read(key: &'static str, node: &Node, problems: &mut Problems) -> Option<Route> {
    if !matches!(node.value, Value::Mapping(_)) {
        return text(key, node, problems, filter);
    }
    let mut table = Table::open("an entry of `forward` or `receive`", node, problems)?;
    let mut route = None;
    table.require("filter", "filter: \"sensors/#\"", &mut route, problems, |text| filter(text).map(Some));
    let mut level = Qos::AtLeastOnce;
    table.set("qos", &mut level, problems, qos);
    let (mut strip, mut prefix) = (String::new(), String::new());
    let places = ["strip", "prefix"].map(|key| table.place_of(key).unwrap_or(node.place));
    table.set("strip", &mut strip, problems, |text| Ok(text.to_owned()));
    table.set("prefix", &mut prefix, problems, |text| Ok(text.to_owned()));
    table.close(&[], problems);
    match route?.with_qos(level).renamed(&strip, &prefix) {
        Ok(route) => Some(route),
        Err(error) => {
            let [at_strip, at_prefix] = places;
            let (key, place, text) = match error {
                RouteError::Prefix => ("prefix", at_prefix, &prefix),
                _ => ("strip", at_strip, &strip),
            };
            problems.add_for(key, place, &wrong(error, text));
            None
        }
    }
}

fn filter(text: &str) -> Result<Route, Wrong> {
    Route::plain(text).map_err(|error| wrong(error, text))
}

fn wrong(error: RouteError, text: &str) -> Wrong {
    let instead = match error {
        RouteError::Filter => "write for example `sensors/+/temp` or `sensors/#`",
        RouteError::Shared => "write the filter that follows the name of the group",
        RouteError::Strip => "write for example `{filter: \"sensors/#\", strip: \"sensors/\"}`",
        RouteError::Prefix => "write for example `prefix: \"site-1/\"`",
        RouteError::Nothing => "strip less, or add a `prefix`",
    };
    Wrong::value(text, &error.to_string(), instead)
}

fn qos(text: &str) -> Result<Qos, Wrong> {
    match text {
        "0" => Ok(Qos::AtMostOnce),
        "1" => Ok(Qos::AtLeastOnce),
        "2" => Ok(Qos::ExactlyOnce),
        other => Err(Wrong::value(other, "is no QoS", "write 0, 1 or 2")),
    }
}
