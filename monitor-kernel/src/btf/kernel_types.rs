//! Offsets of struct members and ids of functions in the running kernel.

use std::{fs, io, path::Path};

use monitor_common::offsets::{MISSING, Member, Offsets};

use super::{
    function_ids,
    reader::{Structures, Types, split},
};
use crate::programs::LISTEN_FUNCTION;

/// The running kernel's own types.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Offsets and functions of the running kernel.
#[derive(Clone, Debug)]
pub struct KernelTypes {
    /// The offsets, [`MISSING`] for a member that the kernel lacks.
    pub offsets: Offsets,
    /// `struct.member` of every missing offset, with all names that it has had, or with its size if that
    /// is not the size that programs read.
    pub missing: Vec<String>,
    /// The requested functions that exist, with their ids.
    functions: Vec<(u32, &'static str)>,
    /// How many parameters the function has that makes a TCP socket listen.
    listen_parameters: Option<usize>,
}

impl KernelTypes {
    /// Reads the running kernel's types. Without them every offset is missing, and every function.
    pub fn of_running_kernel(functions: &[&'static str]) -> Self {
        Self::read(Path::new(VMLINUX), functions).unwrap_or_else(|error| {
            tracing::warn!(%error, "{VMLINUX} cannot be read: fields of kernel structs are unknown");
            Self::resolve(&Types::default(), &[])
        })
    }

    /// Reads the types in a file.
    fn read(path: &Path, functions: &[&'static str]) -> io::Result<Self> {
        let bytes = fs::read(path)?;
        let types = Types::parse(&bytes)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not BTF"))?;
        Ok(Self::resolve(&types, functions))
    }

    /// How many parameters `inet_csk_listen_start` has, if it is one of the requested functions.
    pub const fn listen_parameters(&self) -> Option<usize> {
        self.listen_parameters
    }

    /// Whether this kernel has one of the requested functions.
    pub fn have_function(&self, name: &str) -> bool {
        self.functions.iter().any(|(_, function)| *function == name)
    }

    /// BTF with the requested functions at the ids that they have in the kernel's BTF, and placeholders
    /// at all other ids.
    ///
    /// aya looks up traced functions by parsing all of the kernel's hundred thousand types. It parses
    /// this BTF in a tenth of the time and memory.
    pub fn of_functions(&self) -> Vec<u8> {
        function_ids::placeholders(&self.functions)
    }

    /// Whether the offsets of family, protocol and port of a socket are known.
    pub fn find_sockets(&self) -> bool {
        let Offsets { sock_family, sock_protocol, sock_num, .. } = self.offsets;
        ![sock_family, sock_protocol, sock_num].contains(&MISSING)
    }

    /// Whether all offsets that the iterator over open files needs are known. The IPv6 address may be
    /// missing: a kernel without IPv6 has none.
    pub fn find_holders(&self) -> bool {
        let Offsets {
            task_group_leader,
            task_tgid,
            task_start_boottime,
            file_inode,
            file_private_data,
            inode_mode,
            inode_number,
            socket_sk,
            sock_rcv_saddr,
            sock_daddr,
            sock_dport,
            sock_state,
            sock_net,
            net_inum,
            ..
        } = self.offsets;
        let task = [task_group_leader, task_tgid, task_start_boottime];
        let file = [file_inode, file_private_data, inode_mode, inode_number, socket_sk];
        let sock = [sock_rcv_saddr, sock_daddr, sock_dport, sock_state, sock_net, net_inum];
        self.find_sockets() && ![&task[..], &file, &sock].concat().contains(&MISSING)
    }

    fn resolve(types: &Types<'_>, functions: &[&'static str]) -> Self {
        let (found, missing) = look_up(types, Offsets::MEMBERS);
        let functions = types.functions(functions);
        let listen = functions.iter().find(|(_, name)| *name == LISTEN_FUNCTION);
        Self {
            offsets: bytemuck::pod_read_unaligned(bytemuck::cast_slice(&found)),
            missing,
            listen_parameters: listen.and_then(|(id, _)| types.parameters(*id)),
            functions,
        }
    }
}

/// Offsets of members, and the members that are missing.
fn look_up(types: &Types<'_>, table: &[Member]) -> (Vec<u32>, Vec<String>) {
    let names = table.iter().flat_map(|member| member.paths).map(|path| split(path).0);
    let structures = types.structures(&names.collect());
    let mut missing = Vec::new();
    let offset_or_missing = |member: &Member| {
        let mut places =
            member.paths.iter().filter_map(|path| Some((path, place(types, &structures, path)?)));
        match places.next() {
            Some((path, place)) if place.has(member.size, path) => return place.offset,
            Some((path, place)) => {
                missing.push(format!("{path} (size {}, not {})", place.size, member.size));
            }
            None => missing.push(member.paths.join(" or ")),
        }
        MISSING
    };
    (table.iter().map(offset_or_missing).collect(), missing)
}

/// Where a member is and how large, in bytes or, of a bit field, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    offset: u32,
    size: u32,
}

impl Place {
    /// Whether it can be read with that size. A bit field may have become a whole byte.
    fn has(self, size: u32, path: &str) -> bool {
        if path.ends_with(BITS) { self.size >= size } else { self.size == size }
    }
}

/// Suffix of a path that asks for bits.
const BITS: &str = " bits";

/// The place of a path of a [`Member`].
fn place(types: &Types<'_>, structures: &Structures<'_>, path: &str) -> Option<Place> {
    let (structure, path) = split(path);
    let same_name = structures.get(structure)?;
    match path.strip_suffix(BITS) {
        Some(path) => {
            let position = types.find(same_name, path)?;
            let whole = || types.size(position.target)?.checked_mul(8);
            let size = if position.bit_width > 0 { position.bit_width } else { whole()? };
            Some(Place { offset: position.bit_offset, size })
        }
        None => {
            let position = types.find(same_name, path)?;
            Some(Place { offset: position.byte_offset()?, size: types.size(position.target)? })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            reader::{KIND_ARRAY, KIND_POINTER, KIND_UNION},
            test_blob::Blob,
        },
        *,
    };

    fn look_up_in(blob: &Blob, table: &[Member]) -> (Vec<u32>, Vec<String>) {
        let bytes = blob.bytes();
        look_up(&Types::parse(&bytes).expect("BTF"), table)
    }

    #[test]
    fn running_kernel_has_every_offset() {
        let kernel = KernelTypes::of_running_kernel(&[]);
        if Path::new(VMLINUX).exists() {
            assert_eq!(kernel.missing, Vec::<String>::new());
        }
    }

    /// A member that is read as an integer of [`Blob::int`].
    const fn int_at(paths: &'static [&'static str]) -> Member {
        sized(4, paths)
    }

    const fn sized(size: u32, paths: &'static [&'static str]) -> Member {
        Member { paths, size }
    }

    #[test]
    fn finds_members_through_anonymous_structs_and_unions() {
        let mut blob = Blob::default();
        let int = blob.int();
        let inner = blob.structure("", &[("a", int, 0, 0), ("b", int, 32, 0)]);
        let either = blob.composite(KIND_UNION, "", &[("c", int, 0, 0), ("", inner, 0, 0)]);
        let named = blob.structure("named", &[("", either, 64, 0)]);
        let alias = blob.typedef(named);
        blob.structure("outer", &[("x", int, 0, 0), ("n", alias, 128, 0), ("", either, 320, 0)]);
        let (found, missing) = look_up_in(
            &blob,
            &[
                int_at(&["outer.x"]),
                int_at(&["outer.n.b"]),
                int_at(&["outer.n.c"]),
                int_at(&["outer.b"]),
                int_at(&["named.a"]),
            ],
        );
        assert_eq!(found, [0, 16 + 8 + 4, 16 + 8, 40 + 4, 8]);
        assert_eq!(missing, Vec::<String>::new());
    }

    #[test]
    fn the_first_existing_name_wins() {
        let mut blob = Blob::default();
        let int = blob.int();
        blob.structure("task", &[("__state", int, 64, 0), ("old", int, 96, 0)]);
        let moved = blob.structure("common", &[("state", int, 32, 0)]);
        blob.structure("sock", &[("head", int, 0, 0), ("__common", moved, 128, 0)]);
        let (found, missing) = look_up_in(
            &blob,
            &[
                int_at(&["task.__state", "task.state"]),
                int_at(&["task.newest", "task.newer", "task.old"]),
                int_at(&["sock.state", "sock.__common.state"]),
            ],
        );
        assert_eq!(found, [8, 12, 16 + 4]);
        assert_eq!(missing, Vec::<String>::new());
    }

    #[test]
    fn a_missing_member_leaves_the_others_intact() {
        let mut blob = Blob::default();
        let int = blob.int();
        blob.structure("task", &[("pid", int, 32, 0)]);
        let table = [
            int_at(&["task.gone"]),
            int_at(&["task.pid"]),
            int_at(&["task.a", "gone.b"]),
            int_at(&["task.pid.inner"]),
        ];
        let (found, missing) = look_up_in(&blob, &table);
        assert_eq!(found, [MISSING, 4, MISSING, MISSING]);
        assert_eq!(missing, ["task.gone", "task.a or gone.b", "task.pid.inner"]);
        let nothing = look_up(&Types::default(), &table);
        assert_eq!((nothing.0, nothing.1.len()), (vec![MISSING; 4], 4));
    }

    #[test]
    fn a_bit_field_has_bits_and_no_bytes() {
        let mut blob = Blob::default();
        let int = blob.int();
        let flags = [("low", int, 32, 3), ("high", int, 35, 4), ("whole", int, 64, 0)];
        blob.structure("flags", &flags);
        let (found, missing) = look_up_in(
            &blob,
            &[
                int_at(&["flags.low"]),
                sized(3, &["flags.low bits"]),
                int_at(&["flags.high bits"]),
                int_at(&["flags.whole"]),
                int_at(&["flags.whole bits"]),
            ],
        );
        assert_eq!(found, [MISSING, 32, 35, 8, 64]);
        assert_eq!(missing, ["flags.low"]);
    }

    #[test]
    fn a_member_of_another_size_is_another_member() {
        let mut blob = Blob::default();
        let int = blob.int();
        let pointer = blob.add("", KIND_POINTER, 0, int, &[]);
        let name = blob.add("", KIND_ARRAY, 0, 0, &[int, int, 4]);
        let alias = blob.typedef(name);
        let members = [("id", int, 0, 0), ("next", pointer, 64, 0), ("name", alias, 128, 0)];
        blob.structure("task", &members);
        let (found, missing) = look_up_in(
            &blob,
            &[
                sized(4, &["task.id"]),
                sized(2, &["task.id"]),
                sized(size_of::<usize>() as u32, &["task.next"]),
                sized(16, &["task.name"]),
                sized(12, &["task.name"]),
                // The first existing member counts, whatever its size.
                sized(16, &["task.id", "task.name"]),
            ],
        );
        assert_eq!(found, [0, MISSING, 8, 16, MISSING, MISSING]);
        let wrong = ["id (size 4, not 2)", "name (size 16, not 12)", "id (size 4, not 16)"];
        assert_eq!(missing, wrong.map(|member| format!("task.{member}")));
    }

    #[test]
    fn structs_of_one_name_that_disagree_are_missing() {
        let mut blob = Blob::default();
        let int = blob.int();
        blob.structure("twin", &[("same", int, 32, 0), ("other", int, 64, 0)]);
        blob.structure("twin", &[("same", int, 32, 0), ("other", int, 96, 0)]);
        // A declaration without members is ignored.
        blob.structure("twin", &[]);
        let (found, missing) =
            look_up_in(&blob, &[int_at(&["twin.same"]), int_at(&["twin.other"])]);
        assert_eq!(found, [4, MISSING]);
        assert_eq!(missing, ["twin.other"]);
    }
}
