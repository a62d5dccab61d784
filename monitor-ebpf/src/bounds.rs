//! Bounds that the compiler knows and the verifier has to see.

/// `value & MASK`, by one instruction that is opaque to the compiler.
///
/// The compiler would omit a plain mask where it knows the bounds, or use the value from before the
/// mask. The verifier forgets the bounds of values on the stack (before Linux 6.4), and those of
/// values that were computed from a compared one.
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
