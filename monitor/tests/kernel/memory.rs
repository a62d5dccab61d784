//! What the maps take in the kernel.

use std::{collections::BTreeMap, fs};

use monitor_common::{
    flow::SLOT_SIZE,
    limits::{TALKER_SETS, TALKER_WAYS},
    sample::SkipCause,
    sources::Talker,
};
use monitor_kernel::{Kernel, Options};
use testkit::world::in_world;

/// The bound of five ports, eight interfaces and 16 CPUs.
const MOST: u64 = 1 << 20;

/// The maps of this process: name, entries and bytes, as the kernel charges them.
fn maps() -> BTreeMap<u64, (String, u64)> {
    let mut maps = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fdinfo").expect("descriptors").flatten() {
        let info = fs::read_to_string(entry.path()).unwrap_or_default();
        let field = |name: &str| -> Option<u64> {
            info.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
        };
        if let (Some(id), Some(bytes)) = (field("map_id:"), field("memlock:")) {
            let size = |name| field(name).unwrap_or(0);
            let kind = format!(
                "type {:>2}, {:>6} entries of {} + {}",
                size("map_type:"),
                size("max_entries:"),
                size("key_size:"),
                size("value_size:")
            );
            maps.insert(id, (kind, bytes));
        }
    }
    maps
}

#[test]
fn five_ports_on_eight_interfaces_and_16_cpus_take_a_mebibyte() {
    in_world(|_| {
        let body = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let _guard = runtime.as_ref().expect("a runtime").enter();
            let options = Options { ports: 5, interfaces: 8, ..Options::TRIAL };
            let (mut kernel, _streams) = Kernel::start_unpinned(options).expect("started");
            kernel.watch(&[2923, 2948, 2949, 3716, 3717].into()).expect("watched");
            let maps = maps();
            for (kind, bytes) in maps.values() {
                eprintln!("{bytes:>8} bytes: {kind}");
            }
            maps.values().map(|(_, bytes)| bytes).sum::<u64>()
        };
        // The tables of a map are read by value.
        let thread = std::thread::Builder::new().stack_size(16 << 20);
        let measured = std::thread::scope(|scope| {
            thread.spawn_scoped(scope, body).expect("spawned").join().expect("measured")
        });
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
        let expected = measured + 16_u64.saturating_sub(cpus) * for_each_cpu();
        eprintln!("{measured} bytes on {cpus} CPUs, {expected} on 16");
        assert!(expected <= MOST, "{expected} bytes");
    });
}

/// What another CPU adds: its talkers and causes of samples that were not taken. The flat array of
/// counters has the same size up to 16 CPUs.
fn for_each_cpu() -> u64 {
    const _: () = assert!(SLOT_SIZE * 6 * 8 * 16 <= 192 * 1024);
    let talkers = TALKER_SETS as usize * TALKER_WAYS * size_of::<Talker>();
    (talkers + SkipCause::COUNT * size_of::<u64>()) as u64
}
