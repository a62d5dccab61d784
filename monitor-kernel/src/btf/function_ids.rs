//! BTF that contains nothing but the ids of some functions.

use super::reader::{HEADER_LEN, KIND_FUNC, KIND_FWD, MAGIC};

/// BTF with these functions at their ids, and forward declarations without a name at all others.
pub(super) fn placeholders(functions: &[(u32, &str)]) -> Vec<u8> {
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

#[cfg(test)]
mod tests {
    use super::{super::reader::Types, *};

    #[test]
    fn functions_keep_their_ids() {
        let functions = [(7, "inet_bind"), (3, "inet6_bind")];
        let blob = placeholders(&functions);
        let types = Types::parse(&blob).expect("BTF");
        let mut found = types.functions(&["inet_bind", "inet6_bind", "inet_release"]);
        found.sort_unstable();
        assert_eq!(found, [(3, "inet6_bind"), (7, "inet_bind")]);
    }
}
