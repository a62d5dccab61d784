use std::{fs, time::Instant};

use axum::http::header;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::*;

/// A file that is removed on drop.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("ghostport-web-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).expect("written");
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn users(password: &str) -> String {
    let hash = bcrypt::hash(password, 8).expect("a hash");
    format!("basic_auth_users: {{prometheus: {hash}}}")
}

fn authorization(value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).expect("a value"));
    headers
}

fn basic(credentials: &str) -> HeaderMap {
    authorization(&format!("Basic {}", STANDARD.encode(credentials)))
}

#[tokio::test]
async fn a_user_with_the_right_password_is_known() {
    let file = File::new("known", &users("secret"));
    let rules = Security::load(&file.0).expect("rules").rules();
    assert!(rules.asks_for_password() && rules.tls().is_none());
    for _ in 0..2 {
        assert!(rules.knows(&basic("prometheus:secret")).await);
    }
    for wrong in ["prometheus:Secret", "prometheus:", "prometheus", "other:secret", ":secret", ""] {
        assert!(!rules.knows(&basic(wrong)).await, "{wrong}");
    }
    let encoded = STANDARD.encode("prometheus:secret");
    assert!(rules.knows(&authorization(&format!("basic {encoded}"))).await);
    for wrong in [format!("Bearer {encoded}"), encoded, "Basic !".into(), "Basic".into()] {
        assert!(!rules.knows(&authorization(&wrong)).await, "{wrong}");
    }
    assert!(!rules.knows(&HeaderMap::new()).await);
    let mut twice = basic("prometheus:secret");
    twice.extend(basic("prometheus:secret"));
    twice.append(header::AUTHORIZATION, HeaderValue::from_static("Basic x"));
    assert!(!rules.knows(&twice).await);
}

#[tokio::test]
async fn verified_credentials_are_remembered() {
    let hash = bcrypt::hash("secret", 11).expect("a hash");
    let file = File::new("cost", &format!("basic_auth_users: {{a: {hash}}}"));
    let rules = Security::load(&file.0).expect("rules").rules();
    let start = Instant::now();
    assert!(rules.knows(&basic("a:secret")).await);
    let first = start.elapsed();
    let start = Instant::now();
    for _ in 0..10 {
        assert!(rules.knows(&basic("a:secret")).await);
    }
    assert!(start.elapsed() < first, "ten of {:?} after one of {first:?}", start.elapsed());
}

#[tokio::test]
async fn a_changed_file_is_read_again() {
    let file = File::new("change", &users("old"));
    let security = Security::load(&file.0).expect("rules");
    assert!(Arc::ptr_eq(&security.rules(), &security.rules()), "it is not read each time");
    fs::write(&file.0, users("the new one")).expect("written");
    assert!(security.rules().knows(&basic("prometheus:the new one")).await);
    assert!(!security.rules().knows(&basic("prometheus:old")).await);

    fs::write(&file.0, "nonsense: 1").expect("written");
    assert!(security.rules().knows(&basic("prometheus:the new one")).await, "it stays in force");
    fs::write(&file.0, "http_server_config: {headers: {X-Frame-Options: deny}}").expect("written");
    let rules = security.rules();
    assert!(!rules.asks_for_password());
    let mut headers = HeaderMap::new();
    rules.add_headers(&mut headers);
    assert_eq!(headers["x-frame-options"], "deny");
}

#[test]
fn an_unusable_file_is_named() {
    let error = |name: &str, text: &str| {
        let file = File::new(name, text);
        Security::load(&file.0).expect_err("an error").to_string()
    };
    let missing = error("missing", "tls_server_config: {cert_file: /nonexistent/c, key_file: k}");
    assert!(missing.contains("/nonexistent/c cannot be read: No such file"), "{missing}");
    let empty = error("empty", "tls_server_config: {cert: '', key: ''}");
    assert!(empty.ends_with("there is no certificate in this file: expected PEM"), "{empty}");
    let garbage = "-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\\n";
    let garbage = error("garbage", &format!("tls_server_config: {{cert: \"{garbage}\", key: x}}"));
    assert!(garbage.contains("there is no private key in this file"), "{garbage}");
    let unknown = error("unknown", "tls_server_config:\n  certfile: x");
    assert!(unknown.contains(":2:3: unknown key `certfile`; expected cert_file,"), "{unknown}");
}
