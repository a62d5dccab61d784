//! The runbook that the agent serves: the sections of docs/runbook.md, which is part of the binary.
//! Alerts lead to it, so it is open to every client and says nothing of this host.

mod markdown;

use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use self::markdown::{escaped, html};
use super::{
    nonce::{Allowed, document},
    table,
};

const RUNBOOK: &str = include_str!("../../../../docs/runbook.md");

/// What a heading of the second level begins with. Each is the name of an alert.
const HEADING: &str = "\n## ";

const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width\">\n\
    <style nonce=\"NONCE\">\n\
    :root { color-scheme: light dark }\n\
    body { font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }\n\
    code { font-size: .9em }\n\
    td, th { text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0 }\n\
    </style>\n";

/// The introduction and the list of alerts.
pub(super) async fn index() -> Response {
    let introduction = RUNBOOK.split(HEADING).next().unwrap_or_default();
    let introduction = introduction.trim_start().trim_start_matches("# Runbook");
    respond("Runbook", introduction)
}

/// What to do about an alert.
pub(super) async fn section(Path(name): Path<String>) -> Response {
    let found = sections().find(|(known, _)| known.eq_ignore_ascii_case(&name));
    found.map_or_else(unknown, |(name, text)| respond(name, text))
}

/// Names and texts of the sections.
fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    RUNBOOK.split(HEADING).skip(1).filter_map(|section| section.split_once('\n'))
}

fn respond(title: &str, markdown: &str) -> Response {
    let (title, path) = (escaped(title), table::RUNBOOK.path);
    let links = sections().map(|(name, _)| {
        let name = escaped(name);
        format!("<li><a href=\"{path}/{name}\">{name}</a></li>\n")
    });
    let page = format!(
        "{HEAD}<title>{title}</title>\n<h1>{title}</h1>\n{}<h2>Every alert</h2>\n<ul>\n{}</ul>\n</html>\n",
        html(markdown),
        links.collect::<String>()
    );
    document(&page, Allowed::Text)
}

fn unknown() -> Response {
    let names: String = sections().map(|(name, _)| format!("{name}\n")).collect();
    let text = format!("there is no alert of that name; there are:\n{names}");
    let headers = [(header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (StatusCode::NOT_FOUND, headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_is_readable() {
        assert!(sections().count() > 10);
        for (name, text) in sections() {
            let page = html(text);
            for left_over in ["**", "`", "](", "\n|", "\n#", "<p>- "] {
                assert!(!page.contains(left_over), "{left_over} in {name}:\n{page}");
            }
            for part in ["What it means.", "How to look.", "What to do."] {
                assert!(page.contains(&format!("<strong>{part}</strong>")), "{part} of {name}");
            }
        }
    }
}
