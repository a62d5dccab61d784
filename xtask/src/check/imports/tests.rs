//! The graph of small packages that are written into a folder of their own.

use std::env;

use super::*;

/// A workspace of these files, removed again when dropped.
struct Workspace(PathBuf);

impl Workspace {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let root = env::temp_dir().join(format!("xtask-imports-{name}-{}", std::process::id()));
        let packages =
            ["[package]\nname = \"one-two\"", "[package]\nname = \"b\"\n[lib]\nname = \"three\""];
        for (folder, manifest) in ["a", "b"].iter().zip(packages) {
            fs::create_dir_all(root.join(folder).join("src")).unwrap();
            fs::write(root.join(folder).join("Cargo.toml"), manifest).unwrap();
        }
        for (file, text) in files {
            let file = root.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        Self(root)
    }

    fn arrows(&self) -> Vec<String> {
        let graph = read(&self.0).unwrap();
        graph.arrows().map(|(from, to, _)| format!("{from} > {to}")).collect()
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn follows_a_re_export_to_the_file_that_defines() {
    let files = [
        ("a/src/lib.rs", "mod room; pub use self::room::Chair;"),
        ("a/src/room/mod.rs", "mod chair; mod table; pub(crate) use self::chair::Chair;"),
        ("a/src/room/chair.rs", "pub struct Chair;"),
        ("a/src/room/table.rs", "use super::Chair; use crate::Chair as Other;"),
    ];
    let expected = [
        "a/src/lib.rs > a/src/room/chair.rs",
        "a/src/room/mod.rs > a/src/room/chair.rs",
        "a/src/room/table.rs > a/src/room/chair.rs",
    ];
    assert_eq!(Workspace::new("re-export", &files).arrows(), expected);
}

#[test]
fn finds_inline_paths_and_paths_in_macro_calls() {
    let files = [
        (
            "a/src/lib.rs",
            "mod x; mod y; mod z; fn f() { crate::x::g(); println!(\"{}\", y::Y::NAME); }",
        ),
        ("a/src/x.rs", "pub fn g(_: super::z::Z) {}"),
        ("a/src/y.rs", "pub enum Y { A } "),
        ("a/src/z.rs", "pub struct Z;"),
    ];
    let expected =
        ["a/src/lib.rs > a/src/x.rs", "a/src/lib.rs > a/src/y.rs", "a/src/x.rs > a/src/z.rs"];
    assert_eq!(Workspace::new("inline", &files).arrows(), expected);
}

#[test]
fn leaves_tests_and_declarations_out() {
    let files = [
        (
            "a/src/lib.rs",
            "mod x; #[cfg(test)] mod tests; #[cfg(test)] use self::x::X; pub fn f() {}",
        ),
        ("a/src/x.rs", "pub struct X; #[cfg(test)] mod tests { use crate::f; }"),
        ("a/src/tests.rs", "use super::x::X;"),
    ];
    assert_eq!(Workspace::new("tests", &files).arrows(), [""; 0]);
}

#[test]
fn an_import_of_a_module_counts_for_what_is_used_of_it() {
    let files = [
        ("a/src/lib.rs", "mod x; mod y; use self::x as other; fn f() { other::Y; }"),
        ("a/src/x.rs", "pub use super::y::Y;"),
        ("a/src/y.rs", "pub struct Y;"),
    ];
    let expected = ["a/src/lib.rs > a/src/y.rs", "a/src/x.rs > a/src/y.rs"];
    assert_eq!(Workspace::new("modules", &files).arrows(), expected);
}

#[test]
fn follows_glob_imports() {
    let files = [
        ("a/src/lib.rs", "mod x; mod y;"),
        ("a/src/x.rs", "use super::y::*; fn f(_: Y) {}"),
        ("a/src/y.rs", "pub struct Y; pub struct Unused;"),
    ];
    assert_eq!(Workspace::new("globs", &files).arrows(), ["a/src/x.rs > a/src/y.rs"]);
}

#[test]
fn crosses_packages_and_finds_their_circles() {
    let files = [
        ("a/src/lib.rs", "use three::B; pub struct A;"),
        ("b/src/lib.rs", "mod inner; pub use inner::B;"),
        ("b/src/inner.rs", "pub struct B;"),
        ("b/src/main.rs", "use one_two::A;"),
    ];
    let workspace = Workspace::new("packages", &files);
    let expected = [
        "a/src/lib.rs > b/src/inner.rs",
        "b/src/lib.rs > b/src/inner.rs",
        "b/src/main.rs > a/src/lib.rs",
    ];
    assert_eq!(workspace.arrows(), expected);
    let graph = read(&workspace.0).unwrap();
    assert_eq!(graph.circles(), []);
    assert_eq!(packages(&graph).circles()[0].members, ["a", "b"]);
}

#[test]
fn finds_a_circle_of_parent_and_child() {
    let files = [
        ("a/src/lib.rs", "mod x; use self::x::X; pub struct Y;"),
        ("a/src/x.rs", "use super::Y; pub struct X(Y);"),
    ];
    let graph = read(&Workspace::new("circle", &files).0).unwrap();
    assert_eq!(graph.circles()[0].members, ["a/src/lib.rs", "a/src/x.rs"]);
}
