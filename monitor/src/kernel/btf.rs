//! Offsets of struct members, from the type information of the running kernel.
//!
//! A reader of exactly what that takes: the BTF format as in `Documentation/bpf/btf.rst` and
//! `include/uapi/linux/btf.h`, structs by name, members through anonymous structs and unions.

use std::{collections::HashMap, fs, io, path::Path};

use monitor_common::offsets::{MISSING, Offsets};

/// The running kernel's own types.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_FWD: u32 = 7;
const KIND_FUNC: u32 = 12;
const HEADER_LEN: u32 = 24;

/// What the kernel's types had to say.
#[derive(Clone, Debug)]
pub struct KernelOffsets {
    /// The offsets, [`MISSING`] where there is none.
    pub offsets: Offsets,
    /// `struct.member` of every offset that is missing.
    pub missing: Vec<String>,
}

impl KernelOffsets {
    /// Reads the running kernel's types. Without them every offset is missing.
    pub fn of_running_kernel() -> Self {
        Self::read(Path::new(VMLINUX)).unwrap_or_else(|error| {
            tracing::warn!(%error, "{VMLINUX} cannot be read: fields of kernel structs are unknown");
            Self::resolve(&Types::default())
        })
    }

    /// Reads the types in a file.
    pub fn read(path: &Path) -> io::Result<Self> {
        let bytes = fs::read(path)?;
        let types = Types::parse(&bytes)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not BTF"))?;
        Ok(Self::resolve(&types))
    }

    /// Whether a socket can be told from others: without these three no call has a port.
    pub fn find_sockets(&self) -> bool {
        let Offsets { sock_family, sock_protocol, sock_num, .. } = self.offsets;
        ![sock_family, sock_protocol, sock_num].contains(&MISSING)
    }

    fn resolve(types: &Types<'_>) -> Self {
        let structures = types.structures(Offsets::PATHS.iter().map(|(structure, _)| *structure));
        let mut found = Vec::with_capacity(Offsets::PATHS.len());
        let mut missing = Vec::new();
        for (structure, path) in Offsets::PATHS {
            let same_name = structures.get(structure).map(Vec::as_slice).unwrap_or_default();
            let offset = match path.strip_suffix(" bits") {
                Some(path) => types.bit_offset(same_name, path),
                None => types.byte_offset(same_name, path),
            };
            if offset.is_none() {
                missing.push(format!("{structure}.{path}"));
            }
            found.push(offset.unwrap_or(MISSING));
        }
        Self { offsets: bytemuck::pod_read_unaligned(bytemuck::cast_slice(&found)), missing }
    }
}

/// Types that say of a kernel just where these functions stand: each has the id that it has among
/// the types in `path`, and everything else is a placeholder.
///
/// aya looks up the functions that it traces in the kernel's types, and to do so takes all hundred
/// thousand of them apart. These it takes apart in a tenth of the time and memory.
pub fn function_types(path: &Path, functions: &[&str]) -> io::Result<Vec<u8>> {
    let bytes = fs::read(path)?;
    let types = Types::parse(&bytes)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not BTF"))?;
    Ok(placeholders(&types.functions(functions)))
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
    target: u32,
    trailing: &'a [u8],
}

/// A member of a struct or union.
struct Member {
    name: u32,
    target: u32,
    bit_offset: u32,
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
    fn structures<'n>(
        &self,
        names: impl Iterator<Item = &'n str> + Clone,
    ) -> HashMap<&'n str, Vec<u32>> {
        let mut structures: HashMap<&str, Vec<u32>> = HashMap::new();
        for (id, at) in self.positions.iter().enumerate().skip(1) {
            let info = word(self.types, *at as usize + 4).unwrap_or(0);
            if info >> 24 & 0x1f != KIND_STRUCT || info & 0xffff == 0 {
                continue;
            }
            let name = word(self.types, *at as usize).unwrap_or(0);
            if let Some(wanted) = names.clone().find(|wanted| self.name_is(name, wanted)) {
                structures.entry(wanted).or_default().push(id as u32);
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

    /// Byte offset of a member path; `None` also for a member that does not begin with a byte.
    fn byte_offset(&self, structures: &[u32], path: &str) -> Option<u32> {
        self.bit_offset(structures, path).filter(|bits| bits % 8 == 0).map(|bits| bits / 8)
    }

    /// Bit offset of a member path such as `__sk_common.skc_num`. `None` where the struct or a
    /// member is missing, or where structs of one name disagree.
    fn bit_offset(&self, structures: &[u32], path: &str) -> Option<u32> {
        let mut offsets = structures
            .iter()
            .filter_map(|id| self.type_at(*id))
            .filter_map(|r#type| self.path_offset(&r#type, path));
        let first = offsets.next()?;
        offsets.all(|other| other == first).then_some(first)
    }

    /// Bit offset of a member path within a type.
    fn path_offset(&self, r#type: &Type<'_>, path: &str) -> Option<u32> {
        let (head, rest) = path.split_once('.').unwrap_or((path, ""));
        let (offset, target) = self.find_member(r#type, head)?;
        if rest.is_empty() {
            return Some(offset);
        }
        Some(offset + self.path_offset(&self.structure(target)?, rest)?)
    }

    /// Bit offset and type of a member, which may be inside an anonymous member.
    fn find_member(&self, r#type: &Type<'_>, name: &str) -> Option<(u32, u32)> {
        members(r#type).find_map(|member| {
            if member.name != 0 {
                return self
                    .name_is(member.name, name)
                    .then_some((member.bit_offset, member.target));
            }
            let inner = self.structure(member.target)?;
            let (offset, target) = self.find_member(&inner, name)?;
            Some((member.bit_offset + offset, target))
        })
    }

    /// A struct or union behind typedefs and qualifiers.
    fn structure(&self, mut id: u32) -> Option<Type<'a>> {
        const MODIFIERS: [u32; 5] = [8, 9, 10, 11, 18];
        for _ in 0..16 {
            let r#type = self.type_at(id)?;
            match r#type.kind {
                KIND_STRUCT | KIND_UNION => return Some(r#type),
                kind if MODIFIERS.contains(&kind) => id = r#type.target,
                _ => return None,
            }
        }
        None
    }
}

fn members(r#type: &Type<'_>) -> impl Iterator<Item = Member> {
    let kind_flag = r#type.kind_flag;
    r#type.trailing.chunks_exact(12).filter_map(move |member| {
        let offset = word(member, 8)?;
        let bit_offset = if kind_flag { offset & 0x00ff_ffff } else { offset };
        Some(Member { name: word(member, 0)?, target: word(member, 4)?, bit_offset })
    })
}

/// Bytes that follow a `struct btf_type`; `None` for a kind that this reader does not know.
fn trailing_len(info: u32) -> Option<usize> {
    let count = (info & 0xffff) as usize;
    Some(match info >> 24 & 0x1f {
        // INT, VAR, DECL_TAG
        1 | 14 | 17 => 4,
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
        2 | 7..=12 | 16 | 18 => 0,
        // ARRAY
        3 => 12,
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
        let kernel = KernelOffsets::of_running_kernel();
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
