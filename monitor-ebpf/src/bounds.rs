//! Bounds that the compiler knows and the verifier has to be told.

/// The bits of `value` that are in `MASK`, by one instruction that the compiler does not see through.
///
/// It would leave it out where it knows the bounds already, or reckon with the value on either side
/// of it; the verifier loses bounds on the stack (before Linux 6.4), and with every value that was
/// computed from one that was compared.
#[inline(always)]
pub(crate) fn masked<const MASK: u32>(value: u64) -> u64 {
    const { assert!(MASK <= i32::MAX as u32) };
    let mut value = value;
    // SAFETY: one instruction on a register.
    unsafe {
        core::arch::asm!(
            "{value} &= {mask}",
            value = inout(reg) value,
            mask = const MASK,
            options(pure, nomem, nostack)
        );
    }
    value
}
