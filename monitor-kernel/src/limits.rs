//! Resource limits of this process that can stop the kernel side.

use aya::maps::{MapData, MapError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Remedy for a memlock limit that is too low.
pub const REMEDY: &str = "grant CAP_SYS_RESOURCE, or raise the limit: ulimit -l unlimited, or \
                          LimitMEMLOCK=infinity in the unit";

/// Raises the limits as far as this process may. Every interface needs a descriptor, and kernels
/// before 5.11 charge maps to the memlock limit. Where a limit stays, the call that exceeds it fails.
pub fn lift() {
    let unlimited = Rlimit { current: None, maximum: None };
    let files = getrlimit(Resource::Nofile);
    let all_files = Rlimit { current: files.maximum, ..files };
    let locked = getrlimit(Resource::Memlock);
    let all_locked = Rlimit { current: locked.maximum, ..locked };
    set(Resource::Nofile, all_files);
    if !set(Resource::Memlock, unlimited) {
        set(Resource::Memlock, all_locked);
    }
}

fn set(resource: Resource, limit: Rlimit) -> bool {
    let result = setrlimit(resource, limit);
    if let Err(error) = &result {
        tracing::debug!(%error, ?resource, "a limit stays");
    }
    result.is_ok()
}

/// The memlock limit that maps are charged to, bytes; `None` where there is no such limit, or where
/// this kernel charges maps elsewhere (Linux 5.11), which is found by creating a map with a limit of
/// 0.
pub fn of_maps() -> Option<u64> {
    let limit = getrlimit(Resource::Memlock);
    let bytes = limit.current?;
    let nothing = Rlimit { current: Some(0), ..limit };
    setrlimit(Resource::Memlock, nothing).ok()?;
    let refused = try_map().is_err();
    set(Resource::Memlock, limit);
    (refused && try_map().is_ok()).then_some(bytes)
}

/// The message for maps that could not be created under such a limit.
pub fn explain(what: &str, limit: Option<u64>) -> String {
    match limit {
        None => what.to_owned(),
        Some(bytes) => format!(
            "{what}: RLIMIT_MEMLOCK is {} KiB, to which kernels before 5.11 charge maps: {REMEDY}",
            bytes / 1024
        ),
    }
}

fn try_map() -> Result<MapData, MapError> {
    /// `BPF_MAP_TYPE_ARRAY`, `include/uapi/linux/bpf.h`.
    const ARRAY: u32 = 2;
    let object = aya_obj::Map::new_from_params(ARRAY, 4, 4, 1, 0);
    MapData::create(object, "GHOST_TRIAL", None)
}
