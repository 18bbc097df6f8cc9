//! Plays the scenarios with the Rust handle: over a server, and over a store in a folder.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking and say what they leave out"
)]

mod driver;

use std::{collections::BTreeSet, path::Path};

use driver::{Player, World};
use octopoid_conformance::{Saved, Scenario, Step, difference, load};
use serde::Deserialize;
use serde_json::Value;

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One test for each file and world, so that a failure names both.
macro_rules! scenarios {
    ($($name:ident)+) => {
        const FILES: &[&str] = &[$(stringify!($name)),+];
        $(mod $name {
            #[tokio::test(flavor = "multi_thread")]
            async fn server() {
                super::play(stringify!($name), super::World::Server).await;
            }
            #[tokio::test(flavor = "multi_thread")]
            async fn embedded() {
                super::play(stringify!($name), super::World::Embedded).await;
            }
        })+
    };
}

scenarios! {
    actions claims dependencies drafts events fencing flows idempotency lifecycle messages orchestrators
    paging people projects refusals tasks
}

#[test]
fn every_file_is_played() {
    let found: BTreeSet<String> = std::fs::read_dir(here().join("scenarios"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let played: BTreeSet<String> = FILES.iter().map(ToString::to_string).collect();
    assert_eq!(found, played);
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Match {
    expect: Value,
    actual: Value,
    matches: bool,
}

#[test]
fn results_are_compared_as_the_other_players_do() {
    let cases: Vec<Match> = load(&here().join("matching.yaml")).unwrap();
    for case in cases {
        let found = difference("it", &case.expect, Some(&case.actual));
        assert_eq!(found.is_none(), case.matches, "{} against {}", case.expect, case.actual);
    }
}

async fn play(name: &str, world: World) {
    let path = here().join("scenarios").join(format!("{name}.yaml"));
    let scenario: Scenario = load(&path).unwrap();
    let mut player = Player::enter(world);
    let mut saved = Saved::default();
    for (i, step) in scenario.steps.iter().enumerate() {
        let place = format!("{name}.yaml, step {} ({})", i + 1, step.call);
        if !step.is_for("rust") {
            println!("{place}: not for Rust");
            continue;
        }
        if let Err(what) = once(&mut player, &mut saved, step).await {
            panic!("{place}: {what}");
        }
    }
}

async fn once(player: &mut Player, saved: &mut Saved, step: &Step) -> Result<(), String> {
    let Value::Object(with) = saved.resolve(&Value::Object(step.with.clone()))? else {
        return Err("the arguments are no map".to_owned());
    };
    let result = player.call(&step.call, with).await;
    match (result, &step.error) {
        (Ok(result), Some(error)) => Err(format!("expected {}, but it was done: {result}", error.code)),
        (Err(error), None) => Err(format!("refused with {}: {error}", error.code())),
        (Err(error), Some(wanted)) => {
            let (code, status) = (error.code().as_str(), error.code().http_status());
            if code == wanted.code && status == wanted.status {
                return Ok(());
            }
            Err(format!("expected {wanted:?}, got {code} ({status}): {error}"))
        }
        (Ok(result), None) => {
            if let Some(expected) = &step.expect {
                let expected = saved.resolve(expected)?;
                if let Some(what) = difference("result", &expected, Some(&result)) {
                    return Err(what);
                }
            }
            if let Some(name) = &step.save {
                saved.keep(name, result);
            }
            Ok(())
        }
    }
}
