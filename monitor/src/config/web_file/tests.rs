use super::*;

const HASH: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

fn parse(text: &str) -> Result<WebFile, String> {
    let parsed = WebFile::parse(Path::new("/etc/ghostport/web.yml"), text.as_bytes().to_vec());
    parsed.map_err(|error| error.to_string())
}

fn in_folder(name: &str) -> Pem {
    Pem::File(Path::new("/etc/ghostport").join(name))
}

#[test]
fn nothing_asks_for_nothing() {
    for text in ["", "tls_server_config:\nbasic_auth_users:\n", "http_server_config: {http2: true}"]
    {
        assert_eq!(parse(text), Ok(WebFile::default()), "{text}");
    }
}

#[test]
fn every_key_is_read() {
    let file = parse(&format!(
        "tls_server_config:
  cert_file: server.crt
  key_file: /etc/ssl/private/server.key
  client_ca: |
    -----BEGIN CERTIFICATE-----
  client_auth_type: RequireAndVerifyClientCert
  min_version: TLS13
  max_version: TLS13
http_server_config:
  http2: false
  headers:
    X-Frame-Options: deny
    x-content-type-options: nosniff
    Content-Security-Policy: ''
basic_auth_users:
  prometheus: {HASH}
  \"a b\": {HASH}
"
    ))
    .expect("a file");
    let tls = file.tls.as_ref().expect("TLS");
    assert_eq!(tls.certificate, in_folder("server.crt"));
    assert_eq!(tls.key, Pem::File("/etc/ssl/private/server.key".into()));
    let authority = Pem::Inline("-----BEGIN CERTIFICATE-----\n".into());
    assert_eq!(tls.clients, ClientAuth::Required(authority));
    assert_eq!((tls.min_version, tls.max_version), (TlsVersion::Tls13, TlsVersion::Tls13));
    assert_eq!(file.users.len(), 2);
    let headers: Vec<String> =
        file.headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
    assert_eq!(headers, ["x-frame-options: \"deny\"", "x-content-type-options: \"nosniff\""]);
    let files: Vec<&Path> = file.files().collect();
    assert_eq!(
        files,
        [Path::new("/etc/ghostport/server.crt"), Path::new("/etc/ssl/private/server.key")]
    );
}

#[test]
fn errors_say_where_and_what_was_expected() {
    const TLS: &str = "tls_server_config: {cert_file: c, key_file: k";
    let cases = [
        (
            "tls_config: {}".to_owned(),
            "1:1: unknown key `tls_config`; expected tls_server_config, http_server_config or basic_auth_users",
        ),
        ("rate_limit: {burst: 1}".into(), "1:1: unknown key `rate_limit`"),
        (
            format!("{TLS}, cipher_suites: []}}"),
            "1:48: unknown key `cipher_suites`; expected cert_file,",
        ),
        ("tls_server_config: {cert_file: c}".into(), "1:20: the key `key_file` is missing"),
        ("tls_server_config: {key_file: c}".into(), "1:20: the key `cert_file` is missing"),
        (
            format!("{TLS}, cert: x}}"),
            "1:54: both `cert_file` and `cert` are given; expected one of them",
        ),
        (
            format!("{TLS}, min_version: TLS10}}"),
            "1:61: `TLS10` is not known here; expected TLS12 or TLS13",
        ),
        (
            format!("{TLS}, min_version: TLS13, max_version: TLS12}}"),
            "1:81: max_version is below min_version; expected TLS13, or no max_version",
        ),
        (
            format!("{TLS}, client_auth_type: RequireAnyClientCert}}"),
            "1:66: `RequireAnyClientCert` is not known here; expected NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert",
        ),
        (
            format!("{TLS}, client_auth_type: RequireAndVerifyClientCert}}"),
            "1:66: the key `client_ca_file` is missing; expected the authorities that vouch for clients",
        ),
        (
            format!("{TLS}, client_ca_file: ca}}"),
            "1:20: client_ca_file is given, and no client is asked for a certificate",
        ),
        (
            "http_server_config: {headers: {Server: x}}".into(),
            "1:32: the header `Server` cannot be set; expected Content-Security-Policy,",
        ),
        (
            "http_server_config: {headers: {X-Frame-Options: \"a\\nb\"}}".into(),
            "1:49: this is not the value of a header; expected visible ASCII",
        ),
        ("basic_auth_users: [x]".into(), "1:19: a list in the place of a mapping; expected names"),
        (
            "basic_auth_users:\n  me: secret".into(),
            "2:7: this is no bcrypt hash; expected names of users",
        ),
        (
            format!("basic_auth_users: {{a: {HASH}, a: {HASH}}}"),
            "1:85: the user `a` is there twice; expected every user once",
        ),
    ];
    for (text, message) in cases {
        let error = parse(&text).expect_err(&text);
        let message = format!("/etc/ghostport/web.yml:{message}");
        assert!(error.starts_with(&message), "{text}\n{error}\n{message}");
        assert!(!error.contains("secret"), "{error}");
    }
}
