//! Whether programs can read the kernel's sockets.

use aya::Ebpf;

use super::{
    attach_error, btf::KernelTypes, hooks::HookMechanism, host_constraints::HostConstraints,
    program_loader::try_kernel_read,
};

/// The reason on a kernel whose BTF lacks the offsets.
pub const WITHOUT_TYPES: &str = "the kernel's type information does not say what a socket is";

/// Why programs cannot read sockets on this kernel, if they cannot.
pub fn unsupported_reason(object: &mut Ebpf, types: &KernelTypes) -> Option<String> {
    if !types.find_sockets() {
        return Some(WITHOUT_TYPES.to_owned());
    }
    let error = try_kernel_read(object).err()?;
    let constraints = HostConstraints::detect();
    Some(attach_error::explain(HookMechanism::Tracepoint, error.as_ref(), &constraints, None))
}
