//! The image for containers: the binary and nothing else, in the format of the Open Container
//! Initiative (<https://github.com/opencontainers/image-spec>, version 1.0), as an archive that
//! podman, buildah, skopeo and containerd load.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    archive::tar,
    release::{HOME, Release, output, say},
    sbom, stage,
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

pub(super) fn build(release: &Release, program: &Path, bill: &Path) -> Result<PathBuf> {
    say("container image");
    let folder = release.workshop("image")?;
    let image = Image { folder: folder.join("image") };
    let (layer, diff_id) = image.layer(release, program, bill, &folder.join("root"))?;
    let config = image.document(CONFIG, &config(release, &diff_id)?)?;
    let manifest = image.document(
        MANIFEST,
        &json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}),
    )?;
    image.index(release, manifest)?;
    let name = format!("ghostport-{}-oci-{}.tar", release.version, release.arch().debian());
    let archive = release.out().join(name);
    output(tar(release, &image.folder, &archive).args(["blobs", "index.json", "oci-layout"]))?;
    Ok(archive)
}

/// An image in the making: a folder whose blobs are named by their digests.
struct Image {
    folder: PathBuf,
}

impl Image {
    /// The one layer: its descriptor, and its digest before compression.
    fn layer(
        &self,
        release: &Release,
        program: &Path,
        bill: &Path,
        root: &Path,
    ) -> Result<(Value, String)> {
        stage::copy(program, &root.join("usr/bin/ghostport"), 0o755)?;
        stage::copy(bill, &root.join(stage::DOCUMENTATION).join(sbom::NAME), 0o644)?;
        let layer = root.with_extension("tar");
        output(tar(release, root, &layer).arg("usr"))?;
        let diff_id = digest(&layer)?;
        stage::compress(&layer)?;
        let descriptor = self.blob(LAYER, &fs::read(layer.with_extension("tar.gz"))?)?;
        Ok((descriptor, diff_id))
    }

    fn document(&self, media_type: &str, document: &Value) -> Result<Value> {
        self.blob(media_type, &serde_json::to_vec(document)?)
    }

    /// Adds a blob; returns its descriptor.
    fn blob(&self, media_type: &str, content: &[u8]) -> Result<Value> {
        let unnamed = self.folder.with_extension("blob");
        stage::write(&unnamed, content)?;
        let digest = digest(&unnamed)?;
        let path = self.folder.join("blobs").join(digest.replace(':', "/"));
        stage::write(&path, content)?;
        Ok(json!({"mediaType": media_type, "digest": digest, "size": content.len()}))
    }

    fn index(&self, release: &Release, mut manifest: Value) -> Result<()> {
        let name = format!("localhost/ghostport:{}", release.version);
        manifest["annotations"] = json!({
            "org.opencontainers.image.ref.name": name,
            "io.containerd.image.name": name,
        });
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        let layout = json!({"imageLayoutVersion": "1.0.0"});
        for (name, document) in [("index.json", index), ("oci-layout", layout)] {
            stage::write(&self.folder.join(name), &serde_json::to_vec(&document)?)?;
        }
        Ok(())
    }
}

/// What a container of it does by default.
fn config(release: &Release, diff_id: &str) -> Result<Value> {
    let time = format!("@{}", release.epoch);
    let created = output(Command::new("date").args(["--utc", "--date", &time, "+%FT%TZ"]))?;
    let created = created.trim();
    let mut labels = json!({
        "org.opencontainers.image.title": "ghostport",
        "org.opencontainers.image.version": release.version,
        "org.opencontainers.image.revision": release.revision,
        "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
    });
    if !HOME.is_empty() {
        labels["org.opencontainers.image.source"] = json!(HOME);
    }
    Ok(json!({
        "created": created,
        "architecture": release.arch().debian(),
        "os": "linux",
        "config": {
            "Entrypoint": ["/usr/bin/ghostport"],
            "Cmd": ["run"],
            "ExposedPorts": {"10948/tcp": {}},
            "Labels": labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": created, "created_by": "cargo xtask dist"}],
    }))
}

/// SHA-256 of a file, as images write it.
fn digest(path: &Path) -> Result<String> {
    let answer = output(Command::new("sha256sum").arg(path))?;
    let digits = answer.split_whitespace().next().context("sha256sum says nothing")?;
    Ok(format!("sha256:{digits}"))
}
