//! Webhooks: at least once, in order, whatever the server does, and over restarts.

use crate::support::{LONG, ids, in_file, settings, start, until};
use crate::testing::{Folder, a_cdr};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use store::webhook::{BATCH_MAX, Manner, signature};
use store::{CdrSettings, Record, Sink};

/// What the server does with a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Do {
    Take,
    Refuse(u16),
    Hang,
    Close,
}

/// One post as the server saw it.
#[derive(Clone, Debug)]
struct Post {
    records: Vec<Record<'static>>,
    signed: Option<String>,
    body: Vec<u8>,
    done: Do,
}

/// A server that does with each post what its script says, and takes all further ones.
struct Server {
    url: String,
    posts: Arc<Mutex<Vec<Post>>>,
    script: Arc<Mutex<Vec<Do>>>,
}

impl Server {
    fn new(script: &[Do]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/cdrs", listener.local_addr().unwrap());
        let posts = Arc::<Mutex<Vec<Post>>>::default();
        let script = Arc::new(Mutex::new(script.iter().rev().copied().collect::<Vec<_>>()));
        let (to, steps) = (Arc::clone(&posts), Arc::clone(&script));
        thread::Builder::new()
            .spawn(move || {
                for stream in listener.incoming() {
                    let (to, steps) = (Arc::clone(&to), Arc::clone(&steps));
                    thread::Builder::new().spawn(move || serve(&stream.unwrap(), &to, &steps)).unwrap();
                }
            })
            .unwrap();
        Server { url, posts, script }
    }

    fn sink(&self) -> Sink {
        format!("webhook:{}", self.url).parse().unwrap()
    }

    fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }

    /// Records of the posts that were taken, in their order.
    fn taken(&self) -> Vec<Record<'static>> {
        let taken = self.posts().into_iter().filter(|post| post.done == Do::Take);
        taken.flat_map(|post| post.records).collect()
    }
}

fn serve(stream: &TcpStream, posts: &Mutex<Vec<Post>>, script: &Mutex<Vec<Do>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut len, mut signed) = (0, None);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim_end().to_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(text) = line.strip_prefix("content-length: ") {
                len = text.parse().unwrap();
            }
            signed = signed.or(line.strip_prefix("x-strowger-signature: ").map(str::to_owned));
        }
        let mut body = vec![0; len];
        reader.read_exact(&mut body).unwrap();
        let done = script.lock().unwrap().pop().unwrap_or(Do::Take);
        let records = serde_json::from_slice(&body).unwrap();
        posts.lock().unwrap().push(Post { records, signed, body, done });
        let status = match done {
            Do::Take => 204,
            Do::Refuse(status) => status,
            Do::Close => return,
            // Until the client gives up.
            Do::Hang => {
                let _ = reader.read(&mut [0]);
                return;
            }
        };
        let reply = format!("HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n");
        if (&*stream).write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

fn with_webhooks(folder: &Folder, servers: &[&Server]) -> CdrSettings {
    let mut settings = settings(folder, 1);
    settings.sinks.extend(servers.iter().map(|server| server.sink()));
    settings.webhook = Manner {
        secret: Some(b"shared secret".to_vec()),
        deadline: Duration::from_millis(100),
        pause: Duration::from_millis(5),
        pause_max: Duration::from_millis(20),
        grace: Duration::from_millis(500),
    };
    settings
}

fn names(numbers: core::ops::Range<u128>) -> Vec<String> {
    numbers.map(|n| a_cdr(n, 0).id()).collect()
}

fn in_order(records: &[Record<'static>]) -> Vec<String> {
    records.iter().map(|record| record.id.to_string()).collect()
}

#[test]
fn a_server_that_fails_in_every_way_gets_each_record_in_order_at_last() {
    let folder = Folder::new("webhook");
    let server =
        Server::new(&[Do::Refuse(500), Do::Hang, Do::Close, Do::Refuse(302), Do::Refuse(404), Do::Take]);
    let (writer, _) = start(&with_webhooks(&folder, &[&server]));
    let handle = writer.handle();
    (0..250).for_each(|n| handle.ended(Box::new(a_cdr(n, 0))));
    assert!(handle.flush(LONG), "nobody waits for the server");
    until("all are delivered", || handle.webhooks()[0].waiting == 0);
    let stats = &handle.webhooks()[0];
    assert_eq!((stats.url.as_str(), stats.delivered, stats.failed), (server.url.as_str(), 250, 5));
    assert_eq!(in_order(&server.taken()), names(0..250));
    let posts = server.posts();
    assert!(posts.iter().all(|post| post.records.len() <= BATCH_MAX));
    for post in posts {
        assert_eq!(post.signed, Some(signature(b"shared secret", &post.body)));
    }
}

#[test]
fn what_one_run_could_not_deliver_the_next_one_does_and_nothing_else() {
    let folder = Folder::new("webhook-restart");
    let server = Server::new(&[]);
    let settings = with_webhooks(&folder, &[&server]);
    let (writer, _) = start(&settings);
    (0..10).for_each(|n| writer.handle().ended(Box::new(a_cdr(n, 0))));
    drop(writer);
    assert_eq!(in_order(&server.taken()), names(0..10), "the end waits a moment for a server that works");
    // A run during which the server refuses everything.
    *server.script.lock().unwrap() = vec![Do::Refuse(503); 10_000];
    let (writer, _) = start(&settings);
    (10..20).for_each(|n| writer.handle().ended(Box::new(a_cdr(n, 0))));
    until("it was tried", || writer.handle().webhooks()[0].failed > 0);
    drop(writer);
    server.script.lock().unwrap().clear();
    let (writer, _) = start(&settings);
    writer.handle().ended(Box::new(a_cdr(20, 0)));
    until("all are delivered", || server.taken().len() >= 21);
    drop(writer);
    assert_eq!(in_order(&server.taken()), names(0..21));
}

#[test]
fn a_record_that_comes_twice_has_the_same_id() {
    let folder = Folder::new("webhook-twice");
    // The server takes the records but its answer never comes.
    let server = Server::new(&[Do::Hang]);
    let (writer, _) = start(&with_webhooks(&folder, &[&server]));
    (0..5).for_each(|n| writer.handle().ended(Box::new(a_cdr(n, 0))));
    until("all are delivered", || server.taken().len() == 5);
    let posts = server.posts();
    assert_eq!(posts.len(), 2);
    assert_eq!(posts[0].records, posts[1].records);
}

#[test]
fn a_server_for_which_posts_are_too_large_gets_smaller_ones() {
    let folder = Folder::new("webhook-413");
    let server = Server::new(&[Do::Refuse(413), Do::Refuse(413)]);
    let (writer, _) = start(&with_webhooks(&folder, &[&server]));
    let handle = writer.handle();
    (0..60).for_each(|n| handle.ended(Box::new(a_cdr(n, 0))));
    until("all are delivered", || server.taken().len() == 60);
    let sizes: Vec<usize> = server.posts().iter().map(|post| post.records.len()).collect();
    assert!(
        sizes[1] <= sizes[0].div_ceil(2) && sizes[2..].iter().all(|size| *size <= sizes[1].div_ceil(2)),
        "{sizes:?}"
    );
    assert_eq!(in_order(&server.taken()), names(0..60));
}

#[test]
fn one_dead_server_holds_up_neither_the_other_nor_the_files() {
    let folder = Folder::new("webhook-two");
    let dead = Server::new(&[Do::Hang; 1000]);
    let well = Server::new(&[]);
    let (writer, _) = start(&with_webhooks(&folder, &[&dead, &well]));
    let handle = writer.handle();
    (0..300).for_each(|n| handle.ended(Box::new(a_cdr(n, 0))));
    assert!(handle.flush(LONG));
    until("the other has them", || well.taken().len() == 300);
    assert_eq!(ids(&in_file(&folder, 0)), ids(&well.taken()));
    assert_eq!(handle.webhooks()[0].waiting, 300);
    assert_eq!(handle.webhooks()[0].delivered, 0);
}

#[test]
fn a_webhook_that_is_new_is_told_of_new_records_only() {
    let folder = Folder::new("webhook-new");
    let (writer, _) = start(&settings(&folder, 1));
    (0..5).for_each(|n| writer.handle().ended(Box::new(a_cdr(n, 0))));
    drop(writer);
    let server = Server::new(&[]);
    let (writer, _) = start(&with_webhooks(&folder, &[&server]));
    (5..8).for_each(|n| writer.handle().ended(Box::new(a_cdr(n, 0))));
    until("they are delivered", || server.taken().len() >= 3);
    drop(writer);
    assert_eq!(in_order(&server.taken()), names(5..8));
}
