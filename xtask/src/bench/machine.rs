//! The machine that is measured on.

use std::{env, fs};

use anyhow::Result;

/// Kernel, CPU model and number of CPUs.
pub(super) fn describe() -> Result<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let fields: Vec<(&str, &str)> = cpus
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    let model = fields.iter().find(|(name, _)| *name == "model name").map(|(_, value)| *value);
    let model = model.unwrap_or(env::consts::ARCH);
    let count = fields.iter().filter(|(name, _)| *name == "processor").count();
    Ok(format!("Linux {}, {model}, {count} CPUs", kernel.trim()))
}
