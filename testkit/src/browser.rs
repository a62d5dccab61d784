//! A headless Chromium, spoken to over pipes by the DevTools protocol
//! (<https://chromedevtools.github.io/devtools-protocol/>): messages are JSON that ends in a zero
//! byte.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use serde_json::{Value, json};

use super::{patience, sh, world::World};

/// With its orders at descriptor 3 and its answers at 4.
const START: &str = r#"exec "$0" "$@" 3<"$ORDERS" 4>"$ANSWERS" 2>/dev/null"#;

/// One browser with one page.
pub struct Browser {
    child: Child,
    orders: File,
    answers: Receiver<Value>,
    session: String,
    last: u64,
    complaints: Vec<Value>,
}

impl Browser {
    /// Starts it with an empty page.
    pub fn start(world: &World, program: &str) -> Self {
        let [orders, answers, home] = ["orders", "answers", "home"].map(|name| world.path(name));
        sh(&format!("mkfifo {} {}", orders.display(), answers.display()));
        fs::create_dir(&home).expect("a folder");
        let child = Command::new("sh")
            .args(["-c", START, program])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking"])
            .arg("--remote-debugging-pipe")
            .arg(format!("--user-data-dir={}", home.display()))
            .env("HOME", &home)
            .env("ORDERS", &orders)
            .env("ANSWERS", &answers)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("spawned");
        let orders = File::options().write(true).open(orders).expect("orders");
        let mut browser = Self {
            child,
            orders,
            answers: listen(File::open(answers).expect("answers")),
            session: String::new(),
            last: 0,
            complaints: Vec::new(),
        };
        let page = browser.order("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let attached = browser.order("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().expect("a session").to_owned();
        browser.order("Runtime.enable", json!({}));
        browser.order("Log.enable", json!({}));
        browser
    }

    /// Opens a page.
    pub fn go_to(&mut self, url: &str) {
        let loaded = self.order("Page.navigate", json!({ "url": url }));
        assert_eq!(loaded.get("errorText"), None, "{loaded}");
    }

    /// What a text in the page is now.
    pub fn evaluate(&mut self, expression: &str) -> String {
        let result = self.order("Runtime.evaluate", json!({ "expression": expression }));
        result["result"]["value"].as_str().unwrap_or_default().to_owned()
    }

    /// What the console has said of errors and warnings.
    pub fn complaints(&self) -> &[Value] {
        &self.complaints
    }

    fn order(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let mut order = json!({ "id": self.last, "method": method, "params": parameters });
        if !self.session.is_empty() {
            order["sessionId"] = self.session.as_str().into();
        }
        self.orders.write_all(format!("{order}\0").as_bytes()).expect("a browser");
        loop {
            let answer = self.answers.recv_timeout(patience()).expect("a browser that answers");
            if answer["id"] == self.last {
                assert_eq!(answer.get("error"), None, "{method}: {answer}");
                return answer["result"].clone();
            }
            if is_complaint(&answer) {
                self.complaints.push(answer);
            }
        }
    }
}

/// Whether a message reports an error or a warning of the page.
fn is_complaint(message: &Value) -> bool {
    let parameters = &message["params"];
    match message["method"].as_str() {
        Some("Runtime.exceptionThrown") => true,
        Some("Runtime.consoleAPICalled") => {
            parameters["type"] == "error" || parameters["type"] == "warning"
        }
        Some("Log.entryAdded") => {
            let level = &parameters["entry"]["level"];
            level == "error" || level == "warning"
        }
        _ => false,
    }
}

fn listen(answers: File) -> Receiver<Value> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for message in BufReader::new(answers).split(0) {
            let message = message.ok().and_then(|text| serde_json::from_slice(&text).ok());
            if message.is_none_or(|message| sender.send(message).is_err()) {
                return;
            }
        }
    });
    receiver
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
