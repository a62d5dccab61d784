//! Whether a traffic program can be interrupted by another one on its CPU.

use std::fs;

/// Whether the kernel is `PREEMPT_RT`, where sections with bottom halves disabled are preemptible: the
/// kernel side then adds by atomic instructions.
pub fn is_realtime() -> bool {
    // What `uname -v` shows.
    let version = fs::read_to_string("/proc/sys/kernel/version").unwrap_or_default();
    says_realtime(&version)
}

/// The build of a kernel puts the name of the preemption model into its version (`UTS_VERSION`, in
/// `scripts/mkcompile_h`, since Linux 6.1 in `init/Makefile`).
fn says_realtime(version: &str) -> bool {
    version.split_ascii_whitespace().any(|word| word == "PREEMPT_RT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_version_of_a_realtime_kernel() {
        assert!(says_realtime("#1 SMP PREEMPT_RT Debian 6.12.48-1 (2025-09-20)"));
        for version in ["#1 SMP PREEMPT_DYNAMIC Debian 6.12.48-1", "#1 SMP Debian 5.10.1", ""] {
            assert!(!says_realtime(version), "{version}");
        }
    }
}
