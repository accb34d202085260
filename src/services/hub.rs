//! Downloads from the Hugging Face hub, or a server that speaks its API, into the cache of its clients: a listing of a repository at a
//! revision, and files one by one, gone on with where they broke off and checked against the hub's own digests. Knows no recipe;
//! which files are wanted is said by whoever asks.
//!
//! Layout of the cache (huggingface_hub): `blobs/ETAG` holds the bytes, `snapshots/COMMIT/FILE` links to them, `refs/REVISION` names
//! the commit. A file's ETag is the SHA-256 of its bytes, or, of small ones, their git blob hash.

use crate::endpoint::Secret;
use anyhow::{Context, Result, bail, ensure};
use base::bounded;
use base::threads;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, ETAG, HeaderMap, LOCATION, RANGE};
use reqwest::{Response, StatusCode, Url};
use ring::digest;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a request may be sent on to, before it goes in circles.
const HOPS: usize = 6;
const CONNECT: Duration = Duration::from_secs(20);
/// The longest silence in the middle of a file.
const SILENCE: Duration = Duration::from_secs(60);
const MOST_LISTING: usize = 64 << 20;

pub struct Hub {
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    endpoint: Url,
    token: Option<Secret>,
}

/// A repository at a revision.
pub struct Repo<'a> {
    pub dataset: bool,
    /// `ORG/NAME`.
    pub name: &'a str,
    /// A branch, a tag or a commit.
    pub revision: &'a str,
}

pub struct Listing {
    /// What the revision stands for now.
    pub commit: String,
    pub files: Vec<String>,
}

impl Repo<'_> {
    fn kind(&self) -> &'static str {
        if self.dataset { "datasets" } else { "models" }
    }

    /// Before the name in the address of a page or a file.
    fn prefix(&self) -> &'static str {
        if self.dataset { "datasets/" } else { "" }
    }
}

impl Hub {
    /// `endpoint`: as `https://huggingface.co`.
    pub fn new(endpoint: &str, token: Option<Secret>) -> Result<Hub> {
        // Another client of this process may have been faster.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = Url::parse(endpoint).with_context(|| format!("`{endpoint}` is no URL"))?;
        let builder = reqwest::Client::builder()
            .user_agent(concat!("pipe/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE);
        let builder = match url.scheme() {
            "http" => builder.tls_certs_only([]),
            _ => builder,
        };
        // Names are looked up on a thread, and where none is given that is a panic.
        let _ = threads::start(|| {})?.join();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("failed to prepare for the network")?;
        Ok(Hub {
            client: builder
                .build()
                .with_context(|| format!("preparing to talk to {endpoint}"))?,
            runtime,
            endpoint: url,
            token,
        })
    }

    pub fn list(&self, repo: &Repo) -> Result<Listing> {
        let path = format!(
            "api/{}/{}/revision/{}",
            repo.kind(),
            repo.name,
            repo.revision
        );
        let body = self.runtime.block_on(async {
            let (mut response, _) = self.get(repo, &path, 0).await?;
            let mut text = vec![];
            while let Some(chunk) = response.chunk().await? {
                text.extend_from_slice(&chunk);
                ensure!(text.len() <= MOST_LISTING, "the listing has no end");
            }
            Ok(serde_json::from_slice::<Value>(&text)?)
        });
        let body = body.with_context(|| format!("listing {} on the hub", repo.name))?;
        let commit = body["sha"].as_str().unwrap_or_default();
        let hex = commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit());
        ensure!(hex, "the hub names no commit of {}", repo.name);
        let files = body["siblings"].as_array().into_iter().flatten();
        let files = files.filter_map(|f| f["rfilename"].as_str().map(String::from));
        Ok(Listing {
            commit: commit.into(),
            files: files.collect(),
        })
    }

    /// Into the repository's folder of a cache. `progress`: bytes so far and in all.
    pub fn download(
        &self,
        repo: &Repo,
        commit: &str,
        file: &str,
        folder: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<()> {
        ensure!(
            bounded::is_inner(file),
            "`{file}` leads out of its repository"
        );
        let link = folder.join("snapshots").join(commit).join(file);
        if link.exists() {
            return Ok(());
        }
        let work = self.fetch(repo, commit, file, folder, progress);
        let blob = self
            .runtime
            .block_on(work)
            .with_context(|| format!("downloading {file} of {}", repo.name))?;
        make_folder(&link)?;
        let up = "../".repeat(2 + file.matches('/').count());
        let target = format!("{up}blobs/{blob}");
        // One that led nowhere.
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&target, &link)
            .with_context(|| format!("failed to link {}", link.display()))
    }

    /// Writes down what the revision stood for, once all of it is there.
    pub fn settle(&self, repo: &Repo, commit: &str, folder: &Path) -> Result<()> {
        if repo.revision == commit {
            return Ok(());
        }
        let at = folder.join("refs").join(repo.revision);
        make_folder(&at)?;
        fs::write(&at, commit).with_context(|| format!("failed to write {}", at.display()))
    }

    /// The name of the blob, which is whole.
    async fn fetch(
        &self,
        repo: &Repo<'_>,
        commit: &str,
        file: &str,
        folder: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<String> {
        let path = format!("{}{}/resolve/{commit}/{file}", repo.prefix(), repo.name);
        let (first, etag) = self.get(repo, &path, 0).await?;
        ensure!(
            !etag.is_empty() && bounded::is_name(&etag),
            "the hub does not say which bytes these are"
        );
        let blob = folder.join("blobs").join(&etag);
        if blob.exists() {
            return Ok(etag);
        }
        make_folder(&blob)?;
        let partial = PathBuf::from(format!("{}.incomplete", blob.display()));
        let have = fs::metadata(&partial).map_or(0, |m| m.len());
        let (mut response, from) = match have {
            0 => (first, 0),
            _ => {
                drop(first);
                let (response, _) = self.get(repo, &path, have).await?;
                // Who does not know ranges begins anew.
                let ranged = response.status() == StatusCode::PARTIAL_CONTENT;
                (response, if ranged { have } else { 0 })
            }
        };
        let total = from + length(response.headers());
        let mut out = fs::OpenOptions::new()
            .create(true)
            .append(from > 0)
            .truncate(from == 0)
            .write(true)
            .open(&partial)
            .with_context(|| format!("failed to open {}", partial.display()))?;
        let mut done = from;
        while let Some(chunk) = response.chunk().await? {
            out.write_all(&chunk)
                .with_context(|| format!("failed to write {}", partial.display()))?;
            done += chunk.len() as u64;
            progress(done, total);
        }
        out.sync_all()?;
        if let Err(error) = right(&partial, &etag) {
            fs::remove_file(&partial)?;
            return Err(error);
        }
        fs::rename(&partial, &blob)?;
        Ok(etag)
    }

    /// The reply that has the bytes, from this one on, and the file's ETag, which the first reply on the way names.
    async fn get(&self, repo: &Repo<'_>, path: &str, from: u64) -> Result<(Response, String)> {
        let base = self.endpoint.as_str().trim_end_matches('/').to_string();
        let mut url = Url::parse(&format!("{base}/{path}"))?;
        let mut etag = String::new();
        for _ in 0..HOPS {
            let mut request = self.client.get(url.clone());
            if from > 0 {
                request = request.header(RANGE, format!("bytes={from}-"));
            }
            // The hub's own host only: it sends on to others that need no token.
            let own = url.host_str() == self.endpoint.host_str();
            if let Some(token) = self.token.as_ref().filter(|_| own) {
                request = request.header(AUTHORIZATION, format!("Bearer {}", token.reveal()));
            }
            let response = request.send().await.map_err(without_url)?;
            let named = |name: &str| {
                let value = response.headers().get(name)?.to_str().ok()?;
                let value = value.strip_prefix("W/").unwrap_or(value);
                Some(value.trim_matches('"').to_string())
            };
            if etag.is_empty() {
                let linked = named("x-linked-etag").or_else(|| named(ETAG.as_str()));
                etag = linked.unwrap_or_default();
            }
            let status = response.status();
            if !status.is_redirection() {
                refused(repo, status, &self.endpoint)?;
                return Ok((response, etag));
            }
            let next = named(LOCATION.as_str()).context("it is sent on to nowhere")?;
            url = url.join(&next)?;
        }
        bail!("it is sent on and on")
    }
}

fn refused(repo: &Repo, status: StatusCode, endpoint: &Url) -> Result<()> {
    let page = format!(
        "{}/{}{}",
        endpoint.as_str().trim_end_matches('/'),
        repo.prefix(),
        repo.name
    );
    match status.as_u16() {
        200 | 206 => Ok(()),
        401 | 403 => bail!(
            "the hub refuses it ({status}): it may be gated. Accept its terms at {page}, and let HF_TOKEN hold a token of that account"
        ),
        404 => bail!(
            "there is no such repository, revision or file ({page} at {})",
            repo.revision
        ),
        _ => bail!("the hub answers {status}"),
    }
}

/// It may hold a signature.
fn without_url(error: reqwest::Error) -> reqwest::Error {
    error.without_url()
}

fn length(headers: &HeaderMap) -> u64 {
    let text = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    text.and_then(|t| t.parse().ok()).unwrap_or(0)
}

fn make_folder(file: &Path) -> Result<()> {
    let folder = file.parent().context("a file of the cache has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))
}

/// Whether a file is what its ETag says; one of another form says nothing.
fn right(path: &Path, etag: &str) -> Result<()> {
    let mut file = File::open(path)?;
    let mut context = match etag.len() {
        64 => digest::Context::new(&digest::SHA256),
        40 => {
            let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
            context.update(format!("blob {}\0", file.metadata()?.len()).as_bytes());
            context
        }
        _ => return Ok(()),
    };
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        context.update(&buffer[..n]);
    }
    let found = context.finish();
    let found: String = found.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    ensure!(
        found == etag.to_lowercase(),
        "what arrived is not what the hub has; it was thrown away"
    );
    Ok(())
}
