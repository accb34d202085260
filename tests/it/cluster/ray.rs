//! Ray's Jobs API, spoken to a server that answers as a test says.

use super::{order, profile};
use pipe::engine::run::scheduler::ray::Ray;
use pipe::engine::run::scheduler::{Cause, JobId, Look, Refusal, Scheduler};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What a server was asked, and what it answers: raw HTTP, by the line that begins a request.
#[derive(Clone, Default)]
struct Head {
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Head {
    fn start(answer: impl Fn(&str) -> String + Send + 'static) -> (Head, String) {
        let head = Head::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = head.asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = Head::serve(stream.unwrap(), &asked, &answer); // Whoever asked may be gone.
            }
        });
        (head, address)
    }

    fn serve(
        stream: TcpStream,
        asked: &Mutex<Vec<(String, String)>>,
        answer: &dyn Fn(&str) -> String,
    ) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let (mut first, mut length) = (String::new(), 0);
        reader.read_line(&mut first)?;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let line = first.trim().trim_end_matches(" HTTP/1.1").to_string();
        let answer = answer(&line);
        let body = String::from_utf8(body).unwrap();
        asked.lock().unwrap().push((line, body));
        (&stream).write_all(answer.as_bytes())
    }

    fn asked(&self) -> Vec<(String, String)> {
        self.asked.lock().unwrap().clone()
    }
}

fn says(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn ray(folder: &Path, address: &str) -> Ray {
    let text = format!("executor = \"ray\"\naddress = {address:?}\n");
    Ray::new(&profile(folder, &text), &folder.join("store")).unwrap()
}

fn id(job: &str) -> JobId {
    JobId(job.into())
}

#[test]
fn a_job_is_submitted_under_its_name_with_what_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    let (head, address) = Head::start(|_| says(200, "{\"submission_id\": \"k-1\"}"));
    let order = order(dir.path(), "k-1");
    assert_eq!(ray(dir.path(), &address).submit(&order).unwrap(), id("k-1"));
    let (line, body) = head.asked()[0].clone();
    assert_eq!(line, "POST /api/jobs/");
    let body: Value = serde_json::from_str(&body).unwrap();
    let folder = order.folder.display();
    let expected = json!({
        "submission_id": "k-1",
        "entrypoint": format!("cd {folder} && exec sh ./job.sh >> job.out 2>&1"),
        "entrypoint_num_cpus": 2,
        "entrypoint_num_gpus": 1,
        "metadata": { "attempts": "k-1" },
        "entrypoint_memory": 3u64 << 30,
        "entrypoint_resources": { "big": 0.001 },
    });
    assert_eq!(body, expected);
}

#[test]
fn a_submission_whose_answer_was_lost_is_made_again_and_is_the_same_job() {
    let dir = tempfile::tempdir().unwrap();
    let used = "Traceback\nValueError: Job with submission_id k-1 already exists. Please use another.\n.\n";
    let (_, address) = Head::start(move |_| says(500, used));
    let order = order(dir.path(), "k-1");
    assert_eq!(ray(dir.path(), &address).submit(&order).unwrap(), id("k-1"));
}

#[test]
fn what_surely_is_no_job_is_told_from_what_may_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let order = order(dir.path(), "k-1");
    let (_, address) = Head::start(|_| says(400, "Traceback\nValueError: num_gpus is odd\n"));
    let refused = ray(dir.path(), &address).submit(&order);
    let Err(Refusal::Refused(why)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(
        why.to_string(),
        "Ray: status 400: ValueError: num_gpus is odd"
    );
    let (_, address) = Head::start(|_| says(500, "no luck\n"));
    assert!(matches!(
        ray(dir.path(), &address).submit(&order),
        Err(Refusal::Doubtful(_))
    ));
    // The connection ends before the answer does.
    let (_, address) = Head::start(|_| "HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{".into());
    let doubtful = ray(dir.path(), &address).submit(&order);
    let Err(Refusal::Doubtful(why)) = doubtful else {
        panic!("{doubtful:?}");
    };
    assert!(
        format!("{why:#}").ends_with("the answer was cut off"),
        "{why:#}"
    );
    // Nobody listens.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let gone = ray(dir.path(), &format!("http://{free}"));
    assert!(matches!(gone.submit(&order), Err(Refusal::Doubtful(_))));
    assert!(gone.look(&[id("k-1")]).is_err());
}

#[test]
fn its_words_are_read_as_what_they_mean() {
    let dir = tempfile::tempdir().unwrap();
    let job = |name: &str, status: &str, code: Value, message: &str| {
        json!({
            "submission_id": name, "status": status, "message": message, "driver_exit_code": code,
            "driver_info": { "node_ip_address": "10.0.0.7" },
        })
    };
    let listing = json!([
        job("a", "PENDING", Value::Null, ""),
        job("b", "RUNNING", Value::Null, ""),
        job("c", "SUCCEEDED", 0.into(), "done"),
        job("d", "FAILED", 3.into(), "failed with exit code 3"),
        job("e", "FAILED", Value::Null, "the node died"),
        job("f", "FAILED", Value::Null, "ray.exceptions.OutOfMemoryError: killed"),
        job("g", "STOPPED", Value::Null, ""),
        { "submission_id": null, "status": "RUNNING" },
        // Of a job whose program is no driver, only the address of its node's agent is told.
        { "submission_id": "i", "status": "RUNNING", "driver_agent_http_address": "http://10.0.0.8:52365" },
        job("z", "RUNNING", Value::Null, "somebody else's"),
    ]);
    // In two chunks.
    let text = listing.to_string();
    let (one, two) = text.split_at(100);
    let chunks = format!(
        "{:x}\r\n{one}\r\n{:x};x=y\r\n{two}\r\n0\r\n\r\n",
        one.len(),
        two.len()
    );
    let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
    let (_, address) = Head::start(move |_| answer.clone());
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    let seen = ray(dir.path(), &address).look(&names.map(id)).unwrap();
    let cause = |name: &str| match &seen[&id(name)] {
        Look::Ended { cause, .. } => *cause,
        other => panic!("{name}: {other:?}"),
    };
    assert!(matches!(seen[&id("a")], Look::Waiting(_)));
    let host = "10.0.0.8".to_string();
    assert_eq!(seen[&id("i")], Look::Running { host });
    assert_eq!(
        seen[&id("b")],
        Look::Running {
            host: "10.0.0.7".into()
        }
    );
    assert_eq!(cause("c"), Cause::Whole);
    assert_eq!(cause("d"), Cause::Failed(3));
    assert_eq!(cause("e"), Cause::Evicted);
    assert_eq!(cause("f"), Cause::OutOfMemory);
    assert_eq!(cause("g"), Cause::Cancelled);
    assert_eq!(seen.len(), 8, "what is not ours, and what is not there");
}

#[test]
fn a_job_is_found_by_its_name_and_one_that_is_gone_can_be_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let (head, address) = Head::start(|line| match line {
        "GET /api/jobs/k-1" => says(200, "{\"status\": \"PENDING\"}"),
        "POST /api/jobs/k-1/stop" => says(200, "{\"stopped\": true}"),
        _ => says(404, "Job k-2 does not exist"),
    });
    let ray = ray(dir.path(), &address);
    assert_eq!(ray.find("k-1").unwrap(), Some(id("k-1")));
    assert_eq!(ray.find("k-2").unwrap(), None);
    ray.cancel(&[id("k-2"), id("k-1")]).unwrap();
    assert_eq!(head.asked().last().unwrap().0, "POST /api/jobs/k-1/stop");
}

#[test]
fn an_address_with_tls_names_the_way_around_it() {
    let dir = tempfile::tempdir().unwrap();
    let text = "executor = \"ray\"\naddress = \"https://head:8265\"\n";
    let refused = Ray::new(&profile(dir.path(), text), dir.path());
    let told = refused.err().expect("TLS is not spoken").to_string();
    assert!(
        told.contains("`ssh -L` or `kubectl port-forward`"),
        "{told}"
    );
}
