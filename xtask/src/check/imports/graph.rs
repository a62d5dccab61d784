//! A graph of names, and its circles.

use std::collections::{BTreeMap, BTreeSet};

/// Who imports whom, and by which paths.
#[derive(Default)]
pub(super) struct Graph {
    arrows: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

/// Names that reach each other.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Circle {
    pub(super) members: Vec<String>,
    /// Its arrows: from, to and the paths.
    pub(super) arrows: Vec<(String, String, String)>,
}

impl Graph {
    pub(super) fn add(&mut self, from: &str, to: &str, path: &str) {
        if from != to {
            let arrows = self.arrows.entry(from.to_owned()).or_default();
            arrows.entry(to.to_owned()).or_default().insert(path.to_owned());
        }
    }

    /// Every arrow: from, to and the paths.
    pub(super) fn arrows(&self) -> impl Iterator<Item = (&str, &str, String)> {
        self.arrows.iter().flat_map(|(from, to)| {
            to.iter().map(move |(to, paths)| {
                let paths: Vec<_> = paths.iter().map(String::as_str).collect();
                (from.as_str(), to.as_str(), paths.join(", "))
            })
        })
    }

    /// The strongly connected components of more than one member.
    pub(super) fn circles(&self) -> Vec<Circle> {
        let reachable: BTreeMap<&str, BTreeSet<&str>> =
            self.arrows.keys().map(|name| (name.as_str(), self.reachable(name))).collect();
        let reaches =
            |from: &str, to: &str| reachable.get(from).is_some_and(|set| set.contains(to));
        let mut done = BTreeSet::new();
        let mut circles = Vec::new();
        for name in reachable.keys().copied() {
            if done.contains(name) || !reaches(name, name) {
                continue;
            }
            let together = |other: &&str| reaches(name, other) && reaches(other, name);
            let members: Vec<&str> = reachable.keys().copied().filter(together).collect();
            done.extend(members.iter().copied());
            circles.push(self.circle(&members));
        }
        circles
    }

    fn circle(&self, members: &[&str]) -> Circle {
        let inside =
            |(from, to, _): &(&str, &str, String)| members.contains(from) && members.contains(to);
        let arrows = self.arrows().filter(inside);
        Circle {
            members: members.iter().map(|&name| name.to_owned()).collect(),
            arrows: arrows
                .map(|(from, to, paths)| (from.to_owned(), to.to_owned(), paths))
                .collect(),
        }
    }

    fn reachable<'a>(&'a self, name: &str) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::new();
        let next = |name: &str| self.arrows.get(name).into_iter().flat_map(BTreeMap::keys);
        let mut waiting: Vec<&str> = next(name).map(String::as_str).collect();
        while let Some(at) = waiting.pop() {
            if found.insert(at) {
                waiting.extend(next(at).map(String::as_str));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_has_no_circle() {
        let mut graph = Graph::default();
        graph.add("a", "b", "b::X");
        graph.add("b", "c", "c::X");
        graph.add("a", "a", "self::X");
        assert_eq!(graph.circles(), []);
    }

    #[test]
    fn finds_each_circle_once_with_its_arrows() {
        let mut graph = Graph::default();
        for (from, to) in [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("x", "y"), ("y", "x")] {
            graph.add(from, to, "path");
        }
        let circles = graph.circles();
        assert_eq!(circles.len(), 2);
        assert_eq!(circles[0].members, ["a", "b", "c"]);
        assert_eq!(circles[0].arrows.len(), 3);
        assert_eq!(circles[1].members, ["x", "y"]);
    }
}
