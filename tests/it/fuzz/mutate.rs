//! Changes of seed inputs, the same in every run: bits flipped, parts cut, doubled and exchanged, numbers driven to their extremes,
//! words of the formats put where they do not belong.

const NUMBERS: [&str; 14] = [
    "0",
    "-1",
    "1",
    "255",
    "65536",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "1e308",
    "1e999",
    "-0.0",
    "0.1",
];

const WORDS: [&str; 28] = [
    "\"",
    "'",
    "{",
    "}",
    "[",
    "]",
    "${",
    "}}",
    "{{",
    "{%",
    "%}",
    ",",
    ":",
    "=",
    ".",
    "..",
    "/",
    "\\",
    "\n",
    "\0",
    "null",
    "true",
    "[[",
    "../../x",
    "/etc/passwd",
    "CON",
    "\u{10f8e0}",
    "日本",
];

/// Inputs do not grow beyond this.
const LONGEST: usize = 1 << 16;

pub struct Mutator {
    seeds: Vec<Vec<u8>>,
    state: u64,
}

impl Mutator {
    pub fn new(seeds: Vec<Vec<u8>>) -> Mutator {
        let state = 0x9e37_79b9_7f4a_7c15;
        Mutator { seeds, state }
    }

    pub fn next(&mut self) -> Vec<u8> {
        let mut input = self.seed();
        for _ in 0..1 + self.below(4) {
            self.change(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let (from, to) = self.part(input.len());
        match self.below(9) {
            0 if !input.is_empty() => {
                let at = self.below(input.len());
                input[at] ^= 1 << self.below(8);
            }
            1 => drop(input.drain(from..to)),
            2 => input.truncate(from),
            3 => {
                let doubled = input[from..to].repeat(1 + self.below(20));
                input.splice(from..from, doubled);
            }
            4 => {
                let other = self.seed();
                let (start, end) = self.part(other.len());
                input.splice(from..to, other[start..end].iter().copied());
            }
            5 | 6 => self.number(input),
            _ => {
                let word = WORDS[self.below(WORDS.len())];
                input.splice(from..from, word.bytes());
            }
        }
    }

    /// One of its numbers becomes another.
    fn number(&mut self, input: &mut Vec<u8>) {
        let start = match input.len() {
            0 => 0,
            length => self.below(length),
        };
        let digits = |b: &u8| b.is_ascii_digit();
        let Some(from) = input[start..].iter().position(digits).map(|i| i + start) else {
            return;
        };
        let length = input[from..].iter().take_while(|b| digits(b)).count();
        let number = NUMBERS[self.below(NUMBERS.len())];
        input.splice(from..from + length, number.bytes());
    }

    fn seed(&mut self) -> Vec<u8> {
        let at = self.below(self.seeds.len());
        self.seeds[at].clone()
    }

    /// A short part of so many bytes, more often than a long one.
    fn part(&mut self, length: usize) -> (usize, usize) {
        let from = self.below(length + 1);
        let most = match self.below(4) {
            0 => length - from,
            _ => (length - from).min(16),
        };
        (from, from + self.below(most + 1))
    }

    /// Below `n`, by Marsaglia's xorshift.
    fn below(&mut self, n: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) as usize % n
    }
}
