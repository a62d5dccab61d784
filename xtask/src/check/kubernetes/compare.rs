//! Whether two ways to install give the same objects. Pure.

use serde_json::Value;

/// Labels and annotations that a chart has beside those of a manifest.
const ADDED: [&str; 5] = [
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "checksum/config",
    "helm.sh/chart",
];

/// Kinds that both have.
const KINDS: [&str; 4] = ["ConfigMap", "DaemonSet", "PodMonitor", "ServiceAccount"];

/// Where the objects of the chart differ from those of the kustomization.
pub(super) fn differences(chart: &[Value], kustomization: &[Value]) -> Vec<String> {
    let mut problems = Vec::new();
    for kind in KINDS {
        let of = |objects: &[Value]| {
            let found = objects.iter().find(|object| object["kind"] == kind).cloned();
            found.map(|mut object| {
                simplify(&mut object);
                object
            })
        };
        match (of(chart), of(kustomization)) {
            (Some(chart), Some(base)) => compare(&chart, &base, kind, &mut problems),
            (chart, base) => problems.push(format!(
                "{kind}: {} in the chart, {} in the kustomization",
                presence(chart.as_ref()),
                presence(base.as_ref())
            )),
        }
    }
    problems
}

fn presence(object: Option<&Value>) -> &'static str {
    if object.is_some() { "is" } else { "is not" }
}

/// Leaves out what is another's by nature: namespaces, labels of the release, hashes in names.
fn simplify(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !ADDED.contains(&name.as_str()) && name != "namespace");
            fields.values_mut().for_each(simplify);
            fields.retain(|name, value| {
                name != "annotations" || value.as_object().is_some_and(|all| !all.is_empty())
            });
            if let Some(name) = fields.get_mut("name") {
                let text = name.as_str().unwrap_or_default();
                if text.strip_prefix("ghostport-").is_some_and(|hash| hash.len() == 10) {
                    *name = "ghostport".into();
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(simplify),
        Value::String(text) => {
            // A file in a ConfigMap is compared by what it says.
            if text.contains('\n')
                && let Ok(parsed) = serde_saphyr::from_str::<Value>(text)
            {
                *value = parsed;
            }
        }
        _ => {}
    }
}

fn compare(chart: &Value, base: &Value, at: &str, problems: &mut Vec<String>) {
    match (chart, base) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let names = ours.keys().chain(theirs.keys().filter(|name| !ours.contains_key(*name)));
            for name in names {
                compare(&chart[name], &base[name], &format!("{at}.{name}"), problems);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (number, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                compare(ours, theirs, &format!("{at}[{number}]"), problems);
            }
        }
        _ if chart == base => {}
        _ => problems.push(format!("{at}: {chart} in the chart, {base} in the kustomization")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn objects(name: &str, image: &str, labels: &Value, config: &str) -> Vec<Value> {
        let map =
            json!({"kind": "ConfigMap", "metadata": {"name": name}, "data": {"a.yaml": config}});
        let mut all = vec![map];
        for kind in ["DaemonSet", "PodMonitor", "ServiceAccount"] {
            all.push(json!({"kind": kind, "metadata": {"labels": labels}, "image": image}));
        }
        all
    }

    #[test]
    fn only_real_differences_count() {
        let chart = objects(
            "ghostport",
            "a:1",
            &json!({"app": "x", "helm.sh/chart": "ghostport-1"}),
            "ports: [1]\nweb: {}\n",
        );
        let same =
            objects("ghostport-k98bm5c2ht", "a:1", &json!({"app": "x"}), "ports:\n- 1\nweb: {}\n");
        assert_eq!(differences(&chart, &same), Vec::<String>::new());
        let other =
            objects("ghostport-k98bm5c2ht", "a:2", &json!({"app": "x"}), "ports:\n- 2\nweb: {}\n");
        let found = differences(&chart, &other);
        assert_eq!(found.len(), 4, "{found:?}");
        assert_eq!(
            found[0],
            "ConfigMap.data.a.yaml.ports[0]: 1 in the chart, 2 in the kustomization"
        );
        assert_eq!(differences(&chart, &other[1..]).len(), 4);
    }
}
