//! What waits for a person, and the answers to it; the kinds of agents; the schemas of the files.

use serde_json::{Value, json};

use crate::{
    harness::{Project, WORKS},
    machines::{CHECK, Fleet},
};

const ASKS: &str = "plays:
  - role: gatekeeper
    steps: [{verdict: {verdict: approve}}]
  - attempt: 1
    steps: [{report: {outcome: question, summary: \"Which grey?\"}}]
  - steps: [{write: {grey: \"#222\"}}, {commit: grey}]
";

fn items(project: &Project) -> Vec<Value> {
    let inbox = project.json(&["inbox"]);
    let items = inbox["items"].as_array().unwrap().clone();
    assert_eq!(inbox["total"], items.len());
    items
}

#[test]
fn an_agents_question_is_answered_in_words() {
    let project = Project::new(ASKS);
    project.run(&["inbox"]).ok().says("Nothing waits for you");
    let id = project.enqueue(&["Paint it"]);
    project.run(&["start", "--once"]).code(1);
    assert_eq!(
        items(&project),
        [json!({
            "id": id, "kind": "question", "title": "Paint it", "text": "Which grey?", "choices": ["retry", "cancel"],
        })]
    );
    project
        .run(&["inbox"])
        .ok()
        .says("Which grey?")
        .says(&format!("octopoid answer {id} \"your answer\""));
    project
        .run(&["answer", &id, "approve"])
        .code(2)
        .says("allowed: retry, cancel");
    project
        .run(&["answer", &id, "retry", "--reason", "#222"])
        .code(2)
        .says("the text itself");
    let told = project.json(&["answer", &id, "The dark one, #222", "--by", "ann"]);
    assert_eq!(told, json!({ "id": id, "choice": "answer", "state": "incoming" }));
    assert!(items(&project).is_empty());
    project
        .run(&["answer", &id, "And another"])
        .code(4)
        .says("waits for no person's answer");
    project.run(&["start", "--once"]).ok();
    project.expect_queue(&id, "done");
    assert!(project.prompt(&id, 2).contains("The dark one, #222"));
    project.closing_checks();
}

#[test]
fn work_that_no_agent_reviews_is_accepted_or_refused() {
    let project = Project::new(WORKS);
    let id = project.enqueue(&["Work"]);
    std::fs::remove_file(project.path(".octopoid/agents/gatekeeper.yaml")).unwrap();
    project.run(&["start", "--once"]);
    project.expect_queue(&id, "provisional");
    let found = items(&project);
    assert_eq!(
        (&found[0]["id"], &found[0]["kind"], &found[0]["choices"]),
        (&json!(id), &json!("review"), &json!(["approve", "reject"]))
    );
    project
        .run(&["answer", &id, "maybe"])
        .code(2)
        .says("allowed: approve, reject");
    project.run(&["answer", &id, "reject"]).code(2).says("needs a reason");
    project.run(&["answer", &id, "retry"]).code(2);
    project
        .run(&["answer", &id, "approve", "--reason", "fine"])
        .code(2)
        .says("goes with reject");
    assert_eq!(project.queue(&id), "provisional", "nothing was changed by those");
    assert_eq!(
        project.json(&["answer", &id, "reject", "--reason", "rename it"])["state"],
        "incoming"
    );
    project.run(&["start", "--once"]);
    assert!(project.prompt(&id, 2).contains("rename it"));
    project.run(&["answer", &id, "approve"]).ok().says("approve");
    project.run(&["start", "--once"]).ok();
    project.expect_queue(&id, "done");
    // With an agent that reviews, its work is not a person's.
    project.scripted("gatekeeper", "gatekeeper", "");
    assert!(items(&project).is_empty());
}

#[test]
fn what_is_stuck_starts_again_or_is_called_off() {
    let project = Project::new("plays:\n  - steps: [{exit: 1}]\n");
    project.config("limits: {attempts: 1}\n");
    let (one, two) = (project.enqueue(&["One"]), project.enqueue(&["Two"]));
    project.run(&["start", "--once"]).code(1);
    let found = items(&project);
    assert!(found.iter().all(|i| i["kind"] == "attention"), "{found:?}");
    assert!(
        found[0]["text"].as_str().unwrap().starts_with("agent_exit"),
        "{found:?}"
    );
    project
        .run(&["answer", &one, "do something"])
        .code(2)
        .says("allowed: retry, cancel");
    assert_eq!(project.json(&["answer", &one, "retry"])["state"], "incoming");
    let told = project.json(&["answer", &two, "cancel", "--reason", "too hard"]);
    assert_eq!(told["state"], "cancelled");
    project.run(&["answer", "task-99999999", "retry"]).code(3);
    project.run(&["answer", &one, " "]).code(2).says("empty");
}

#[test]
fn proposals_are_executed_or_dismissed() {
    let project = Project::new(WORKS);
    // A second door to the same queue, for what the command line has no word for.
    let octopoid = octopoid_core::Octopoid::open(&project.root).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let propose = |label: &str| {
        let action = json!({
            "entity_type": "task", "entity_id": "task-1", "label": label, "proposed_by": "analyst", "description": "why",
        });
        let made = runtime.block_on(octopoid.actions().create(action)).unwrap();
        made["id"].as_str().unwrap().to_owned()
    };
    let (first, second) = (propose("Archive it"), propose("Split it"));
    let found = items(&project);
    assert_eq!(found.len(), 2);
    assert!(found.iter().any(|i| *i
        == json!({
            "id": first, "kind": "proposal", "title": "Archive it", "text": "why", "choices": ["execute", "dismiss"],
        })));
    assert_eq!(
        project.json(&["answer", &first, "execute"]),
        json!({ "id": first, "choice": "execute", "state": "execute_requested" })
    );
    project
        .run(&["answer", &first, "dismiss"])
        .code(4)
        .says("no proposal that waits");
    assert_eq!(
        project.json(&["answer", &second, "dismiss", "--reason", "too small"])["state"],
        "failed"
    );
    project
        .run(&["answer", &second, "maybe"])
        .code(2)
        .says("allowed: execute, dismiss");
    project.run(&["answer", "act-0-none", "execute"]).code(3);
    assert!(items(&project).is_empty());
}

#[test]
fn the_inbox_of_a_server_and_what_is_known_of_it_without() {
    let mut fleet = Fleet::new(&[], CHECK);
    let a = fleet.machine("a", ASKS, "");
    let b = fleet.machine("b", ASKS, "");
    let id = a.enqueue(&["Paint it"]);
    a.run(&["start", "--once"]).code(1);
    assert_eq!(items(&a)[0]["text"], "Which grey?");
    fleet.server.kill();
    assert_eq!(items(&a)[0]["id"], json!(id), "the copy has the task");
    a.run(&["answer", &id, "#222"]).code(5);
    fleet.server.restart();
    assert_eq!(b.json(&["answer", &id, "#222", "--by", "ann"])["state"], "incoming");
    a.run(&["start", "--once"]).ok();
    assert!(a.prompt(&id, 2).contains("#222"));
    assert!(items(&b).is_empty());
}

#[test]
fn agents_are_listed_with_their_programs() {
    let project = Project::new(WORKS);
    project.write(
        ".octopoid/agents/writer.yaml",
        "role: review\nagent: command\ncommand: [no-such-program]\npaused: true\nenv: {TOKEN: secret}\n",
    );
    let listed = project.run(&["agents", "--json"]).ok();
    assert!(!listed.out.contains("secret"), "{}", listed.out);
    let agents = listed.json()["agents"].as_array().unwrap().clone();
    let names: Vec<_> = agents.iter().map(|a| a["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["gatekeeper", "implementer", "writer"]);
    assert!(agents[1]["problem"].is_null() && agents[1]["program"].is_string());
    assert_eq!(agents[1]["running"], json!([]));
    assert!(agents[2]["problem"].as_str().unwrap().contains("no-such-program"));
    project.run(&["agents"]).ok().says("0 of 1 at work, paused");
}

#[test]
fn an_agent_at_work_is_counted() {
    let project = Project::new("plays:\n  - steps: [{sleep: 30}]\n");
    let id = project.enqueue(&["Slow"]);
    let mut daemon = project.start(&[], &[]);
    crate::harness::eventually("the agent works", || {
        project.json(&["agents"])["agents"][1]["running"] == json!([id])
    });
    project.run(&["stop", "--now"]).ok();
    daemon.wait();
}

#[test]
fn schemas_fit_the_files() {
    let project = Project::new(WORKS);
    // Needs no project.
    let schema = |name: &str| {
        let printed = project.run(&["-C", "/", "schema", name]).ok().json();
        jsonschema::validator_for(&printed).unwrap()
    };
    let read = |text: &str| -> Value { yaml_serde::from_str(text).unwrap() };
    let (config, blueprint, flow) = (schema("config"), schema("blueprint"), schema("flow"));
    project.config("orchestrator: {max_agents: 2, tick_seconds: 1.5}\nmerge: {strategy: local, method: rebase}\nbudget: {usd_per_day: 2}\n");
    project.run(&["validate"]).ok();
    assert!(config.is_valid(&read(&project.read(".octopoid/config.yaml"))));
    assert!(
        config.is_valid(&read("orchestrator: {max_agents: 1}\n")),
        "as in local.yaml"
    );
    for agent in ["implementer", "gatekeeper"] {
        assert!(blueprint.is_valid(&read(&project.read(&format!(".octopoid/agents/{agent}.yaml")))));
    }
    let shown = project.run(&["flow", "show", "default"]).ok();
    assert!(flow.is_valid(&read(&shown.out)), "{}", shown.out);

    // What the one refuses, the other refuses.
    for wrong in [
        "mode: elsewhere\n",
        "mode: local\nlimit: {}\n",
        "mode: local\nlimits: {attempts: 0}\n",
        "mode: local\nlimits: {wall_minutes: 0}\n",
        "mode: local\norchestrator: {max_agents: 1001}\n",
        "mode: local\norchestrator: {lease_seconds: 2}\n",
        "mode: local\nmerge: {method: guess}\n",
        "mode: local\nmerge: {strategy: github}\n",
    ] {
        assert!(!config.is_valid(&read(wrong)), "{wrong}");
        project.write(".octopoid/config.yaml", wrong);
        project.run(&["validate"]).code(7);
    }
    project.config("");
    for wrong in [
        "agent: claude\n",
        "role: implement\nagent: codex\n",
        "role: implement\nagent: claude\nmax_instances: 0\n",
        "role: implement\nagent: claude\nsandbox: docker\n",
        "role: implement\nagent: claude\nturns: 3\n",
    ] {
        assert!(!blueprint.is_valid(&read(wrong)), "{wrong}");
        project.write(".octopoid/agents/wrong.yaml", wrong);
        project.run(&["validate"]).code(7);
    }
    std::fs::remove_file(project.path(".octopoid/agents/wrong.yaml")).unwrap();
    for wrong in [
        "name: odd\n",
        "name: odd\ntransitions: {\"incoming -> claimed\": {runs: [fly]}}\n",
        "name: odd\ntransitions: {\"incoming -> claimed\": {conditions: [{name: a, type: guess}]}}\n",
    ] {
        assert!(!flow.is_valid(&read(wrong)), "{wrong}");
        project.write(".octopoid/flows/odd.yaml", wrong);
        project.run(&["validate"]).code(7);
    }
    project.run(&["schema", "jobs"]).code(2).says("config, blueprint, flow");
}
