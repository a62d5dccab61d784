//! The clocks of this machine, as the ledger takes them.

use jiff::Timestamp;
use monitor_kernel::clock::boottime_ns;
use monitor_ledger::ClockReading;

/// Now, on both clocks.
pub fn now() -> ClockReading {
    ClockReading { wall: Timestamp::now(), boottime_ns: boottime_ns() }
}
