//! The image for containers: the binary, certificates of authorities and a user, in the format of the
//! Open Container Initiative (<https://github.com/opencontainers/image-spec>, version 1.0), as an archive
//! that podman, buildah, skopeo and containerd load; and one for both architectures.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::debian;

use super::{
    archive::tar,
    release::{HOME, Release, output, say},
    sbom, stage,
};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The user of a container that nothing says more about: without rights, and without a name on the host.
/// The agent of a host takes `--user 0`.
const USER: &str = "65532:65532";
const PASSWD: &str = "root:x:0:0::/:/sbin/nologin\nnonroot:x:65532:65532::/:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnonroot:x:65532:\n";

/// Mozilla's authorities, as Debian's package of certificates has them: without those that this machine
/// trusts beside.
const CERTIFICATES: &str = "ca-certificates";
const AUTHORITIES: &str = "/usr/share/ca-certificates/mozilla";
/// The commit, as labels and annotations have it.
const REVISION: &str = "org.opencontainers.image.revision";

/// Where programs look for them.
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

pub(super) fn build(release: &Release, program: &Path, bill: &Path) -> Result<PathBuf> {
    say("container image");
    let folder = release.workshop("image")?;
    let image = Image { folder: folder.join(IMAGE) };
    let (layer, diff_id) = image.layer(release, program, bill, &folder.join("root"))?;
    let config = image.document(CONFIG, &config(release, &diff_id)?)?;
    let manifest = image.document(
        MANIFEST,
        &json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}),
    )?;
    image.index(release, of_platform(release, manifest))?;
    image.pack(release, &format!("oci-{}", release.arch().debian()))
}

/// Packs the image of this architecture with that of the other one, if that was built, of the same
/// commit, in `other`.
pub(super) fn both(release: &Release, other: &Path) -> Result<Option<PathBuf>> {
    let ours = Image { folder: release.folder.join("image").join(IMAGE) };
    let theirs = Image { folder: other.join("image").join(IMAGE) };
    let (Some(our), Some(their)) = (ours.manifest(release)?, theirs.manifest(release)?) else {
        return Ok(None);
    };
    say("container image for both architectures");
    let both = Image { folder: release.workshop("image-both")?.join(IMAGE) };
    fs::create_dir_all(&both.folder)?;
    for image in [&ours, &theirs] {
        output(Command::new("cp").arg("-a").arg(image.folder.join("blobs")).arg(&both.folder))?;
    }
    let mut manifests = [our, their];
    manifests.sort_by_key(|manifest| manifest["platform"]["architecture"].to_string());
    for manifest in &mut manifests {
        manifest["annotations"].take();
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    let index = both.document(INDEX, &index)?;
    both.index(release, index)?;
    both.pack(release, "oci").map(Some)
}

/// Where a manifest is for, and of which commit.
fn of_platform(release: &Release, mut manifest: Value) -> Value {
    manifest["platform"] = json!({"architecture": release.arch().debian(), "os": "linux"});
    manifest
}

/// The folder of an image, within that of its making.
const IMAGE: &str = "image";

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
        let mut bill = fs::read_to_string(bill)?;
        stage::write(&root.join("etc/passwd"), PASSWD.as_bytes())?;
        stage::write(&root.join("etc/group"), GROUP.as_bytes())?;
        match authorities()? {
            Some(bundle) => {
                stage::write(&root.join(BUNDLE), bundle.as_bytes())?;
                let version = debian::version(CERTIFICATES)?.unwrap_or_default();
                bill = sbom::with(&bill, CERTIFICATES, &version)?;
            }
            None => say(&format!("no certificates in the image: there is no {AUTHORITIES}")),
        }
        let place = root.join(stage::DOCUMENTATION).join(sbom::NAME);
        stage::write(&place, bill.as_bytes())?;
        let layer = root.with_extension("tar");
        output(tar(release, root, &layer).args(["etc", "usr"]))?;
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

    /// The descriptor of what was built here, if it is of this commit.
    fn manifest(&self, release: &Release) -> Result<Option<Value>> {
        let Ok(text) = fs::read_to_string(self.folder.join("index.json")) else {
            return Ok(None);
        };
        let index: Value = serde_json::from_str(&text).context("index.json")?;
        let manifest = index["manifests"][0].clone();
        Ok((manifest["annotations"][REVISION] == *release.revision).then_some(manifest))
    }

    fn pack(&self, release: &Release, kind: &str) -> Result<PathBuf> {
        let archive = release.out().join(format!("ghostport-{}-{kind}.tar", release.version));
        output(tar(release, &self.folder, &archive).args(["blobs", "index.json", "oci-layout"]))?;
        Ok(archive)
    }

    fn index(&self, release: &Release, mut manifest: Value) -> Result<()> {
        let name = format!("localhost/ghostport:{}", release.version);
        manifest["annotations"] = json!({
            "org.opencontainers.image.ref.name": name,
            "io.containerd.image.name": name,
        });
        manifest["annotations"][REVISION] = json!(release.revision);
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
        "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
    });
    labels[REVISION] = json!(release.revision);
    if !HOME.is_empty() {
        labels["org.opencontainers.image.source"] = json!(HOME);
    }
    Ok(json!({
        "created": created,
        "architecture": release.arch().debian(),
        "os": "linux",
        "config": {
            "User": USER,
            "Entrypoint": ["/usr/bin/ghostport"],
            "Cmd": ["run"],
            "ExposedPorts": {"10948/tcp": {}},
            "Labels": labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": created, "created_by": "cargo xtask dist"}],
    }))
}

/// The certificates of authorities, one after the other; `None` where they are not installed.
fn authorities() -> Result<Option<String>> {
    let Ok(entries) = fs::read_dir(AUTHORITIES) else {
        return Ok(None);
    };
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    let texts = files.iter().map(|file| {
        let text = fs::read_to_string(file);
        text.map(|text| format!("{}\n", text.trim_end()))
    });
    Ok(Some(texts.collect::<Result<String, _>>().context("cannot read certificates")?))
}

/// SHA-256 of a file, as images write it.
fn digest(path: &Path) -> Result<String> {
    let answer = output(Command::new("sha256sum").arg(path))?;
    let digits = answer.split_whitespace().next().context("sha256sum says nothing")?;
    Ok(format!("sha256:{digits}"))
}
