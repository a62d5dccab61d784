//! Whether a socket call is sent by itself, or only counted in a sum: shares of the ring buffer.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
    generated::{bpf_get_current_cgroup_id, bpf_ktime_get_boot_ns},
};
use monitor_common::call_share::{
    GROUP_BITS, OF_GROUP, OF_PROCESS, OF_USER, PROCESS_BITS, Share, Shares, USER_BITS, word_index,
};

use crate::maps::{SAMPLING, Shared};

/// Takes one record from the caller's part of `shares`; false if one of them is used up.
#[inline(always)]
pub(crate) fn take(shares: &Shared<Shares>) -> bool {
    // SAFETY: the helpers take no arguments.
    let (now_ns, group) = unsafe { (bpf_ktime_get_boot_ns(), bpf_get_current_cgroup_id()) };
    let process = bpf_get_current_pid_tgid() >> 32;
    let user = bpf_get_current_uid_gid() as u32;
    // SAFETY: only addresses of the sections are taken; the index of a word is within its array.
    let (process, user, group) = unsafe {
        let keys = (&raw const (*SAMPLING.get()).keys).cast::<u64>();
        let key = |index| keys.add(index).read_volatile();
        let shares = shares.get().cast_mut();
        let words = |array: *mut u64, index: usize| array.add(index);
        (
            words((&raw mut (*shares).processes).cast(), word_index(process, key(0), PROCESS_BITS)),
            words((&raw mut (*shares).users).cast(), word_index(user.into(), key(1), USER_BITS)),
            words((&raw mut (*shares).groups).cast(), word_index(group, key(2), GROUP_BITS)),
        )
    };
    take_from(process, OF_PROCESS, now_ns)
        && take_from(user, OF_USER, now_ns)
        && take_from(group, OF_GROUP, now_ns)
}

#[inline(always)]
fn take_from(word: *mut u64, share: Share, now_ns: u64) -> bool {
    // SAFETY: an aligned word of the section, which is read and written whole.
    unsafe {
        let Some(next) = share.take(word.read_volatile(), now_ns) else { return false };
        word.write_volatile(next);
    }
    true
}
