//! Offsets of struct members, from the type information of the running kernel.
//!
//! A reader of exactly what that takes: the BTF format as in `Documentation/bpf/btf.rst` and
//! `include/uapi/linux/btf.h`, structs by name, members through anonymous structs and unions.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    path::Path,
};

use monitor_common::offsets::{MISSING, Member, Offsets};

/// The running kernel's own types.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const KIND_POINTER: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_FWD: u32 = 7;
const KIND_FUNC: u32 = 12;
const HEADER_LEN: u32 = 24;

/// What the kernel's types had to say.
#[derive(Clone, Debug)]
pub struct KernelTypes {
    /// The offsets, [`MISSING`] where there is none.
    pub offsets: Offsets,
    /// `struct.member` of every offset that is missing, with all names that it has had, and with its
    /// size where that is not the one that would be read.
    pub missing: Vec<String>,
    /// The functions that were asked for, with their ids; those that are not there are left out.
    functions: Vec<(u32, &'static str)>,
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

    /// Whether this kernel has a function, of those that were asked for.
    pub fn have_function(&self, name: &str) -> bool {
        self.functions.iter().any(|(_, function)| *function == name)
    }

    /// Types that say just where the functions stand that were asked for: each has the id that it
    /// has among the kernel's types, and everything else is a placeholder.
    ///
    /// aya looks up the functions that it traces in the kernel's types, and to do so takes all
    /// hundred thousand of them apart. These it takes apart in a tenth of the time and memory.
    pub fn of_functions(&self) -> Vec<u8> {
        placeholders(&self.functions)
    }

    /// Whether a socket can be told from others: without these three no call has a port.
    pub fn find_sockets(&self) -> bool {
        let Offsets { sock_family, sock_protocol, sock_num, .. } = self.offsets;
        ![sock_family, sock_protocol, sock_num].contains(&MISSING)
    }

    /// Whether who holds a socket can be told, and where it leads. An IPv6 address that is nowhere is
    /// that of a kernel without IPv6.
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
        Self {
            offsets: bytemuck::pod_read_unaligned(bytemuck::cast_slice(&found)),
            missing,
            functions: types.functions(functions),
        }
    }
}

/// Offsets of members, and those that have none here.
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

/// Ids of the structs of a name.
type Structures<'a> = HashMap<&'a str, Vec<u32>>;

/// Where a member is and how large, in bytes or, of a bit field, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    offset: u32,
    size: u32,
}

impl Place {
    /// Whether it can be read as that size. A field that was four bits may have become a whole byte.
    fn has(self, size: u32, path: &str) -> bool {
        if path.ends_with(BITS) { self.size >= size } else { self.size == size }
    }
}

/// Behind a path that asks for bits.
const BITS: &str = " bits";

/// The place that a path of a [`Member`] asks for.
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

/// Struct and member of a path.
fn split(path: &str) -> (&str, &str) {
    path.split_once('.').unwrap_or((path, ""))
}

/// BTF with the functions at their ids.
fn placeholders(functions: &[(u32, &str)]) -> Vec<u8> {
    let last = functions.iter().map(|(id, _)| *id).max().unwrap_or(0);
    // Offset 0 of the strings is the empty name.
    let mut strings = vec![0];
    let mut records = Vec::with_capacity(last as usize * 12);
    let mut ordered = functions.to_vec();
    ordered.sort_unstable();
    let mut next = ordered.into_iter().peekable();
    for id in 1..=last {
        let function = next.next_if(|(function, _)| *function == id);
        let (name, kind) = match function {
            Some((_, name)) => {
                let offset = strings.len() as u32;
                strings.extend(name.bytes().chain([0]));
                (offset, KIND_FUNC)
            }
            None => (0, KIND_FWD),
        };
        for word in [name, kind << 24, 0] {
            records.extend(word.to_ne_bytes());
        }
    }
    let mut bytes = MAGIC.to_ne_bytes().to_vec();
    const VERSION: u8 = 1;
    bytes.extend([VERSION, 0]);
    let (len, strings_len) = (records.len() as u32, strings.len() as u32);
    for word in [HEADER_LEN, 0, len, len, strings_len] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(records);
    bytes.extend(strings);
    bytes
}

/// The type and string sections of a BTF blob.
#[derive(Default)]
struct Types<'a> {
    /// Position of every type's record in `types`, by id; id 0 is void.
    positions: Vec<u32>,
    types: &'a [u8],
    strings: &'a [u8],
}

/// A `struct btf_type` with its trailing data.
struct Type<'a> {
    kind: u32,
    /// Set when the offset of a bit field shares its word with the field's width.
    kind_flag: bool,
    /// Type that this one refers to, or bytes of a value, by kind.
    target: u32,
    trailing: &'a [u8],
}

/// A member of a struct or union.
struct StructMember {
    name: u32,
    position: Position,
}

/// Where a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    /// From the begin of the outermost struct.
    bit_offset: u32,
    /// Of a bit field; 0 for a whole member.
    bit_width: u32,
    /// The member's type.
    target: u32,
}

impl Position {
    /// The place of a member whose struct is here.
    const fn then(self, inner: Self) -> Self {
        Self { bit_offset: self.bit_offset + inner.bit_offset, ..inner }
    }

    /// `None` for a bit field, of which no whole byte may be read.
    const fn byte_offset(self) -> Option<u32> {
        let is_bit_field = self.bit_width != 0 || !self.bit_offset.is_multiple_of(8);
        if is_bit_field { None } else { Some(self.bit_offset / 8) }
    }
}

impl<'a> Types<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        if u16::from_ne_bytes(*bytes.first_chunk()?) != MAGIC {
            return None;
        }
        let header_len = word(bytes, 4)? as usize;
        let section = |at: usize| {
            let start = header_len.checked_add(word(bytes, at)? as usize)?;
            bytes.get(start..start.checked_add(word(bytes, at + 4)? as usize)?)
        };
        let (types, strings) = (section(8)?, section(16)?);
        let mut positions = vec![0];
        let mut at = 0;
        while at < types.len() {
            positions.push(at as u32);
            at += 12 + trailing_len(word(types, at + 4)?)?;
        }
        Some(Self { positions, types, strings })
    }

    fn type_at(&self, id: u32) -> Option<Type<'a>> {
        let at = *self.positions.get(id as usize).filter(|_| id != 0)? as usize;
        let info = word(self.types, at + 4)?;
        let trailing = self.types.get(at + 12..at + 12 + trailing_len(info)?)?;
        Some(Type {
            kind: info >> 24 & 0x1f,
            kind_flag: info >> 31 != 0,
            target: word(self.types, at + 8)?,
            trailing,
        })
    }

    fn name_is(&self, offset: u32, name: &str) -> bool {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        rest.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }

    /// The structs of these names that have members, in one pass over all types.
    fn structures<'n>(&self, names: &BTreeSet<&'n str>) -> Structures<'n> {
        let mut structures = Structures::new();
        for (id, at) in self.positions.iter().enumerate().skip(1) {
            let info = word(self.types, *at as usize + 4).unwrap_or(0);
            if info >> 24 & 0x1f != KIND_STRUCT || info & 0xffff == 0 {
                continue;
            }
            let name = word(self.types, *at as usize).unwrap_or(0);
            if let Some(wanted) = names.iter().find(|wanted| self.name_is(name, wanted)) {
                structures.entry(*wanted).or_default().push(id as u32);
            }
        }
        structures
    }

    /// Ids of the functions of these names; a name that is not there is left out.
    fn functions<'n>(&self, names: &[&'n str]) -> Vec<(u32, &'n str)> {
        let types = self.positions.iter().enumerate().skip(1);
        let found = types.filter_map(|(id, at)| {
            let info = word(self.types, *at as usize + 4)?;
            if info >> 24 & 0x1f != KIND_FUNC {
                return None;
            }
            let name = word(self.types, *at as usize)?;
            let wanted = names.iter().find(|wanted| self.name_is(name, wanted))?;
            Some((id as u32, *wanted))
        });
        found.collect()
    }

    /// Where a member path such as `__sk_common.skc_num` leads. `None` where a member is missing, or
    /// where structs of one name disagree.
    fn find(&self, structures: &[u32], path: &str) -> Option<Position> {
        let mut positions = structures
            .iter()
            .filter_map(|id| self.type_at(*id))
            .filter_map(|r#type| self.path_position(&r#type, path));
        let first = positions.next()?;
        // The same type has another id in each of them.
        let place = |at: Position| (at.bit_offset, at.bit_width, self.size(at.target));
        positions.all(|other| place(other) == place(first)).then_some(first)
    }

    /// Where a member path leads within a type.
    fn path_position(&self, r#type: &Type<'_>, path: &str) -> Option<Position> {
        let (head, rest) = split(path);
        let position = self.find_member(r#type, head)?;
        if rest.is_empty() {
            return Some(position);
        }
        Some(position.then(self.path_position(&self.structure(position.target)?, rest)?))
    }

    /// Where a member is, which may be inside an anonymous member.
    fn find_member(&self, r#type: &Type<'_>, name: &str) -> Option<Position> {
        members(r#type).find_map(|StructMember { name: own_name, position }| {
            if own_name != 0 {
                return self.name_is(own_name, name).then_some(position);
            }
            let inner = self.structure(position.target)?;
            Some(position.then(self.find_member(&inner, name)?))
        })
    }

    /// A struct or union behind typedefs and qualifiers.
    fn structure(&self, id: u32) -> Option<Type<'a>> {
        let r#type = self.plain(id)?;
        matches!(r#type.kind, KIND_STRUCT | KIND_UNION).then_some(r#type)
    }

    /// What is behind typedefs and qualifiers.
    fn plain(&self, mut id: u32) -> Option<Type<'a>> {
        // TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG
        const MODIFIERS: [u32; 5] = [8, 9, 10, 11, 18];
        for _ in 0..16 {
            let r#type = self.type_at(id)?;
            if !MODIFIERS.contains(&r#type.kind) {
                return Some(r#type);
            }
            id = r#type.target;
        }
        None
    }

    /// Bytes of a value of this type; `None` where it has no size.
    fn size(&self, mut id: u32) -> Option<u32> {
        let mut elements = 1_u32;
        for _ in 0..16 {
            let r#type = self.plain(id)?;
            let size = match r#type.kind {
                // `struct btf_array`: type of the elements, type of the index, number of elements.
                KIND_ARRAY => {
                    id = word(r#type.trailing, 0)?;
                    elements = elements.checked_mul(word(r#type.trailing, 8)?)?;
                    continue;
                }
                KIND_POINTER => size_of::<usize>() as u32,
                // INT, ENUM, FLOAT, ENUM64
                KIND_STRUCT | KIND_UNION | 1 | 6 | 16 | 19 => r#type.target,
                _ => return None,
            };
            return elements.checked_mul(size);
        }
        None
    }
}

fn members(r#type: &Type<'_>) -> impl Iterator<Item = StructMember> {
    let kind_flag = r#type.kind_flag;
    r#type.trailing.chunks_exact(12).filter_map(move |member| {
        let offset = word(member, 8)?;
        let (bit_width, bit_offset) =
            if kind_flag { (offset >> 24, offset & 0x00ff_ffff) } else { (0, offset) };
        let target = word(member, 4)?;
        let position = Position { bit_offset, bit_width, target };
        Some(StructMember { name: word(member, 0)?, position })
    })
}

/// Bytes that follow a `struct btf_type`; `None` for a kind that this reader does not know.
fn trailing_len(info: u32) -> Option<usize> {
    let count = (info & 0xffff) as usize;
    Some(match info >> 24 & 0x1f {
        // INT, VAR, DECL_TAG
        1 | 14 | 17 => 4,
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
        KIND_POINTER | 7..=12 | 16 | 18 => 0,
        KIND_ARRAY => 12,
        // STRUCT, UNION, DATASEC, ENUM64
        KIND_STRUCT | KIND_UNION | 15 | 19 => count * 12,
        // ENUM, FUNC_PROTO
        6 | 13 => count * 8,
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_kernel_has_every_offset() {
        let kernel = KernelTypes::of_running_kernel(&[]);
        if Path::new(VMLINUX).exists() {
            assert_eq!(kernel.missing, Vec::<String>::new());
        }
    }

    #[test]
    fn functions_keep_their_ids() {
        let functions = [(7, "inet_bind"), (3, "inet6_bind")];
        let blob = placeholders(&functions);
        let types = Types::parse(&blob).unwrap();
        let mut found = types.functions(&["inet_bind", "inet6_bind", "inet_release"]);
        found.sort_unstable();
        assert_eq!(found, [(3, "inet6_bind"), (7, "inet_bind")]);
    }

    /// Types as a compiler would write them.
    #[derive(Default)]
    struct Blob {
        types: Vec<u8>,
        strings: Vec<u8>,
        count: u32,
    }

    /// A member: name, type, offset in bits, and width in bits for a bit field.
    type BlobMember = (&'static str, u32, u32, u32);

    impl Blob {
        fn add(&mut self, name: &str, kind: u32, count: usize, size: u32, rest: &[u32]) -> u32 {
            let name = self.string(name);
            let kind_flag = 1 << 31;
            for word in [name, kind << 24 | count as u32 | kind_flag, size].iter().chain(rest) {
                self.types.extend(word.to_ne_bytes());
            }
            self.count += 1;
            self.count
        }

        fn string(&mut self, text: &str) -> u32 {
            if self.strings.is_empty() {
                self.strings.push(0);
            }
            if text.is_empty() {
                return 0;
            }
            let at = self.strings.len();
            self.strings.extend(text.bytes().chain([0]));
            at as u32
        }

        fn int(&mut self) -> u32 {
            self.add("int", 1, 0, 4, &[32])
        }

        fn typedef(&mut self, target: u32) -> u32 {
            self.add("alias", 8, 0, target, &[])
        }

        fn composite(&mut self, kind: u32, name: &str, members: &[BlobMember]) -> u32 {
            let mut words = Vec::new();
            for (name, target, at, width) in members {
                words.extend([self.string(name), *target, width << 24 | at]);
            }
            self.add(name, kind, members.len(), 64, &words)
        }

        fn structure(&mut self, name: &str, members: &[BlobMember]) -> u32 {
            self.composite(KIND_STRUCT, name, members)
        }

        fn bytes(&self) -> Vec<u8> {
            let mut bytes = MAGIC.to_ne_bytes().to_vec();
            bytes.extend([1, 0]);
            let (len, strings_len) = (self.types.len() as u32, self.strings.len() as u32);
            for word in [HEADER_LEN, 0, len, len, strings_len] {
                bytes.extend(word.to_ne_bytes());
            }
            [&bytes[..], &self.types, &self.strings].concat()
        }

        fn look_up(&self, table: &[Member]) -> (Vec<u32>, Vec<String>) {
            let bytes = self.bytes();
            look_up(&Types::parse(&bytes).expect("BTF"), table)
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
    fn members_are_found_through_anonymous_structs_and_unions() {
        let mut blob = Blob::default();
        let int = blob.int();
        let inner = blob.structure("", &[("a", int, 0, 0), ("b", int, 32, 0)]);
        let either = blob.composite(KIND_UNION, "", &[("c", int, 0, 0), ("", inner, 0, 0)]);
        let named = blob.structure("named", &[("", either, 64, 0)]);
        let alias = blob.typedef(named);
        blob.structure("outer", &[("x", int, 0, 0), ("n", alias, 128, 0), ("", either, 320, 0)]);
        let (found, missing) = blob.look_up(&[
            int_at(&["outer.x"]),
            int_at(&["outer.n.b"]),
            int_at(&["outer.n.c"]),
            int_at(&["outer.b"]),
            int_at(&["named.a"]),
        ]);
        assert_eq!(found, [0, 16 + 8 + 4, 16 + 8, 40 + 4, 8]);
        assert_eq!(missing, Vec::<String>::new());
    }

    #[test]
    fn the_first_name_that_the_kernel_has_wins() {
        let mut blob = Blob::default();
        let int = blob.int();
        blob.structure("task", &[("__state", int, 64, 0), ("old", int, 96, 0)]);
        let moved = blob.structure("common", &[("state", int, 32, 0)]);
        blob.structure("sock", &[("head", int, 0, 0), ("__common", moved, 128, 0)]);
        let (found, missing) = blob.look_up(&[
            int_at(&["task.__state", "task.state"]),
            int_at(&["task.newest", "task.newer", "task.old"]),
            int_at(&["sock.state", "sock.__common.state"]),
        ]);
        assert_eq!(found, [8, 12, 16 + 4]);
        assert_eq!(missing, Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_costs_itself_alone() {
        let mut blob = Blob::default();
        let int = blob.int();
        blob.structure("task", &[("pid", int, 32, 0)]);
        let table = [
            int_at(&["task.gone"]),
            int_at(&["task.pid"]),
            int_at(&["task.a", "gone.b"]),
            int_at(&["task.pid.inner"]),
        ];
        let (found, missing) = blob.look_up(&table);
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
        let (found, missing) = blob.look_up(&[
            int_at(&["flags.low"]),
            sized(3, &["flags.low bits"]),
            int_at(&["flags.high bits"]),
            int_at(&["flags.whole"]),
            int_at(&["flags.whole bits"]),
        ]);
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
        let (found, missing) = blob.look_up(&[
            sized(4, &["task.id"]),
            sized(2, &["task.id"]),
            sized(size_of::<usize>() as u32, &["task.next"]),
            sized(16, &["task.name"]),
            sized(12, &["task.name"]),
            // The first that the kernel has is the one that is meant.
            sized(16, &["task.id", "task.name"]),
        ]);
        assert_eq!(found, [0, MISSING, 8, 16, MISSING, MISSING]);
        let wrong = ["id (size 4, not 2)", "name (size 16, not 12)", "id (size 4, not 16)"];
        assert_eq!(missing, wrong.map(|member| format!("task.{member}")));
    }

    #[test]
    fn structs_of_one_name_that_disagree_are_not_guessed_at() {
        let mut blob = Blob::default();
        let int = blob.int();
        blob.structure("twin", &[("same", int, 32, 0), ("other", int, 64, 0)]);
        blob.structure("twin", &[("same", int, 32, 0), ("other", int, 96, 0)]);
        // A declaration without members says nothing.
        blob.structure("twin", &[]);
        let (found, missing) = blob.look_up(&[int_at(&["twin.same"]), int_at(&["twin.other"])]);
        assert_eq!(found, [4, MISSING]);
        assert_eq!(missing, ["twin.other"]);
    }

    #[test]
    fn garbage_is_refused() {
        assert!(Types::parse(b"").is_none());
        assert!(Types::parse(&[0; 64]).is_none());
        let mut truncated = MAGIC.to_ne_bytes().to_vec();
        truncated.extend([1, 0]);
        truncated.extend(24_u32.to_ne_bytes());
        truncated.extend([0xff; 16]);
        assert!(Types::parse(&truncated).is_none());
    }
}
