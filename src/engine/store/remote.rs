//! What a second tier behind the store has to do, and who says whose records are believed.

use crate::system::files::Blob;
use anyhow::Result;
use base::hash::{Digest, Key};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// A record as it lies at a remote: its text, byte for byte as in the store that made it, and who answers for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signed {
    pub text: String,
    pub signatures: Vec<Signature>,
}

/// A file beside a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Signature {
    /// Its name: lower-case letters, digits and `-`.
    pub signer: String,
    /// One line.
    pub text: String,
}

/// What became of a record that was given to a remote.
#[derive(Clone, Debug, PartialEq)]
pub enum Published {
    New,
    /// It was there, byte for byte.
    Same,
    /// The key has another record there, of this text.
    Other(String),
}

/// What came of comparing the index of a remote with what lies there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reconciled {
    /// Records that were put into the index.
    pub indexed: usize,
    /// Parts of the index that were damaged, and in whose place there is a whole one, or none.
    pub parts: usize,
    /// By key: why what lies under its name is no record of it.
    pub wrong: BTreeMap<Key, String>,
    /// Those that the index has, and that do not lie there.
    pub gone: BTreeSet<Key>,
    /// By key: why what lies under its name could not be read.
    pub unread: BTreeMap<Key, String>,
}

/// Blobs that a remote does not have, or not whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lacking {
    pub absent: BTreeSet<Digest>,
    /// Of another size, or doubted.
    pub wrong: BTreeSet<Digest>,
    /// Those of which it did not say whether they are there: why.
    pub untold: BTreeMap<Digest, String>,
}

impl Lacking {
    /// Whether it is there, as far as was told.
    pub fn is_whole(&self, digest: &Digest) -> bool {
        let lacking = [&self.absent, &self.wrong];
        !lacking.iter().any(|some| some.contains(digest)) && !self.untold.contains_key(digest)
    }

    /// What was not told, in a line for each reason.
    pub fn untold(&self) -> Vec<String> {
        let mut reasons: BTreeMap<&str, Vec<&Digest>> = BTreeMap::new();
        for (digest, why) in &self.untold {
            reasons.entry(why).or_default().push(digest);
        }
        let told = reasons.into_iter().map(|(why, of)| match of[..] {
            [one] => format!("whether blob {} is there was not told: {why}", one.short()),
            _ => format!("whether {} blobs are there was not told: {why}", of.len()),
        });
        told.collect()
    }
}

/// How keys are leased at a remote.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// Nodes that are expected to take less have no lease: making them twice is cheaper than asking.
    pub least_seconds: f64,
    /// After so long without a sign of life a lease is given up.
    pub lasts: Duration,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms {
            least_seconds: 30.0,
            lasts: Duration::from_secs(90),
        }
    }
}

/// A lease as it lies at a remote.
#[derive(Clone, Debug, PartialEq)]
pub struct Leased {
    pub text: String,
    pub version: Version,
}

/// Which of the texts it is that a lease has had; what that is called is the remote's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Version {
    pub tag: Option<String>,
    pub number: Option<String>,
}

/// How long a request may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wait {
    /// A node waits for it: as long as there is patience.
    Node,
    /// It goes on beside a node, and what goes wrong with it says nothing about the remote.
    Aside(Duration),
}

/// Where others' records and blobs are. It moves bytes and judges nothing. Called from several threads.
///
/// One that does not answer in time closes itself, and says so in `remark`: from then on it has nothing and takes nothing, at once.
pub trait Remote: Send + Sync {
    /// Its address.
    fn name(&self) -> &str;

    fn is_open(&self) -> bool;

    /// Whether it may be given something.
    fn takes(&self) -> bool;

    /// Bytes that came and went so far.
    fn moved(&self) -> u64;

    /// Ends what is under way, and whatever is asked of it later; whoever closes it tells why.
    fn close(&self);

    /// What is to be told of the remote as a whole, once.
    fn remark(&self) -> Option<String>;

    /// The record of a key by its index, which a few requests bring as a whole; several, where somebody put another beside it. A hint: a
    /// record that is not in it may be there.
    fn known(&self, key: &Key) -> Vec<Signed>;

    /// The records of these keys, in their order, asked for by name; nothing where it has none, or does not answer. An error is of what
    /// lies there, or of the way there for who waits for just that. Signatures by these come whatever lies beside them, of those
    /// by others some.
    fn records(&self, keys: &[&Key], trusted: &[String]) -> Vec<Result<Option<Signed>>>;

    /// Create-only, but for a text under this name that is not `sound`. All blobs that it names were pushed before.
    fn publish(
        &self,
        key: &Key,
        record: &Signed,
        sound: &dyn Fn(&str) -> bool,
    ) -> Result<Published>;

    /// Gives the bytes of a blob from this one on, in their order.
    fn pull(&self, blob: &Blob, from: u64, into: &mut dyn FnMut(&[u8]) -> Result<()>)
    -> Result<()>;

    /// Takes the bytes of a blob, unless it has them.
    fn push(&self, blob: &Blob, from: &Path) -> Result<()>;

    /// The bytes under this name were found to be others: what is pushed of it is written over them.
    fn doubt(&self, digest: &Digest);

    /// What is not there of these blobs as it should be; each is asked for by itself.
    fn lacking(&self, blobs: &[&Blob]) -> Result<Lacking>;

    /// Puts records that lie there and that the index lacks into it, and believes it no more of what does not lie there. `whole`: of records
    /// that it has as well what lies there is read. `sound` says what is wrong with a text that lies under a key's name.
    fn reconcile(
        &self,
        whole: bool,
        sound: &dyn Fn(&Key, &str) -> Result<()>,
    ) -> Result<Reconciled>;

    /// Puts what was published since into the index, and back what somebody removed meanwhile who made room.
    fn settle(&self) -> Result<()>;

    /// How keys are leased; none where it is given nothing, or nobody wants leases.
    fn terms(&self) -> Option<Terms>;

    /// Nothing where the key was never leased.
    fn lease(&self, key: &Key, wait: Wait) -> Result<Option<Leased>>;

    /// Writes a lease in place of that version, or where there is none. Returns which version it is; nothing where another one is there.
    fn put_lease(
        &self,
        key: &Key,
        text: &str,
        over: Option<&Version>,
        wait: Wait,
    ) -> Result<Option<Version>>;
}

/// Whose records are believed, and what this identity signs with.
pub trait Trust: Send + Sync {
    /// Who of those that are trusted signed it, as people call him; none where nobody has to. An error says why it is not believed.
    fn signer(&self, record: &Signed) -> Result<Option<String>>;

    /// The same of several, in their order; an error where one of them is not believed.
    fn signers(&self, records: &[&Signed]) -> Result<Vec<Option<String>>> {
        records.iter().map(|record| self.signer(record)).collect()
    }

    /// The signers that may make a record believed; none where that hangs on no signer.
    fn trusted(&self) -> Vec<String> {
        vec![]
    }

    /// None where this identity has no key.
    fn sign(&self, text: &str) -> Result<Option<Signature>>;
}

/// Believes whoever may write to the remote, and signs nothing.
pub struct Anyone;

impl Trust for Anyone {
    fn signer(&self, _: &Signed) -> Result<Option<String>> {
        Ok(None)
    }

    fn sign(&self, _: &str) -> Result<Option<Signature>> {
        Ok(None)
    }
}
