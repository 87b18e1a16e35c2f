//! NG over HTTP (`POST /ng` with cookie, `POST /ng-plain` without, `GET /ping`) and over WebSockets (RFC 6455, subprotocols
//! `ng.rtpengine.com` and `ng-plain.rtpengine.com`), both on one address. What pages in browsers could send
//! is refused: NG has no passwords.

use crate::ng_stream::{ANSWER, ASKED_MAX, Asker, Hub, Next, REQUEST_MAX, Silence, WRITE, Waiting};
use base::Duration;
use core::convert::Infallible;
use core::net::{IpAddr, SocketAddr};
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use ng::frame::{Carrier, Frame};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// For the head of a request, and for its body.
const HEAD: Duration = Duration::from_secs(10);
const BODY: Duration = Duration::from_secs(10);
/// What rtpengine calls requests and replies; JSON may be called JSON.
const NG: &str = "application/x-rtpengine-ng";
const JSON: &str = "application/json";

/// Whether requests have cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Cookie,
    Plain,
}

impl Form {
    fn of_protocol(name: &str) -> Option<Form> {
        match name {
            "ng.rtpengine.com" => Some(Form::Cookie),
            "ng-plain.rtpengine.com" => Some(Form::Plain),
            _ => None,
        }
    }

    fn frame(self, bytes: &[u8]) -> Option<Frame<'_>> {
        match self {
            Form::Cookie => Frame::datagram(bytes),
            Form::Plain => Some(Frame::plain(bytes)),
        }
    }
}

/// One connection, until it ends, or becomes a WebSocket and that ends. `place` is held as long.
pub(crate) async fn serve(hub: Arc<Hub>, stream: TcpStream, remote: SocketAddr, place: OwnedSemaphorePermit) {
    let is_local = stream.local_addr().is_ok_and(|local| local.ip().to_canonical().is_loopback());
    let place = Arc::new(Mutex::new(Some(place)));
    let service = service_fn(|request| {
        let (hub, place) = (Arc::clone(&hub), Arc::clone(&place));
        async move {
            if may_be_of_a_page(request.headers(), is_local) {
                return Ok::<_, Infallible>(say(StatusCode::FORBIDDEN, "pages may not speak NG here"));
            }
            Ok(answer(hub, request, remote, &place).await)
        }
    });
    let connection = http1::Builder::new()
        .half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(16 << 10)
        .max_headers(64)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::trace!(%remote, %error, "a connection of NG");
    }
}

async fn answer(
    hub: Arc<Hub>,
    request: Request<Incoming>,
    remote: SocketAddr,
    place: &Mutex<Option<OwnedSemaphorePermit>>,
) -> Response<Full<Bytes>> {
    if request.headers().contains_key(UPGRADE) {
        return upgrade(hub, request, remote, place);
    }
    let form = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/ping") => return say(StatusCode::OK, "pong"),
        (&Method::POST, "/ng") => Form::Cookie,
        (&Method::POST, "/ng-plain") => Form::Plain,
        (_, "/ping" | "/ng" | "/ng-plain") => {
            return say(StatusCode::METHOD_NOT_ALLOWED, "GET /ping, POST /ng, POST /ng-plain");
        }
        _ => return say(StatusCode::NOT_FOUND, "there are /ping, /ng and /ng-plain"),
    };
    // A page could send a form from elsewhere without asking first, but nothing of these types.
    let Some(kind) = content_type(request.headers()) else {
        return say(StatusCode::UNSUPPORTED_MEDIA_TYPE, "application/x-rtpengine-ng or application/json");
    };
    let body = match timeout(BODY, Limited::new(request.into_body(), REQUEST_MAX).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return say(StatusCode::PAYLOAD_TOO_LARGE, "a request of at most 1 MiB"),
        Err(_) => return say(StatusCode::REQUEST_TIMEOUT, "the body did not come"),
    };
    let Some(frame) = form.frame(&body) else {
        return say(StatusCode::BAD_REQUEST, "a cookie, a space and the request");
    };
    let mut asker = hub.enter(Carrier::Http, remote, 1);
    if !asker.ask(frame).await {
        return say(StatusCode::SERVICE_UNAVAILABLE, "too many requests wait");
    }
    match timeout(ANSWER, asker.replies.recv()).await {
        Ok(Some(reply)) => {
            let mut response = Response::new(Full::from(reply));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            response
        }
        Ok(None) | Err(_) => say(StatusCode::SERVICE_UNAVAILABLE, "no answer came"),
    }
}

/// Browsers say where their page is from; programs do not, and no page is served here. `is_local`: the request came over
/// loopback, where a page that was loaded under a name which points here since then would still say that name.
fn may_be_of_a_page(headers: &HeaderMap, is_local: bool) -> bool {
    let Some(host) = headers.get(HOST).filter(|_| is_local) else { return headers.contains_key(ORIGIN) };
    let host = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    let is_here = host.is_some_and(|host| {
        let name = host.host().trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
    });
    headers.contains_key(ORIGIN) || !is_here
}

fn content_type(headers: &HeaderMap) -> Option<&'static str> {
    let said = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let said = said.split(';').next()?.trim();
    [NG, JSON].into_iter().find(|known| said.eq_ignore_ascii_case(known))
}

fn say(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{text}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// Agrees to a WebSocket, and serves it when the answer is out.
fn upgrade(
    hub: Arc<Hub>,
    mut request: Request<Incoming>,
    remote: SocketAddr,
    place: &Mutex<Option<OwnedSemaphorePermit>>,
) -> Response<Full<Bytes>> {
    let headers = request.headers();
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
    let is_version = headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let (Some(key), true, &Method::GET) = (key, has_word(headers, UPGRADE, "websocket"), request.method())
    else {
        return say(StatusCode::BAD_REQUEST, "an upgrade to a WebSocket only");
    };
    if !is_version {
        let mut response = say(StatusCode::UPGRADE_REQUIRED, "WebSockets of version 13");
        response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return response;
    }
    let offered = words(headers, SEC_WEBSOCKET_PROTOCOL);
    let Some((protocol, form)) = offered.into_iter().find_map(|name| Some((name, Form::of_protocol(name)?)))
    else {
        return say(StatusCode::BAD_REQUEST, "the subprotocol is ng.rtpengine.com or ng-plain.rtpengine.com");
    };
    let (Ok(accept), Ok(protocol)) =
        (HeaderValue::from_str(&derive_accept_key(key.as_bytes())), HeaderValue::from_str(protocol))
    else {
        return say(StatusCode::BAD_REQUEST, "an upgrade to a WebSocket only");
    };
    let place = place.lock().unwrap_or_else(PoisonError::into_inner).take();
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(Ok(upgraded)) = timeout(WRITE, upgraded).await {
            talk(&hub, upgraded, remote, form).await;
        }
        drop(place);
    });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    response
}

/// The words of a list in a header that may be there more than once.
fn words(headers: &HeaderMap, name: HeaderName) -> Vec<&str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).collect()
}

fn has_word(headers: &HeaderMap, name: HeaderName, wanted: &str) -> bool {
    words(headers, name).iter().any(|word| word.eq_ignore_ascii_case(wanted))
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// One WebSocket, until it ends.
async fn talk(hub: &Arc<Hub>, upgraded: Upgraded, remote: SocketAddr, form: Form) {
    let config = WebSocketConfig::default()
        .write_buffer_size(0)
        .max_message_size(Some(REQUEST_MAX))
        .max_frame_size(Some(REQUEST_MAX));
    let mut socket = Socket::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let mut asker = hub.enter(Carrier::WebSocket, remote, ASKED_MAX);
    let (mut waiting, mut silence) = (Waiting::default(), Silence::begin());
    // Replies are texts where requests are, as far as texts can hold them.
    let mut in_texts = false;
    loop {
        let said = tokio::select! {
            reply = asker.replies.recv() => {
                let Some(reply) = reply else { break };
                waiting.answered();
                let message = match String::from_utf8(reply) {
                    Ok(text) if in_texts => Message::text(text),
                    Ok(text) => Message::binary(text.into_bytes()),
                    Err(bytes) => Message::binary(bytes.into_bytes()),
                };
                if !matches!(timeout(WRITE, socket.send(message)).await, Ok(Ok(()))) {
                    break;
                }
                continue;
            }
            said = socket.next(), if waiting.has_room() => said,
            next = silence.lasts() => {
                let ping = Message::Ping(Bytes::new());
                if next == Next::End || !matches!(timeout(WRITE, socket.send(ping)).await, Ok(Ok(()))) {
                    break;
                }
                continue;
            }
            () = waiting.given_up() => continue,
        };
        silence.broken();
        let bytes = match said {
            Some(Ok(Message::Text(text))) => {
                in_texts = true;
                Bytes::from(text)
            }
            Some(Ok(Message::Binary(bytes))) => {
                in_texts = false;
                bytes
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            Some(Ok(Message::Close(_)) | Err(_)) | None => break,
        };
        if ask(&asker, form, &bytes).await {
            waiting.asked();
        }
    }
    let _ = timeout(Duration::from_secs(1), socket.close(None)).await;
}

/// Without cookie or room it is lost; the peer asks again.
async fn ask(asker: &Asker, form: Form, bytes: &[u8]) -> bool {
    match form.frame(bytes) {
        Some(frame) => asker.ask(frame).await,
        None => false,
    }
}
