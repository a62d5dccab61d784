//! Reads BTF: the format of `Documentation/bpf/btf.rst` and `include/uapi/linux/btf.h`, structs by
//! name, and members through anonymous structs and unions.

use std::collections::{BTreeSet, HashMap};

pub(super) const MAGIC: u16 = 0xeb9f;
pub(super) const KIND_POINTER: u32 = 2;
pub(super) const KIND_ARRAY: u32 = 3;
pub(super) const KIND_STRUCT: u32 = 4;
pub(super) const KIND_UNION: u32 = 5;
pub(super) const KIND_FWD: u32 = 7;
pub(super) const KIND_FUNC: u32 = 12;
pub(super) const HEADER_LEN: u32 = 24;

/// The type and string sections of a BTF blob.
#[derive(Default)]
pub(super) struct Types<'a> {
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
    /// Type that this one refers to, or size in bytes, by kind.
    target: u32,
    trailing: &'a [u8],
}

/// A member of a struct or union.
struct StructMember {
    name: u32,
    position: Position,
}

/// Position of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// From the start of the outermost struct.
    pub(super) bit_offset: u32,
    /// Of a bit field; 0 for a whole member.
    pub(super) bit_width: u32,
    /// The member's type.
    pub(super) target: u32,
}

impl Position {
    /// Position of a member of the struct at this position.
    const fn then(self, inner: Self) -> Self {
        Self { bit_offset: self.bit_offset + inner.bit_offset, ..inner }
    }

    /// `None` for a bit field, which does not fill its bytes.
    pub(super) const fn byte_offset(self) -> Option<u32> {
        let is_bit_field = self.bit_width != 0 || !self.bit_offset.is_multiple_of(8);
        if is_bit_field { None } else { Some(self.bit_offset / 8) }
    }
}

impl<'a> Types<'a> {
    /// Finds every type; `None` for bytes that are no BTF of this byte order.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
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
    pub(super) fn structures<'n>(&self, names: &BTreeSet<&'n str>) -> Structures<'n> {
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

    /// Ids of the functions of these names, without the names that do not exist.
    pub(super) fn functions<'n>(&self, names: &[&'n str]) -> Vec<(u32, &'n str)> {
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

    /// How many parameters the function of this id has.
    pub(super) fn parameters(&self, function: u32) -> Option<usize> {
        /// Bytes of a `struct btf_param`.
        const PARAMETER_LEN: usize = 8;
        let prototype = self.type_at(self.type_at(function)?.target)?;
        Some(prototype.trailing.len() / PARAMETER_LEN)
    }

    /// Position of a member path such as `__sk_common.skc_num`. `None` if a member is missing, or if
    /// structs of one name disagree.
    pub(super) fn find(&self, structures: &[u32], path: &str) -> Option<Position> {
        let mut positions = structures
            .iter()
            .filter_map(|id| self.type_at(*id))
            .filter_map(|r#type| self.path_position(&r#type, path));
        let first = positions.next()?;
        // The same type has another id in each of them.
        let place = |at: Position| (at.bit_offset, at.bit_width, self.size(at.target));
        positions.all(|other| place(other) == place(first)).then_some(first)
    }

    /// Position of a member path within a type.
    fn path_position(&self, r#type: &Type<'_>, path: &str) -> Option<Position> {
        let (head, rest) = split(path);
        let position = self.find_member(r#type, head)?;
        if rest.is_empty() {
            return Some(position);
        }
        Some(position.then(self.path_position(&self.structure(position.target)?, rest)?))
    }

    /// Position of a member, which may be inside an anonymous member.
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

    /// The type behind typedefs and qualifiers.
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

    /// Size of a value of this type in bytes; `None` for a type without a size.
    pub(super) fn size(&self, mut id: u32) -> Option<u32> {
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

/// Number of bytes after a `struct btf_type`; `None` for an unknown kind.
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

/// Ids of the structs of a name.
pub(super) type Structures<'a> = HashMap<&'a str, Vec<u32>>;

/// The first name of a path, and the rest.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.split_once('.').unwrap_or((path, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_garbage() {
        assert!(Types::parse(b"").is_none());
        assert!(Types::parse(&[0; 64]).is_none());
        let mut truncated = MAGIC.to_ne_bytes().to_vec();
        truncated.extend([1, 0]);
        truncated.extend(24_u32.to_ne_bytes());
        truncated.extend([0xff; 16]);
        assert!(Types::parse(&truncated).is_none());
    }
}
