//! Projects and drafts from the command line.

use serde_json::json;

use crate::harness::{Project, WORKS};

#[test]
fn a_project_gives_its_tasks_a_branch() {
    let project = Project::new(WORKS);
    project.config("");
    project
        .run(&["enqueue", "Lost", "--project", "pager"])
        .code(2)
        .says("pager does not exist");
    let made = project.json(&["project", "create", "pager", "--title", "A faster pager"]);
    assert_eq!(
        (&made["branch"], &made["status"]),
        (&json!("project/pager"), &json!("draft"))
    );
    project
        .run(&["project", "create", "pager", "--title", "Again"])
        .code(4)
        .says("exists");
    let task = project.json(&["enqueue", "Measure it", "--project", "pager"]);
    assert_eq!(
        (&task["branch"], &task["project_id"]),
        (&json!("project/pager"), &json!("pager"))
    );
    project
        .run(&["project", "update", "pager", "--status", "active"])
        .ok()
        .says("active");
    project.run(&["project", "update", "pager"]).code(2).says("No fields");
    assert_eq!(project.json(&["project", "list", "--status", "active"])["total"], 1);
    project
        .run(&["project", "show", "pager"])
        .ok()
        .says("branch: project/pager");
    project.run(&["project", "show", "nothing"]).code(3);
    let refused = project.run(&["project", "delete", "pager"]);
    assert!(refused.code > 0, "it has a task: {refused:?}");
}

#[test]
fn a_draft_becomes_a_task_once() {
    let project = Project::new(WORKS);
    project.config("");
    let draft = project.json(&["draft", "create", "A dark theme?", "--body", "People ask for it."]);
    let id = draft["id"].to_string();
    let task = project.json(&["draft", "promote", &id]);
    assert_eq!(
        (&task["title"], &task["content"]),
        (&json!("A dark theme?"), &json!("People ask for it."))
    );
    assert_eq!(
        project.json(&["draft", "promote", &id])["id"],
        task["id"],
        "twice is the same task"
    );
    assert_eq!(project.json(&["draft", "show", &id])["linked_task_id"], task["id"]);
    project
        .run(&["draft", "update", &id, "--title", "Dark"])
        .ok()
        .says("Dark");
    assert_eq!(project.json(&["draft", "list"])["total"], 1);
    project.run(&["draft", "delete", &id]).ok();
    project.run(&["draft", "show", &id]).code(3);
    assert_eq!(project.json(&["draft", "list"])["total"], 0);
}
