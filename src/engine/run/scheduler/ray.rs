//! Ray, by its Jobs API over HTTP. A job has the id that we give it, so that to submit it twice does nothing. Ray knows its jobs as long
//! as its head lives, and no longer.

use super::http::{Answer, Server};
use super::place::{there, write_script};
use super::{Cause, JobId, Look, Order, Refusal, Scheduler, quoted, script};
use crate::run::profile::Profile;
use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A head that starts a job answers in seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Of a custom resource a job takes this much: it says where the job goes, and not how many go there.
const TOUCH: f64 = 0.001;

pub struct Ray {
    profile: Profile,
    server: Server,
    /// As it lies on the nodes.
    store: PathBuf,
}

impl Ray {
    pub fn new(profile: &Profile, store: &Path) -> Result<Ray> {
        let address = profile.address.as_deref();
        let address =
            address.with_context(|| format!("profile `{}` has no `address`", profile.name))?;
        Ok(Ray {
            profile: profile.clone(),
            server: Server::new(address, PATIENCE)?,
            store: store.to_path_buf(),
        })
    }

    fn body(&self, order: &Order) -> Value {
        let folder = there(&order.folder, &self.store);
        let folder = quoted(&folder.to_string_lossy());
        let needs = &order.needs;
        let mut body = json!({
            "submission_id": order.name,
            // What it prints goes to a file: Ray shows the end of an output to everybody who asks for its jobs.
            "entrypoint": format!("cd {folder} && exec sh ./job.sh >> job.out 2>&1"),
            "entrypoint_num_cpus": order.cpus.max(1),
            "entrypoint_num_gpus": needs.gpus,
            "metadata": { "attempts": order.attempts.join(",") },
        });
        if let Some(memory) = needs.memory {
            body["entrypoint_memory"] = memory.into();
        }
        let mut resources = Map::new();
        if let Some(partition) = &order.partition {
            resources.insert(partition.name.clone(), TOUCH.into());
            let kind = partition.gpu.iter().filter(|_| needs.gpus > 0);
            resources.extend(kind.map(|gpu| (format!("accelerator_type:{gpu}"), TOUCH.into())));
        }
        if !resources.is_empty() {
            body["entrypoint_resources"] = Value::Object(resources);
        }
        body
    }

    fn answered(answer: Answer) -> Result<Value> {
        ensure!(answer.status == 200, "{}", answer.told());
        answer.json()
    }
}

impl Scheduler for Ray {
    fn submit(&self, order: &Order) -> Result<JobId, Refusal> {
        let text = script(&self.profile, order, &self.store);
        write_script(&order.folder.join("job.sh"), &text).map_err(Refusal::Refused)?;
        let id = JobId(order.name.clone());
        let answer = self.server.post("api/jobs/", &self.body(order));
        let answer = answer.map_err(Refusal::Doubtful)?;
        let there = String::from_utf8_lossy(&answer.body).contains("already exists");
        match answer.status {
            200 => Ok(id),
            // An earlier question arrived, whose answer did not.
            _ if there => Ok(id),
            408 | 429 | 500.. => Err(Refusal::Doubtful(anyhow!("Ray: {}", answer.told()))),
            _ => Err(Refusal::Refused(anyhow!("Ray: {}", answer.told()))),
        }
    }

    fn look(&self, jobs: &[JobId]) -> Result<BTreeMap<JobId, Look>> {
        let listing = Ray::answered(self.server.get("api/jobs/")?)?;
        let listing = listing.as_array().context("Ray's list of jobs is none")?;
        let mut seen = BTreeMap::new();
        for job in listing {
            let id = job["submission_id"]
                .as_str()
                .map(|id| JobId(id.to_string()));
            if let Some(id) = id.filter(|id| jobs.contains(id)) {
                seen.insert(id, read(job));
            }
        }
        Ok(seen)
    }

    fn find(&self, name: &str) -> Result<Option<JobId>> {
        let answer = self.server.get(&format!("api/jobs/{name}"))?;
        if answer.status == 404 {
            return Ok(None);
        }
        Ray::answered(answer)?;
        Ok(Some(JobId(name.to_string())))
    }

    fn cancel(&self, jobs: &[JobId]) -> Result<()> {
        for job in jobs {
            let answer = self
                .server
                .post(&format!("api/jobs/{job}/stop"), &json!({}))?;
            // One that Ray does not know, or that is over.
            let gone = answer.status == 404 || answer.status == 400;
            ensure!(answer.status == 200 || gone, "Ray: {}", answer.told());
        }
        Ok(())
    }

    fn check(&self) -> Result<Vec<String>> {
        let version = Ray::answered(self.server.get("api/version")?)?;
        let version = version["ray_version"]
            .as_str()
            .unwrap_or("unknown")
            .to_string();
        let jobs = Ray::answered(self.server.get("api/jobs/")?)?;
        let jobs = jobs.as_array().map_or(0, Vec::len);
        Ok(vec![
            format!("Ray {version}"),
            format!("{jobs} jobs known to its head"),
        ])
    }
}

/// Of an address, as `http://10.0.0.7:52365`.
fn host_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.rsplit_once(':').map_or(rest, |(host, _)| host)
}

/// What Ray says of a job.
fn read(job: &Value) -> Look {
    let text = |name: &str| job[name].as_str().unwrap_or_default();
    let (status, message) = (text("status"), text("message"));
    let ended = |cause| Look::Ended {
        cause,
        word: format!("{status}: {}", message.lines().next().unwrap_or_default()),
    };
    match status {
        "SUCCEEDED" => ended(Cause::Whole),
        "STOPPED" => ended(Cause::Cancelled),
        "FAILED" if message.contains("OutOfMemory") => ended(Cause::OutOfMemory),
        "FAILED" => match job["driver_exit_code"].as_i64() {
            Some(code) => ended(Cause::Failed(code as i32)),
            // Its program did not end by itself: the head gave it up, or its machine is gone.
            None => ended(Cause::Evicted),
        },
        "RUNNING" => {
            let driver = &job["driver_info"];
            let host = driver["node_ip_address"].as_str();
            let host = host.or(job["driver_agent_http_address"].as_str().map(host_of));
            Look::Running {
                host: host.unwrap_or_default().to_string(),
            }
        }
        _ => Look::Waiting("for what it needs of the cluster".into()),
    }
}
