//! A headless Chromium, spoken to over pipes by the DevTools protocol
//! (<https://chromedevtools.github.io/devtools-protocol/>): messages are JSON that ends in a zero
//! byte.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering::Relaxed},
        mpsc::{Receiver, channel},
    },
    thread,
};

use serde_json::{Value, json};

use super::{patience, sh, world::World};

/// With its orders at descriptor 3 and its answers at 4.
const START: &str = r#"exec "$0" "$@" 3<"$ORDERS" 4>"$ANSWERS" 2>/dev/null"#;

/// The accessibility checker, see `vendor/README.md`.
const AXE: &str = include_str!("../vendor/axe.min.js");

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
        // A world may have one after the other.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Relaxed);
        let path = |name| world.path(&format!("{name}-{number}"));
        let [orders, answers, home] = ["orders", "answers", "home"].map(path);
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

    /// The same of an expression that is a promise of a text.
    pub fn evaluate_promise(&mut self, expression: &str) -> String {
        let parameters = json!({ "expression": expression, "awaitPromise": true });
        let result = self.order("Runtime.evaluate", parameters);
        assert_eq!(result.get("exceptionDetails"), None, "{expression}: {result}");
        result["result"]["value"].as_str().unwrap_or_default().to_owned()
    }

    /// What axe-core finds wrong with the page, as JSON; `[]` for nothing.
    pub fn violations(&mut self) -> String {
        self.order("Runtime.evaluate", json!({ "expression": AXE }));
        self.evaluate_promise(
            "axe.run(document, {resultTypes: ['violations']}).then(found => JSON.stringify(\
             found.violations.map(one => [one.id, one.nodes.map(node => node.html)])))",
        )
    }

    /// Sets the size of the window in pixels, and the colours that its user prefers.
    pub fn set_view(&mut self, width: u32, height: u32, scheme: &str) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.order("Emulation.setDeviceMetricsOverride", size);
        let scheme = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.order("Emulation.setEmulatedMedia", json!({ "features": [scheme] }));
    }

    /// Presses and releases a key, by its name in the DOM; `text` is what it types.
    pub fn press(&mut self, key: &str, text: Option<&str>) {
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "code": key });
            if let Some(text) = text.filter(|_| kind == "keyDown") {
                event["text"] = text.into();
            }
            if key == "Enter" {
                event["windowsVirtualKeyCode"] = 13.into();
            }
            self.order("Input.dispatchKeyEvent", event);
        }
    }

    /// Keeps a picture of the whole page in the folder that `GHOSTPORT_PICTURES` names, if it does.
    pub fn take_picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("GHOSTPORT_PICTURES") else { return };
        let parameters = json!({ "format": "png", "captureBeyondViewport": true });
        let picture = self.order("Page.captureScreenshot", parameters);
        let bytes = base64(picture["data"].as_str().expect("a picture"));
        fs::write(std::path::Path::new(&folder).join(name), bytes).expect("written");
    }

    /// Forgets what the console has said.
    pub fn forget_complaints(&mut self) {
        self.complaints.clear();
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

/// The bytes of a text in base 64 (RFC 4648).
fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte));
    let digits: Vec<usize> = digits.collect();
    let group = |digits: &[usize]| {
        let bits =
            digits.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - digits.len()));
        [bits >> 16, bits >> 8, bits].map(|byte| byte as u8)[..digits.len() - 1].to_vec()
    };
    digits.chunks(4).flat_map(group).collect()
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
