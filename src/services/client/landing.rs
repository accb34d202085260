//! What comes back, and what follows from it: an answer is kept, a request goes again, is given up, or all of them are.

use super::Ear;
use super::flight::{Flight, Kept, Landed, Request};
use crate::base::calls::Calls;
use crate::services::endpoint::LONGEST_PAUSE;
use crate::services::fault::{Fault, Rejection, Stopped};
use crate::services::journal::Entry;
use crate::services::protocol::{Protocol, Reply, Usage};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A service that asks for more patience than this is not there today.
const MOST_PATIENCE: Duration = Duration::from_secs(900);
/// Where so many requests were rejected and none was ever answered, it is the form of the request.
const ALL_REJECTED: u64 = 16;

impl<P: Protocol> Flight<'_, P> {
    pub(super) fn landed(&mut self, landed: Landed<P::Answer>, ear: &mut dyn Ear) {
        let Landed {
            request,
            reply,
            paid,
            seconds,
        } = landed;
        self.short = false;
        let usage = match &reply {
            Ok(reply) => Some(reply.usage.unwrap_or(Usage {
                estimated: true,
                ..request.most
            })),
            Err(_) => paid,
        };
        self.budget.settle(request.reserved, usage.as_ref());
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
            Err(fault) => self.failed(request, fault, ear),
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

    fn failed(&mut self, mut request: Request, fault: Fault, ear: &mut dyn Ear) {
        request.tries += 1;
        let again = request.tries <= self.endpoint.retries;
        let others = self.calls.made > request.seen;
        request.seen = self.calls.made;
        let pause = self.pause(&request);
        match fault {
            Fault::Denied(told) => {
                let told = self.denied(&told);
                self.end(Stopped::Denied(told));
            }
            // One of several may be what it does not like.
            Fault::Rejected { .. } if request.asks.len() > 1 => self.one_by_one(request),
            Fault::Rejected { status, told } => self.reject(&request, status, &told),
            Fault::Busy { after, told } => {
                let wish = after.unwrap_or_default();
                if wish > MOST_PATIENCE || !(again || others) {
                    return self.unreachable(&request, after, &told);
                }
                // Busy with others, it is there; this one was unlucky.
                if others {
                    request.tries = 1;
                }
                let pause = self.pause(&request);
                self.hush(if wish.is_zero() { pause } else { wish }, &told, ear);
                self.try_again(request, pause.max(wish));
            }
            Fault::Passing(_) if again => self.try_again(request, pause),
            // The others get through: it is this one.
            Fault::Passing(_) if others && request.asks.len() > 1 => self.one_by_one(request),
            Fault::Passing(told) if others => {
                let told = format!("no answer in {} tries: {told}", request.tries);
                self.reject(&request, 0, &told);
            }
            Fault::Passing(told) => self.unreachable(&request, None, &told),
        }
    }

    /// Nothing leaves for so long; then half as much at a time.
    fn hush(&mut self, pause: Duration, told: &str, ear: &mut dyn Ear) {
        let now = Instant::now();
        if now >= self.quiet_until {
            self.allowed = (self.allowed / 2).max(1);
        }
        if now + pause > self.quiet_until + Duration::from_secs(1) {
            let (host, seconds) = (self.endpoint.host(), pause.as_secs_f64());
            ear.say(&format!(
                "{host} is busy, a pause of {seconds:.1} s: {told}"
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

    fn reject(&mut self, request: &Request, status: u16, told: &str) {
        for ask in &request.asks {
            self.calls.rejected += 1;
            self.done += 1;
            let told = told.to_string();
            let rejection = Rejection { status, told };
            self.rejected.insert(self.keys[*ask], rejection);
        }
        let none = self.calls.made == 0 && self.calls.reused == 0;
        if none && self.calls.rejected >= ALL_REJECTED {
            let (host, all) = (self.endpoint.host(), self.calls.rejected);
            self.end(Stopped::Denied(format!(
                "{host} rejected all of the first {all} requests: {told}"
            )));
        }
    }

    fn unreachable(&mut self, request: &Request, wish: Option<Duration>, told: &str) {
        let (host, tries) = (self.endpoint.host(), request.tries);
        let wish = wish.map_or(String::new(), |wish| {
            format!(" and asks for {} s of patience", wish.as_secs())
        });
        self.end(Stopped::Unreachable(format!(
            "{host} did not answer in {tries} tries{wish}: {told}"
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

    fn denied(&self, told: &str) -> String {
        let host = self.endpoint.host();
        let key = match &self.endpoint.key {
            Some(secret) => format!("the key in `{}` was sent", secret.name()),
            None => "no key was sent".into(),
        };
        format!("{host} refuses: {told} ({key})")
    }
}

#[allow(clippy::disallowed_methods)] // When an answer came; it decides nothing.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| d.as_millis() as u64)
}
