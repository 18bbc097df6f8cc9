//! The streaming Messages API over a real socket, with answers from a script instead of a model.
//!
//! Which answer a request gets depends on the request alone: the conversation it belongs to (told by the
//! structured output that it asks for) and the number of answers that it already holds.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use serde::Deserialize;
use serde_json::{Value, json};
use tiny_http::{Header, Request, Response, Server, StatusCode};

/// What the model says at one turn.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// A call of a tool with its input.
    Tool {
        /// The tool's name.
        name: String,
        /// Its input.
        input: Value,
    },
    /// Closing words.
    Text(String),
    /// An error of the service.
    Error {
        /// HTTP status.
        status: u16,
        /// Type of the error.
        kind: String,
        /// In words.
        message: String,
    },
}

/// The turns of each conversation.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Turns of agents that change files.
    #[serde(default)]
    pub work: Vec<Turn>,
    /// Turns of agents that review.
    #[serde(default)]
    pub review: Vec<Turn>,
}

/// A running server; it ends with the process.
#[derive(Debug)]
pub struct Api {
    port: u16,
    prompts: Arc<Mutex<Vec<String>>>,
}

impl Api {
    /// Listens on a free port of the loopback interface.
    pub fn start(script: Script) -> io::Result<Self> {
        let server = Server::http("127.0.0.1:0").map_err(io::Error::other)?;
        let port = server.server_addr().to_ip().map_or(0, |a| a.port());
        let prompts = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&prompts);
        thread::spawn(move || {
            for request in server.incoming_requests() {
                let (script, seen) = (script.clone(), Arc::clone(&seen));
                // A client that went away is its own business.
                thread::spawn(move || drop(answer(request, &script, &seen)));
            }
        });
        Ok(Self { port, prompts })
    }

    /// The base address for clients.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Texts of all user messages seen so far, one entry for each request.
    pub fn prompts(&self) -> Vec<String> {
        self.prompts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn answer(mut request: Request, script: &Script, seen: &Mutex<Vec<String>>) -> io::Result<()> {
    let path = request.url().split('?').next().unwrap_or_default().to_owned();
    let mut text = String::new();
    request.as_reader().read_to_string(&mut text)?;
    if path != "/v1/messages" {
        return request.respond(Response::empty(StatusCode(404)));
    }
    let Ok(body) = serde_json::from_str::<Value>(&text) else {
        return request.respond(Response::empty(StatusCode(400)));
    };
    let messages = body["messages"].as_array().cloned().unwrap_or_default();
    let users: Vec<String> = messages
        .iter()
        .filter(|m| m["role"] == "user")
        .map(|m| m["content"].to_string())
        .collect();
    seen.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(users.join("\n"));
    let asked = messages.iter().filter(|m| m["role"] == "assistant").count();
    let tools = body["tools"].as_array().cloned().unwrap_or_default();
    let reviews = tools
        .iter()
        .any(|t| t["name"] == "StructuredOutput" && !t["input_schema"]["properties"]["verdict"].is_null());
    let turns = if reviews { &script.review } else { &script.work };
    let turn = turns
        .get(asked)
        .or(turns.last())
        .cloned()
        .unwrap_or(Turn::Text("(the script is empty)".into()));
    match turn {
        Turn::Error { status, kind, message } => {
            let body = json!({ "type": "error", "error": { "type": kind, "message": message } });
            request.respond(with_type(
                Response::from_string(body.to_string()).with_status_code(status),
                "application/json",
            ))
        }
        turn => {
            let model = body["model"].as_str().unwrap_or("model").to_owned();
            request.respond(with_type(
                Response::from_string(stream(&turn, &model, asked)),
                "text/event-stream",
            ))
        }
    }
}

fn with_type(response: Response<io::Cursor<Vec<u8>>>, kind: &str) -> Response<io::Cursor<Vec<u8>>> {
    match Header::from_bytes("Content-Type", kind) {
        Ok(header) => response.with_header(header),
        Err(()) => response,
    }
}

/// One answer as server-sent events.
fn stream(turn: &Turn, model: &str, number: usize) -> String {
    let mut text = String::new();
    let mut event = |name: &str, mut data: Value| {
        data["type"] = json!(name);
        text.push_str(&format!("event: {name}\ndata: {data}\n\n"));
    };
    let id = format!("msg_{number}");
    event(
        "message_start",
        json!({ "message": { "id": id, "type": "message", "role": "assistant", "model": model, "content": [], "usage": { "input_tokens": 100, "output_tokens": 1 } } }),
    );
    let reason = match turn {
        Turn::Tool { name, input } => {
            let call = format!("toolu_{number}_{}", name.to_lowercase());
            event(
                "content_block_start",
                json!({ "index": 0, "content_block": { "type": "tool_use", "id": call, "name": name, "input": {} } }),
            );
            event(
                "content_block_delta",
                json!({ "index": 0, "delta": { "type": "input_json_delta", "partial_json": input.to_string() } }),
            );
            "tool_use"
        }
        Turn::Text(words) => {
            event(
                "content_block_start",
                json!({ "index": 0, "content_block": { "type": "text", "text": "" } }),
            );
            event(
                "content_block_delta",
                json!({ "index": 0, "delta": { "type": "text_delta", "text": words } }),
            );
            "end_turn"
        }
        Turn::Error { .. } => "end_turn",
    };
    event("content_block_stop", json!({ "index": 0 }));
    event(
        "message_delta",
        json!({ "delta": { "stop_reason": reason }, "usage": { "output_tokens": 50 } }),
    );
    event("message_stop", json!({}));
    text
}
