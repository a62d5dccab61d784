//! From paths to the files that define what they name, through re-exports.

use super::source::{ModuleId, Names, Sources};

/// What a path names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Named {
    Module(ModuleId),
    /// An item, by the module that defines it.
    Item(ModuleId),
}

/// Resolves paths; keeps the imports that are being followed, because they may lead back.
pub(super) struct Resolver<'a> {
    sources: &'a Sources,
    following: Vec<(ModuleId, String)>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(sources: &'a Sources) -> Self {
        Self { sources, following: Vec::new() }
    }

    /// The module that defines the item which `path`, written in `module`, names. None for what is
    /// outside of the workspace, local to a function, or a module: what is used of a module is a
    /// path of its own.
    pub(super) fn definition(&mut self, module: ModuleId, path: &Names) -> Option<ModuleId> {
        match self.resolve(module, path)? {
            Named::Item(owner) => Some(owner),
            Named::Module(_) => None,
        }
    }

    /// The same of a single name that only a glob import can bring into `module`.
    pub(super) fn definition_by_glob(&mut self, module: ModuleId, name: &str) -> Option<ModuleId> {
        let known = &self.sources.modules[module];
        let is_known = known.items.contains(name)
            || known.children.contains_key(name)
            || known.imports.iter().any(|import| import.name == name);
        if is_known {
            return None;
        }
        match self.by_globs(module, name)? {
            Named::Item(owner) => Some(owner),
            Named::Module(_) => None,
        }
    }

    fn resolve(&mut self, module: ModuleId, path: &Names) -> Option<Named> {
        let (first, rest) = path.split_first()?;
        let modules = &self.sources.modules;
        let start = match first.as_str() {
            "" => return self.resolve_library(rest),
            "crate" | "$crate" => Named::Module(modules[module].root),
            "self" => Named::Module(module),
            "super" => Named::Module(modules[module].parent?),
            name => match self.lookup(module, name, !rest.is_empty()) {
                Some(found) => found,
                None => return self.resolve_library(path),
            },
        };
        self.descend(start, rest)
    }

    fn resolve_library(&mut self, path: &[String]) -> Option<Named> {
        let (name, rest) = path.split_first()?;
        let root = *self.sources.libraries.get(name)?;
        self.descend(Named::Module(root), rest)
    }

    fn descend(&mut self, start: Named, rest: &[String]) -> Option<Named> {
        let mut at = start;
        for (index, name) in rest.iter().enumerate() {
            // What follows an item is a variant, a method or the like.
            let Named::Module(module) = at else { return Some(at) };
            at = match name.as_str() {
                "super" => Named::Module(self.sources.modules[module].parent?),
                name => self
                    .lookup(module, name, index + 1 < rest.len())
                    // A macro defines it here.
                    .unwrap_or(Named::Item(module)),
            };
        }
        Some(at)
    }

    /// What `name` means in `module`. Of a module and an item of one name, the path that goes on
    /// means the module.
    fn lookup(&mut self, module: ModuleId, name: &str, goes_on: bool) -> Option<Named> {
        let known = &self.sources.modules[module];
        let child = known.children.get(name).map(|child| Named::Module(*child));
        let item = known.items.contains(name).then_some(Named::Item(module));
        let local = if goes_on { child.or(item) } else { item };
        if local.is_some() {
            return local;
        }
        let imported = self.by_imports(module, name);
        match imported {
            Some(Named::Item(_)) => imported,
            _ => child.or(imported).or_else(|| self.by_globs(module, name)),
        }
    }

    fn by_imports(&mut self, module: ModuleId, name: &str) -> Option<Named> {
        let sources = self.sources;
        let imports = sources.modules[module].imports.iter();
        let paths = imports.filter(|import| import.name == name).map(|import| &import.path);
        self.following(module, name, |resolver| {
            paths.filter_map(|path| resolver.resolve(module, path)).next()
        })
    }

    fn by_globs(&mut self, module: ModuleId, name: &str) -> Option<Named> {
        let sources = self.sources;
        self.following(module, name, |resolver| {
            sources.modules[module].globs.iter().find_map(|path| {
                match resolver.resolve(module, path)? {
                    Named::Module(of) if of != module => resolver.lookup(of, name, false),
                    Named::Module(_) | Named::Item(_) => None,
                }
            })
        })
    }

    fn following(
        &mut self,
        module: ModuleId,
        name: &str,
        resolve: impl FnOnce(&mut Self) -> Option<Named>,
    ) -> Option<Named> {
        let step = (module, name.to_owned());
        if self.following.contains(&step) {
            return None;
        }
        self.following.push(step);
        let found = resolve(self);
        self.following.pop();
        found
    }
}
