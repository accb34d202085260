//! The requests of one `Client::all` while they are under way. All that changes is changed between two awaits of one loop.

use super::Ear;
use crate::base::calls::Calls;
use crate::services::budget::{Amount, Budget, Leave};
use crate::services::endpoint::{Endpoint, LONGEST_PAUSE};
use crate::services::fault::{Fault, Rejection, Stopped};
use crate::services::http::Http;
use crate::services::journal::claims::{Claim, Claims};
use crate::services::journal::{CallKey, Entry, Journal};
use crate::services::pace::Pace;
use crate::services::protocol::{Protocol, Reply, Usage};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a request to stop can go unnoticed.
const TICK: Duration = Duration::from_millis(50);
/// A call that another process makes is looked for again after this.
const CONTESTED: Duration = Duration::from_millis(100);
/// Requests in flight are paid for: they are waited for so long when nothing new is to be asked.
const LAST_ANSWERS: Duration = Duration::from_secs(12);
/// A service that asks for more patience than this is not there today.
const MOST_PATIENCE: Duration = Duration::from_secs(900);

/// Asks that go, went or will go in one request.
struct Request {
    asks: Vec<usize>,
    tries: u32,
    due: Instant,
    /// Answers that had come when it was first tried: whether others get through.
    before: u64,
    reserved: Amount,
    most: Usage,
    claims: Vec<Claim>,
}

struct Landed<A> {
    request: Request,
    reply: Result<Reply<A>, Fault>,
    seconds: f64,
}

/// How many answers are durable, or the reason why not.
type Kept = (usize, anyhow::Result<()>);

pub struct Flight<'a, P: Protocol> {
    protocol: &'a P,
    endpoint: &'a Endpoint,
    http: &'a Http,
    pace: &'a Pace,
    claims: &'a Claims,
    by: &'a str,
    journal: &'a mut Journal,
    budget: &'a mut Budget,
    calls: &'a mut Calls,
    asks: &'a [P::Ask],
    keys: &'a [CallKey],
    rejected: &'a mut BTreeMap<CallKey, Rejection>,
    fresh: VecDeque<usize>,
    /// Asks that another process makes, until they are looked at again.
    contested: Vec<(Instant, usize)>,
    again: Vec<Request>,
    flying: FuturesUnordered<LocalBoxFuture<'a, Landed<P::Answer>>>,
    keeping: FuturesUnordered<LocalBoxFuture<'a, Kept>>,
    /// Nothing leaves before: the service asked for patience.
    quiet_until: Instant,
    /// Requests in flight that are allowed now: halved when the service is busy, one more with every answer.
    allowed: usize,
    /// The budget has to be asked again only when something came back.
    short: bool,
    over: Option<(Stopped, Instant)>,
    done: usize,
}

impl<'a, P: Protocol> Flight<'a, P> {
    #[allow(clippy::type_complexity)] // Parts of a client, borrowed apart.
    pub fn new(
        protocol: &'a P,
        endpoint: &'a Endpoint,
        (http, pace, claims, by): (&'a Http, &'a Pace, &'a Claims, &'a str),
        (journal, budget, calls): (&'a mut Journal, &'a mut Budget, &'a mut Calls),
        (asks, keys, rejected): (
            &'a [P::Ask],
            &'a [CallKey],
            &'a mut BTreeMap<CallKey, Rejection>,
        ),
    ) -> Flight<'a, P> {
        Flight {
            protocol,
            endpoint,
            http,
            pace,
            claims,
            by,
            journal,
            budget,
            calls,
            asks,
            keys,
            rejected,
            fresh: VecDeque::new(),
            contested: vec![],
            again: vec![],
            flying: FuturesUnordered::new(),
            keeping: FuturesUnordered::new(),
            quiet_until: Instant::now(),
            allowed: endpoint.concurrency,
            short: false,
            over: None,
            done: 0,
        }
    }

    /// Until every one of the `missing` has its outcome, or it is over. `there`: answers that were there before.
    pub async fn fly(
        mut self,
        missing: Vec<usize>,
        there: usize,
        ear: &mut dyn Ear,
    ) -> Result<(), Stopped> {
        let total = self.asks.len();
        self.fresh = missing.into();
        loop {
            if ear.stop() {
                self.end(Stopped::Asked);
            }
            if self.over.is_none() {
                self.start();
            }
            let idle = self.flying.is_empty() && self.keeping.is_empty();
            let waits =
                !(self.fresh.is_empty() && self.again.is_empty() && self.contested.is_empty());
            if idle && (self.over.is_some() || !waits) {
                break;
            }
            if let Some((_, since)) = &self.over
                && since.elapsed() > LAST_ANSWERS
                && self.keeping.is_empty()
            {
                break;
            }
            let tick = self.tick();
            tokio::select! {
                biased;
                Some(kept) = self.keeping.next() => self.kept(kept),
                Some(landed) = self.flying.next() => self.landed(landed, ear),
                () = tokio::time::sleep(tick) => {}
            }
            ear.progress(there + self.done, total, self.calls);
        }
        match self.over {
            Some((stopped, _)) => Err(stopped),
            None => Ok(()),
        }
    }

    /// The first reason stays.
    fn end(&mut self, stopped: Stopped) {
        self.over.get_or_insert((stopped, Instant::now()));
    }

    /// How long nothing can happen by itself.
    fn tick(&self) -> Duration {
        let now = Instant::now();
        let due = self.again.iter().map(|r| r.due);
        let due = due.chain(self.contested.iter().map(|(due, _)| *due)).min();
        let due = due.map_or(TICK, |due| due.saturating_duration_since(now));
        due.clamp(Duration::from_millis(1), TICK)
    }

    /// Lets leave what may.
    fn start(&mut self) {
        let now = Instant::now();
        while self.over.is_none()
            && !self.short
            && self.flying.len() < self.allowed
            && now >= self.quiet_until
        {
            let due = self.again.iter().position(|r| r.due <= now);
            let request = match due {
                Some(place) => Some(self.again.swap_remove(place)),
                None => self.gather(now),
            };
            let Some(request) = request else { return };
            self.leave(request);
        }
    }

    /// The next asks that nobody has an answer to, as one request; their claims are held.
    fn gather(&mut self, now: Instant) -> Option<Request> {
        if let Some(place) = self.contested.iter().position(|(due, _)| *due <= now) {
            let (_, ask) = self.contested.swap_remove(place);
            self.fresh.push_front(ask);
        }
        let mut asks: Vec<usize> = vec![];
        let mut claims = vec![];
        while let Some(ask) = self.fresh.front().copied() {
            let follows = |first: &usize| {
                let (first, next) = (&self.asks[*first], &self.asks[ask]);
                asks.len() < self.protocol.most() && self.protocol.together(first, next)
            };
            if !asks.first().is_none_or(follows) {
                break;
            }
            self.fresh.pop_front();
            match self.claim(ask) {
                Ok(Some(claim)) => {
                    asks.push(ask);
                    claims.push(claim);
                }
                Ok(None) => {}
                Err(error) => {
                    self.end(Stopped::Journal(error));
                    return None;
                }
            }
        }
        if asks.is_empty() {
            return None;
        }
        Some(Request {
            most: self.protocol.bound(&self.refs(&asks)),
            asks,
            tries: 0,
            due: now,
            before: self.calls.made,
            reserved: Amount::default(),
            claims,
        })
    }

    /// None where the answer is there by now, or another process is about to have it.
    fn claim(&mut self, ask: usize) -> anyhow::Result<Option<Claim>> {
        let key = &self.keys[ask];
        let Some(claim) = self.claims.claim(key)? else {
            self.contested.push((Instant::now() + CONTESTED, ask));
            return Ok(None);
        };
        // Whoever held the claim before has written down what came of it.
        self.journal.refresh()?;
        if self.journal.find(key)?.is_some() {
            self.calls.reused += 1;
            self.done += 1;
            return Ok(None);
        }
        Ok(Some(claim))
    }

    fn refs(&self, asks: &[usize]) -> Vec<&'a P::Ask> {
        asks.iter().map(|ask| &self.asks[*ask]).collect()
    }

    fn leave(&mut self, mut request: Request) {
        match self.budget.ask(&request.most) {
            Leave::Go(reserved) => request.reserved = reserved,
            Leave::Wait => {
                self.short = true;
                return self.again.push(request);
            }
            Leave::Over => {
                let told = self.budget.told();
                return self.end(Stopped::Budget(told));
            }
        }
        let tokens = request.most.prompt + request.most.completion;
        let pause = match self.pace.take(tokens) {
            Ok(pause) => pause,
            Err(error) => return self.end(Stopped::Journal(error)),
        };
        let (protocol, http) = (self.protocol, self.http);
        let asks = self.refs(&request.asks);
        self.flying.push(Box::pin(async move {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let left = Instant::now();
            let body = protocol.body(&asks);
            let reply = http.post(protocol.path(), &body).await;
            let seconds = left.elapsed().as_secs_f64();
            let reply = reply.and_then(|body| {
                let read = protocol.read(&asks, &body);
                read.map_err(|wrong| Fault::Passing(format!("the reply makes no sense: {wrong}")))
            });
            Landed {
                request,
                reply,
                seconds,
            }
        }));
    }

    fn landed(&mut self, landed: Landed<P::Answer>, ear: &mut dyn Ear) {
        let Landed {
            request,
            reply,
            seconds,
        } = landed;
        self.short = false;
        match reply {
            Ok(reply) => self.answered(request, reply, seconds),
            Err(fault) => {
                self.budget.settle(request.reserved, None);
                self.failed(request, fault, ear);
            }
        }
    }

    fn answered(&mut self, request: Request, reply: Reply<P::Answer>, seconds: f64) {
        let usage = reply.usage.unwrap_or(Usage {
            estimated: true,
            ..request.most
        });
        self.budget.settle(request.reserved, Some(&usage));
        let expected = request.most.prompt + request.most.completion;
        if let Err(error) = self.pace.settle(expected, usage.prompt + usage.completion) {
            self.end(Stopped::Journal(error));
        }
        let n = request.asks.len();
        assert_eq!(n, reply.answers.len(), "a protocol reads an answer an ask");
        let dollars = self.endpoint.prices.of(&usage);
        self.calls.add(&Calls {
            made: n as u64,
            prompt_tokens: usage.prompt,
            cached_tokens: usage.cached,
            completion_tokens: usage.completion,
            reasoning_tokens: usage.reasoning,
            estimated: if usage.estimated { n as u64 } else { 0 },
            dollars,
            seconds,
            slowest_seconds: seconds,
            ..Calls::default()
        });
        self.allowed = (self.allowed + 1).min(self.endpoint.concurrency);
        let mut written = vec![];
        for (ask, answer) in request.asks.iter().zip(&reply.answers) {
            let entry = Entry {
                api: self.protocol.api().into(),
                sample: self.protocol.sample(&self.asks[*ask]),
                asked: self.protocol.identity(&self.asks[*ask]),
                answer: serde_json::to_value(answer).expect("an answer always has a JSON form"),
                served: reply.served.clone(),
                host: self.endpoint.host(),
                prompt_tokens: usage.prompt / n as u64,
                completion_tokens: usage.completion / n as u64,
                dollars: dollars / n as f64,
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
            drop(request.claims);
            (n, all)
        }));
    }

    fn kept(&mut self, (answers, durable): Kept) {
        match durable {
            Ok(()) => self.done += answers,
            Err(error) => self.end(Stopped::Journal(error)),
        }
    }

    fn failed(&mut self, mut request: Request, fault: Fault, ear: &mut dyn Ear) {
        request.tries += 1;
        let host = self.endpoint.host();
        let again = request.tries <= self.endpoint.retries;
        let pause = self.pause(&request);
        match fault {
            Fault::Denied(told) => {
                let told = self.denied(&told);
                self.end(Stopped::Denied(told));
            }
            // One of several may be what it does not like.
            Fault::Rejected { .. } if request.asks.len() > 1 => {
                let claims = std::mem::take(&mut request.claims);
                for (ask, claim) in request.asks.iter().zip(claims) {
                    self.again.push(Request {
                        asks: vec![*ask],
                        tries: 0,
                        due: Instant::now(),
                        before: request.before,
                        reserved: Amount::default(),
                        most: self.protocol.bound(&self.refs(&[*ask])),
                        claims: vec![claim],
                    });
                }
            }
            Fault::Rejected { status, told } => self.reject(&request, status, &told),
            Fault::Busy { after, told } => {
                let pause = after.unwrap_or(pause);
                if !again || pause > MOST_PATIENCE {
                    let wish = after.map_or(String::new(), |a| {
                        format!(", and asks for {} s of patience", a.as_secs())
                    });
                    let told = format!("{host} is busy{wish}: {told}");
                    return self.end(Stopped::Unreachable(told));
                }
                let until = Instant::now() + pause;
                if until > self.quiet_until + Duration::from_secs(1) {
                    let seconds = pause.as_secs_f64();
                    ear.say(&format!(
                        "{host} is busy, a pause of {seconds:.1} s: {told}"
                    ));
                }
                self.quiet_until = self.quiet_until.max(until);
                self.allowed = (self.allowed / 2).max(1);
                self.try_again(request, pause);
            }
            Fault::Passing(_) if again => self.try_again(request, pause),
            // The others get through: it is this one.
            Fault::Passing(told) if self.calls.made > request.before => {
                let told = format!("no answer in {} tries: {told}", request.tries);
                self.reject(&request, 0, &told);
            }
            Fault::Passing(told) => {
                let tries = request.tries;
                let told = format!("{host} did not answer in {tries} tries: {told}");
                self.end(Stopped::Unreachable(told));
            }
        }
    }

    fn try_again(&mut self, mut request: Request, pause: Duration) {
        self.calls.retries += 1;
        request.due = Instant::now() + pause;
        self.again.push(request);
    }

    fn reject(&mut self, request: &Request, status: u16, told: &str) {
        for ask in &request.asks {
            self.calls.rejected += 1;
            self.done += 1;
            let told = told.to_string();
            let rejection = Rejection { status, told };
            self.rejected.insert(self.keys[*ask], rejection);
        }
    }

    /// Doubled with every try, and spread by what is asked, so that requests which failed together do not come back together.
    fn pause(&self, request: &Request) -> Duration {
        let doubled = self
            .endpoint
            .pause
            .saturating_mul(1 << request.tries.saturating_sub(1).min(16));
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
