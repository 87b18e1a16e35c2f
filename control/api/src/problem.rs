//! Errors as `application/problem+json` (RFC 9457): a stable class, what went wrong, and for fields what was expected.

use crate::engine::Fault;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// What kind of error; its name is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    BadRequest,
    Unauthorized,
    Forbidden,
    NoCall,
    NotFound,
    Method,
    SlowBody,
    WrongState,
    Stale,
    TooLarge,
    MediaType,
    Field,
    Internal,
    Busy,
}

impl Class {
    fn status(self) -> StatusCode {
        match self {
            Class::BadRequest => StatusCode::BAD_REQUEST,
            Class::Unauthorized => StatusCode::UNAUTHORIZED,
            Class::Forbidden => StatusCode::FORBIDDEN,
            Class::NoCall | Class::NotFound => StatusCode::NOT_FOUND,
            Class::Method => StatusCode::METHOD_NOT_ALLOWED,
            Class::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Class::WrongState => StatusCode::CONFLICT,
            Class::Stale => StatusCode::PRECONDITION_FAILED,
            Class::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Class::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Class::Field => StatusCode::UNPROCESSABLE_ENTITY,
            Class::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Class::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Class::BadRequest => "bad_request",
            Class::Unauthorized => "unauthorized",
            Class::Forbidden => "forbidden",
            Class::NoCall => "no_call",
            Class::NotFound => "not_found",
            Class::Method => "method_not_allowed",
            Class::SlowBody => "slow_body",
            Class::WrongState => "wrong_state",
            Class::Stale => "stale",
            Class::TooLarge => "too_large",
            Class::MediaType => "media_type",
            Class::Field => "invalid_field",
            Class::Internal => "internal",
            Class::Busy => "busy",
        }
    }
}

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// `urn:strowger:problem:CLASS`; the class is stable.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// What went wrong with this request.
    detail: String,
    /// The fields that are wrong, if it is about fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

/// One field that is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// Its path, such as `trunk.acme.limit.cps` or `limit` of the query.
    field: String,
    /// What was expected there.
    expected: String,
    /// Line of a text that was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
}

impl Problem {
    pub(crate) fn new(class: Class, detail: impl Into<String>) -> Problem {
        let status = class.status();
        Problem {
            kind: format!("urn:strowger:problem:{}", class.name()),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    /// One field is wrong.
    pub(crate) fn field(field: &str, expected: impl Into<String>) -> Problem {
        Problem::fields(vec![Fault { field: field.to_owned(), expected: expected.into(), line: None }])
    }

    /// Some fields are wrong.
    pub(crate) fn fields(faults: Vec<Fault>) -> Problem {
        let detail = match &faults[..] {
            [Fault { field, expected, line: Some(line) }] => format!("line {line}: {field}: {expected}"),
            [Fault { field, expected, .. }] => format!("{field}: {expected}"),
            many => format!("{} fields are wrong", many.len()),
        };
        let errors = faults
            .into_iter()
            .map(|Fault { field, expected, line }| FieldError { field, expected, line })
            .collect();
        Problem { errors, ..Problem::new(Class::Field, detail) }
    }

    /// What went wrong, in a line.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    #[cfg(test)]
    pub(crate) fn status(&self) -> u16 {
        self.status
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, [(CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        match status {
            StatusCode::UNAUTHORIZED => {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

const PROBLEM_JSON: &str = "application/problem+json";

/// Errors that the HTTP library answers by itself (no such path, method not allowed, bad escapes) get the same form.
pub(crate) async fn uniform(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    let response = next.run(request).await;
    let status = response.status();
    let ours = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/"));
    if !(status.is_client_error() || status.is_server_error()) || ours {
        return response;
    }
    let problem = match status {
        StatusCode::NOT_FOUND => {
            Problem::new(Class::NotFound, format!("there is no {path}; /docs lists what there is"))
        }
        StatusCode::METHOD_NOT_ALLOWED => Problem::new(Class::Method, format!("{method} is not for {path}")),
        StatusCode::SERVICE_UNAVAILABLE => Problem::new(Class::Busy, "try again in a moment"),
        status if status.is_server_error() => Problem::new(Class::Internal, "the engine could not do this"),
        _ => Problem::new(Class::BadRequest, "the request cannot be read"),
    };
    let allow = response.headers().get(ALLOW).cloned();
    let mut response: Response<Body> = problem.into_response();
    if let Some(allow) = allow {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}
