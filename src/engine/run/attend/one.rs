//! One attempt that is attended to: its claim, what it is laid out with, its commit.

use crate::graph::manifest::Manifest;
use crate::kind::attempt::{self, Attempt, Spec};
use crate::kind::conclusion::Result as Ended;
use crate::kind::failure::Class;
use crate::kind::{Kind, Registry};
use crate::run::dispatch::{self, Asked, Terms};
use crate::run::executor::Executor;
use crate::run::executor::local::Local;
use crate::run::{delivery, secrets};
use crate::store::claims::Claim;
use crate::store::commit::{CommitError, Delivery, Versus};
use crate::store::paths::{self, Paths};
use crate::store::record::Origin;
use crate::store::{Lookup, Store, origin};
use crate::system::{Process, host};
use anyhow::{Context, Result};
use base::value::Values;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often the claim of somebody else is looked at.
const TICK: Duration = Duration::from_millis(200);
/// How often the engine's requests are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a claim of somebody else is waited for where claims do not run out.
const PATIENCE: Duration = Duration::from_secs(120);

/// One attempt.
pub struct One<'a> {
    pub store: &'a Store,
    pub attempt: Attempt,
    pub spec: Spec,
    pub terms: Terms,
    pub kind: &'static Kind,
    pub exec: Values,
    pub program: &'a Path,
    pub evicted: &'a AtomicBool,
    /// When its folder was looked into for a request, and what was there.
    looked: Cell<(Option<Instant>, Option<Asked>)>,
}

/// The claim of a key, or why there is none.
pub enum Taken {
    Claim(Arc<dyn Claim>),
    /// It is not needed: this is how the attempt ends.
    Ended(Ended),
    /// Somebody else has it.
    Busy,
}

impl<'a> One<'a> {
    pub fn open(
        registry: &Registry,
        store: &'a Store,
        attempt: Attempt,
        program: &'a Path,
        evicted: &'a AtomicBool,
    ) -> Result<One<'a>> {
        let spec = attempt.spec()?;
        let kind = registry
            .get(&spec.kind)
            .filter(|kind| kind.revision == spec.revision)
            .with_context(|| format!("this binary has no kind `{}` of that revision", spec.kind))?;
        let (terms, exec) = (
            dispatch::terms(&attempt)?,
            attempt::read_values(&spec.exec)?,
        );
        Ok(One {
            store,
            attempt,
            spec,
            terms,
            kind,
            exec,
            program,
            evicted,
            looked: Cell::default(),
        })
    }

    /// The claim of the key; or how this ends without it. `patient`: waits for whoever has it.
    pub fn claim(&self, patient: bool) -> Result<Taken> {
        let since = Instant::now();
        let patience = self.store.claims().lasts().map_or(PATIENCE, |l| l * 3);
        loop {
            if dispatch::asked(&self.attempt).is_some() {
                return Ok(Taken::Ended(failed(Class::Interrupted, "interrupted")));
            }
            if self.evicted.load(Ordering::Relaxed) {
                let told = "it was asked to end before it began";
                return Ok(Taken::Ended(failed(Class::Evicted, told)));
            }
            let claim = self.store.try_lock(&self.spec.key)?;
            let whole = matches!(self.store.lookup(&self.spec.key), Lookup::Whole(_));
            if whole && !self.terms.forced {
                return Ok(Taken::Ended(Ended::Hit));
            }
            if let Some(claim) = claim {
                return Ok(Taken::Claim(claim));
            }
            if !patient {
                return Ok(Taken::Busy);
            }
            if since.elapsed() > patience {
                let told = "another process executes this node, and did not end";
                return Ok(Taken::Ended(failed(Class::Transient, told)));
            }
            thread::sleep(TICK);
        }
    }

    fn params(&self) -> Result<Values> {
        attempt::read_values(&self.spec.params)
    }

    /// What stands for the contents of its sources now.
    pub fn contents(&self) -> Result<BTreeMap<String, String>> {
        let now = Paths::of_params(self.store, self.kind, &self.params()?)?;
        Ok(now.contents)
    }

    /// What it needs of this machine and does not find, in words.
    pub fn wants(&self) -> Option<String> {
        let params = self.params().ok()?;
        let mut wants: Vec<String> = match self.kind.preflight {
            Some(look) => look(&params, &self.exec, &path()),
            None => vec![],
        };
        wants.extend(self.lacks(&params));
        let absent = paths::missing(&(self.kind.exec)(), &self.exec);
        wants.extend(absent.iter().map(|absent| absent.told()));
        let host = host();
        (!wants.is_empty()).then(|| format!("on {host}: {}", wants.join("; ")))
    }

    /// What is lacking of its device here.
    fn lacks(&self, params: &Values) -> Option<String> {
        let computes = self.kind.computes.as_ref()?;
        let ports = self.kind.inputs.iter().map(|port| port.name);
        let ports = ports.filter(|port| self.spec.inputs.contains_key(*port));
        let ports: Vec<&'static str> = ports.collect();
        let place = computes.place(params, &self.exec, &ports)?;
        (computes.lacks)(place.device)
    }

    /// Makes the attempt one of this process, with all paths as they are here, and clears what earlier ones left running. Returns
    /// those earlier ones.
    pub fn lay_out(&mut self) -> Result<Vec<Attempt>> {
        let attempts = self.store.attempts();
        let here = |dir: &PathBuf| dir.file_name().map(|name| attempts.join(name));
        self.spec.earlier = self.spec.earlier.iter().filter_map(here).collect();
        self.spec.calls = self.store.calls();
        self.spec.engine = Process::own();
        let earlier = self.spec.earlier.iter().cloned();
        let earlier: Vec<Attempt> = earlier.map(|dir| Attempt { dir }).collect();
        for old in &earlier {
            local().kill_leftovers(old);
            old.drop_outputs();
        }
        self.attempt.relink(self.store, &self.spec)?;
        Ok(earlier)
    }

    /// What its worker may see, by name; only what its node names.
    pub fn secrets(&self) -> Result<BTreeMap<String, String>> {
        let names = secrets::names(&self.exec);
        let mut found = dispatch::take_secrets(&self.attempt);
        found.retain(|name, _| names.contains(name));
        if let Some(file) = self
            .terms
            .secrets_file
            .as_ref()
            .filter(|_| !names.is_empty())
        {
            found.extend(secrets::in_file(file, &names)?);
        }
        Ok(found)
    }

    pub fn commit(&self, earlier: &[Attempt]) -> Ended {
        let mut provenance = self.terms.provenance.clone();
        let own = origin::of(self.program, Some(&self.attempt.dir));
        provenance.origin = Origin {
            commit: provenance.origin.commit,
            dirty: provenance.origin.dirty,
            ..own
        };
        provenance.origin.gpus.truncate(self.terms.needs.gpus);
        let manifest = Manifest::from_text(&self.terms.manifest);
        let params = match self.params() {
            Ok(params) => params,
            Err(error) => return failed(Class::Environment, &format!("{error:#}")),
        };
        let delivery = Delivery {
            attempt: &self.attempt,
            earlier,
            spec: &self.spec,
            manifest: &manifest,
            types: self.kind.types(&params),
            provenance,
            forced: self.terms.forced,
            adopted: None,
        };
        match delivery::deliver(self.store, local(), &delivery) {
            Ok(committed) => Ended::Committed {
                same: committed.versus == Versus::Same,
                beaten: committed.versus == Versus::Beaten,
                moved: match &committed.versus {
                    Versus::OtherDevice(_, moved) => Some(moved.clone()),
                    _ => None,
                },
                different: match committed.versus {
                    Versus::Different(outputs) | Versus::OtherDevice(outputs, _) => outputs,
                    _ => vec![],
                },
            },
            Err(CommitError::Outputs(message)) => failed(Class::LostOutputs, &message),
            Err(CommitError::Store(error)) => failed(Class::Environment, &format!("{error:#}")),
        }
    }

    /// What is asked of it, by its engine or by whoever takes the machine away. The folder is shared: it is looked into now and then.
    pub fn asked(&self) -> Option<(Asked, Why)> {
        let (looked, known) = self.looked.get();
        let mut asked = known;
        if looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            asked = dispatch::asked(&self.attempt);
            self.looked.set((Some(Instant::now()), asked));
        }
        match asked {
            Some(asked) => Some((asked, Why::Engine)),
            None if self.evicted.load(Ordering::Relaxed) => Some((Asked::Stop, Why::Scheduler)),
            None => None,
        }
    }
}

/// Who wants a worker to end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Why {
    Engine,
    Scheduler,
    /// The claim is somebody else's, or cannot be renewed.
    Claim,
}

pub fn failed(class: Class, message: &str) -> Ended {
    let message = message.to_string();
    Ended::Failed { class, message }
}

pub fn local() -> &'static dyn Executor {
    &Local
}

/// Where programs are looked for.
#[allow(clippy::disallowed_methods)]
fn path() -> String {
    std::env::var("PATH").unwrap_or_default()
}
