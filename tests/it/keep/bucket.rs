//! A server that speaks as much of S3, of Google's or of Azure's storage as a remote needs, in memory, and can be told what to do wrong.

use pipe::engine::system::clock;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq)]
pub enum Fault {
    /// The name is taken by an empty object, and the connection closed.
    StoredEmpty,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// Somebody else is said to be writing.
    Conflict,
    Refused,
    /// Who is asking is not known.
    Unknown,
    /// There is no such bucket.
    Absent,
    /// So many bytes of the answer's body.
    Cut(usize),
    /// The first byte of the answer's body is another.
    Flipped,
    /// Nothing comes.
    Silence,
}

/// Whose words it understands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Speaks {
    #[default]
    S3,
    Google,
    Azure,
}

/// Method, path and headers.
pub type Heard = (String, String, BTreeMap<String, String>);

type Act = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    speaks: Speaks,
    objects: BTreeMap<String, Vec<u8>>,
    /// Method, part of the path, how often; the first that fits.
    faults: Vec<(&'static str, String, Fault, usize)>,
    /// Method and path.
    asked: Vec<(String, String)>,
    heard: Vec<Heard>,
    /// Method, part of the path, and what happens when such a request was carried out and nobody has heard of that yet; each once.
    meanwhile: Vec<(&'static str, String, Act)>,
}

pub struct Server {
    state: Arc<Mutex<State>>,
    pub url: String,
}

impl Server {
    /// `latency`: before every answer.
    pub fn start(latency: Duration) -> Server {
        Server::speaking(Speaks::S3, latency)
    }

    pub fn speaking(speaks: Speaks, latency: Duration) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            speaks,
            ..State::default()
        }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                std::thread::spawn(move || serve(stream, &state, latency));
            }
        });
        Server { state, url }
    }

    pub fn variables(&self) -> BTreeMap<String, String> {
        let all = match self.state.lock().unwrap().speaks {
            Speaks::S3 => [
                ("AWS_ENDPOINT_URL", self.url.as_str()),
                ("AWS_ACCESS_KEY_ID", "who"),
                ("AWS_SECRET_ACCESS_KEY", "not-to-be-seen-by-workers"),
            ],
            Speaks::Google => [
                ("GOOGLE_BASE_URL", self.url.as_str()),
                ("GOOGLE_BEARER_TOKEN", "not-to-be-seen"),
                ("GOOGLE_UNKNOWN", "none of ours"),
            ],
            Speaks::Azure => [
                ("AZURE_STORAGE_ENDPOINT", self.url.as_str()),
                ("AZURE_STORAGE_ACCOUNT_NAME", "lab"),
                ("AZURE_STORAGE_ACCOUNT_KEY", "bm90LXRvLWJlLXNlZW4="),
            ],
        };
        all.map(|(name, value)| (name.into(), value.into())).into()
    }

    pub fn breaks(&self, method: &'static str, path: &str, fault: Fault, times: usize) {
        let mut state = self.state.lock().unwrap();
        state.faults.push((method, path.into(), fault, times));
    }

    /// What happens between the next such request and its answer.
    pub fn meanwhile(&self, method: &'static str, path: &str, act: impl FnOnce() + Send + 'static) {
        let mut state = self.state.lock().unwrap();
        state.meanwhile.push((method, path.into(), Box::new(act)));
    }

    pub fn asked(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    pub fn heard(&self) -> Vec<Heard> {
        std::mem::take(&mut self.state.lock().unwrap().heard)
    }

    pub fn add(&self, name: &str, bytes: Vec<u8>) {
        self.state
            .lock()
            .unwrap()
            .objects
            .insert(name.into(), bytes);
    }

    pub fn read(&self, name: &str) -> Option<String> {
        let state = self.state.lock().unwrap();
        let bytes = state.objects.get(name)?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    pub fn names(&self, path: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let names = state.objects.keys().filter(|name| name.contains(path));
        names.cloned().collect()
    }

    pub fn forget(&self, path: &str) {
        let mut state = self.state.lock().unwrap();
        state.objects.retain(|name, _| !name.contains(path));
    }
}

struct Request {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    /// Of what is listed.
    fn prefix(&self) -> &str {
        self.query.get("prefix").map_or("", |prefix| prefix)
    }
}

fn read(from: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    from.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_string(), words.next()?.to_string());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_string());
    }
    let length = headers.get("content-length").and_then(|l| l.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    from.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query = query.split('&').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name.to_string(), decoded(value))
    });
    Some(Request {
        method,
        path: decoded(path),
        query: query.collect(),
        headers,
        body,
    })
}

fn decoded(text: &str) -> String {
    let mut out = vec![];
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
                let hex = std::str::from_utf8(&hex).unwrap();
                out.push(u8::from_str_radix(hex, 16).unwrap());
            }
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).unwrap()
}

fn serve(stream: TcpStream, state: &Mutex<State>, latency: Duration) {
    let mut out = stream.try_clone().unwrap();
    let mut from = BufReader::new(stream);
    while let Some(request) = read(&mut from) {
        std::thread::sleep(latency);
        let mut state = state.lock().unwrap();
        let asked = (request.method.clone(), request.path.clone());
        let fits = |(method, path, _, times): &&mut (&str, String, Fault, usize)| {
            *times > 0 && *method == asked.0 && asked.1.contains(path.as_str())
        };
        let fault = state.faults.iter_mut().find(fits).map(|fault| {
            fault.3 -= 1;
            fault.2
        });
        let heard = (asked.0.clone(), asked.1.clone(), request.headers.clone());
        state.heard.push(heard);
        state.asked.push(asked);
        if fault == Some(Fault::StoredEmpty) {
            state.objects.insert(request.path, vec![]);
            return;
        }
        let (status, headers, mut body) = match fault {
            Some(Fault::Conflict) => (409, String::new(), b"<Error/>".to_vec()),
            Some(Fault::Refused) => (403, String::new(), b"<Error/>".to_vec()),
            Some(Fault::Unknown) => (401, String::new(), b"<Error/>".to_vec()),
            Some(Fault::Absent) => (404, String::new(), b"<Error/>".to_vec()),
            _ => answer(&mut state, &request),
        };
        let target = format!("{}?{}", request.path, request.prefix());
        let due = |(method, path, _): &(&str, String, _)| {
            *method == request.method && target.contains(path.as_str())
        };
        let due = state.meanwhile.iter().position(due);
        let act = due.map(|at| state.meanwhile.remove(at).2);
        drop(state);
        act.into_iter().for_each(|act| act());
        let length = body.len();
        match fault {
            Some(Fault::Silence) => std::thread::sleep(Duration::from_secs(60)),
            Some(Fault::AnswerLost) => return,
            Some(Fault::Cut(n)) => body.truncate(n),
            Some(Fault::Flipped) => body[0] ^= 1,
            _ => {}
        }
        let body = if request.method == "HEAD" {
            vec![]
        } else {
            body
        };
        let head = format!("HTTP/1.1 {status} -\r\n{headers}Content-Length: {length}\r\n\r\n");
        let written = out
            .write_all(head.as_bytes())
            .and_then(|()| out.write_all(&body));
        if written.is_err() || matches!(fault, Some(Fault::Cut(_))) {
            return;
        }
    }
}

pub fn tag(bytes: &[u8]) -> String {
    format!("\"{}\"", &blake3::hash(bytes).to_hex()[..32])
}

/// Google's number of a version.
pub fn generation(bytes: &[u8]) -> String {
    let hash = blake3::hash(bytes);
    let bytes = hash.as_bytes()[..4].try_into().unwrap();
    u32::from_le_bytes(bytes).to_string()
}

/// Status, headers and body.
fn answer(state: &mut State, request: &Request) -> (u16, String, Vec<u8>) {
    let none = || (404, String::new(), b"<Error/>".to_vec());
    let there = state.objects.get(&request.path);
    match request.method.as_str() {
        "GET" if request.query.get("comp").is_some_and(|comp| comp == "list") => {
            let prefix = format!(
                "{}/{}",
                request.path.trim_end_matches('/'),
                request.query["prefix"]
            );
            let entry = |(name, bytes): (&String, &Vec<u8>)| {
                let key = name.trim_start_matches('/').split_once('/').unwrap().1;
                format!(
                    "<Blob><Name>{key}</Name><Properties><Last-Modified>Thu, 01 Jan 2026 00:00:00 GMT</Last-Modified>\
                     <Content-Length>{}</Content-Length><Content-Type>x</Content-Type><Etag>{}</Etag></Properties></Blob>",
                    bytes.len(),
                    tag(bytes)
                )
            };
            let objects = state.objects.iter();
            let found = objects.filter(|(name, _)| name.starts_with(&prefix));
            let found: String = found.map(entry).collect();
            let xml = format!("<EnumerationResults><Blobs>{found}</Blobs></EnumerationResults>");
            (200, String::new(), xml.into())
        }
        "GET" if request.query.contains_key("list-type") => {
            let prefix = &request.query["prefix"];
            let prefix = format!("{}/{prefix}", request.path.trim_end_matches('/'));
            let entry = |(name, bytes): (&String, &Vec<u8>)| {
                let key = name.trim_start_matches('/').split_once('/').unwrap().1;
                format!(
                    "<Contents><Key>{key}</Key><Size>{}</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                     <ETag>{}</ETag></Contents>",
                    bytes.len(),
                    tag(bytes)
                )
            };
            let found = state
                .objects
                .iter()
                .filter(|(name, _)| name.starts_with(&prefix));
            let found: String = found.map(entry).collect();
            let xml = format!(
                "<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>"
            );
            (200, String::new(), xml.into())
        }
        "GET" | "HEAD" => {
            let Some(bytes) = there else {
                return none();
            };
            let at = UNIX_EPOCH + Duration::from_millis(clock::now_ms());
            let headers = format!(
                "ETag: {}\r\nLast-Modified: {}\r\nx-goog-generation: {}\r\n",
                tag(bytes),
                httpdate::fmt_http_date(at),
                generation(bytes)
            );
            let range = request
                .headers
                .get("range")
                .and_then(|r| r.strip_prefix("bytes="));
            let Some((from, to)) = range.and_then(|r| r.split_once('-')) else {
                return (200, headers, bytes.clone());
            };
            let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
            if from >= bytes.len() {
                return (416, String::new(), vec![]);
            }
            let to = to.min(bytes.len() - 1);
            let range = format!("Content-Range: bytes {from}-{to}/{}\r\n", bytes.len());
            (206, headers + &range, bytes[from..=to].to_vec())
        }
        "PUT" => {
            let google = request.headers.get("x-goog-if-generation-match");
            let only_new = google.is_some_and(|generation| generation == "0");
            let create = only_new || request.headers.contains_key("if-none-match");
            let wanted = google.filter(|_| !only_new);
            let wanted = wanted.or(request.headers.get("if-match"));
            let fits = |bytes: &Vec<u8>| {
                wanted.is_none_or(|w| [tag(bytes), generation(bytes)].contains(w))
            };
            let fits = there.map_or(wanted.is_none(), fits);
            if (create && there.is_some()) || !fits {
                // A blob of Azure's that is there is a conflict.
                let status = match create && state.speaks == Speaks::Azure {
                    true => 409,
                    false => 412,
                };
                return (status, String::new(), b"<Error/>".to_vec());
            }
            let headers = format!(
                "ETag: {}\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n",
                tag(&request.body)
            );
            state
                .objects
                .insert(request.path.clone(), request.body.clone());
            // Azure's word for a blob that it has made.
            let status = if state.speaks == Speaks::Azure {
                201
            } else {
                200
            };
            (status, headers, vec![])
        }
        "POST" if request.query.contains_key("delete") => {
            let text = String::from_utf8_lossy(&request.body).into_owned();
            let keys = text.split("<Key>").skip(1);
            let mut answer = String::from("<DeleteResult>");
            for (key, _) in keys.filter_map(|rest| rest.split_once("</Key>")) {
                let name = format!("{}/{key}", request.path.trim_end_matches('/'));
                state.objects.remove(&name);
                answer += &format!("<Deleted><Key>{key}</Key></Deleted>");
            }
            answer += "</DeleteResult>";
            (200, String::new(), answer.into_bytes())
        }
        other => panic!("no such request: {other} {}", request.path),
    }
}
