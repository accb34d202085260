//! Who answers for a record: Ed25519 over its whole text, which holds key, manifest, digests of outputs, build and seal; and whose
//! word is taken here. Touches no file and asks for no time: a clock that is wrong changes nothing.

use anyhow::{Context, Result, anyhow, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use ed25519_dalek::{VerifyingKey, verify_batch};
use engine::store::remote::{Signature, Signed, Trust};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::collections::BTreeMap;

const PUBLIC: &str = "ed25519:";
pub(crate) const SECRET: &str = "ed25519-secret:";
const LONGEST_NAME: usize = 64;
/// Signatures of strangers that are looked at to name one of them.
const STRANGERS: usize = 4;

/// A public key, and what its holder is called. Written `NAME=ed25519:BASE64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub name: String,
    public: [u8; 32],
}

impl Identity {
    /// What is wrong is said in words.
    pub fn parse(line: &str) -> Result<Identity> {
        let form = || {
            anyhow!(
                "a public key is `NAME=ed25519:` and 43 letters and digits, as `pipe keys show` prints it"
            )
        };
        let (name, key) = line.trim().split_once('=').with_context(form)?;
        if let Some(problem) = problem(name) {
            bail!(problem);
        }
        ensure!(
            !key.starts_with(SECRET),
            "this is a private key, which stays with who made it; `pipe keys show` prints the public one"
        );
        let bytes = BASE64.decode(key.strip_prefix(PUBLIC).with_context(form)?);
        let public = bytes.ok().and_then(|bytes| bytes.try_into().ok());
        let who = Identity {
            name: name.into(),
            public: public.with_context(form)?,
        };
        ensure!(
            who.verifying().is_some(),
            "nobody can sign as this public key: it is none that `pipe keys new` makes"
        );
        Ok(who)
    }

    /// The key without the name.
    pub fn key(&self) -> String {
        format!("{PUBLIC}{}", BASE64.encode(self.public))
    }

    /// The same key under another name.
    pub fn called(&self, name: &str) -> Identity {
        Identity {
            name: name.into(),
            public: self.public,
        }
    }

    pub fn same_key(&self, other: &Identity) -> bool {
        self.public == other.public
    }

    /// The name of its signatures' files: the key in hexadecimal digits.
    pub fn signer(&self) -> String {
        self.public.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Who signs as this; nothing where it is no key.
    fn of_signer(name: &str, signer: &str) -> Option<Identity> {
        let digits = signer.as_bytes();
        if digits.len() != 64 || !signer.is_ascii() {
            return None;
        }
        let mut public = [0; 32];
        for (byte, pair) in public.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).ok()?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(Identity {
            name: name.into(),
            public,
        })
    }

    /// Whether `seal`, in base64, is this key's word for the text.
    fn signed(&self, text: &str, seal: &str) -> bool {
        let (Some(key), Some(seal)) = (self.verifying(), seal_of(seal)) else {
            return false;
        };
        let statement = statement(&self.name, text);
        key.verify_strict(statement.as_bytes(), &seal).is_ok()
    }

    /// Nothing where it is no key, or one of the few that fit signatures of nobody.
    fn verifying(&self) -> Option<VerifyingKey> {
        let key = VerifyingKey::from_bytes(&self.public).ok();
        key.filter(|key| !key.is_weak())
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.name, self.key())
    }
}

/// What is wrong with the name of a key's holder, if anything.
pub fn problem(name: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
    let odd = name.chars().find(|c| !fits(*c));
    match odd {
        _ if name.is_empty() || name.len() > LONGEST_NAME => Some(format!(
            "the name of a key's holder has 1 to {LONGEST_NAME} characters"
        )),
        Some(odd) => Some(format!(
            "the name of a key's holder has letters, digits and `._-@`, not {odd:?}"
        )),
        None => None,
    }
}

fn seal_of(base64: &str) -> Option<ed25519_dalek::Signature> {
    let bytes = BASE64.decode(base64).ok()?;
    ed25519_dalek::Signature::from_slice(&bytes).ok()
}

/// The bytes that are signed.
fn statement(name: &str, record: &str) -> String {
    format!(
        "pipe record 1\n{name}\n{}\n",
        blake3::hash(record.as_bytes())
    )
}

/// A private key. Written `NAME=ed25519-secret:BASE64`.
pub struct Secret {
    who: Identity,
    pair: Ed25519KeyPair,
    line: String,
}

impl Secret {
    pub fn new(name: &str) -> Result<Secret> {
        if let Some(problem) = problem(name) {
            bail!(problem);
        }
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let made = made.map_err(|_| anyhow!("the system gives no random numbers"))?;
        Secret::parse(&format!("{name}={SECRET}{}", BASE64.encode(made.as_ref())))
    }

    pub fn parse(line: &str) -> Result<Secret> {
        let form = "it holds no private key of `pipe keys new`";
        let (name, key) = line.trim().split_once('=').context(form)?;
        if let Some(problem) = problem(name) {
            bail!(problem);
        }
        let bytes = BASE64.decode(key.strip_prefix(SECRET).context(form)?);
        let pair = Ed25519KeyPair::from_pkcs8(&bytes.map_err(|_| anyhow!(form))?);
        let pair = pair.map_err(|_| anyhow!(form))?;
        let public = pair.public_key().as_ref().try_into();
        Ok(Secret {
            who: Identity {
                name: name.into(),
                public: public.map_err(|_| anyhow!(form))?,
            },
            pair,
            line: line.trim().into(),
        })
    }

    /// As it is written down, for the file of its holder and for nobody else.
    pub fn line(&self) -> &str {
        &self.line
    }

    pub fn identity(&self) -> &Identity {
        &self.who
    }

    fn sign(&self, record: &str) -> Signature {
        let seal = self.pair.sign(statement(&self.who.name, record).as_bytes());
        Signature {
            signer: self.who.signer(),
            text: format!("{} {}", self.who.name, BASE64.encode(seal.as_ref())),
        }
    }
}

/// Whose records are taken.
pub struct Keyring {
    own: Option<Secret>,
    /// By the name of their signatures' files: what they are called here, and what their signatures are held against.
    trusted: BTreeMap<String, (Identity, Option<VerifyingKey>)>,
    /// A record is taken whoever signed it, or nobody.
    all: bool,
}

impl Keyring {
    /// One's own key is trusted.
    pub fn new(own: Option<Secret>, trusted: &[Identity], all: bool) -> Keyring {
        let known = own.iter().map(Secret::identity).chain(trusted);
        Keyring {
            trusted: known
                .map(|who| (who.signer(), (who.clone(), who.verifying())))
                .collect(),
            own,
            all,
        }
    }

    /// The first word of somebody trusted.
    fn word(&self, signed: &Signed) -> Option<Word<'_>> {
        let mut known = signed.signatures.iter().filter_map(|signature| {
            let (known, key) = self.trusted.get(&signature.signer)?;
            Some((signature, known, (*key)?))
        });
        let (signature, known, key) = known.next()?;
        let (who, seal) = read(signature)?;
        Some(Word {
            name: &known.name,
            key,
            statement: statement(&who.name, &signed.text),
            seal: seal_of(seal)?,
        })
    }

    /// Who signed each, where one look at all of them together finds that every one is believed; else nothing, and each has to be looked
    /// at: another word beside it may be true.
    pub fn together(&self, records: &[&Signed]) -> Option<Vec<Option<String>>> {
        let words: Option<Vec<Word>> = records.iter().map(|one| self.word(one)).collect();
        let words = words.filter(|words| are_true(words))?;
        Some(words.iter().map(|word| Some(word.name.into())).collect())
    }

    /// Whether what is given to a remote will be signed, or needs to be by nobody who reads it as we do.
    pub fn signs(&self) -> bool {
        self.own.is_some() || self.all
    }
}

/// What somebody trusted says of a record.
struct Word<'a> {
    /// What he is called here.
    name: &'a str,
    key: VerifyingKey,
    statement: String,
    seal: ed25519_dalek::Signature,
}

/// Whether all are true. One equation over random sums of them takes a third of the time of one for each; that it holds where one of them
/// fails could only be brought about by whoever has the key of that one.
fn are_true(words: &[Word]) -> bool {
    let statements: Vec<&[u8]> = words.iter().map(|word| word.statement.as_bytes()).collect();
    let seals: Vec<_> = words.iter().map(|word| word.seal).collect();
    let keys: Vec<_> = words.iter().map(|word| word.key).collect();
    verify_batch(&statements, &seals, &keys).is_ok()
}

impl Trust for Keyring {
    fn signers(&self, records: &[&Signed]) -> Result<Vec<Option<String>>> {
        match self.together(records) {
            Some(names) => Ok(names),
            None => records.iter().map(|one| self.signer(one)).collect(),
        }
    }

    fn signer(&self, signed: &Signed) -> Result<Option<String>> {
        let mut broken = None;
        for signature in &signed.signatures {
            let Some((known, _)) = self.trusted.get(&signature.signer) else {
                continue;
            };
            match read(signature) {
                // The name in it is the one that its holder had then.
                Some((who, seal)) if who.signed(&signed.text, seal) => {
                    return Ok(Some(known.name.clone()));
                }
                _ => broken = Some(&known.name),
            }
        }
        if self.all {
            return Ok(None);
        }
        if let Some(name) = broken {
            bail!(
                "the signature of `{name}` beside it is of something else: somebody changed one of the two"
            );
        }
        let strangers = signed.signatures.iter().take(STRANGERS).filter_map(read);
        let stranger = strangers
            .filter(|(who, seal)| who.signed(&signed.text, seal))
            .map(|(who, _)| who)
            .next();
        match stranger {
            Some(who) => bail!(
                "it is signed by `{}`, whom nobody here trusts; if you know that this key is theirs: pipe keys trust {who}",
                who.name
            ),
            None if self.trusted.is_empty() => bail!(
                "nobody signed it, and nobody is trusted here; `pipe help keys` says how both are done"
            ),
            None => bail!(
                "nobody signed it; whoever made it signs it with `pipe keys new` and `pipe push`"
            ),
        }
    }

    fn trusted(&self) -> Vec<String> {
        self.trusted.keys().cloned().collect()
    }

    fn sign(&self, text: &str) -> Result<Option<Signature>> {
        Ok(self.own.as_ref().map(|own| own.sign(text)))
    }
}

/// Who says to have signed, by key and by name, and the signature.
fn read(signature: &Signature) -> Option<(Identity, &str)> {
    let (name, seal) = signature.text.trim().split_once(' ')?;
    if problem(name).is_some() {
        return None;
    }
    Some((Identity::of_signer(name, &signature.signer)?, seal))
}
