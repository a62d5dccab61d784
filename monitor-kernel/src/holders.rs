//! Holders of sockets on watched ports, by the kernel's iterator over all open files.
//!
//! Every read attaches the program and detaches it afterwards: between two reads it costs nothing.

use std::{
    fs::File,
    io::{self, Read as _},
};

use anyhow::{Context as _, Result};
use aya::{
    Btf, Ebpf,
    programs::{Iter, Program},
};
use aya_obj::btf::BtfKind;
use monitor_common::held_socket::HeldSocket;

/// The kernel function that is called for every open file; programs are attached by its id.
pub(super) const FUNCTION: &str = "bpf_iter_task_file";

/// The iterator's name without the prefix `bpf_iter_`.
const ITERATOR: &str = "task_file";

/// An attached iterator.
#[derive(Debug)]
pub struct OpenSockets(File);

/// Loads the program, which is attached for every read.
pub(super) fn load(object: &mut Ebpf, types: &Btf) -> Result<()> {
    types
        .id_by_type_name_kind(FUNCTION, BtfKind::Func)
        .ok()
        .context("this kernel has no iterator over open files (Linux 5.8)")?;
    let program = program(object)?;
    if program.fd().is_err() {
        program.load(ITERATOR, types)?;
    }
    Ok(())
}

fn program(object: &mut Ebpf) -> Result<&mut Iter> {
    let program: Option<&mut Program> = object.program_mut("holders_iterator");
    Ok(program.context("no program holders_iterator")?.try_into()?)
}

impl OpenSockets {
    /// Attaches the program that [`load`] has loaded.
    pub(super) fn open(object: &mut Ebpf) -> Result<Self> {
        let program = program(object)?;
        let id = program.attach()?;
        Ok(Self(program.take_link(id)?.into_file()?))
    }

    /// Reads the records of the open files of all processes.
    ///
    /// The kernel ends a read with `EAGAIN` after a million files without a record (`bpf_seq_read` in
    /// `kernel/bpf/bpf_iter.c`); the next read continues after them.
    pub fn read(mut self) -> io::Result<Vec<HeldSocket>> {
        let mut bytes = Vec::new();
        while let Err(error) = self.0.read_to_end(&mut bytes) {
            if error.kind() != io::ErrorKind::WouldBlock {
                return Err(error);
            }
        }
        let records = bytes.chunks_exact(size_of::<HeldSocket>());
        if !records.remainder().is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(records.map(bytemuck::pod_read_unaligned).collect())
    }
}
