//! What comes back, and what follows from it: an answer is kept, a request goes again, is given up, or all of them are.

use super::flight::{Flight, Held, Kept, Landed, Request};
use super::observer::CallObserver;
use crate::endpoint::LONGEST_PAUSE;
use crate::fault::{Fault, Rejection, Stopped};
use crate::journal::Entry;
use crate::protocol::{Protocol, Reply, Usage};
use base::calls::Calls;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A service that asks for more patience than this is not there today.
const MOST_PATIENCE: Duration = Duration::from_secs(900);
/// Where so many requests were rejected, without a word of what they hold, and none was ever answered, it is the form of the request
/// or the key. Those that were in flight together count as a few: the others are not of their sort.
const ALL_REJECTED: u64 = 16;
/// So many requests in a row that nobody answers are an outage.
const HELD: usize = 8;

impl<P: Protocol> Flight<'_, P> {
    pub(super) fn landed(&mut self, landed: Landed<P::Answer>, observer: &mut dyn CallObserver) {
        let Landed {
            request,
            reply,
            paid,
            seconds,
        } = landed;
        self.short = None;
        let usage = match &reply {
            Ok(reply) => Some(reply.usage.unwrap_or(Usage {
                estimated: true,
                ..request.most
            })),
            Err(_) => paid,
        };
        if let Err(error) = self.budget.settle(request.reserved, usage.as_ref()) {
            self.end(Stopped::Journal(error));
        }
        let tokens = usage.map_or(0, |u| u.prompt + u.completion);
        if let Err(error) = self.pace.settle(request.expected, tokens) {
            self.end(Stopped::Journal(error));
        }
        if let Some(usage) = &usage {
            self.calls.add(&Calls {
                prompt_tokens: usage.prompt,
                cached_tokens: usage.cached,
                completion_tokens: usage.completion,
                reasoning_tokens: usage.reasoning,
                dollars: self.endpoint.prices.of(usage),
                ..Calls::default()
            });
        }
        match reply {
            Ok(reply) => self.answered(request, reply, &usage.unwrap_or_default(), seconds),
            // Nothing is tried again, and what is given up shall not count as answered.
            Err(_) if self.over.is_some() => {}
            Err(fault) => self.failed(request, fault, observer),
        }
    }

    fn answered(&mut self, request: Request, reply: Reply<P::Answer>, usage: &Usage, seconds: f64) {
        let Request {
            asks,
            claims,
            tries,
            ..
        } = request;
        assert_eq!(
            asks.len(),
            reply.answers.len(),
            "a protocol reads an answer an ask"
        );
        let came = reply.answers.iter().flatten().count().max(1) as u64;
        self.calls.add(&Calls {
            made: came,
            estimated: if usage.estimated { came } else { 0 },
            seconds: seconds * came as f64,
            slowest_seconds: seconds,
            ..Calls::default()
        });
        self.allowed = (self.allowed + 1).min(self.endpoint.concurrency);
        // Somebody is there: those that got no answer have one more try, and if that fails it is they.
        for (mut request, _) in std::mem::take(&mut self.held) {
            request.tries = self.endpoint.retries;
            self.again.push(request);
        }
        let mut answers = vec![];
        let mut held = vec![];
        for ((ask, claim), answer) in asks.into_iter().zip(claims).zip(reply.answers) {
            match answer {
                Some(answer) => {
                    answers.push((ask, answer));
                    held.push(claim);
                }
                None => {
                    // A server that gives one where several are asked for: they are asked for one by one.
                    if came == 1 {
                        self.most = 1;
                    }
                    let mut again = self.request(vec![ask], vec![claim]);
                    again.tries = tries;
                    self.again.push(again);
                }
            }
        }
        let mut written = vec![];
        for (ask, answer) in &answers {
            let entry = Entry {
                api: self.protocol.api().into(),
                sample: self.protocol.sample(&self.asks[*ask]),
                asked: self.protocol.identity(&self.asks[*ask]),
                answer: serde_json::to_value(answer).expect("an answer always has a JSON form"),
                served: reply.served.clone(),
                host: self.endpoint.host(),
                prompt_tokens: usage.prompt / came,
                completion_tokens: usage.completion / came,
                dollars: self.endpoint.prices.of(usage) / came as f64,
                seconds,
                at_ms: now_ms(),
                by: self.by.to_string(),
            };
            match self.journal.writer() {
                Ok(writer) => written.push(writer.append(&self.keys[*ask], &entry)),
                Err(error) => return self.end(Stopped::Journal(error)),
            }
        }
        self.keeping.push(Box::pin(async move {
            let mut all = Ok(());
            for one in written {
                let one = one.await;
                all = all.and(one);
            }
            drop(held);
            (answers.len(), all)
        }));
    }

    pub(super) fn kept(&mut self, (answers, durable): Kept) {
        match durable {
            Ok(()) => self.done += answers,
            Err(error) => self.end(Stopped::Journal(error)),
        }
    }

    fn failed(&mut self, mut request: Request, fault: Fault, observer: &mut dyn CallObserver) {
        request.tries += 1;
        let again = request.tries <= self.endpoint.retries;
        let others = self.calls.made > request.seen;
        request.seen = self.calls.made;
        let pause = self.pause(&request);
        match fault {
            Fault::Denied { status, reason } => {
                let reason = self.denied(status, &reason);
                self.end(Stopped::Denied(reason));
            }
            // One of several may be what it does not like.
            Fault::Rejected { .. } if request.asks.len() > 1 => self.one_by_one(request),
            Fault::Rejected {
                status,
                reason,
                policy,
            } => self.reject(
                &request,
                Rejection {
                    status,
                    reason,
                    policy,
                },
            ),
            Fault::Busy { after, reason } => {
                let wish = after.unwrap_or_default();
                if wish > MOST_PATIENCE || !(again || others) {
                    return self.unreachable(&request, after, &reason);
                }
                // Busy with others, it is there; this one was unlucky.
                if others {
                    request.tries = 1;
                }
                let pause = self.pause(&request);
                self.pause_requests(if wish.is_zero() { pause } else { wish }, &reason, observer);
                self.try_again(request, pause.max(wish));
            }
            Fault::Passing { .. } | Fault::Senseless(_) if again => self.try_again(request, pause),
            Fault::Passing { reason, gone } => {
                self.unanswered(request, others, gone, reason, false)
            }
            Fault::Senseless(reason) => self.unanswered(request, others, false, reason, true),
        }
    }

    /// It failed in all its tries. `others`: some got through since the last.
    fn unanswered(
        &mut self,
        request: Request,
        others: bool,
        gone: bool,
        reason: String,
        there: bool,
    ) {
        let several = request.asks.len() > 1;
        let most = (HELD as u64 - 1).max(self.bearable(there));
        match () {
            // The others get through: it is this one, or one of these.
            () if several && (others || there) => self.one_by_one(request),
            () if others => self.give_up(&request, Held { reason, there }),
            // One that is there may have begun with what it cannot answer.
            () if gone || !(there || self.answers()) || self.held.len() as u64 >= most => {
                self.unreachable(&request, None, &reason);
            }
            () => self.held.push((request, Held { reason, there })),
        }
    }

    /// How many may get no answer before it is an outage: a few of many; more of them, where it answers so that nobody can read it.
    fn bearable(&self, there: bool) -> u64 {
        let answered = self.calls.made + self.calls.reused;
        match there {
            true => answered,
            false => 1 + answered / 10,
        }
    }

    /// It gets no answer, and others do.
    fn give_up(&mut self, request: &Request, held: Held) {
        let rejection = Rejection {
            status: if held.there { 200 } else { 0 },
            reason: format!("no answer in {} tries: {}", request.tries, held.reason),
            policy: false,
        };
        self.reject(request, rejection);
    }

    /// Nothing is under way any more: what was held is decided, and whether anything was answered at all. False where something goes
    /// out again after all.
    pub(super) fn settled(&mut self) -> bool {
        if self.over.is_some() {
            return true;
        }
        let held = std::mem::take(&mut self.held);
        let asks: u64 = held.iter().map(|(r, _)| r.asks.len() as u64).sum();
        let too_many = |held: &Held| asks > self.bearable(held.there);
        if let Some((request, why)) = held.iter().find(|(_, why)| too_many(why)) {
            self.unreachable(request, None, &why.reason);
            return true;
        }
        for (request, why) in held {
            match request.asks.len() {
                1 => self.give_up(&request, why),
                _ => self.one_by_one(request),
            }
        }
        let over = self.again.is_empty();
        if over && self.calls.rejected > 0 && !self.answers() {
            self.all_rejected(match self.calls.rejected {
                1 => "the only request".into(),
                all => format!("all {all} requests"),
            });
        }
        over
    }

    /// Nothing leaves for so long; then half as much at a time.
    fn pause_requests(&mut self, pause: Duration, reason: &str, observer: &mut dyn CallObserver) {
        let now = Instant::now();
        if now >= self.quiet_until {
            self.allowed = (self.allowed / 2).max(1);
        }
        if now + pause > self.quiet_until + Duration::from_secs(1) {
            let (host, seconds) = (self.endpoint.host(), pause.as_secs_f64());
            observer.say(&format!(
                "{host} is busy, a pause of {seconds:.1} s: {reason}"
            ));
        }
        self.quiet_until = self.quiet_until.max(now + pause);
    }

    fn try_again(&mut self, mut request: Request, pause: Duration) {
        request.due = Instant::now() + pause;
        self.again.push(request);
    }

    fn one_by_one(&mut self, request: Request) {
        for (ask, claim) in request.asks.into_iter().zip(request.claims) {
            let one = self.request(vec![ask], vec![claim]);
            self.again.push(one);
        }
    }

    fn reject(&mut self, request: &Request, rejection: Rejection) {
        for ask in &request.asks {
            self.calls.rejected += 1;
            self.done += 1;
            self.rejected.insert(self.keys[*ask], rejection.clone());
        }
        if !rejection.policy {
            self.unexplained += request.asks.len() as u64;
        }
        // What says the least of the content says the most of what is wrong.
        if !rejection.policy || self.refusal.is_none() {
            self.refusal = Some((rejection.status, rejection.reason));
        }
        let most = ALL_REJECTED.max(2 * self.endpoint.concurrency as u64);
        if !self.answers() && self.unexplained >= most {
            self.all_rejected(format!("all of the first {} requests", self.calls.rejected));
        }
    }

    /// Nothing was ever answered. `all`: how many it were.
    fn all_rejected(&mut self, all: String) {
        let (status, reason) = self.refusal.take().unwrap_or_default();
        let (host, where_to) = (self.endpoint.host(), self.where_to(status));
        self.end(Stopped::Denied(format!(
            "{host} rejected {all}: {reason} ({where_to})"
        )));
    }

    fn unreachable(&mut self, request: &Request, wish: Option<Duration>, reason: &str) {
        let (host, tries) = (self.endpoint.host(), request.tries);
        let wish = wish.map_or(String::new(), |wish| {
            format!(" and asks for {} s of patience", wish.as_secs())
        });
        self.end(Stopped::Unreachable(format!(
            "{host} did not answer in {tries} tries{wish}: {reason}"
        )));
    }

    /// Doubled with every try, and spread by what is asked, so that requests which failed together do not come back together.
    fn pause(&self, request: &Request) -> Duration {
        let doublings = request.tries.saturating_sub(1).min(16);
        let doubled = self.endpoint.pause.saturating_mul(1 << doublings);
        let key = &self.keys[request.asks[0]];
        let spread = f64::from(key.0[request.tries as usize % 16]) / 255.0;
        doubled.min(LONGEST_PAUSE).mul_f64(0.5 + spread)
    }

    fn denied(&self, status: u16, reason: &str) -> String {
        let (host, where_to) = (self.endpoint.host(), self.where_to(status));
        format!("{host} refuses: {reason} ({where_to})")
    }

    /// The place that is asked; no key is in it.
    pub(super) fn url(&self) -> String {
        let url = self.endpoint.shown(self.protocol.path());
        match &self.endpoint.key {
            Some(secret) => secret.redact(&url),
            None => url,
        }
    }

    /// What was asked, and with which key where that may be what is wrong.
    fn where_to(&self, status: u16) -> String {
        let url = self.url();
        let key = match (&self.endpoint.key, self.endpoint.bare_key()) {
            _ if ![401, 403].contains(&status) || self.answers() => String::new(),
            (Some(secret), None) => format!("; the key in `{}` was sent", secret.name()),
            (Some(secret), Some(header)) => {
                let name = secret.name();
                format!("; the key in `{name}` was sent as `{header}`")
            }
            (None, _) => "; no key was sent".into(),
        };
        format!("POST {url}{key}")
    }
}

#[allow(clippy::disallowed_methods)] // When an answer came; it decides nothing.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| d.as_millis() as u64)
}
