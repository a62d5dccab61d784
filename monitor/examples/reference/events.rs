//! events.md, from the descriptions of kinds and fields, and the golden file for examples.

use ghostport::event::{EventName, FIELDS, meaning};

use crate::markdown::{code, table};

/// An event of every kind, with every field; the tests compare the encoder with it.
const GOLDEN: &str = include_str!("../../src/event/golden.jsonl");

/// The page.
pub(crate) fn page() -> String {
    let kinds = EventName::ALL
        .map(|name| [code(&format!("ghostport.{}", name.kind())), meaning(name).into()]);
    let fields = FIELDS.iter().map(|field| {
        let kinds: Vec<String> = field.kinds.iter().map(|name| code(name.kind())).collect();
        let kinds =
            if kinds.len() == EventName::ALL.len() { "all".into() } else { kinds.join(", ") };
        [code(field.name), field.value.into(), kinds, field.help.into()]
    });
    let bind =
        GOLDEN.lines().find(|line| line.contains("ghostport.bind_failed")).unwrap_or_default();
    format!(
        "# Events\n\n\
         Source: `monitor/src/event/fields.rs`. [Sinks](../operate/sinks.md) and \
         [history](../operate/history.md) say where events go.\n\n\
         An event is one JSON object on one line. Names follow OpenTelemetry's semantic conventions \
         where these have one, and begin with `ghostport.` otherwise. A field whose value is unknown \
         is absent.\n\n\
         ## Kinds\n\n{}\n\
         ## Fields\n\n{}\n\
         ## An example\n\n```json\n{bind}\n```\n",
        table(["`event.name`", "when"], kinds),
        table(["field", "value", "kinds", "what it is"], fields),
    )
}
