//! Numbers with their nouns.

/// `1 process`, `2 processes`.
pub fn counted(count: impl TryInto<u64>, one: &str, more: &str) -> String {
    // What does not fit is many.
    let count = count.try_into().unwrap_or(u64::MAX);
    format!("{count} {}", if count == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_nothing_is_plural() {
        let of = |count: usize| counted(count, "process", "processes");
        assert_eq!([of(0), of(1), of(2)], ["0 processes", "1 process", "2 processes"]);
    }
}
