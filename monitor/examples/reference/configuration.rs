//! configuration.md, from the table of keys.

use ghostport::config::{
    Change, Config, DEFAULT_PATH, DEFAULT_PORTS, EXPECT_KEYS, KEYS, Key, LISTENER_EXPECT_KEYS,
    NestedKey, PORT_KEYS, SINK_KEYS, SinkKey, quantity,
};

use crate::markdown::{code, table};

/// The page.
pub(crate) fn page() -> String {
    let defaults = Config::default();
    let keys = KEYS.iter().map(|key| {
        [
            code(key.path),
            key.value.into(),
            default(key, &defaults),
            effect(key).into(),
            key.help.into(),
        ]
    });
    let sinks = SINK_KEYS.iter().map(|SinkKey { key, kinds }| {
        let kinds: Vec<String> = kinds.iter().map(|kind| code(kind)).collect();
        let kinds = if kinds.is_empty() { "all".into() } else { kinds.join(", ") };
        [code(key.name), kinds, key.value.into(), key.help.into()]
    });
    format!(
        "# Configuration\n\n\
         Source: `monitor/src/config/keys.rs`. How to use the keys is in \
         [operate](../operate/README.md).\n\n\
         The agent reads `{DEFAULT_PATH}`, or the file that `--config` names. Without a file, every \
         key has its default. The file is YAML: one document of mappings, lists and plain values, \
         without anchors, aliases and tags. An unknown key is an error, and so is a key that is \
         there twice; an error names file, line and column, and what was expected. `ghostport \
         config check` validates a file, `ghostport config show` prints every key with its \
         value.\n\n\
         A key takes effect at a *reload* (`SIGHUP`, `systemctl reload ghostport`) or at the next \
         *start*. A reload that changes a key of the second kind says so in the log. A file that is \
         refused leaves the old configuration in force.\n\n\
         ## Keys\n\n{}\n\
         A *duration* is {}. A *size* is {}.\n\n\
         ## A port\n\n\
         An entry of `ports` is a number or a mapping:\n\n{}\n\
         ### Expected processes\n\n\
         An entry of `expect` names processes that may bind the port. At least one field is \
         required; every field that is there must match, and an unknown value matches \
         nothing.\n\n{}\n\
         ### Expected listeners\n\n\
         An entry of `listeners.expect` has the fields of an entry of `expect`, and the ports on which \
         these processes may listen.\n\n{}\n\
         ## A sink\n\n{}\n\
         ## The defaults\n\n\
         The output of `ghostport config show` without a file:\n\n```yaml\n{defaults}```\n",
        table(["key", "value", "default", "takes effect", "what it does"], keys),
        sentence(quantity::DURATION),
        sentence(quantity::SIZE),
        nested(&PORT_KEYS),
        nested(&EXPECT_KEYS),
        nested(&LISTENER_EXPECT_KEYS),
        table(["key", "kinds", "value", "what it is"], sinks),
    )
}

fn nested(keys: &[NestedKey]) -> String {
    let rows = keys.iter().map(|key| [code(key.name), key.value.into(), key.help.into()]);
    table(["key", "value", "what it is"], rows)
}

/// The default as one line of YAML.
fn default(key: &Key, defaults: &Config) -> String {
    let shown = key.shown(defaults);
    // Ports are shown as a block list of mappings.
    if shown.starts_with('\n') { code(&format!("{DEFAULT_PORTS:?}")) } else { code(&shown) }
}

const fn effect(key: &Key) -> &'static str {
    match key.change {
        Change::Reload => "reload",
        Change::Restart(_) => "**start**",
    }
}

/// What a quantity is, without its own name: "from 1s to 100y, …".
fn sentence(expected: &str) -> String {
    let range = expected.split_once("from ").map_or(expected, |(_, range)| range);
    format!("from {range}").replace("; units", " (units") + ")"
}
