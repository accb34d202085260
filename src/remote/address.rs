//! Where a remote is: `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX`, `file:///FOLDER`, or a path.

use crate::clock::Clock;
use anyhow::{Context, Result, bail, ensure};
use base::text::did_you_mean;
use object_store::ClientOptions;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What may stand before `://`.
const SCHEMES: [&str; 4] = ["s3", "gs", "az", "file"];

/// The longest time in which a server has to take a connection, and in which a request is tried again.
const CONNECT: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq)]
pub struct Address {
    text: String,
    kind: Kind,
    prefix: Path,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    S3 { bucket: String },
    Google { bucket: String },
    Azure { container: String },
    Folder(PathBuf),
}

impl Address {
    /// An error is the author's: it says what an address looks like.
    pub fn parse(text: &str) -> Result<Address> {
        let kind = |kind, prefix: &str| -> Result<Address> {
            let prefix = Path::parse(prefix.trim_matches('/'));
            Ok(Address {
                text: text.trim_end_matches('/').to_string(),
                kind,
                prefix: prefix.with_context(|| format!("`{text}` has no usable prefix"))?,
            })
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            ensure!(!text.is_empty(), "a remote has an address: {}", forms());
            if let Some(near) = misspelt(text) {
                bail!(
                    "`{text}` is no address: {}; did you mean `{near}`? (a folder of that name is `./{text}`)",
                    forms()
                );
            }
            return kind(Kind::Folder(PathBuf::from(text)), "");
        };
        if scheme == "file" {
            ensure!(
                rest.starts_with('/'),
                "`{text}` names another machine: a folder is `file:///FOLDER` or a path"
            );
            return kind(Kind::Folder(PathBuf::from(rest)), "");
        }
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        ensure!(
            !name.contains('@'),
            "a remote's address holds no name and no password: they come from the environment"
        );
        ensure!(!name.is_empty(), "`{text}` names no bucket: {}", forms());
        let name = name.to_string();
        match scheme {
            "s3" => kind(Kind::S3 { bucket: name }, prefix),
            "gs" => kind(Kind::Google { bucket: name }, prefix),
            "az" => kind(Kind::Azure { container: name }, prefix),
            _ => {
                let near = did_you_mean(scheme, SCHEMES);
                let near = near.map(|known| format!("; did you mean `{known}://`?"));
                bail!(
                    "`{scheme}://` is no kind of remote: {}{}",
                    forms(),
                    near.unwrap_or_default()
                )
            }
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// One that knows no versions of what lies in it.
    pub(crate) fn is_folder(&self) -> bool {
        matches!(self.kind, Kind::Folder(_))
    }

    /// Below which everything lies.
    pub(crate) fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// The names of the variables that may say who one is begin with these.
    pub fn variables(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::S3 { .. } => &["AWS_"],
            Kind::Google { .. } => &["GOOGLE_"],
            Kind::Azure { .. } => &["AZURE_"],
            Kind::Folder(_) => &[],
        }
    }

    /// The folder, where it is one.
    pub(crate) fn folder(&self) -> Option<&FilePath> {
        match &self.kind {
            Kind::Folder(folder) => Some(folder),
            _ => None,
        }
    }

    /// A client, which has connected to nothing yet. `clock`: hears what time it is there.
    pub(crate) fn client(
        &self,
        variables: &BTreeMap<String, String>,
        clock: &Clock,
    ) -> Result<Arc<dyn ObjectStore>> {
        // Another client of this process may have been faster.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let shown = || format!("preparing to talk to {}", self.text);
        let options = variables
            .iter()
            .map(|(name, value)| (name.to_lowercase(), value));
        Ok(match &self.kind {
            Kind::S3 { bucket } => {
                let mut builder = AmazonS3Builder::new().with_bucket_name(bucket);
                for (name, value) in options {
                    if let Ok(key) = name.parse() {
                        builder = builder.with_config(key, value);
                    }
                }
                let options = client_options(is_plain(variables, &S3_SERVERS));
                let builder = builder.with_client_options(options);
                let builder = builder.with_http_connector(clock.clone());
                Arc::new(builder.with_retry(retries()).build().with_context(shown)?)
            }
            Kind::Google { bucket } => {
                let mut builder = GoogleCloudStorageBuilder::new().with_bucket_name(bucket);
                for (name, value) in options {
                    if let Ok(key) = name.parse() {
                        builder = builder.with_config(key, value);
                    }
                }
                let options = client_options(is_plain(variables, &GOOGLE_SERVERS));
                let builder = builder.with_client_options(options);
                let builder = builder.with_http_connector(clock.clone());
                Arc::new(builder.with_retry(retries()).build().with_context(shown)?)
            }
            Kind::Azure { container } => {
                let emulated = variables.contains_key("AZURE_STORAGE_USE_EMULATOR");
                ensure!(
                    emulated || variables.contains_key(AZURE_ACCOUNT),
                    "{AZURE_ACCOUNT} says whose container `{container}` is, and is not set"
                );
                let mut builder = MicrosoftAzureBuilder::new().with_container_name(container);
                for (name, value) in options {
                    if let Ok(key) = name.parse() {
                        builder = builder.with_config(key, value);
                    }
                }
                let options = client_options(is_plain(variables, &AZURE_SERVERS));
                let builder = builder.with_client_options(options);
                let builder = builder.with_http_connector(clock.clone());
                Arc::new(builder.with_retry(retries()).build().with_context(shown)?)
            }
            Kind::Folder(folder) => {
                ensure!(
                    folder.is_dir(),
                    "there is no folder {}; a remote's folder is made by hand, so that one that is not mounted is not taken for an empty one",
                    folder.display()
                );
                let folder = LocalFileSystem::new_with_prefix(folder).with_context(shown)?;
                Arc::new(folder.with_fsync(true))
            }
        })
    }
}

/// What may have been meant by a path that begins like an address: `s3:/lab`, `GS:lab`.
fn misspelt(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once(':')?;
    let scheme = did_you_mean(scheme, SCHEMES).filter(|_| !scheme.contains('/'))?;
    let rest = rest.trim_start_matches('/');
    Some(match scheme.as_str() {
        "file" => format!("file:///{rest}"),
        _ => format!("{scheme}://{rest}"),
    })
}

fn forms() -> String {
    "`s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX`, `file:///FOLDER` or a path"
        .into()
}

/// Variables that name another server than the usual one.
const S3_SERVERS: [&str; 3] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
const GOOGLE_SERVERS: [&str; 1] = ["GOOGLE_BASE_URL"];
const AZURE_ACCOUNT: &str = "AZURE_STORAGE_ACCOUNT_NAME";
const AZURE_SERVERS: [&str; 2] = ["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"];

/// Whether a server is named that speaks without encryption, as those of a machine's own do.
fn is_plain(variables: &BTreeMap<String, String>, servers: &[&str]) -> bool {
    let mut named = servers.iter().filter_map(|name| variables.get(*name));
    named.next().is_some_and(|url| url.starts_with("http://"))
}

/// How long anything may take is `patience`'s.
fn client_options(plain: bool) -> ClientOptions {
    let options = ClientOptions::new()
        .with_connect_timeout(CONNECT)
        .with_timeout_disabled()
        // Servers close what is idle for five seconds, and a request that meets that is lost.
        .with_pool_idle_timeout(Duration::from_secs(4))
        .with_allow_http(plain);
    // A machine without any certificates can still talk to its own servers.
    match plain {
        true => options.with_no_system_certificates(true),
        false => options,
    }
}

fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_millis(500),
            base: 2.0,
        },
        max_retries: 2,
        retry_timeout: CONNECT,
    }
}
