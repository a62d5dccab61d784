use std::{fs, time::Instant};

use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::*;
use crate::web::client::Client;

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

const CLIENT: Client = Client::User(7);

async fn knows(rules: &Rules, headers: &HeaderMap) -> bool {
    rules.verify(headers, CLIENT).await == Verified::Right
}

fn load(file: &File) -> Arc<Security> {
    Arc::new(Security::load(&file.0).expect("rules"))
}

fn basic(credentials: &str) -> HeaderMap {
    authorization(&format!("Basic {}", STANDARD.encode(credentials)))
}

#[tokio::test]
async fn a_user_with_the_right_password_is_known() {
    let file = File::new("known", &users("secret"));
    let rules = load(&file).rules().await;
    assert!(rules.asks_for_password() && rules.tls().is_none());
    for _ in 0..2 {
        assert!(knows(&rules, &basic("prometheus:secret")).await);
    }
    for wrong in ["prometheus:Secret", "prometheus:", "prometheus", "other:secret", ":secret", ""] {
        assert!(!knows(&rules, &basic(wrong)).await, "{wrong}");
    }
    let encoded = STANDARD.encode("prometheus:secret");
    assert!(knows(&rules, &authorization(&format!("basic {encoded}"))).await);
    for wrong in [format!("Bearer {encoded}"), encoded, "Basic !".into(), "Basic".into()] {
        assert!(!knows(&rules, &authorization(&wrong)).await, "{wrong}");
    }
    assert!(!knows(&rules, &HeaderMap::new()).await);
    let mut twice = basic("prometheus:secret");
    twice.extend(basic("prometheus:secret"));
    twice.append(header::AUTHORIZATION, HeaderValue::from_static("Basic x"));
    assert!(!knows(&rules, &twice).await);
}

#[tokio::test]
async fn verified_credentials_are_remembered() {
    let hash = bcrypt::hash("secret", 11).expect("a hash");
    let file = File::new("cost", &format!("basic_auth_users: {{a: {hash}}}"));
    let rules = load(&file).rules().await;
    let start = Instant::now();
    assert!(knows(&rules, &basic("a:secret")).await);
    let first = start.elapsed();
    let start = Instant::now();
    for _ in 0..10 {
        assert!(knows(&rules, &basic("a:secret")).await);
    }
    assert!(start.elapsed() < first, "ten of {:?} after one of {first:?}", start.elapsed());
}

#[tokio::test]
async fn a_changed_file_is_read_again() {
    let file = File::new("change", &users("old"));
    let security = load(&file);
    assert!(
        Arc::ptr_eq(&security.rules().await, &security.rules().await),
        "it is not read each time"
    );
    fs::write(&file.0, users("the new one")).expect("written");
    assert!(knows(&*security.rules().await, &basic("prometheus:the new one")).await);
    assert!(!knows(&*security.rules().await, &basic("prometheus:old")).await);

    fs::write(&file.0, "nonsense: 1").expect("written");
    assert!(
        knows(&*security.rules().await, &basic("prometheus:the new one")).await,
        "it stays in force"
    );
    let headers = "http_server_config: {headers: {X-Frame-Options: deny}}";
    fs::write(&file.0, format!("{headers}\n{}", users("third"))).expect("written");
    let mut headers = HeaderMap::new();
    security.rules().await.add_headers(&mut headers);
    assert_eq!(headers["x-frame-options"], "deny");
}

#[tokio::test]
async fn a_file_that_asks_for_less_is_refused() {
    let file = File::new("weaker", &users("secret"));
    let security = load(&file);
    for text in ["", "basic_auth_users:\n", "http_server_config: {http2: true}"] {
        fs::write(&file.0, text).expect("written");
        let rules = security.rules().await;
        assert!(rules.asks_for_password() && knows(&rules, &basic("prometheus:secret")).await);
        let refused = security.prepare().expect_err("an error").to_string();
        assert!(refused.contains("it has no basic_auth_users any more"), "{refused}");
    }
    fs::write(&file.0, users("another")).expect("written");
    assert!(knows(&*security.rules().await, &basic("prometheus:another")).await);
}

#[tokio::test]
async fn a_fifo_in_the_place_of_the_file_delays_nothing() {
    let file = File::new("fifo", &users("secret"));
    let security = load(&file);
    fs::remove_file(&file.0).expect("removed");
    let made = std::process::Command::new("mkfifo").arg(&file.0).status().expect("mkfifo");
    assert!(made.success());
    let start = Instant::now();
    let rules = security.rules().await;
    assert!(start.elapsed() < LOOK_LIMIT, "{:?}", start.elapsed());
    assert!(knows(&rules, &basic("prometheus:secret")).await);
    let refused = security.prepare().expect_err("an error").to_string();
    assert!(refused.contains("it is no regular file"), "{refused}");
}

#[tokio::test]
async fn users_who_do_not_exist_cost_what_the_dearest_hash_costs() {
    let [cheap, dear] = [4, 9].map(|cost| bcrypt::hash("secret", cost).expect("a hash"));
    let file = File::new("costs", &format!("basic_auth_users: {{a: {cheap}, b: {dear}}}"));
    let rules = load(&file).rules().await;
    let mut times = Vec::new();
    for (user, number) in [("a", 1), ("b", 2), ("nobody", 3)] {
        // Another client each time, so that none waits for its earlier failures.
        let headers = basic(&format!("{user}:wrong"));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let start = Instant::now();
        assert_eq!(rules.verify(&headers, Client::User(number)).await, Verified::Wrong);
        times.push(start.elapsed());
    }
    let (least, most) = (times.iter().min(), times.iter().max());
    let (Some(least), Some(most)) = (least, most) else { panic!("three times") };
    // Without the balance the first takes a thirtieth.
    assert!(*most < *least * 8, "{times:?}");
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
