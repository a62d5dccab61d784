//! Loads and attaches single programs of the object.

use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use aya::{
    Btf, Ebpf, Endianness,
    programs::{
        CgroupAttachMode, CgroupSock, CgroupSockAddr, FEntry, FExit, KProbe, Program, ProgramError,
        RawTracePoint, SchedClassifier, TracePoint, Xdp, links::FdLink,
    },
};
use aya_obj::generated::bpf_attach_type;

use super::{
    btf::KernelTypes,
    cgroup, holders,
    hooks::Hook,
    links::OwnedLink,
    programs::{ProgramSpec, Target},
    sys, tracefs,
};

/// `XDP_FLAGS_SKB_MODE` and `XDP_FLAGS_DRV_MODE`, `include/uapi/linux/if_link.h`.
const XDP_IN_STACK: u32 = 1 << 1;
const XDP_IN_DRIVER: u32 = 1 << 2;

/// `BPF_F_BEFORE` without a program to be before.
const FIRST_IN_LINE: u32 = 1 << 3;

/// The object, and the BTF that its programs are loaded with.
#[derive(Debug)]
pub struct ProgramLoader {
    object: Ebpf,
    types: KernelTypes,
    /// Ids of the traced functions in the form that aya takes; made for the first program that is
    /// attached by an id.
    function_types: Option<Btf>,
}

/// Loads a program unless it is loaded.
macro_rules! loaded {
    ($object:expr, $name:expr, $type:ty $(, $argument:expr)*) => {{
        let program: &mut $type = program(&mut $object, $name)?;
        if program.fd().is_err() {
            program.load($($argument),*)?;
        }
        program
    }};
}

impl ProgramLoader {
    /// Takes a loaded object.
    pub fn new(object: Ebpf, types: KernelTypes) -> Self {
        Self { object, types, function_types: None }
    }

    /// Offsets and functions of the running kernel.
    pub fn types(&self) -> &KernelTypes {
        &self.types
    }

    /// The object.
    pub fn object(&mut self) -> &mut Ebpf {
        &mut self.object
    }

    /// Frees memory that only loading takes.
    pub fn release(&mut self) {
        self.function_types = None;
    }

    /// Loads the iterator over open files, which is attached for every read.
    pub fn load_holders(&mut self) -> Result<()> {
        let types = function_types(&self.types, &mut self.function_types)?;
        holders::load(&mut self.object, types)
    }

    /// Loads a program that is attached to an interface or to the cgroup root.
    pub fn load(&mut self, program: &ProgramSpec) -> Result<()> {
        let name = program.name;
        match program.target {
            Target::XdpNative | Target::XdpGeneric => {
                loaded!(self.object, name, Xdp);
            }
            Target::Tc => {
                self.load_tc(program)?;
            }
            Target::CgroupRoot => {
                cgroup::open_root()?;
                loaded!(self.object, name, CgroupSock);
            }
            Target::CgroupAddress => {
                cgroup::open_root()?;
                loaded!(self.object, name, CgroupSockAddr);
            }
            _ => {}
        }
        Ok(())
    }

    /// Loads a TC program.
    pub fn load_tc(&mut self, program: &ProgramSpec) -> Result<&mut SchedClassifier> {
        Ok(loaded!(self.object, program.name, SchedClassifier))
    }

    /// Attaches a program to an interface by a link. By the interface's index: its name can change at
    /// any time.
    pub fn attach_to_interface(
        &mut self,
        program: &ProgramSpec,
        hook: Hook,
        ifindex: u32,
    ) -> Result<OwnedLink> {
        let link = match program.target {
            Target::XdpNative => self.attach_xdp(program, ifindex, XDP_IN_DRIVER),
            Target::XdpGeneric => self.attach_xdp(program, ifindex, XDP_IN_STACK),
            _ => self.attach_tcx(program, hook, ifindex),
        };
        Ok(link?.into())
    }

    /// Attaches a program of a socket hook.
    pub fn attach(&mut self, program: &ProgramSpec) -> Result<OwnedLink> {
        let name = program.name;
        match program.target {
            Target::Fexit(function) => self.attach_fexit(name, function).map(Into::into),
            Target::Fentry(function) => self.attach_fentry(name, function).map(Into::into),
            Target::Kprobe(function) => self.attach_kprobe(name, function),
            Target::CgroupRoot => self.attach_to_cgroup_root(name).map(Into::into),
            Target::CgroupAddress => self.attach_addresses_to_cgroup_root(name).map(Into::into),
            Target::RawTracepoint(tracepoint) => {
                self.attach_raw_tracepoint(name, tracepoint).map(Into::into)
            }
            Target::Tracepoint(category, tracepoint) => {
                self.attach_tracepoint(name, category, tracepoint)
            }
            Target::XdpNative | Target::XdpGeneric | Target::Tc => {
                anyhow::bail!("{name} is attached to an interface")
            }
        }
    }

    fn attach_xdp(&mut self, program: &ProgramSpec, ifindex: u32, mode: u32) -> Result<OwnedFd> {
        let program = loaded!(self.object, program.name, Xdp);
        let attach_type = bpf_attach_type::BPF_XDP;
        Ok(sys::attach_to_interface(program.fd()?.as_fd(), ifindex, attach_type, mode)?)
    }

    fn attach_tcx(&mut self, program: &ProgramSpec, hook: Hook, ifindex: u32) -> Result<OwnedFd> {
        let program = self.load_tc(program)?;
        let attach_type = match hook {
            Hook::Egress => bpf_attach_type::BPF_TCX_EGRESS,
            _ => bpf_attach_type::BPF_TCX_INGRESS,
        };
        // A program before ours could end the walk, and ours would not run.
        Ok(sys::attach_to_interface(program.fd()?.as_fd(), ifindex, attach_type, FIRST_IN_LINE)?)
    }

    /// Attaches a program to a tracepoint.
    pub fn attach_tracepoint(
        &mut self,
        name: &str,
        category: &str,
        tracepoint: &str,
    ) -> Result<OwnedLink> {
        let program = loaded!(self.object, name, TracePoint);
        let id = tracefs::with(|| program.attach(category, tracepoint))??;
        Ok(program.take_link(id)?.try_into()?)
    }

    fn attach_fexit(&mut self, name: &str, function: &str) -> Result<FdLink> {
        let types = function_types(&self.types, &mut self.function_types)?;
        let program = loaded!(self.object, name, FExit, function, types);
        let id = program.attach()?;
        Ok(program.take_link(id)?.into())
    }

    /// Attaches a program to the entry of a function by a trampoline.
    pub fn attach_fentry(&mut self, name: &str, function: &str) -> Result<FdLink> {
        let types = function_types(&self.types, &mut self.function_types)?;
        let program = loaded!(self.object, name, FEntry, function, types);
        let id = program.attach()?;
        Ok(program.take_link(id)?.into())
    }

    /// Attaches a program to the entry of a function, or to its return, as the program says.
    pub fn attach_kprobe(&mut self, name: &str, function: &str) -> Result<OwnedLink> {
        let program = loaded!(self.object, name, KProbe);
        let id = program.attach(function, 0)?;
        Ok(program.take_link(id)?.try_into()?)
    }

    fn attach_to_cgroup_root(&mut self, name: &str) -> Result<FdLink> {
        let root = cgroup::open_root()?;
        let program = loaded!(self.object, name, CgroupSock);
        // A link leaves room for other programs in any mode.
        let id = program.attach(root, CgroupAttachMode::Single)?;
        Ok(program.take_link(id)?.try_into()?)
    }

    fn attach_addresses_to_cgroup_root(&mut self, name: &str) -> Result<FdLink> {
        let root = cgroup::open_root()?;
        let program = loaded!(self.object, name, CgroupSockAddr);
        // As above.
        let id = program.attach(root, CgroupAttachMode::Single)?;
        Ok(program.take_link(id)?.try_into()?)
    }

    fn attach_raw_tracepoint(&mut self, name: &str, tracepoint: &str) -> Result<FdLink> {
        let program = loaded!(self.object, name, RawTracePoint);
        let id = program.attach(tracepoint)?;
        Ok(program.take_link(id)?.into())
    }
}

/// Loads and unloads the program of the listens, which reads kernel memory and needs nothing else: an
/// error that refuses it refuses every program that reads sockets.
pub fn try_kernel_read(object: &mut Ebpf) -> Result<()> {
    let program: &mut RawTracePoint = program(object, "listen_tracepoint")?;
    program.load()?;
    // An adopted hook does not need it.
    Ok(program.unload()?)
}

/// A program of the object, as its type.
fn program<'a, P>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = object.program_mut(name).with_context(|| format!("no program {name}"))?;
    Ok(program.try_into()?)
}

fn function_types<'a>(types: &KernelTypes, cache: &'a mut Option<Btf>) -> Result<&'a Btf> {
    if cache.is_none() {
        *cache = Some(Btf::parse(&types.of_functions(), Endianness::default())?);
    }
    cache.as_ref().context("no types")
}
