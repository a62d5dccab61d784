//! Names whose values are secret.

/// How such a name ends, in lower case and with underscores.
const SECRETS: [&str; 35] = [
    "password",
    "passwd",
    "passphrase",
    "pass",
    "pwd",
    "passcode",
    "secret",
    "token",
    "apikey",
    "api_key",
    "accesskey",
    "access_key",
    "access_key_id",
    "secretkey",
    "secret_key",
    "privatekey",
    "private_key",
    "authkey",
    "auth_key",
    "sharedkey",
    "shared_key",
    "encryption_key",
    "signing_key",
    "credential",
    "credentials",
    "authorization",
    "cookie",
    "masterauth",
    "signature",
    // Of sessions: a client that has one is the user.
    "jsessionid",
    "sessionid",
    "session_id",
    "sessid",
    "aspsessionid",
    "connect_sid",
];

/// Words that end like one.
const HARMLESS: [&str; 4] = ["bypass", "compass", "trespass", "oldpwd"];

/// Whether the value of something of this name is secret: `--db-password`, `PGPASSWORD`,
/// `accessToken`, but not `--password-file`.
pub(super) fn is_secret_name(name: &str) -> bool {
    let name: String = name
        .trim_start_matches('-')
        .chars()
        .map(|character| match character {
            '-' | '.' | ' ' => '_',
            other => other.to_ascii_lowercase(),
        })
        .collect();
    let is_secret = SECRETS.iter().any(|secret| name.ends_with(secret));
    is_secret && !HARMLESS.iter().any(|harmless| name.ends_with(harmless))
}

/// Whether a byte may be in such a name.
pub(super) const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_names_however_they_are_written() {
        for name in [
            "password",
            "--password",
            "--db-password",
            "PGPASSWORD",
            "MYSQL_PWD",
            "accessToken",
            "-Djavax.net.ssl.keyStorePassword",
            "client_secret",
            "API_KEY",
            "x-api-key",
            "AWS_SECRET_ACCESS_KEY",
            "requirepass",
            "Authorization",
            "Set-Cookie",
            "jsessionid",
            "PHPSESSID",
            "connect.sid",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn spares_names_that_are_about_secrets() {
        for name in [
            "--password-file",
            "--token-ttl",
            "--secret-name",
            "--bypass",
            "--key",
            "--keyfile",
            "--port",
            "--passive",
            "--author",
            "",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
