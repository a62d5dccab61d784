//! The live page: a document, its scripts and its style, which read the API; and the page that a
//! client gets instead which may not read the API.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};

use super::nonce::{Allowed, document};

/// A file of the page.
struct File {
    name: &'static str,
    text: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A module that the document loads at once.
    Module,
    /// A module that is imported when it is wanted.
    LateModule,
    Style,
}

impl Kind {
    const fn content_type(self) -> &'static str {
        match self {
            Self::Module | Self::LateModule => "text/javascript; charset=utf-8",
            Self::Style => "text/css; charset=utf-8",
        }
    }
}

/// Own files by their names.
macro_rules! files {
    ($($name:literal $kind:ident),+ $(,)?) => {
        [$(File { name: $name, text: include_str!(concat!("page/", $name)), kind: Kind::$kind }),+]
    };
}

/// The files beside the document.
static FILES: [File; 15] = files![
    "app.js" Module,
    "chart.js" Module,
    "dom.js" Module,
    "events.js" Module,
    "listeners.js" Module,
    "live.js" Module,
    "overview.js" Module,
    "port.js" Module,
    "spark.js" Module,
    "states.js" Module,
    "time.js" Module,
    "timeline.js" Module,
    "words.js" Module,
    "style.css" Style,
    "vendor/uPlot.min.css" Style,
];

/// uPlot as its authors publish it, a script that defines one variable; made a module, with its
/// licence.
static UPLOT: File = File {
    name: "vendor/uplot.js",
    text: concat!(
        "/*\n",
        include_str!("page/vendor/uPlot.LICENSE"),
        "\n*/\n",
        include_str!("page/vendor/uPlot.iife.min.js"),
        "\nexport default uPlot;\n"
    ),
    kind: Kind::LateModule,
};

/// The document. Its content security policy allows scripts and styles with its nonce, and what they
/// import: names of programs, which it shows, may be hostile.
static PAGE: LazyLock<String> = LazyLock::new(|| {
    // Modules are loaded side by side, and not one after the other has been read.
    let modules = FILES.iter().filter(|file| file.kind == Kind::Module);
    let preload = |file: &File| {
        format!("<link rel=\"modulepreload\" nonce=\"NONCE\" href=\"page/{}\">\n", file.name)
    };
    include_str!("page/index.html").replace("MODULES", &modules.map(preload).collect::<String>())
});

/// The page.
pub(super) async fn page() -> Response {
    document(&PAGE, Allowed::Script)
}

/// A file of the page.
pub(super) async fn file(Path(name): Path<String>) -> Response {
    let found = FILES.iter().chain([&UPLOT]).find(|file| file.name == name);
    let Some(file) = found else {
        return (StatusCode::NOT_FOUND, "the live page has no such file\n").into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, file.kind.content_type()),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, file.text).into_response()
}

/// The document for a client that may not read details, with the reason in the place of `REASON`.
const LANDING: &str = include_str!("page/landing.html");

/// The page without details.
pub(super) fn landing(why: &str) -> Response {
    let mut response = document(&LANDING.replace("REASON", why), Allowed::Text);
    if response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::FORBIDDEN;
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of everything that a first view and the view of a port load, bytes.
    const MOST_BYTES: usize = 150_000;

    #[test]
    fn the_landing_page_has_a_place_for_the_reason() {
        assert_eq!(LANDING.matches("REASON").count(), 1);
        assert_eq!(LANDING.matches("NONCE").count(), 1, "one style");
        assert!(!LANDING.contains("<script"));
    }

    #[test]
    fn everything_that_the_document_loads_has_its_nonce_and_exists() {
        let loaded: Vec<&str> = PAGE.lines().filter(|line| line.contains("\"page/")).collect();
        assert_eq!(loaded.len(), FILES.len() + 1, "each file, and the script itself");
        for line in loaded {
            assert!(line.contains("nonce=\"NONCE\""), "{line}");
            let name = line.split("page/").nth(1).and_then(|rest| rest.split('"').next());
            assert!(FILES.iter().any(|file| Some(file.name) == name), "{line}");
        }
        assert_eq!(PAGE.matches("<script").count(), 1);
        assert!(!PAGE.contains(" style=") && !PAGE.contains("MODULES"));
    }

    #[test]
    fn imports_are_files_of_the_page() {
        for file in &FILES {
            let imports = file.text.lines().filter_map(|line| line.split("\"./").nth(1));
            for name in imports.filter_map(|rest| rest.split('"').next()) {
                let is_there = FILES.iter().chain([&UPLOT]).any(|other| other.name == name);
                assert!(is_there, "{} imports {name}", file.name);
            }
        }
    }

    #[test]
    fn loads_nothing_from_elsewhere_and_inserts_no_markup() {
        let forbidden =
            ["http:", "https:", "innerHTML", "insertAdjacentHTML", "document.write", "eval("];
        for text in FILES.iter().map(|file| file.text).chain([PAGE.as_str()]) {
            // The name of a namespace is not an address.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for forbidden in forbidden {
                assert!(!text.contains(forbidden), "{forbidden}");
            }
        }
    }

    #[test]
    fn the_page_is_small() {
        let files: usize = FILES.iter().chain([&UPLOT]).map(|file| file.text.len()).sum();
        assert!(PAGE.len() + files < MOST_BYTES, "{} bytes", PAGE.len() + files);
    }
}
