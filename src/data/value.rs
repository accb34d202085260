//! A JSON text as programs of others write it: strict JSON, and of what Python's `json` writes besides what has one meaning. `NaN` and
//! `Infinity` are no numbers and become null; half of a surrogate pair, which is what a cut emoji leaves, becomes U+FFFD. Everything
//! else is an error that says what stands there and what to write instead. Nesting is bounded.

use serde_json::{Map, Value};
use std::fmt;

/// Brackets inside brackets: each is a call.
pub const DEEPEST: usize = 128;

/// What is wrong, and where: the column counts characters from 1.
#[derive(Debug)]
pub struct Wrong {
    pub column: usize,
    pub what: String,
    /// Whether the text ends there.
    pub ended: bool,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.what)
    }
}

impl std::error::Error for Wrong {}

/// An object, and the keys that it has more than once; of these the last counts, as in Python.
pub type Object = (Map<String, Value>, Vec<String>);

/// The one value that a text is. Only blanks may follow it.
pub fn parse(text: &str) -> Result<Value, Wrong> {
    Parser::new(text).only(Parser::value)
}

/// The same from bytes.
pub fn from_slice(bytes: &[u8]) -> Result<Value, Wrong> {
    parse(utf8(bytes)?)
}

/// The one object that a text is.
pub fn object(bytes: &[u8]) -> Result<Object, Wrong> {
    Parser::new(utf8(bytes)?).only(|parser| {
        let (map, twice) = match parser.next() {
            Some('{') => parser.fields()?,
            Some('[') => return parser.fail("an array stands where an object was expected"),
            found => return parser.stranger(found, "an object"),
        };
        Ok((map, twice))
    })
}

fn utf8(bytes: &[u8]) -> Result<&str, Wrong> {
    std::str::from_utf8(bytes).map_err(|e| Wrong {
        column: e.valid_up_to() + 1,
        what: "it is not UTF-8".into(),
        ended: false,
    })
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

type Parsed<T> = Result<T, Wrong>;

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parser<'a> {
        Parser {
            text,
            at: 0,
            depth: 0,
        }
    }

    fn only<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        let read = read(self)?;
        match self.next() {
            None => Ok(read),
            Some(',') => self.fail(
                "a comma follows the object; objects of a .jsonl file have none between them: take the commas away, or put [ and ] \
                 around all of them and name the file .json",
            ),
            Some('{') => self.fail("another object follows; each has a line of its own"),
            Some(_) => self.fail(format!(
                "something follows the end of the value: {}",
                self.here()
            )),
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// The next character that is no blank; it stays.
    fn next(&mut self) -> Option<char> {
        let rest = self.rest();
        let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r');
        self.at += rest.len() - rest.trim_start_matches(blank).len();
        self.rest().chars().next()
    }

    fn fail<T>(&self, what: impl Into<String>) -> Parsed<T> {
        Err(Wrong {
            column: self.text[..self.at].chars().count() + 1,
            what: what.into(),
            ended: self.at == self.text.len(),
        })
    }

    /// What stands here, cut short.
    fn here(&self) -> String {
        let shown: String = self.rest().chars().take(20).collect();
        format!("`{}`", shown.trim_end())
    }

    /// Says what stands where something else was expected.
    fn stranger<T>(&self, found: Option<char>, expected: &str) -> Parsed<T> {
        let rest = self.rest();
        let python = ["True", "False", "None"];
        match found {
            None => self.fail(format!("the text ends where {expected} was expected")),
            Some('\'') => self.fail(
                "a single quote; JSON has double ones. It looks like the text of a Python value: `json.dumps` writes JSON",
            ),
            Some(_) if python.iter().any(|word| rest.starts_with(word)) => self.fail(format!(
                "{} is Python, not JSON, which has `true`, `false` and `null`: `json.dumps` writes it",
                self.here()
            )),
            Some('/' | '#') => self.fail("JSON has no comments"),
            Some('\u{feff}') => self.fail(
                "a byte order mark, as where several files were put together; take it out",
            ),
            Some(_) => self.fail(format!("{} stands where {expected} was expected", self.here())),
        }
    }

    fn value(&mut self) -> Parsed<Value> {
        match self.next() {
            Some('{') => Ok(Value::Object(self.fields()?.0)),
            Some('[') => self.items(),
            Some('"') => Ok(Value::String(self.string()?)),
            found => self.word(found),
        }
    }

    /// Over an opening bracket.
    fn open(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return self.fail(format!("brackets nest deeper than {DEEPEST}"));
        }
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.at += 1;
    }

    fn fields(&mut self) -> Parsed<Object> {
        self.open()?;
        let (mut map, mut twice) = (Map::new(), vec![]);
        if self.next() == Some('}') {
            self.close();
            return Ok((map, twice));
        }
        loop {
            let key = match self.next() {
                Some('"') => self.string()?,
                Some('}') => return self.fail("a comma stands before the closing bracket"),
                found => return self.stranger(found, "a key in double quotes"),
            };
            match self.next() {
                Some(':') => self.at += 1,
                found => return self.stranger(found, "a colon"),
            }
            let value = self.value()?;
            if map.insert(key.clone(), value).is_some() {
                twice.push(key);
            }
            match self.next() {
                Some(',') => self.at += 1,
                Some('}') => {
                    self.close();
                    return Ok((map, twice));
                }
                found => return self.stranger(found, "a comma or the end of the object"),
            }
        }
    }

    fn items(&mut self) -> Parsed<Value> {
        self.open()?;
        let mut items = vec![];
        if self.next() == Some(']') {
            self.close();
            return Ok(Value::Array(items));
        }
        loop {
            if self.next() == Some(']') {
                return self.fail("a comma stands before the closing bracket");
            }
            items.push(self.value()?);
            match self.next() {
                Some(',') => self.at += 1,
                Some(']') => {
                    self.close();
                    return Ok(Value::Array(items));
                }
                found => return self.stranger(found, "a comma or the end of the array"),
            }
        }
    }

    /// A number, or one of the few words.
    fn word(&mut self, found: Option<char>) -> Parsed<Value> {
        let rest = self.rest();
        let of_word = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let word = &rest[..rest.find(|c| !of_word(c)).unwrap_or(rest.len())];
        let value = match word {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" | "NaN" | "-NaN" | "Infinity" | "-Infinity" => Value::Null,
            _ => match number(word) {
                Some(value) => value,
                None => return self.stranger(found, "a value"),
            },
        };
        self.at += word.len();
        Ok(value)
    }

    fn string(&mut self) -> Parsed<String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let end = rest.find(|c: char| c == '"' || c == '\\' || c < ' ');
            let Some(end) = end else {
                self.at = self.text.len();
                return self.fail("the text ends inside a string");
            };
            out.push_str(&rest[..end]);
            self.at += end;
            match rest.as_bytes()[end] {
                b'"' => {
                    self.at += 1;
                    return Ok(out);
                }
                b'\\' => out.push(self.escape()?),
                control => {
                    return self.fail(format!(
                        "the control character U+{control:04X} stands in a string; JSON writes it as an escape (`\\n`, `\\t`)"
                    ));
                }
            }
        }
    }

    fn escape(&mut self) -> Parsed<char> {
        let escaped = self.rest()[1..].chars().next();
        let c = match escaped {
            Some(c @ ('"' | '\\' | '/')) => c,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => return self.unicode(),
            None => return self.fail("the text ends inside a string"),
            Some(other) => {
                return self.fail(format!(
                    "`\\{other}` is no escape of JSON; a backslash is written twice"
                ));
            }
        };
        self.at += 2;
        Ok(c)
    }

    /// `\uXXXX`, or two of them for a character beyond 16 bits.
    fn unicode(&mut self) -> Parsed<char> {
        let Some(first) = self.unit(self.at) else {
            return self.fail("four hexadecimal digits have to follow `\\u`");
        };
        self.at += 6;
        if (0xd800..0xdc00).contains(&first)
            && let Some(second @ 0xdc00..0xe000) = self.unit(self.at)
        {
            self.at += 6;
            let both = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return Ok(char::from_u32(both).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// What `\uXXXX` at this place stands for.
    fn unit(&self, at: usize) -> Option<u32> {
        let digits = self.text.get(at..at + 6)?.strip_prefix("\\u")?;
        let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        hex.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
    }
}

/// A whole number that is too large for 64 bits stays the text that it is: an id must not be rounded.
fn number(word: &str) -> Option<Value> {
    let digits = word.strip_prefix('-').unwrap_or(word);
    let whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let value: Value = serde_json::from_str(word).ok()?;
    match value {
        Value::Number(n) if whole && n.is_f64() && digits.len() > 1 => {
            Some(Value::String(word.into()))
        }
        Value::Number(_) => Some(value),
        _ => None,
    }
}
