//! Times, stamps, front matter and ranks.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{fields, files, markdown};
use super::at;

#[test]
fn the_furthest_along_is_kept() {
    let order = ["done", "provisional", "claimed", "incoming", "backlog"];
    assert!(order.windows(2).all(|pair| files::rank(pair[0]) > files::rank(pair[1])));
    assert!(files::is_ended("cancelled") && files::is_ended("failed") && !files::is_ended("provisional"));
}

#[test]
fn times_of_all_generations() {
    let utc = at("2026-02-03T21:40:43Z").unwrap();
    for text in [
        "2026-02-03T21:40:43Z",
        "2026-02-03T21:40:43",
        "2026-02-03 21:40:43",
        "2026-02-03 21:40:43.000000",
        "2026-02-03T22:40:43.000001+01:00",
        "2026-02-03 22:40:43 +0100",
        "2026-02-03 21:40:43 UTC",
        "20260203-214043",
        " '2026-02-03T21:40:43+00:00' ",
    ] {
        assert_eq!(fields::time(text), Some(utc), "{text}");
    }
    assert_eq!(fields::time("2026-02-03"), at("2026-02-03T00:00:00Z"));
    assert_eq!(fields::moment(&json!(utc.0 / 1000)), Some(utc));
    assert_eq!(fields::moment(&json!(utc.0)), Some(utc));
    for text in ["", "soon", "2026-13-40", "2026-02-03T99:00:00"] {
        assert_eq!(fields::time(text), None, "{text}");
    }
}

#[test]
fn stamps_are_told_from_text() {
    let text = "# [TASK-a] A\n\nROLE: fix\nODD_KEY: 1\n\nNOTE: this is prose\nand goes on\n\n```\nCLAIMED_BY: example\n```\n\nend\nCLAIMED_AT: 2026-02-03T00:00:00\n\nCLAIMED_AT: 2026-02-04T00:00:00\nREJECTION_REASON: late: twice\n";
    let fields = markdown::parse(text, "a.md", &mut Vec::new()).unwrap();
    assert_eq!(
        fields["content"],
        "NOTE: this is prose\nand goes on\n\n```\nCLAIMED_BY: example\n```\n\nend\n"
    );
    assert_eq!(
        (&fields["odd_key"], &fields["claimed_at"]),
        (&json!("1"), &json!("2026-02-04T00:00:00"))
    );
    assert_eq!(fields["earlier_values"], json!({"claimed_at": ["2026-02-03T00:00:00"]}));
    assert_eq!(fields["rejection_reason"], "late: twice");

    // Ids of digits with one e in them are no numbers.
    let fields = markdown::parse(
        "---\nid: 12e45678\nblocked_by: [x, TASK-y]\n---\n# T\n\nb\n",
        "a.md",
        &mut Vec::new(),
    )
    .unwrap();
    assert_eq!(
        (&fields["id"], &fields["title"], &fields["content"]),
        (&json!("12e45678"), &json!("T"), &json!("b\n"))
    );
    assert_eq!(fields::ids(&fields["blocked_by"]), ["x", "y"]);
    assert_eq!(fields::ids(&json!("[\"a\", \"TASK-b\"]")), ["a", "b"]);
    assert_eq!(fields::ids(&json!("None")), Vec::<String>::new());
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(text in "(\\PC|\n|---\n|# \\[TASK-|CLAIMED_AT: |```){0,60}", number in any::<f64>()) {
        let mut problems = Vec::new();
        if let Ok(fields) = markdown::parse(&text, "t.md", &mut problems) {
            let told = fields::task(fields, "t.md", &mut problems);
            let clean = told.task.content.is_none_or(|content| !content.contains('\u{0}'));
            prop_assert!(clean);
        }
        let _ = fields::time(&text);
        let _ = fields::moment(&Value::from(number));
    }
}
