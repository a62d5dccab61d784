//! Secrets in a command line.

use super::{
    mask::MASK,
    name::is_secret_name,
    program::{FlagValue, Program},
    text::mask_text,
};

/// Masks what looks like a secret among the arguments of a process, the program's name first.
pub fn mask_arguments(arguments: &mut [String]) {
    let mut words = Words::default();
    for argument in arguments {
        if let Some(masked) = words.mask(argument) {
            *argument = masked;
        }
    }
}

/// What is known while words are read one by one.
#[derive(Default)]
struct Words {
    program: Program,
    /// What the next word is.
    next: Option<FlagValue>,
    /// Whether a word was `login`, behind which `-p` has a secret.
    is_login: bool,
}

impl Words {
    /// The word with secrets masked; `None` if it has none.
    fn mask(&mut self, word: &str) -> Option<String> {
        match self.next.take() {
            // A flag: that before it has no value.
            Some(FlagValue::Secret) if word.starts_with("--") => {}
            Some(FlagValue::Secret) => return Some(MASK.to_owned()),
            Some(FlagValue::UserAndSecret) => {
                return without_password(word).or_else(|| changed(word));
            }
            None => {}
        }
        if word.bytes().any(|byte| byte.is_ascii_whitespace()) && !is_assignment(word) {
            return masked_script(word);
        }
        if let Some(program) = Program::of(word) {
            self.program = program;
        }
        self.is_login |= word == "login";
        self.next = self.value_behind(word);
        if self.next.is_some() {
            return None;
        }
        if let Some((flag, value)) = self.program.joined(word).or_else(|| self.user_joined(word)) {
            let rest = &word[flag.len()..];
            return match value {
                FlagValue::Secret => Some(format!("{flag}{MASK}")),
                FlagValue::UserAndSecret => {
                    let masked = without_password(rest).or_else(|| changed(rest))?;
                    Some(format!("{flag}{masked}"))
                }
            };
        }
        if let Some((name, value)) = word.split_once('=')
            && is_assignment(word)
            && is_secret_name(name)
            && !value.is_empty()
        {
            return Some(format!("{name}={MASK}"));
        }
        changed(word)
    }

    /// What the word behind this one is, if it belongs to it.
    fn value_behind(&self, word: &str) -> Option<FlagValue> {
        if self.is_login && word == "-p" {
            return Some(FlagValue::Secret);
        }
        let is_secret_flag =
            word.starts_with('-') && !word.contains(['=', ':']) && is_secret_name(word);
        let by_name = is_secret_flag.then_some(FlagValue::Secret);
        let by_user = USER_FLAGS.contains(&word) && !self.program.names_groups();
        let by_user = by_user.then_some(FlagValue::UserAndSecret);
        self.program.value_behind(word).or(by_name).or(by_user)
    }

    /// A flag for a user that is joined to its value, as the long ones may be.
    fn user_joined<'a>(&self, word: &'a str) -> Option<(&'a str, FlagValue)> {
        let (flag, _) = word.split_once('=')?;
        let is_long = flag.starts_with("--") && USER_FLAGS.contains(&flag);
        let is_user = is_long && !self.program.names_groups();
        is_user.then_some((&word[..=flag.len()], FlagValue::UserAndSecret))
    }
}

/// Flags that many programs have for a user, with a colon and a password behind it.
const USER_FLAGS: [&str; 6] =
    ["-u", "--user", "--proxy-user", "--auth", "--basic-auth", "--userpwd"];

/// Whether a word is `name=value`, with dashes before it or not.
fn is_assignment(word: &str) -> bool {
    word.split_once('=')
        .is_some_and(|(name, _)| !name.is_empty() && name.bytes().all(super::name::is_name_byte))
}

/// A command line, as shells get it, with secrets masked; `None` if it has none.
pub(super) fn masked_script(script: &str) -> Option<String> {
    let mut words = Words::default();
    let mut masked = String::with_capacity(script.len());
    for word in script.split_inclusive(|character: char| character.is_ascii_whitespace()) {
        let text = word.trim_end_matches(|character: char| character.is_ascii_whitespace());
        if text.is_empty() {
            masked.push_str(word);
            continue;
        }
        match words.mask(text) {
            Some(text) => masked.push_str(&text),
            None => masked.push_str(text),
        }
        masked.push_str(&word[text.len()..]);
    }
    let masked = mask_text(&masked).into_owned();
    (masked != script).then_some(masked)
}

/// `user:secret` or `user%secret` without the secret. Numbers are a user and a group, and the colon of a
/// URL comes before no secret.
fn without_password(word: &str) -> Option<String> {
    let at = word.find([':', '%']).filter(|at| !word[*at..].starts_with("://"))?;
    let (user, secret) = (&word[..=at], &word[at + 1..]);
    let is_group = secret.bytes().all(|byte| byte.is_ascii_digit()) && secret.len() < 6;
    (!secret.is_empty() && !is_group).then(|| format!("{user}{MASK}"))
}

fn changed(word: &str) -> Option<String> {
    match mask_text(word) {
        std::borrow::Cow::Owned(masked) if masked != word => Some(masked),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(line: &[&str]) -> String {
        let mut arguments: Vec<String> = line.iter().map(|&word| word.to_owned()).collect();
        mask_arguments(&mut arguments);
        arguments.join(" ")
    }

    fn check(line: &str, expected: &str) {
        assert_eq!(masked(&line.split(' ').collect::<Vec<_>>()), expected);
    }

    #[test]
    fn masks_values_of_flags() {
        check("app --password hunter2 -v", "app --password *** -v");
        check("app --password=hunter2 -v", "app --password=*** -v");
        check("app --db-token X --port 80", "app --db-token *** --port 80");
        check("app --password --verbose", "app --password --verbose");
        check("app --password-file /run/x", "app --password-file /run/x");
        check("env PGPASSWORD=x psql", "env PGPASSWORD=*** psql");
        check(
            "java -Dssl.keyStorePassword=changeit -jar x",
            "java -Dssl.keyStorePassword=*** -jar x",
        );
        check("redis-server --requirepass s", "redis-server --requirepass ***");
        assert_eq!(masked(&["app", "--password=two words"]), "app --password=***");
        assert_eq!(masked(&["app", "--password", "two words"]), "app --password ***");
    }

    #[test]
    fn knows_short_flags_of_programs() {
        check("/usr/bin/mysql -u me -phunter2 db", "/usr/bin/mysql -u me -p*** db");
        check("mysqldump -p db", "mysqldump -p db");
        check("ssh -p 2222 host", "ssh -p 2222 host");
        check("mysqld -port", "mysqld -port");
        check("sshpass -p hunter2 ssh -p 22 h", "sshpass -p *** ssh -p *** h");
        check("curl -u me:hunter2 http://h/", "curl -u me:*** http://h/");
        check("docker run -u 1000:1000 x", "docker run -u 1000:1000 x");
        check("docker run -u app:app x", "docker run -u app:app x");
        check("siege -u http://h/x:y", "siege -u http://h/x:y");
        check("fetcher -u bob:hunter2 h", "fetcher -u bob:*** h");
        check("fetcher --user bob:hunter2 h", "fetcher --user bob:*** h");
        check("fetcher --user=bob:hunter2 h", "fetcher --user=bob:*** h");
        check("fetcher --proxy-user bob:hunter2 h", "fetcher --proxy-user bob:*** h");
        check("sudo -u bob fetcher -u bob -p 80", "sudo -u bob fetcher -u bob -p 80");
        check("mycli -u me -phunter2", "mycli -u me -p***");
        check("mydumper -u me -p hunter2", "mydumper -u me -p ***");
        check("mosquitto_pub -u me -P hunter2 -p 1883", "mosquitto_pub -u me -P *** -p 1883");
        check("ipmitool -H h -U me -P hunter2", "ipmitool -H h -U me -P ***");
        check("snmpget -v3 -A hunter2 -X hunter3 h", "snmpget -v3 -A *** -X *** h");
        check("snmpwalk -v2c -c hunter2 h", "snmpwalk -v2c -c *** h");
        check("evil-winrm -u me -p hunter2", "evil-winrm -u me -p ***");
        check("curl -xme:hunter2@proxy:1 h", "curl -xme:***@proxy:1 h");
        check("docker login -u me -p hunter2 reg", "docker login -u me -p *** reg");
        check("redis-cli -a hunter2 ping", "redis-cli -a *** ping");
        check("smbclient //h/s -U me%hunter2", "smbclient //h/s -U me%***");
        check("7z x -phunter2 a.7z", "7z x -p*** a.7z");
        check("openssl enc -pass pass:hunter2", "openssl enc -pass ***");
        check("nc -l -p 2948", "nc -l -p 2948");
    }

    #[test]
    fn masks_credentials_wherever_they_are() {
        check("app postgres://me:pw@db/x", "app postgres://me:***@db/x");
        check("app http://h/?api_key=k&x=1", "app http://h/?api_key=***&x=1");
        check("app AKIAIOSFODNN7EXAMPLE", "app AKIA***");
        assert_eq!(
            masked(&["curl", "-H", "Authorization: Bearer abc def", "http://h/"]),
            "curl -H Authorization: *** http://h/"
        );
        check("curl me:hunter2@h/x", "curl me:***@h/x");
        check("env http_proxy=me:hunter2@h:1 x", "env http_proxy=me:***@h:1 x");
        check(
            "app jdbc:oracle:thin:me/hunter2@//db:1521/x",
            "app jdbc:oracle:thin:me/***@//db:1521/x",
        );
        assert_eq!(
            masked(&["curl", "-HAuthorization: Basic aHVudGVyMg==", "h"]),
            "curl -HAuthorization: *** h"
        );
        assert_eq!(masked(&["app", "--auth", "Bearer abcdef0123456789"]), "app --auth Bearer ***");
        assert_eq!(
            masked(&["sh", "-c", "mysql -psecret; app --token t  | tee x; curl -u a:b h"]),
            "sh -c mysql -p*** app --token ***  | tee x; curl -u a:*** h"
        );
    }

    #[test]
    fn leaves_what_is_no_secret() {
        for line in [
            "nc -l 2948",
            "/usr/sbin/bearerbox -v 0 /etc/kannel/kannel.conf",
            "python3 -m http.server 2948 --bind 0.0.0.0",
            "socat TCP-LISTEN:2948,fork EXEC:/bin/sh",
            "java -cp a:b -Xmx512m Main",
            "app --key=/etc/tls/key.pem --author=me",
            "docker run nginx:1.25@sha256:0123456789abcdef",
            "npm install npm:react@18",
            "scp me@h:dir@x .",
            "mail mailto:me@h",
            "agetty -o -p tty@1",
            "su -u bob -c id",
            "bearerbox Bearer of news",
            "env OLDPWD=/root x",
        ] {
            check(line, line);
        }
    }
}
