//! The configuration: any text is either a configuration or a located error.

#![no_main]

use std::path::Path;

use ghostport::config::{Config, KEYS, Overrides};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("fuzz.yaml");
    match Config::parse(path, bytes.to_vec(), &Overrides::default()) {
        Ok(config) => {
            assert!(config.port_numbers().is_sorted(), "ports are sorted");
            for key in KEYS {
                let _ = key.shown(&config);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty(), "an error has a message"),
    }
});
