//! Where leases lie: `leases/ab/KEY`, replaced by `If-Match`. A folder knows no versions: there each text is a file of its own,
//! `leases/ab/KEY/N`, created once, and the one with the highest number counts.

use crate::patience::{Answer, Waiting};
use crate::place::{Entry, Place, Put};
use anyhow::{Result, anyhow};
use base::hash::Key;
use engine::store::remote::{Leased, Version};
use object_store::{Error, UpdateVersion};

pub(crate) const FOLDER: &str = "leases";
/// The largest lease.
const MOST: u64 = 64 << 10;
/// What was taken away between a listing and a look is listed again so often.
const LOOKS: usize = 4;

/// What came of writing one.
pub(crate) enum Written {
    Is(Version),
    /// Another one is there.
    Not,
    /// The remote takes none from us: why.
    Refused(anyhow::Error),
}

pub(crate) fn path(key: &Key) -> String {
    format!("{FOLDER}/{}/{key}", key.shard())
}

pub(crate) async fn read(place: &Place, key: &Key, waiting: Waiting) -> Result<Option<Leased>> {
    let got = place.get_any(waiting, &path(key), MOST).await?;
    Ok(got.map(|got| Leased {
        text: String::from_utf8_lossy(&got.bytes).into_owned(),
        version: Version {
            tag: got.version.e_tag,
            number: got.version.version,
        },
    }))
}

pub(crate) async fn write(
    place: &Place,
    key: &Key,
    text: &str,
    over: Option<&Version>,
    waiting: Waiting,
) -> Result<Written> {
    let how = match over {
        None => Put::New,
        Some(version) => Put::Instead(UpdateVersion {
            e_tag: version.tag.clone(),
            version: version.number.clone(),
        }),
    };
    let put = place.put_in(waiting, &path(key), text.into(), how).await?;
    Ok(match put {
        Answer::Given(version) => Written::Is(Version {
            tag: version.e_tag,
            number: version.version,
        }),
        Answer::Refused(error) => refused(error),
    })
}

fn refused(error: Error) -> Written {
    match error {
        Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotFound { .. } => {
            Written::Not
        }
        error => Written::Refused(error.into()),
    }
}

/// The numbers of a key's leases in a folder, the highest last.
async fn numbers(place: &Place, key: &Key, waiting: Waiting) -> Result<Vec<u64>> {
    let listed = place.list(&path(key), waiting).await?;
    let number = |entry: &Entry| entry.path.rsplit('/').next()?.parse().ok();
    let mut numbers: Vec<u64> = listed.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

pub(crate) async fn read_file(
    place: &Place,
    key: &Key,
    waiting: Waiting,
) -> Result<Option<Leased>> {
    for _ in 0..LOOKS {
        let Some(number) = numbers(place, key, waiting).await?.pop() else {
            return Ok(None);
        };
        let at = format!("{}/{number}", path(key));
        if let Some(got) = place.get_any(waiting, &at, MOST).await? {
            return Ok(Some(Leased {
                text: String::from_utf8_lossy(&got.bytes).into_owned(),
                version: file_version(number),
            }));
        }
    }
    Err(anyhow!("it is replaced all the time"))
}

pub(crate) async fn write_file(
    place: &Place,
    key: &Key,
    text: &str,
    over: Option<&Version>,
    waiting: Waiting,
) -> Result<Written> {
    let last = over.and_then(|version| version.number.as_ref()?.parse::<u64>().ok());
    let number = last.map_or(1, |last| last.saturating_add(1));
    let at = format!("{}/{number}", path(key));
    let put = place.put_in(waiting, &at, text.into(), Put::New).await?;
    if let Answer::Refused(error) = put {
        return Ok(refused(error));
    }
    // One that was taken away since it was read could be created again.
    let there = numbers(place, key, waiting).await?;
    if there.last() != Some(&number) {
        return Ok(Written::Not);
    }
    // The one before stays, for whoever reads a listing that is out of date.
    for old in there.iter().filter(|old| **old + 1 < number) {
        let _ = place
            .remove_in(waiting, &format!("{}/{old}", path(key)))
            .await; // Litter.
    }
    Ok(Written::Is(file_version(number)))
}

fn file_version(number: u64) -> Version {
    Version {
        tag: None,
        number: Some(number.to_string()),
    }
}
