//! What all events of an agent have in common.

use jiff::Timestamp;

/// What all events of an agent have in common.
#[derive(Clone, Debug)]
pub struct EventContext {
    /// Name of this host.
    pub host_name: String,
    /// Nanoseconds to add to a time of the kernel side's clock to get the time of day.
    pub clock_offset_ns: i128,
}

impl EventContext {
    /// Converts a time of the kernel side's clock to the time of day. `None` if the result is
    /// outside the range of the calendar, −9999 to 9999.
    pub fn time_of_day(&self, time_ns: u64) -> Option<Timestamp> {
        Timestamp::from_nanosecond(i128::from(time_ns) + self.clock_offset_ns).ok()
    }
}
