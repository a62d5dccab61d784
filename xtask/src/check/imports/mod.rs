//! Imports between files: no circles, between files or between packages, no arrow upwards.
//!
//! An import counts for the file that defines what is imported, not for one that re-exports it. `mod`
//! declarations and code that only tests compile do not count.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use self::{
    graph::{Circle, Graph},
    resolve::Resolver,
    source::Sources,
};
use super::outcome::Outcome;
use crate::workspace::root;

mod graph;
mod resolve;
mod rooms;
mod source;

/// Folders that hold no package.
const NO_PACKAGES: &[&str] = &["target", "docs", "dashboards", "packaging"];

/// Checks the imports of all packages.
pub(super) fn hold() -> Result<Outcome> {
    let graph = read(root())?;
    let mut problems: Vec<String> = graph.circles().iter().map(describe).collect();
    problems.extend(packages(&graph).circles().iter().map(describe));
    let arrows = graph.arrows().filter_map(|(from, to, paths)| {
        let why = rooms::objection(from, to)?;
        Some(format!("{from} → {to}: {why} ({paths})"))
    });
    problems.extend(arrows);
    let summary = format!("{} problems", problems.len());
    if problems.is_empty() {
        return Ok(Outcome::Passed);
    }
    problems.push(summary);
    Ok(Outcome::from_problems(problems))
}

fn describe(circle: &Circle) -> String {
    let arrows = circle.arrows.iter().map(|(from, to, paths)| format!("  {from} → {to}: {paths}"));
    let arrows: Vec<_> = arrows.collect();
    format!(
        "circle of {}: {}\n{}",
        circle.members.len(),
        circle.members.join(", "),
        arrows.join("\n")
    )
}

/// The graph of packages, which are the first folders of the files.
fn packages(files: &Graph) -> Graph {
    let mut graph = Graph::default();
    for (from, to, _) in files.arrows() {
        let package = |file: &str| file.split('/').next().unwrap_or_default().to_owned();
        graph.add(&package(from), &package(to), from);
    }
    graph
}

/// The graph of all files under `root`.
fn read(root: &Path) -> Result<Graph> {
    let mut sources = Sources::default();
    for folder in folders(root)? {
        if folder.join("Cargo.toml").is_file() {
            read_package(&mut sources, &folder)?;
        }
    }
    Ok(connect(&sources, root))
}

fn folders(of: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(of).with_context(|| format!("cannot read {}", of.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    let mut found = paths.collect::<Result<Vec<_>>>()?;
    found.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.is_dir() && !name.starts_with('.') && !NO_PACKAGES.contains(&&*name)
    });
    found.sort();
    Ok(found)
}

/// Reads every crate of a package: library, programs, tests, build script.
fn read_package(sources: &mut Sources, folder: &Path) -> Result<()> {
    let library = folder.join("src/lib.rs");
    if library.is_file() {
        let id = sources.read_crate(&library)?;
        sources.libraries.insert(library_name(folder)?, id);
    }
    for program in ["src/main.rs", "build.rs"].map(|name| folder.join(name)) {
        if program.is_file() {
            sources.read_crate(&program)?;
        }
    }
    for kind in ["src/bin", "tests", "examples", "benches", "fuzz_targets"] {
        let Ok(entries) = fs::read_dir(folder.join(kind)) else { continue };
        for entry in entries {
            let path = entry?.path();
            let main = path.join("main.rs");
            if path.extension().is_some_and(|extension| extension == "rs") {
                sources.read_crate(&path)?;
            } else if main.is_file() {
                sources.read_crate(&main)?;
            }
        }
    }
    Ok(())
}

/// The name under which a package's library is imported.
fn library_name(folder: &Path) -> Result<String> {
    let manifest = folder.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)
        .with_context(|| format!("cannot read {}", manifest.display()))?;
    let mut section = "";
    let (mut package, mut library) = (None, None);
    for line in text.lines() {
        if line.starts_with('[') {
            section = line.trim();
        }
        let Some(name) = line.strip_prefix("name = ").map(|name| name.trim_matches('"')) else {
            continue;
        };
        match section {
            "[package]" => package = Some(name),
            "[lib]" => library = Some(name),
            _ => {}
        }
    }
    let name = library.or(package).with_context(|| format!("no name in {}", manifest.display()))?;
    Ok(name.replace('-', "_"))
}

/// An arrow for every path that one file uses of another.
fn connect(sources: &Sources, root: &Path) -> Graph {
    let mut graph = Graph::default();
    let name = |id: usize| {
        let file = &sources.modules[id].file;
        file.strip_prefix(root).unwrap_or(file).display().to_string()
    };
    for (id, module) in sources.modules.iter().enumerate() {
        let mut resolver = Resolver::new(sources);
        let imports = module.imports.iter().map(|import| &import.path);
        for path in imports.chain(&module.references) {
            let definition = match path.as_slice() {
                [only] if module.globs.is_empty() || only.is_empty() => None,
                [only] => resolver.definition_by_glob(id, only),
                _ => resolver.definition(id, path),
            };
            if let Some(definition) = definition {
                graph.add(&name(id), &name(definition), &path.join("::"));
            }
        }
    }
    graph
}

#[cfg(test)]
mod tests;
