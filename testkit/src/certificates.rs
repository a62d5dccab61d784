//! Certificates, made by openssl.

use std::process::Command;

use super::{agent::stderr, world::World};

fn openssl(world: &World, line: &str) {
    let mut command = Command::new("openssl");
    let output = command.args(line.split(' ')).current_dir(world.path("")).output();
    let output = output.expect("openssl, which `cargo xtask setup` installs");
    assert!(output.status.success(), "openssl {line}: {}", stderr(&output));
}

/// An authority, and a certificate of it for each of `names`.
pub fn authority(world: &World, authority: &str, names: &[&str]) {
    const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    let own = format!("-keyout {authority}.key -out {authority}.crt -subj /CN={authority}");
    openssl(world, &format!("req -x509 {KEY} {own} -days 2"));
    for name in names {
        let subject = format!("-keyout {name}.key -out {name}.csr -subj /CN={name}");
        openssl(world, &format!("req {KEY} {subject} -addext subjectAltName=IP:127.0.0.1"));
        openssl(
            world,
            &format!(
                "x509 -req -in {name}.csr -CA {authority}.crt -CAkey {authority}.key \
                 -CAcreateserial -copy_extensions copy -days 2 -out {name}.crt"
            ),
        );
    }
}

/// A certificate with a key that takes long to sign with, of the authority `ca`.
pub fn large_key(world: &World, name: &str) {
    let own = format!("-keyout {name}.key -out {name}.csr -subj /CN={name}");
    openssl(
        world,
        &format!("req -newkey rsa:4096 -nodes {own} -addext subjectAltName=IP:127.0.0.1"),
    );
    let of = "-CA ca.crt -CAkey ca.key -CAcreateserial -copy_extensions copy -days 2";
    openssl(world, &format!("x509 -req -in {name}.csr {of} -out {name}.crt"));
}
