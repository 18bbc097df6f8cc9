//! What the core's public interface is made of, read from the compiler's own documentation in JSON.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_json::Value;

use super::{Outcome, run, target};

/// Crates whose types users of the core meet. A release of one of them that breaks its interface breaks ours.
const MET: [&str; 3] = [
    "serde_core", // derived forms
    "serde_json", // rows of the routes, where their fields are not ours
    "tokio",      // what is waited on: `watch` and `mpsc` receivers
];

/// What compares two states of the public interface.
const SEMVER_CHECKS: &str = "cargo-semver-checks@0.51.0";

/// Fails when who uses the core as it was at `baseline`, a commit or tag, could not use it as it is now.
pub(super) fn semver(baseline: Option<&str>) -> Outcome {
    let Some(baseline) = baseline else {
        return Err("usage: cargo xtask semver REVISION, such as the tag of the last release".into());
    };
    let place = target().join("tools/semver");
    let program = place.join("bin/cargo-semver-checks").display().to_string();
    if !super::has(&program) {
        let root = place.display().to_string();
        run("cargo", &["install", SEMVER_CHECKS, "--locked", "--root", &root], &[])?;
    }
    let features = super::FEATURES.join(",");
    run(
        &program,
        &[
            "semver-checks",
            "--package",
            "octopoid-core",
            "--only-explicit-features",
            "--features",
            &features,
            "--baseline-rev",
            baseline,
        ],
        &[],
    )
}

/// Fails when a public item names a type of a crate that is not among those.
pub(super) fn check() -> Outcome {
    let tools = target().join("tools");
    let program = tools.join("rustdoc-json");
    let write = || {
        fs::create_dir_all(&tools)?;
        // Documentation as JSON is the nightly compiler's; a variable has the stable one write it.
        fs::write(&program, "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc \"$@\"\n")?;
        let runs: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&program, runs)
    };
    write().map_err(|e| format!("cannot write {}: {e}", program.display()))?;
    let place = program.display().to_string();
    let as_json = [
        ("RUSTDOC", place.as_str()),
        ("RUSTDOCFLAGS", "-Z unstable-options --output-format json"),
    ];
    run(
        "cargo",
        &["doc", "--package", "octopoid-core", "--no-deps", "--quiet"],
        &as_json,
    )?;
    let made = target().join("doc/octopoid_core.json");
    let text = fs::read_to_string(&made).map_err(|e| format!("cannot read {}: {e}", made.display()))?;
    let doc: Value = serde_json::from_str(&text).map_err(|e| format!("{} is not JSON: {e}", made.display()))?;

    let met = foreign(&doc);
    if !met.contains_key("tokio") {
        return Err(format!("{} is in a form that is not understood", made.display()));
    }
    let leaks: Vec<String> = met
        .into_iter()
        .filter(|(name, _)| !MET.contains(name))
        .map(|(name, items)| format!("{name}: {}", Vec::from_iter(items).join(", ")))
        .collect();
    if leaks.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the public interface of octopoid-core shows types of crates that it should not:\n{}",
        leaks.join("\n")
    ))
}

/// Crates other than the standard library that public items name, each with the items.
fn foreign(doc: &Value) -> BTreeMap<&str, BTreeSet<String>> {
    let mut met = BTreeMap::new();
    for item in doc["index"].as_object().into_iter().flat_map(|index| index.values()) {
        let made = &item["inner"]["impl"];
        // What others implement for all types is not ours.
        let is_theirs = item["crate_id"] != 0 || made["blanket_impl"].is_object() || made["is_synthetic"] == true;
        if !is_theirs {
            named(doc, item, &item["inner"], &mut met);
        }
    }
    met
}

fn named<'a>(doc: &'a Value, item: &Value, part: &'a Value, met: &mut BTreeMap<&'a str, BTreeSet<String>>) {
    match part {
        Value::Object(fields) => {
            if let (Some(id), Some(_)) = (fields.get("id"), fields.get("path")) {
                let found = &doc["paths"][id.to_string()];
                let owner = doc["external_crates"][found["crate_id"].to_string()]["name"].as_str();
                if let Some(owner) = owner.filter(|name| !matches!(*name, "std" | "core" | "alloc")) {
                    let at = item["name"].as_str().unwrap_or("an impl");
                    let line = &item["span"]["begin"][0];
                    let file = item["span"]["filename"].as_str().unwrap_or_default();
                    met.entry(owner).or_default().insert(format!("{at} ({file}:{line})"));
                }
            }
            for part in fields.values() {
                named(doc, item, part, met);
            }
        }
        Value::Array(parts) => {
            for part in parts {
                named(doc, item, part, met);
            }
        }
        _ => {}
    }
}
