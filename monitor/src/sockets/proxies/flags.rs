//! Flags in a command line.

/// The value of a flag as Go's programs take it: `-name value`, `--name value`, `-name=value`.
pub(super) fn flag<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let Some(rest) = argument.strip_prefix('-') else { continue };
        let Some(rest) = rest.strip_prefix('-').unwrap_or(rest).strip_prefix(name) else {
            continue;
        };
        match rest.strip_prefix('=') {
            Some(value) => return Some(value),
            None if rest.is_empty() => return arguments.next().map(String::as_str),
            None => {}
        }
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A command line as `ps` shows it.
    pub(in crate::sockets::proxies) fn line(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_value_follows_its_flag_or_an_equals_sign() {
        let arguments = line("proxy -port 80 --proto=udp -portal 7");
        assert_eq!(flag(&arguments, "port"), Some("80"));
        assert_eq!(flag(&arguments, "proto"), Some("udp"));
        assert_eq!(flag(&arguments, "address"), None);
        assert_eq!(flag(&line("proxy -port"), "port"), None);
    }
}
