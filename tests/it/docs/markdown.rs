//! As much of Markdown as README and `docs/` use: fenced blocks with what stands behind their language, headings, links,
//! code in a line.

use std::collections::BTreeMap;

pub struct Page {
    /// From the root of the repository.
    pub name: String,
    pub text: String,
}

pub struct Block {
    /// Of the fence, from 1.
    pub line: usize,
    pub language: String,
    /// What stands behind the language.
    pub marks: BTreeMap<String, String>,
    pub text: String,
}

impl Page {
    pub fn read(name: &str) -> Page {
        let path = super::root().join(name);
        Page {
            name: name.into(),
            text: std::fs::read_to_string(path).unwrap(),
        }
    }

    /// Every line with its number, whether it stands in a block, and whether it is a fence.
    fn lines(&self) -> impl Iterator<Item = (usize, &str, Place)> {
        let mut within = false;
        self.text.lines().enumerate().map(move |(i, line)| {
            let fence = line.trim_start().starts_with("```");
            let place = match (fence, within) {
                (true, _) => Place::Fence,
                (_, true) => Place::Block,
                (_, false) => Place::Prose,
            };
            within ^= fence;
            (i + 1, line, place)
        })
    }

    pub fn prose(&self) -> impl Iterator<Item = (usize, &str)> {
        let prose = self.lines().filter(|(_, _, place)| *place == Place::Prose);
        prose.map(|(at, line, _)| (at, line))
    }

    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = vec![];
        let mut open = false;
        for (line, text, place) in self.lines() {
            match place {
                Place::Fence if open => open = false,
                Place::Fence => {
                    open = true;
                    let info = text.trim_start().trim_start_matches('`');
                    let (language, marks) = info.split_once(' ').unwrap_or((info, ""));
                    blocks.push(Block {
                        line,
                        language: language.into(),
                        marks: marked(marks),
                        text: String::new(),
                    });
                }
                Place::Block => {
                    let block = blocks.last_mut().expect("a block is open");
                    block.text += text;
                    block.text.push('\n');
                }
                Place::Prose => {}
            }
        }
        assert!(!open, "{}: a block is never closed", self.name);
        blocks
    }

    /// What stands between backquotes in prose.
    pub fn code(&self) -> Vec<(usize, String)> {
        let mut found = vec![];
        // Code may go on in the next line of its paragraph.
        let mut paragraph = String::new();
        let mut begin = 1;
        let end = self.text.lines().count() + 1;
        let prose = self.prose().chain([(end, "")]);
        for (at, line) in prose {
            if line.trim().is_empty() {
                let inner = paragraph.split('`').skip(1).step_by(2);
                found.extend(inner.map(|code| (begin, code.to_string())));
                paragraph.clear();
                begin = at + 1;
            } else {
                paragraph += line.trim_start();
                paragraph.push(' ');
            }
        }
        found
    }

    /// Targets of `[text](target)`.
    pub fn links(&self) -> Vec<(usize, String)> {
        let mut found = vec![];
        for (at, line) in self.prose() {
            for part in line.split("](").skip(1) {
                let target = part.split(')').next().expect("a link is closed");
                found.push((at, target.to_string()));
            }
        }
        found
    }

    /// By which links name its headings, as GitHub and mdBook make them.
    pub fn anchors(&self) -> Vec<String> {
        let headings = self.prose().filter(|(_, line)| line.starts_with('#'));
        headings
            .map(|(_, line)| {
                let title = line.trim_start_matches('#').trim().to_lowercase();
                let kept = title
                    .chars()
                    .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
                kept.collect::<String>().replace(' ', "-")
            })
            .collect()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Fence,
    Block,
    Prose,
}

/// `a=b c="d e"`.
fn marked(text: &str) -> BTreeMap<String, String> {
    let mut marks = BTreeMap::new();
    let mut rest = text.trim();
    while let Some((key, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').expect("a quote is closed"),
            None => after.split_once(' ').unwrap_or((after, "")),
        };
        marks.insert(key.trim().to_string(), value.to_string());
        rest = next.trim();
    }
    assert!(rest.is_empty(), "`{rest}` marks nothing");
    marks
}

#[test]
fn a_page_is_read_as_it_is_shown() {
    let text = "# A heading, `with` code\nsee [it](a.md#b) and `pipe\nrun`\n\n```toml base=r.toml\n[a](b)\n```\n\
        ```sh parsed=\"not here\" file=x\npipe\n```\n";
    let page = Page {
        name: "p.md".into(),
        text: text.into(),
    };
    assert_eq!(page.anchors(), ["a-heading-with-code"]);
    assert_eq!(page.links(), [(2, "a.md#b".to_string())]);
    let code: Vec<String> = page.code().into_iter().map(|(_, code)| code).collect();
    assert_eq!(code, ["with", "pipe run"]);
    let blocks = page.blocks();
    assert_eq!(blocks.len(), 2);
    assert_eq!(blocks[0].language, "toml");
    assert_eq!(blocks[0].marks["base"], "r.toml");
    assert_eq!(blocks[0].text, "[a](b)\n");
    assert_eq!((blocks[1].line, blocks[1].text.as_str()), (8, "pipe\n"));
    assert_eq!(blocks[1].marks["parsed"], "not here");
    assert_eq!(blocks[1].marks["file"], "x");
}
