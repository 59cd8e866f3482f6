//! Values by topic filter, found by topic.

use std::collections::HashMap;

use super::filter::MAX_LEVELS;

/// A tree of filter levels. Wildcards are levels like any other; only the search treats them
/// apart. The work of a search is bounded by the filters that could match, not by all there are.
#[derive(Debug)]
pub(super) struct Trie<V> {
    root: Node<V>,
}

/// Small, because a client can make one with two bytes of a filter.
#[derive(Debug)]
struct Node<V> {
    children: Children<V>,
    value: Option<Box<V>>,
}

/// Most levels have one other below them, and hardly any has more than a few.
#[derive(Debug)]
enum Children<V> {
    Few(Vec<(Box<str>, Node<V>)>),
    #[expect(clippy::box_collection, reason = "the many nodes without it are half as large")]
    Many(Box<HashMap<Box<str>, Node<V>>>),
}

/// More children than this are hashed.
const FEW: usize = 4;

impl<V> Node<V> {
    fn new() -> Self {
        Self { children: Children::Few(Vec::new()), value: None }
    }

    fn is_bare(&self) -> bool {
        self.children.is_empty() && self.value.is_none()
    }
}

impl<V> Children<V> {
    fn get_mut(&mut self, level: &str) -> Option<&mut Node<V>> {
        match self {
            Self::Few(few) => few.iter_mut().find(|(name, _)| **name == *level).map(|(_, node)| node),
            Self::Many(many) => many.get_mut(level),
        }
    }

    fn get_or_insert(&mut self, level: &str) -> &mut Node<V> {
        if let Self::Few(few) = self
            && few.len() == FEW
            && few.iter().all(|(name, _)| **name != *level)
        {
            *self = Self::Many(Box::new(std::mem::take(few).into_iter().collect()));
        }
        match self {
            Self::Many(many) => many.entry(level.into()).or_insert_with(Node::new),
            Self::Few(few) => match few.iter().position(|(name, _)| **name == *level) {
                Some(at) => &mut few[at].1,
                None => {
                    few.reserve_exact(1);
                    &mut few.push_mut((level.into(), Node::new())).1
                }
            },
        }
    }

    fn remove(&mut self, level: &str) {
        match self {
            Self::Few(few) => few.retain(|(name, _)| **name != *level),
            Self::Many(many) => drop(many.remove(level)),
        }
        if self.is_empty() {
            *self = Self::Few(Vec::new());
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Few(few) => few.is_empty(),
            Self::Many(many) => many.is_empty(),
        }
    }
}

impl<V: Default> Trie<V> {
    /// Without any filter.
    pub(super) fn new() -> Self {
        Self { root: Node::new() }
    }

    /// The value of `filter`, made if there is none. Of a filter deeper than [`MAX_LEVELS`] the
    /// rest forms the last level: the tree, and the recursion over it, is never deeper.
    pub(super) fn entry(&mut self, filter: &str) -> &mut V {
        let mut node = &mut self.root;
        for level in levels(filter) {
            node = node.children.get_or_insert(level);
        }
        node.value.get_or_insert_default()
    }

    /// Lets `change` work on the value of `filter`, which is removed if it says `false` to keeping
    /// it. `None` if there is no such filter.
    pub(super) fn update<R>(&mut self, filter: &str, change: impl FnOnce(&mut V) -> (R, bool)) -> Option<R> {
        update(&mut self.root, &mut levels(filter), change)
    }

    /// Whether any filter has `level` as its first.
    pub(super) fn has_branch(&self, level: &str) -> bool {
        match &self.root.children {
            Children::Few(few) => few.iter().any(|(name, _)| **name == *level),
            Children::Many(many) => many.contains_key(level),
        }
    }

    /// Shows `visit` the value of every filter that matches `topic`, whose wildcards at the first
    /// level do not see topics that begin with `$` (MQTT 5.0, 4.7.2).
    pub(super) fn visit_matches(&mut self, topic: &str, visit: &mut impl FnMut(&mut V)) {
        descend(&mut self.root, Some(topic), !topic.starts_with('$'), MAX_LEVELS, visit);
    }
}

fn levels(filter: &str) -> impl Iterator<Item = &str> {
    filter.splitn(MAX_LEVELS, '/')
}

fn update<'a, V, R>(
    node: &mut Node<V>,
    levels: &mut impl Iterator<Item = &'a str>,
    change: impl FnOnce(&mut V) -> (R, bool),
) -> Option<R> {
    let Some(level) = levels.next() else {
        let (result, keep) = change(node.value.as_deref_mut()?);
        if !keep {
            node.value = None;
        }
        return Some(result);
    };
    let child = node.children.get_mut(level)?;
    let result = update(child, levels, change);
    if child.is_bare() {
        node.children.remove(level);
    }
    result
}

fn descend<V>(
    node: &mut Node<V>,
    rest: Option<&str>,
    wildcards: bool,
    depth: usize,
    visit: &mut impl FnMut(&mut V),
) {
    // `a/#` matches `a` as well, so this comes before the end of the topic.
    if wildcards && let Some(value) = node.children.get_mut("#").and_then(|all| all.value.as_deref_mut()) {
        visit(value);
    }
    let Some(rest) = rest else {
        if let Some(value) = &mut node.value {
            visit(value);
        }
        return;
    };
    let Some(depth) = depth.checked_sub(1) else { return };
    let (level, rest) = match rest.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (rest, None),
    };
    if let Some(child) = node.children.get_mut(level) {
        descend(child, rest, true, depth, visit);
    }
    if wildcards && let Some(child) = node.children.get_mut("+") {
        descend(child, rest, true, depth, visit);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::topic;

    fn found(trie: &mut Trie<Vec<String>>, topic: &str) -> Vec<String> {
        let mut found = Vec::new();
        trie.visit_matches(topic, &mut |filters| found.extend(filters.iter().cloned()));
        found.sort();
        found
    }

    fn levels() -> impl Strategy<Value = String> {
        prop::collection::vec("[ab]?|\\$x", 1..5).prop_map(|levels| levels.join("/"))
    }

    fn filters() -> impl Strategy<Value = String> {
        let closed =
            prop::collection::vec("[ab]?|\\+|\\$x", 1..5).prop_map(|levels| levels.join("/")).boxed();
        let open = closed.clone().prop_map(|filter| filter + "/#");
        prop_oneof![5 => closed, 3 => open, 1 => Just("#".to_owned())]
    }

    proptest! {
        #[test]
        fn the_search_finds_what_matching_one_by_one_finds(
            filters in prop::collection::btree_set(filters(), 0..20),
            gone in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
            topic in levels().prop_filter("a topic is not empty", |topic| !topic.is_empty()),
        ) {
            let mut trie: Trie<Vec<String>> = Trie::new();
            let mut left: Vec<String> = filters.into_iter().collect();
            for filter in &left {
                trie.entry(filter).push(filter.clone());
            }
            for index in gone {
                if !left.is_empty() {
                    let filter = left.remove(index.index(left.len()));
                    prop_assert_eq!(trie.update(&filter, |_| ((), false)), Some(()));
                    prop_assert_eq!(trie.update(&filter, |_| ((), false)), None);
                }
            }
            let mut expected: Vec<String> =
                left.iter().filter(|filter| topic::matches(filter, &topic)).cloned().collect();
            expected.sort();
            prop_assert_eq!(found(&mut trie, &topic), expected);
            for filter in &left {
                trie.update(filter, |_| ((), false));
            }
            prop_assert!(trie.root.is_bare(), "empty branches are cut");
        }
    }

    #[test]
    fn the_deepest_topics_do_no_harm() {
        let mut trie: Trie<Vec<String>> = Trie::new();
        let deep = "/".repeat(topic::MAX_BYTES);
        trie.entry("#").push("#".into());
        trie.entry(&deep).push("deep".into());
        assert_eq!(found(&mut trie, &deep), ["#"]);
        assert_eq!(trie.update(&deep, |_| ((), false)), Some(()));
    }
}
