//! The modules of a crate: what each defines, imports and refers to.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::{Context as _, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, ImplItem, Item, ItemMod, ItemUse, Macro, Meta, UseTree, Visibility,
    visit::{self, Visit},
};

/// Index of a module in [`Sources`].
pub(super) type ModuleId = usize;

/// The modules of all crates that were read.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) modules: Vec<Module>,
    /// Root modules of libraries by the name under which others import them.
    pub(super) libraries: BTreeMap<String, ModuleId>,
    /// Files that several crates share are parsed once.
    parsed: HashMap<PathBuf, Rc<syn::File>>,
}

/// A module, of a file or inline.
#[derive(Default)]
pub(super) struct Module {
    pub(super) file: PathBuf,
    pub(super) parent: Option<ModuleId>,
    pub(super) root: ModuleId,
    pub(super) children: BTreeMap<String, ModuleId>,
    /// Names of items that are defined here, without modules.
    pub(super) items: BTreeSet<String>,
    pub(super) imports: Vec<Import>,
    /// Paths of `use …::*`.
    pub(super) globs: Vec<Names>,
    /// Paths in signatures, expressions and macro calls.
    pub(super) references: BTreeSet<Names>,
}

/// A name that a `use` declaration brings into a module.
pub(super) struct Import {
    pub(super) name: String,
    pub(super) path: Names,
}

/// The segments of a path; the first is empty if the path begins with `::`.
pub(super) type Names = Vec<String>;

impl Sources {
    /// Reads the crate whose root module is `file`.
    pub(super) fn read_crate(&mut self, file: &Path) -> Result<ModuleId> {
        let root = self.modules.len();
        let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
        self.read_file(file, None, root, &folder)?;
        Ok(root)
    }

    fn read_file(
        &mut self,
        file: &Path,
        parent: Option<ModuleId>,
        root: ModuleId,
        folder: &Path,
    ) -> Result<ModuleId> {
        let parsed = self.parse(file)?;
        self.read_module(&parsed.items, file, parent, root, folder)
    }

    fn parse(&mut self, file: &Path) -> Result<Rc<syn::File>> {
        if let Some(parsed) = self.parsed.get(file) {
            return Ok(Rc::clone(parsed));
        }
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let parsed = syn::parse_file(&text);
        let parsed = Rc::new(parsed.with_context(|| format!("cannot parse {}", file.display()))?);
        self.parsed.insert(file.to_path_buf(), Rc::clone(&parsed));
        Ok(parsed)
    }

    /// Reads the items of a module whose children lie in `folder`.
    fn read_module(
        &mut self,
        items: &[Item],
        file: &Path,
        parent: Option<ModuleId>,
        root: ModuleId,
        folder: &Path,
    ) -> Result<ModuleId> {
        let id = self.modules.len();
        let mut module = Module { file: file.to_path_buf(), parent, root, ..Module::default() };
        for item in items.iter().filter(|item| !is_for_tests(attributes(item))) {
            module.items.extend(defined_name(item));
            Collector(&mut module).visit_item(item);
        }
        self.modules.push(module);
        for item in items {
            let Item::Mod(child) = item else { continue };
            if is_for_tests(&child.attrs) {
                continue;
            }
            let name = child.ident.to_string();
            let read = self.read_child(child, file, id, root, folder)?;
            self.modules[id].children.insert(name, read);
        }
        Ok(id)
    }

    fn read_child(
        &mut self,
        child: &ItemMod,
        file: &Path,
        parent: ModuleId,
        root: ModuleId,
        folder: &Path,
    ) -> Result<ModuleId> {
        let name = child.ident.to_string();
        let folder = folder.join(&name);
        if let Some((_, items)) = &child.content {
            return self.read_module(items, file, Some(parent), root, &folder);
        }
        let named = path_attribute(&child.attrs)
            .map(|path| file.parent().unwrap_or(Path::new("")).join(path));
        let in_folder = folder.join("mod.rs");
        let found = match named {
            Some(file) => file,
            None if in_folder.is_file() => in_folder,
            None => folder.with_extension("rs"),
        };
        self.read_file(&found, Some(parent), root, &folder)
    }
}

/// Whether an item is compiled for tests only.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let Meta::List(list) = &attribute.meta else { return false };
        let condition = list.tokens.to_string();
        list.path.is_ident("cfg")
            && (condition == "test" || condition.replace(' ', "").starts_with("all(test,"))
    })
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| {
        let Meta::NameValue(pair) = &attribute.meta else { return None };
        let syn::Expr::Lit(literal) = &pair.value else { return None };
        let syn::Lit::Str(text) = &literal.lit else { return None };
        pair.path.is_ident("path").then(|| text.value())
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn defined_name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

/// Collects imports and references into a module. Imports inside of functions count as the module's.
struct Collector<'a>(&'a mut Module);

impl<'ast> Visit<'ast> for Collector<'_> {
    /// Child modules are read on their own.
    fn visit_item_mod(&mut self, _: &'ast ItemMod) {}

    /// `pub(in path)` is no import.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let for_tests = matches!(item, ImplItem::Fn(function) if is_for_tests(&function.attrs));
        if !for_tests {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if !is_for_tests(&item.attrs) {
            let start = item.leading_colon.as_ref().map(|_| String::new());
            self.import(&item.tree, start.into_iter().collect());
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let start = path.leading_colon.as_ref().map(|_| String::new());
        let names = path.segments.iter().map(|segment| segment.ident.to_string());
        self.0.references.insert(start.into_iter().chain(names).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.collect_tokens(call.tokens.clone());
    }
}

impl Collector<'_> {
    fn import(&mut self, tree: &UseTree, mut prefix: Names) {
        match tree {
            UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.import(&path.tree, prefix);
            }
            UseTree::Name(leaf) => {
                let name = leaf.ident.to_string();
                self.bind(name.clone(), name, prefix);
            }
            UseTree::Rename(leaf) => {
                self.bind(leaf.rename.to_string(), leaf.ident.to_string(), prefix);
            }
            UseTree::Glob(_) => self.0.globs.push(prefix),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, prefix.clone());
                }
            }
        }
    }

    /// Binds `prefix::leaf`, or `prefix` itself where the leaf is `self`.
    fn bind(&mut self, name: String, leaf: String, mut prefix: Names) {
        let name = match prefix.last() {
            Some(last) if leaf == "self" && name == "self" => last.clone(),
            _ => name,
        };
        if leaf != "self" {
            prefix.push(leaf);
        }
        self.0.imports.push(Import { name, path: prefix });
    }

    /// Finds what looks like a path among the tokens of a macro call.
    fn collect_tokens(&mut self, tokens: TokenStream) {
        let mut path: Names = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.finish_path(&mut path);
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => {
                    colons += 1;
                }
                other => {
                    self.finish_path(&mut path);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.collect_tokens(group.stream());
                    }
                }
            }
        }
        self.finish_path(&mut path);
    }

    fn finish_path(&mut self, path: &mut Names) {
        if !path.is_empty() {
            self.0.references.insert(std::mem::take(path));
        }
    }
}
