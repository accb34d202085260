//! How much work of a sampling run is left. Rows end early, at lengths that nobody knows, so rows that are done say little: what is
//! counted is the work of tokens, and what is to come is estimated from the lengths of the rows that ended and of those that go on.
//!
//! A row under way is as long as it is *at least*: leaving it out, or taking its length for its end, would favour short rows. So the
//! lengths are estimated as survival times are, by the product limit of Kaplan and Meier (1958, JASA 53:457), rows under way being
//! censored. Beyond the longest row seen the hazard goes on as it was lately, rising or falling as the ends so far do.

/// What reading the weights for a step costs, as a number of rows.
const STEP: f64 = 6.0;

/// Rows that have to have come to a length for their share of ends there to count.
const FEW: u64 = 3;

/// Ends among the rows seen below which nothing can be told of lengths but their limit.
const ENDS: f64 = 0.03;

/// What a rising hazard is tempered by: of the rows at most so many never end by themselves.
const ENDLESS: f64 = 0.15;

/// No longer limit is told apart from this one: a forecast is to be cheap.
const LONGEST: usize = 1 << 17;

/// Work so far and work to come, in the cost of one token of a short row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    pub done: f64,
    pub left: f64,
    /// Too few rows have ended to tell: it is as if every row ran into its limit.
    pub at_most: bool,
}

/// What a token costs, as far as that differs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Costs {
    /// A token of a prompt, all of which are computed together, in tokens that are sampled.
    pub given: f64,
    /// Attending to so many earlier tokens costs as much as the rest of a token.
    pub context: f64,
}

/// Counts a sampling run as it goes.
#[derive(Clone, Debug)]
pub struct Tally {
    costs: Costs,
    /// Tokens a row may have.
    limit: usize,
    /// The mean length of the prompts.
    prompt: f64,
    /// Work of the prompts that are not computed yet.
    prompts_left: f64,
    /// Rows not begun, and rows that ended.
    waiting: usize,
    pub ended: usize,
    pub tokens: usize,
    done: f64,
    /// By length, how many rows ended there by themselves, and how many at all.
    ends: Vec<u64>,
    lengths: Vec<u64>,
    /// By team, the lengths of its rows.
    under_way: Vec<Vec<usize>>,
    /// Rows that all teams together may have at a time.
    width: usize,
}

impl Tally {
    /// `prompts`: the length of each, and how many samples it has.
    pub fn new(
        costs: Costs,
        prompts: impl Iterator<Item = (usize, usize)>,
        limit: usize,
        (teams, width): (usize, usize),
    ) -> Tally {
        let limit = limit.min(LONGEST);
        let mut tally = Tally {
            costs,
            limit,
            prompt: 0.0,
            prompts_left: 0.0,
            waiting: 0,
            ended: 0,
            tokens: 0,
            done: 0.0,
            ends: vec![0; limit + 1],
            lengths: vec![0; limit + 1],
            under_way: vec![vec![]; teams],
            width: width.max(1),
        };
        for (length, samples) in prompts {
            tally.prompts_left += tally.given(length);
            tally.prompt += (length * samples) as f64;
            tally.waiting += samples;
        }
        tally.prompt /= tally.waiting.max(1) as f64;
        tally
    }

    /// A prompt of this length was computed.
    pub fn computed(&mut self, prompt: usize) {
        let work = self.given(prompt);
        self.prompts_left -= work;
        self.done += work;
    }

    /// A row has begun, with its first token.
    pub fn begun(&mut self) {
        self.waiting -= 1;
        self.tokens += 1;
        self.done += self.token(0);
    }

    /// A row has ended: by itself, or at its limit.
    pub fn ended(&mut self, length: usize, by_itself: bool) {
        self.ended += 1;
        let length = length.min(self.limit);
        self.lengths[length] += 1;
        self.ends[length] += u64::from(by_itself);
    }

    /// A team has made a step, after which its rows have these lengths.
    pub fn step(&mut self, lengths: impl Iterator<Item = usize> + Clone) {
        self.tokens += lengths.clone().count();
        self.done += STEP + lengths.map(|l| self.token(l - 1)).sum::<f64>();
    }

    /// The rows that a team goes on with.
    pub fn keeps(&mut self, team: usize, lengths: impl Iterator<Item = usize>) {
        self.under_way[team].clear();
        let limit = self.limit;
        self.under_way[team].extend(lengths.map(|l| l.min(limit)));
    }

    /// Work so far, as in `work`.
    pub fn done(&self) -> f64 {
        self.done
    }

    pub fn work(&self) -> Work {
        let running: Vec<usize> = self.under_way.iter().flatten().copied().collect();
        let (survival, at_most) = self.survival(&running);
        // Of a row that has this length: what all its tokens to come cost, times the share of rows that get so far.
        let (mut costs, mut tokens) = (vec![0.0; self.limit + 1], 0.0);
        for t in (0..self.limit).rev() {
            costs[t] = costs[t + 1] + self.token(t) * survival[t];
            tokens += survival[t];
        }
        let residual = |l: &usize| costs[*l] / survival[*l].max(f64::MIN_POSITIVE);
        let (waiting, teams) = (self.waiting as f64, self.under_way.len().max(1) as f64);
        let steps = waiting * tokens / self.width as f64;
        // What rounding has left of prompts that are all computed is no work.
        let prompts = match self.waiting {
            0 => 0.0,
            _ => self.prompts_left.max(0.0),
        };
        let queued = prompts + waiting * costs[0] + teams * STEP * steps;
        // Each team goes on with its own rows; those that wait even out what differs, as far as they go.
        let own = self.under_way.iter().map(|rows| {
            let steps = self.drain(rows, &survival);
            rows.iter().map(residual).sum::<f64>() + STEP * steps
        });
        let (sum, most) = own.fold((0.0, 0.0_f64), |(sum, most), own| {
            (sum + own, most.max(own))
        });
        Work {
            done: self.done,
            left: (queued + sum).max(most * teams),
            at_most: at_most && self.waiting + running.len() > 0,
        }
    }

    /// The share of rows that get beyond each length; and whether that is a bound, as too few have ended.
    fn survival(&self, running: &[usize]) -> (Vec<f64>, bool) {
        let mut reached = vec![0u64; self.limit + 2];
        for (length, n) in self.lengths.iter().enumerate() {
            reached[length] += n;
        }
        for length in running {
            reached[*length] += 1;
        }
        for length in (0..=self.limit).rev() {
            reached[length] += reached[length + 1];
        }
        let mut survival = vec![1.0; self.limit + 1];
        let mut seen = 0;
        for length in 1..=self.limit {
            let left = reached[length];
            if left < FEW.min(reached[1]).max(1) {
                break;
            }
            seen = length;
            let share = self.ends[length] as f64 / left as f64;
            survival[length] = survival[length - 1] * (1.0 - share).max(0.0);
        }
        let ends = self.ends.iter().sum::<u64>() as f64;
        if seen < self.limit {
            self.extrapolate(&mut survival, &reached, seen);
        }
        let known = seen >= self.limit || ends >= ENDS * reached[0] as f64;
        (survival, !known || ends == 0.0 && seen < self.limit)
    }

    /// The survival beyond `seen`. The hazard of the last third goes on, by a power of the length that the ends so far tell: were
    /// it as likely anywhere that a row ends, their logarithms would lie one below the last on the average.
    fn extrapolate(&self, survival: &mut [f64], reached: &[u64], seen: usize) {
        let last = seen.max(1) as f64;
        let ends = || (1..=seen).map(|l| (l, self.ends[l] as f64));
        let all: f64 = ends().map(|(_, n)| n).sum();
        let below: f64 = ends().map(|(l, n)| n * (last / l as f64).ln()).sum();
        let power = (1.1 * (all + 3.0) / (below + 3.0)).clamp(0.5, 8.0);
        let from = 2 * seen / 3;
        let late: f64 = ends().filter(|(l, _)| *l > from).map(|(_, n)| n).sum();
        // Weighted, so that the hazard is the one at `last`.
        let at = |l: usize| (l as f64 / last).powf(power - 1.0);
        let lived: f64 = (from + 1..=seen).map(|l| reached[l] as f64 * at(l)).sum();
        let hazard = if lived > 0.0 { late / lived } else { 0.0 };
        // Of those who are left some will never end by themselves, where a rising hazard says that all soon will.
        let endless = ENDLESS * (1.0 - 1.0 / power).max(0.0);
        let (start, mut sum) = (survival[seen], 0.0);
        let beyond = survival.iter_mut().enumerate().take(self.limit + 1);
        for (length, alive) in beyond.skip(seen + 1) {
            sum += hazard * at(length);
            *alive = start * (endless + (1.0 - endless) * f64::exp(-sum));
        }
    }

    /// Steps until the last of these rows has probably ended.
    fn drain(&self, running: &[usize], survival: &[f64]) -> f64 {
        let alive = |steps: usize| -> f64 {
            let one = |l: &usize| match l + steps {
                at if at < self.limit => survival[at] / survival[*l].max(f64::MIN_POSITIVE),
                _ => 0.0,
            };
            running.iter().map(one).sum()
        };
        let (mut least, mut most) = (0, self.limit);
        while least < most {
            let middle = least.midpoint(most);
            match alive(middle) < 0.5 {
                true => most = middle,
                false => least = middle + 1,
            }
        }
        most as f64
    }

    /// Of the token that follows so many others of its row.
    fn token(&self, place: usize) -> f64 {
        1.0 + (self.prompt + place as f64) / self.costs.context
    }

    fn given(&self, length: usize) -> f64 {
        let length = length as f64;
        length * (self.costs.given + length / 2.0 / self.costs.context)
    }
}
