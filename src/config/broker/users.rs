//! `broker.users`: who may connect with a name, and what each may do.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::config::read::{Problems, Table, Wrong, text};
use crate::config::tree::{Node, Value};
use crate::config::values;
use crate::password::Hash;
use crate::topic;

/// Most users.
const MAX_USERS: usize = 1000;

/// Most filters of one user for one purpose.
const MAX_FILTERS: usize = 100;

/// Longest name, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Deepest filter, in levels: as deep as clients may subscribe.
const MAX_LEVELS: usize = 128;

/// A user of the local broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name, which no other user has.
    pub name: Arc<str>,
    /// What the password must fit; without it the user comes with a client certificate only.
    pub password: Option<Hash>,
    /// Filters of what may be published, in which `%c` stands for the client id and `%u` for the
    /// user's name; `None` for everything.
    pub publish: Option<Vec<Arc<str>>>,
    /// The same for what may be subscribed to.
    pub subscribe: Option<Vec<Arc<str>>>,
}

pub(super) fn read_all(table: &mut Table<'_>, problems: &mut Problems) -> Vec<User> {
    let example = "one user per line, as in `- {name: esp32, password_hash: \"…\"}`";
    let items = table.list("users", MAX_USERS, example, problems).unwrap_or_default();
    let mut users: Vec<User> = Vec::new();
    for item in items {
        let Some(user) = read(item, problems) else { continue };
        if users.iter().any(|known| known.name == user.name) {
            let what = format!("there is a user `{}` already", user.name);
            problems.add(item.place, &Wrong::new(what, "keep one of the two, or give it another name"));
        }
        users.push(user);
    }
    users
}

fn read(node: &Node, problems: &mut Problems) -> Option<User> {
    let mut table = Table::open("a user", node, problems)?;
    if let Some(place) = table.place_of("password_hash").filter(|_| is_cut(node)) {
        let what = "the hash ends at its first comma here";
        problems.add_for("password_hash", place, &Wrong::new(what, "put it in quotes"));
        // The rest of it looks like keys, which nobody should see.
        return None;
    }
    let (mut name, mut password) = (None, None);
    table.require("name", "name: esp32", &mut name, problems, |text| {
        values::line(text, MAX_NAME_BYTES).map(|name| Some(Arc::from(name)))
    });
    table.set("password_hash", &mut password, problems, |text| hash(text).map(Some));
    let publish = filters("publish", &mut table, problems);
    let subscribe = filters("subscribe", &mut table, problems);
    if let Some(place) = table.place_of("password") {
        // The text is not repeated: it is a password.
        let what = "a password does not stand in this file, only its hash";
        let instead = "write `password_hash:` and what `serialgate passwd` prints";
        problems.add_for("password", place, &Wrong::new(what, instead));
        table.node("password");
    }
    table.close(&[], problems);
    Some(User { name: name?, password, publish, subscribe })
}

/// Whether a hash without quotes stands between braces, where its commas part it.
fn is_cut(user: &Node) -> bool {
    let Value::Mapping(pairs) = &user.value else { return false };
    pairs.iter().any(|(key, _)| matches!(&key.value, Value::Text(key) if key.starts_with("p=")))
}

/// A hash. What is wrong with it is told without repeating it: it may be a password.
fn hash(text: &str) -> Result<Hash, Wrong> {
    Hash::parse(text).map_err(|error| {
        Wrong::new(format!("this {error}"), "write what `serialgate passwd` prints, in quotes")
    })
}

fn filters(key: &'static str, table: &mut Table<'_>, problems: &mut Problems) -> Option<Vec<Arc<str>>> {
    let example = format!("`{key}: [\"sensors/%c/#\"]`, or `{key}: []` for nothing");
    let items = table.list(key, MAX_FILTERS, &example, problems)?;
    Some(items.iter().filter_map(|item| text(key, item, problems, filter)).collect())
}

fn filter(text: &str) -> Result<Arc<str>, Wrong> {
    if text.starts_with("$share/") {
        let instead =
            "write the filter that follows the name of the group: it holds for shared subscriptions too";
        return Err(Wrong::value(text, "is a shared subscription", instead));
    }
    if !topic::is_valid_filter(text) {
        let instead = "write for example `sensors/+/temp`, `sensors/#` or `devices/%c/#`";
        return Err(Wrong::value(text, "is not a topic filter", instead));
    }
    if text.split('/').count() > MAX_LEVELS {
        return Err(Wrong::value(text, "has too many levels", format!("write at most {MAX_LEVELS}")));
    }
    Ok(Arc::from(text))
}
