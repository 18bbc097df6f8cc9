//! The OpenAPI description, made from the tables of routes.

use octopoid_core::{Error, ErrorCode, Result};
use utoipa::openapi::{
    Components, ComponentsBuilder, ContentBuilder, HttpMethod, InfoBuilder, ObjectBuilder, OpenApiBuilder, PathItem,
    PathsBuilder, Ref, RefOr, Required, ResponseBuilder, Schema,
    path::{OperationBuilder, ParameterBuilder, ParameterIn},
    request_body::RequestBodyBuilder,
    schema::{AnyOfBuilder, ArrayBuilder, SchemaType, Type},
    security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
};

use crate::{
    call::Reads,
    route::{Route, all},
};

fn plain(kind: Type) -> Schema {
    Schema::Object(ObjectBuilder::new().schema_type(kind).build())
}

fn or_null(kind: Type) -> Schema {
    Schema::Object(
        ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([kind, Type::Null]))
            .build(),
    )
}

fn anything() -> Schema {
    Schema::Object(ObjectBuilder::new().schema_type(SchemaType::AnyValue).build())
}

/// The type that a table writes after a name.
fn schema(kind: &str) -> Schema {
    let text = || plain(Type::String);
    match kind {
        "integer" => plain(Type::Integer),
        "boolean" => plain(Type::Boolean),
        "flag" => Schema::AnyOf(
            AnyOfBuilder::new()
                .item(plain(Type::Boolean))
                .item(plain(Type::Integer))
                .build(),
        ),
        "null" => or_null(Type::String),
        "array" => Schema::Array(ArrayBuilder::new().items(RefOr::T(anything())).build()),
        "names" => Schema::AnyOf(
            AnyOfBuilder::new()
                .item(text())
                .item(Schema::Array(ArrayBuilder::new().items(RefOr::T(text())).build()))
                .item(plain(Type::Null))
                .build(),
        ),
        "any" => anything(),
        _ => text(),
    }
}

/// Name, type, and whether it must be there.
fn words(text: &'static str) -> impl Iterator<Item = (&'static str, Schema, bool)> {
    text.split_whitespace().map(|word| {
        let needed = word.ends_with('!');
        let (name, kind) = word
            .trim_end_matches('!')
            .split_once(':')
            .unwrap_or((word.trim_end_matches('!'), "text"));
        (name, schema(kind), needed)
    })
}

fn object(fields: &[(&str, Schema)], needed: &[&str]) -> Schema {
    let mut builder = ObjectBuilder::new();
    for (name, schema) in fields {
        builder = builder.property(*name, schema.clone());
    }
    for name in needed {
        builder = builder.required(*name);
    }
    Schema::Object(builder.build())
}

fn list_of(name: &str) -> Schema {
    Schema::Array(ArrayBuilder::new().items(Ref::from_schema_name(name)).build())
}

fn components() -> Components {
    let number = || plain(Type::Integer);
    let text = || plain(Type::String);
    let task = object(
        &[
            ("id", text()),
            ("title", text()),
            ("queue", text()),
            ("priority", text()),
            ("role", or_null(Type::String)),
            ("branch", text()),
            ("blocked_by", or_null(Type::String)),
            ("claimed_by", or_null(Type::String)),
            ("lease_expires_at", or_null(Type::String)),
            ("version", number()),
            ("attempt_count", number()),
            ("rejection_count", number()),
            ("needs_intervention", number()),
            ("created_at", text()),
            ("updated_at", text()),
            ("content", or_null(Type::String)),
            ("scope", text()),
            ("attempt", number()),
            ("epoch", number()),
            ("claim_token", text()),
        ],
        &[
            "id",
            "title",
            "queue",
            "priority",
            "branch",
            "version",
            "created_at",
            "updated_at",
            "scope",
        ],
    );
    let page = |name: &str, of: &str| {
        let mut builder = ObjectBuilder::new().property(name, list_of(of)).required(name);
        for number_of in ["total", "offset", "limit"] {
            builder = builder.property(number_of, number()).required(number_of);
        }
        Schema::Object(builder.build())
    };
    let problem = object(
        &[
            ("error", text()),
            ("code", text()),
            ("hint", text()),
            ("message", text()),
            ("details", list_of("Text")),
        ],
        &[],
    );
    ComponentsBuilder::new()
        .schema("Text", text())
        .schema("Task", task)
        .schema(
            "Tasks",
            Schema::Object(
                ObjectBuilder::new()
                    .property("tasks", list_of("Task"))
                    .required("tasks")
                    .build(),
            ),
        )
        .schema("TaskPage", page("tasks", "Task"))
        .schema(
            "Claim",
            Schema::AnyOf(
                AnyOfBuilder::new()
                    .item(Ref::from_schema_name("Task"))
                    .item(Ref::from_schema_name("Tasks"))
                    .item(plain(Type::Object))
                    .build(),
            ),
        )
        .schema(
            "HistoryRow",
            object(
                &[
                    ("id", number()),
                    ("task_id", text()),
                    ("event", text()),
                    ("agent", or_null(Type::String)),
                    ("details", or_null(Type::String)),
                    ("timestamp", text()),
                ],
                &["id", "task_id", "event", "timestamp"],
            ),
        )
        .schema("History", page("history", "HistoryRow"))
        .schema(
            "Event",
            object(
                &[
                    ("cursor", number()),
                    ("task_id", text()),
                    ("type", text()),
                    ("at", text()),
                    ("by", or_null(Type::String)),
                    ("version", number()),
                    ("details", anything()),
                ],
                &["cursor", "task_id", "type", "at"],
            ),
        )
        .schema(
            "Events",
            Schema::Object(
                ObjectBuilder::new()
                    .property("events", list_of("Event"))
                    .required("events")
                    .property("cursor", number())
                    .required("cursor")
                    .build(),
            ),
        )
        .schema(
            "Health",
            object(
                &[
                    ("status", text()),
                    ("version", text()),
                    ("timestamp", text()),
                    ("database", text()),
                ],
                &["status", "version", "timestamp", "database"],
            ),
        )
        .schema("Status", plain(Type::Object))
        .schema("Object", plain(Type::Object))
        .schema("Problem", problem)
        .security_scheme(
            "key",
            SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()),
        )
        .build()
}

/// Statuses that a route may answer besides its own.
fn problems(route: &Route) -> Vec<(u16, &'static str)> {
    let mut all = vec![
        (400, "The request is not right"),
        (401, "The key is wrong or missing"),
        (403, "The key is for something else"),
        (404, "It does not exist"),
        (409, "It is in another state, or exists already"),
        (429, "Too many requests"),
        (503, "The database does not answer"),
    ];
    if route.reads != Reads::Nothing {
        all.push((408, "The body did not arrive in time"));
        all.push((413, "The body is too large"));
    }
    all
}

fn operation(route: &Route) -> utoipa::openapi::path::Operation {
    let id = format!(
        "{}_{}",
        route.method.as_str().to_lowercase(),
        route
            .path
            .trim_matches('/')
            .replace(['/', '-', '.'], "_")
            .replace(['{', '}'], "")
    );
    let tag = route.path.split('/').nth(3).unwrap_or("server");
    let mut operation = OperationBuilder::new()
        .operation_id(Some(id))
        .summary(Some(route.summary))
        .tag(tag);
    for segment in route.path.split('/').filter_map(|s| s.strip_prefix('{')) {
        operation = operation.parameter(
            ParameterBuilder::new()
                .name(segment.trim_end_matches('}'))
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .schema(Some(plain(Type::String))),
        );
    }
    for (name, schema, _) in words(route.query) {
        operation = operation.parameter(
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Query)
                .required(Required::False)
                .schema(Some(schema)),
        );
    }
    if !route.fields.is_empty() {
        let mut body = ObjectBuilder::new();
        for (name, schema, needed) in words(route.fields) {
            body = body.property(name, schema);
            if needed {
                body = body.required(name);
            }
        }
        let content = ContentBuilder::new().schema(Some(Schema::Object(body.build()))).build();
        operation = operation.request_body(Some(
            RequestBodyBuilder::new()
                .content("application/json", content)
                .required(Some(Required::True))
                .build(),
        ));
    }
    for (status, shape) in route.answers {
        let mut response = ResponseBuilder::new().description(route.summary);
        response = match *shape {
            "Empty" => response,
            "Lines" => response.content(
                "application/x-ndjson",
                ContentBuilder::new().schema(Some(plain(Type::String))).build(),
            ),
            "Text" => response.content(
                "text/plain",
                ContentBuilder::new().schema(Some(plain(Type::String))).build(),
            ),
            shape => response.content(
                "application/json",
                ContentBuilder::new().schema(Some(Ref::from_schema_name(shape))).build(),
            ),
        };
        operation = operation.response(status.to_string(), response.build());
    }
    for (status, description) in problems(route) {
        if route.answers.iter().any(|(known, _)| *known == status) {
            continue;
        }
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Problem")))
            .build();
        operation = operation.response(
            status.to_string(),
            ResponseBuilder::new()
                .description(description)
                .content("application/json", content)
                .build(),
        );
    }
    if !route.open {
        operation = operation.security(SecurityRequirement::new::<_, [&str; 0], &str>("key", []));
        operation = operation.security(SecurityRequirement::default());
    }
    operation.build()
}

fn method(route: &Route) -> HttpMethod {
    match route.method.as_str() {
        "POST" => HttpMethod::Post,
        "PATCH" => HttpMethod::Patch,
        "PUT" => HttpMethod::Put,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

/// The document as JSON.
pub(crate) fn document() -> Result<String> {
    let mut paths = PathsBuilder::new();
    for route in all() {
        paths = paths.path(route.path, PathItem::new(method(route), operation(route)));
    }
    let document = OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Octopoid")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some("One queue of tasks for coding agents on many machines."))
                .build(),
        )
        .paths(paths.build())
        .components(Some(components()))
        .build();
    document
        .to_json()
        .map_err(|e| Error::new(ErrorCode::Internal, format!("the description cannot be written: {e}")))
}
