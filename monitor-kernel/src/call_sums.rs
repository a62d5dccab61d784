//! Socket calls that the kernel side did not send one by one, but summed up.

use aya::maps::{HashMap, MapData, MapError};
use monitor_common::{
    call_sum::{CallSum, SumKey},
    limits::{CALL_SUMS, USER_CALL_SUMS},
    socket_record::SocketRecord,
};

use super::{
    map_error::{CountersError, take},
    ring::decoded_or_logged,
};

type Result<T> = std::result::Result<T, CountersError>;

/// [`SumKey`] in words.
type Key = [u32; size_of::<SumKey>() / size_of::<u32>()];
/// [`CallSum`] in words.
type SumWords = [u64; size_of::<CallSum>() / size_of::<u64>()];
type Sums = HashMap<MapData, Key, SumWords>;

/// The sums by process, and those by user.
pub struct CallSums {
    by_process: Sums,
    by_user: Sums,
}

impl CallSums {
    /// Takes the maps of a loaded object, which may be those of an earlier agent.
    pub fn open(object: &mut aya::Ebpf) -> Result<Self> {
        Ok(Self {
            by_process: HashMap::try_from(take(object, "CALL_SUMS")?)?,
            by_user: HashMap::try_from(take(object, "USER_CALL_SUMS")?)?,
        })
    }

    /// Whether there are sums of other generations than `current`, to which programs add.
    pub fn has_ended(&self, current: u32) -> Result<bool> {
        Ok(!ended(&self.by_process, CALL_SUMS, current)?.is_empty()
            || !ended(&self.by_user, USER_CALL_SUMS, current)?.is_empty())
    }

    /// Removes and returns the sums of all generations but `current`. No program may add to them any
    /// more.
    pub fn take(&mut self, current: u32) -> Result<Vec<SocketRecord>> {
        let mut records = Vec::new();
        for (sums, most) in [(&mut self.by_process, CALL_SUMS), (&mut self.by_user, USER_CALL_SUMS)]
        {
            for key in ended(sums, most, current)? {
                let sum: CallSum = match sums.get(&key, 0) {
                    Ok(words) => bytemuck::cast(words),
                    Err(MapError::KeyNotFound) => continue,
                    Err(error) => return Err(error.into()),
                };
                sums.remove(&key)?;
                records.extend(decoded_or_logged(SocketRecord::try_from(&sum)));
            }
        }
        // Binds before the closes that end them.
        records.sort_by_key(|record| (record.call.order(), record.time_ns));
        Ok(records)
    }
}

/// The keys of other generations than `current`, `most` at most. Programs add others meanwhile, for
/// which the kernel may begin the list anew.
fn ended(sums: &Sums, most: u32, current: u32) -> Result<Vec<Key>> {
    let mut keys = Vec::new();
    for key in sums.keys().take(2 * most as usize) {
        let key = key?;
        let SumKey { generation, .. } = bytemuck::cast(key);
        if generation != current && !keys.contains(&key) {
            keys.push(key);
        }
    }
    Ok(keys)
}
