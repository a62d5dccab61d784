//! Sums of the socket calls that are not sent by themselves.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    btf_maps::HashMap,
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_current_uid_gid, generated::bpf_ktime_get_boot_ns,
    },
};
use monitor_common::{
    call_sum::{CallSum, SumKey},
    socket_event::SocketEvent,
};

use crate::{
    maps::{CALL_SUMS, SAMPLING, USER_CALL_SUMS, add_atomic},
    sock::Sock,
};

/// What a sum begins with: it has no room on the stack.
#[unsafe(no_mangle)]
static NOTHING: CallSum = CallSum::NOTHING;

/// The key of a call of the running process.
#[inline(always)]
pub(crate) fn key(sock: &Sock, call: u8) -> SumKey {
    // SAFETY: an aligned word of the section, which userspace writes whole.
    let generation = unsafe { (&raw const (*SAMPLING.get()).second).read_volatile() };
    SumKey {
        generation,
        owner: (bpf_get_current_pid_tgid() >> 32) as u32,
        port: sock.port,
        protocol: sock.protocol.ip_number(),
        call,
    }
}

/// Adds a call to the sum of its process, or else of its user; false if there is no room. `write`
/// writes the record of the call, for a sum that begins with it.
#[inline(always)]
pub(crate) fn add(key: &SumKey, write: impl FnOnce(*mut SocketEvent)) -> bool {
    // SAFETY: the helper takes no arguments.
    let now_ns = unsafe { bpf_ktime_get_boot_ns() };
    if let Some(sum) = CALL_SUMS.get_ptr_mut(key) {
        increase(sum, now_ns);
        return true;
    }
    let (sum, is_new, has_process) = if let Some((sum, is_new)) = begin(&CALL_SUMS, key) {
        (sum, is_new, true)
    } else {
        let of_user = SumKey { owner: bpf_get_current_uid_gid() as u32, ..*key };
        let Some((sum, is_new)) = begin(&USER_CALL_SUMS, &of_user) else { return false };
        (sum, is_new, false)
    };
    if is_new {
        // SAFETY: only an address is taken.
        let event = unsafe { &raw mut (*sum).event };
        write(event);
        if !has_process {
            // Calls of several processes have no process in common.
            // SAFETY: the record is of this type.
            unsafe { (*event).tgid = 0 };
        }
    }
    increase(sum, now_ns);
    true
}

/// The sum of a key, and whether it begins now.
#[inline(always)]
fn begin<const CAPACITY: usize>(
    sums: &HashMap<SumKey, CallSum, CAPACITY>,
    key: &SumKey,
) -> Option<(*mut CallSum, bool)> {
    // Another CPU may begin it at the same time: then this one fails and finds that.
    #[expect(clippy::needless_borrows_for_generic_args, reason = "a copy has no room on the stack")]
    let is_new = sums.insert(key, &NOTHING, BPF_NOEXIST.into()).is_ok();
    Some((sums.get_ptr_mut(key)?, is_new))
}

#[inline(always)]
fn increase(sum: *mut CallSum, now_ns: u64) {
    // SAFETY: the pointer is to a map value of this type. The time is a word that is written whole.
    unsafe {
        add_atomic(&raw mut (*sum).count, 1);
        (&raw mut (*sum).last_ns).write_volatile(now_ns);
    }
}
