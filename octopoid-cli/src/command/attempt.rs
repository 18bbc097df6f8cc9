//! Commands that run inside an attempt: the report of an agent, and the scripted agent itself.

use std::{
    io::{Read, Write},
    path::Path,
};

use octopoid_core::{Error, ErrorCode, agent::scripted, config};
use serde_json::{Map, Value, json};

use crate::{cli, output::Output};

pub(crate) fn report(args: cli::Report, output: &Output) -> Result<u8, Error> {
    let mut result = match &args.file {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
            let value: Value = serde_json::from_str(&text)
                .map_err(|e| Error::new(ErrorCode::InvalidJson, format!("{}: {e}", path.display())))?;
            match value {
                Value::Object(map) => map,
                _ => return Err(Error::invalid(format!("{} is not a JSON object", path.display()))),
            }
        }
        None => Map::new(),
    };
    for (key, value) in [
        ("outcome", args.outcome),
        ("summary", args.summary),
        ("verdict", args.verdict),
    ] {
        if let Some(value) = value {
            result.insert(key.to_owned(), Value::String(value));
        }
    }
    if !result.contains_key("outcome") && !result.contains_key("verdict") {
        return Err(Error::invalid("a report needs --outcome or --verdict")
            .with_hint("for example: octopoid report --outcome done --summary \"…\""));
    }
    scripted::report(&config::process_env, &Value::Object(result.clone()))?;
    output.text("reported")?;
    output.json(&json!({ "reported": result }))?;
    Ok(0)
}

pub(crate) fn scripted(script: &Path) -> Result<u8, Error> {
    let mut prompt = String::new();
    std::io::stdin()
        .read_to_string(&mut prompt)
        .map_err(|e| Error::io("read", Path::new("standard input"), e))?;
    let mut failed = None;
    let mut out = std::io::stdout().lock();
    let mut say = |bytes: &[u8]| {
        if let Err(e) = out.write_all(bytes).and_then(|()| out.flush()) {
            failed = Some(e);
        }
    };
    let code = scripted::play(script, &prompt, &config::process_env, &mut say)?;
    match failed {
        Some(e) => Err(Error::io("write to", Path::new("standard output"), e)),
        None => Ok(u8::try_from(code).unwrap_or(1)),
    }
}
