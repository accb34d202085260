//! The requests of one `Client::all` while they are under way: what leaves, and when. What comes back is `landing`'s. All that
//! changes is changed between two awaits of one loop.

use super::observer::CallObserver;
use crate::budget::{Amount, Budget, Leave};
use crate::endpoint::Endpoint;
use crate::fault::{Fault, Rejection, Stopped};
use crate::http::{self, Http};
use crate::journal::claims::{Claim, Claims};
use crate::journal::{CallKey, Journal};
use crate::pace::Pace;
use crate::protocol::{Protocol, Reply, Usage};
use base::calls::Calls;
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How long a request to stop can go unnoticed.
const TICK: Duration = Duration::from_millis(50);
/// A call that another process makes is looked for again after this.
const CONTESTED: Duration = Duration::from_millis(100);
/// Requests in flight are paid for: where it is to stop, they are waited for so long. The engine ends a worker after twenty seconds.
const LAST_ANSWERS: Duration = Duration::from_secs(12);

/// Asks that go, went or will go in one request.
pub(super) struct Request {
    pub asks: Vec<usize>,
    /// That failed.
    pub tries: u32,
    pub due: Instant,
    /// Answers that had come when it last failed, or was made: whether others get through.
    pub seen: u64,
    pub most: Usage,
    /// Tokens that are likely.
    pub expected: u64,
    /// Set aside while it waits for its place and is in flight.
    pub reserved: Amount,
    /// Released when it is dropped, after the answers are durable.
    pub claims: Vec<Claim>,
}

/// How a request failed that is held.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub reason: String,
    /// Its replies could not be read: the service is there.
    pub there: bool,
}

pub(super) struct Landed<A> {
    pub request: Request,
    pub reply: Result<Reply<A>, Fault>,
    /// What a reply that cannot be used says it cost.
    pub paid: Option<Usage>,
    pub seconds: f64,
}

/// How many answers are durable, or the reason why not.
pub(super) type Kept = (usize, anyhow::Result<()>);

pub(crate) struct Flight<'a, P: Protocol> {
    pub(super) protocol: &'a P,
    pub(super) endpoint: &'a Endpoint,
    pub(super) http: &'a Http,
    pub(super) pace: &'a Pace,
    pub(super) claims: &'a Claims,
    pub(super) by: &'a str,
    pub(super) journal: &'a mut Journal,
    pub(super) budget: &'a mut Budget,
    pub(super) calls: &'a mut Calls,
    pub(super) asks: &'a [P::Ask],
    pub(super) keys: &'a [CallKey],
    pub(super) rejected: &'a mut BTreeMap<CallKey, Rejection>,
    /// The service answered something, some time: by the journal.
    pub(super) known: &'a mut bool,
    /// A rejection that does not say what it is for, the last of them; with its status.
    pub(super) refusal: Option<(u16, String)>,
    /// Rejections that do not say that they are for what the request holds.
    pub(super) unexplained: u64,
    /// Requests that failed in all their tries while nobody else was answered. What that means shows in what becomes of others.
    pub(super) held: Vec<(Request, Held)>,
    pub(super) fresh: VecDeque<usize>,
    /// Asks that another process makes, until they are looked at again.
    pub(super) contested: Vec<(Instant, usize)>,
    pub(super) again: Vec<Request>,
    /// Has its place within the limits a minute and leaves when it is due; nothing overtakes it.
    pub(super) waiting: Option<Request>,
    pub(super) flying: FuturesUnordered<LocalBoxFuture<'a, Landed<P::Answer>>>,
    pub(super) keeping: FuturesUnordered<LocalBoxFuture<'a, Kept>>,
    /// Nothing leaves before: the service asked for patience.
    pub(super) quiet_until: Instant,
    /// Requests in flight that are allowed now: halved when the service is busy, one more with every answer.
    pub(super) allowed: usize,
    /// Asks that a request may hold: one where the service turned out to answer only one.
    pub(super) most: usize,
    /// When the budget did not cover what would leave. It is asked again when something came back; after a while, too, where others have
    /// it together with this client.
    pub(super) short: Option<Instant>,
    pub(super) over: Option<(Stopped, Instant)>,
    pub(super) asked_to_stop: Option<Instant>,
    pub(super) done: usize,
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
        known: &'a mut bool,
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
            known,
            refusal: None,
            unexplained: 0,
            held: vec![],
            fresh: VecDeque::new(),
            contested: vec![],
            again: vec![],
            waiting: None,
            flying: FuturesUnordered::new(),
            keeping: FuturesUnordered::new(),
            quiet_until: Instant::now(),
            allowed: endpoint.concurrency,
            most: protocol.most(),
            short: None,
            over: None,
            asked_to_stop: None,
            done: 0,
        }
    }

    /// Until every one of the `missing` has its outcome, or it is over. `there`: answers that were there before.
    pub(crate) async fn fly(
        mut self,
        missing: Vec<usize>,
        there: usize,
        observer: &mut dyn CallObserver,
    ) -> Result<(), Stopped> {
        let total = self.asks.len();
        self.fresh = missing.into();
        loop {
            if observer.stop() {
                self.asked_to_stop.get_or_insert_with(Instant::now);
                self.end(Stopped::Asked);
            }
            if self.over.is_none() {
                self.start();
            }
            if self.ended() && self.settled() {
                break;
            }
            let tick = self.tick();
            tokio::select! {
                biased;
                Some(kept) = self.keeping.next() => self.kept(kept),
                Some(landed) = self.flying.next() => self.landed(landed, observer),
                () = tokio::time::sleep(tick) => {}
            }
            observer.progress(there + self.done, total, self.calls);
        }
        match self.over {
            Some((stopped, _)) => Err(stopped),
            None => Ok(()),
        }
    }

    /// The first reason stays.
    pub(super) fn end(&mut self, stopped: Stopped) {
        self.over.get_or_insert((stopped, Instant::now()));
    }

    fn ended(&self) -> bool {
        if !self.keeping.is_empty() {
            return false;
        }
        let Some((why, since)) = &self.over else {
            let to_do = self.fresh.len() + self.again.len() + self.contested.len();
            return self.flying.is_empty() && self.waiting.is_none() && to_do == 0;
        };
        let since = match why {
            // What is in flight is paid for, and comes.
            Stopped::Budget(_) | Stopped::Denied(_) => self.asked_to_stop.as_ref(),
            Stopped::Asked | Stopped::Unreachable(_) | Stopped::Journal(_) => Some(since),
        };
        self.flying.is_empty() || since.is_some_and(|since| since.elapsed() > LAST_ANSWERS)
    }

    /// How long nothing can happen by itself.
    fn tick(&self) -> Duration {
        if self.over.is_some() || !self.has_room() {
            return TICK;
        }
        let contested = self.contested.iter().map(|(due, _)| *due);
        let due = match &self.waiting {
            Some(request) => Some(request.due),
            None if self.short.is_some() => None,
            None => self.again.iter().map(|r| r.due).chain(contested).min(),
        };
        let due = due.map_or(TICK, |due| {
            let due = due.max(self.quiet_until);
            due.saturating_duration_since(Instant::now())
        });
        due.clamp(Duration::from_millis(1), TICK)
    }

    /// Answers that a slow disk has not got yet are lost if the process dies, as those in flight are. Requests that left together come
    /// back together, and nobody is to wait for that one sync: so twice as many.
    fn has_room(&self) -> bool {
        self.flying.len() < self.allowed && self.keeping.len() < 2 * self.endpoint.concurrency
    }

    /// Lets leave what may.
    fn start(&mut self) {
        let now = Instant::now();
        while self.over.is_none() && self.has_room() && now >= self.quiet_until {
            match self.waiting.take() {
                Some(request) if request.due <= now => {
                    self.depart(request);
                    continue;
                }
                Some(request) => {
                    self.waiting = Some(request);
                    return;
                }
                None if self.short.is_some_and(|since| now < since + CONTESTED) => return,
                None => {}
            }
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
        let (due, later) = std::mem::take(&mut self.contested)
            .into_iter()
            .partition(|(due, _)| *due <= now);
        self.contested = later;
        let due: Vec<(Instant, usize)> = due;
        for (_, ask) in due.into_iter().rev() {
            self.fresh.push_front(ask);
        }
        // Prompts of a sort stand together: the first may all be such as it does not answer.
        if self.calls.rejected > 0 && !self.answers() {
            let far = self.fresh.len() * 618 / 1000;
            self.fresh.rotate_left(far);
        }
        let mut asks: Vec<usize> = vec![];
        let mut claims = vec![];
        while let Some(ask) = self.fresh.front().copied() {
            let follows = |first: &usize| {
                let (first, next) = (&self.asks[*first], &self.asks[ask]);
                asks.len() < self.most && self.protocol.together(first, next)
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
        (!asks.is_empty()).then(|| self.request(asks, claims))
    }

    /// One that was not tried.
    pub(super) fn request(&self, asks: Vec<usize>, claims: Vec<Claim>) -> Request {
        let refs = self.refs(&asks);
        let expected = self.protocol.expected(&refs);
        Request {
            most: self.protocol.bound(&refs),
            expected: expected.prompt + expected.completion,
            asks,
            tries: 0,
            due: Instant::now(),
            seen: self.calls.made,
            reserved: Amount::default(),
            claims,
        }
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
        if let Some(entry) = self.journal.find(key)? {
            *self.known |= entry.host == self.endpoint.host();
            self.calls.reused += 1;
            self.done += 1;
            return Ok(None);
        }
        Ok(Some(claim))
    }

    /// Whether the service answers, and ever answered, what this client asks.
    pub(super) fn answers(&self) -> bool {
        self.calls.made > 0 || *self.known
    }

    fn refs(&self, asks: &[usize]) -> Vec<&'a P::Ask> {
        asks.iter().map(|ask| &self.asks[*ask]).collect()
    }

    /// Within the budget and the limits a minute, at once or when it is due.
    fn leave(&mut self, mut request: Request) {
        let leave = match self.budget.ask(&request.most) {
            Ok(leave) => leave,
            Err(error) => return self.end(Stopped::Journal(error)),
        };
        match leave {
            Leave::Go(reserved) => request.reserved = reserved,
            Leave::Wait => {
                self.short = Some(Instant::now());
                return self.again.push(request);
            }
            Leave::Over => {
                let reason = self.budget.shortage();
                return self.end(Stopped::Budget(reason));
            }
        }
        match self.pace.take(request.expected) {
            Ok(Duration::ZERO) => self.depart(request),
            Ok(pause) => {
                request.due = Instant::now() + pause;
                self.waiting = Some(request);
            }
            Err(error) => self.end(Stopped::Journal(error)),
        }
    }

    fn depart(&mut self, request: Request) {
        if request.tries > 0 {
            self.calls.retries += 1;
        }
        let (protocol, client) = (self.protocol, self.http);
        let url = self.url();
        let asks = self.refs(&request.asks);
        self.flying.push(Box::pin(async move {
            let left = Instant::now();
            let body = protocol.body(&asks);
            let reply = client.post(&body).await;
            let seconds = left.elapsed().as_secs_f64();
            let mut paid = None;
            let reply = reply.and_then(|body| {
                let read = protocol.read(&asks, &body);
                read.map_err(|wrong| {
                    paid = protocol.usage(&body);
                    let said = http::beginning(&body.to_string());
                    Fault::Senseless(format!(
                        "the reply of POST {url} makes no sense: {wrong}: {said}"
                    ))
                })
            });
            Landed {
                request,
                reply,
                paid,
                seconds,
            }
        }));
    }
}
