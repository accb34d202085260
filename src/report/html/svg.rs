//! Pictures as text: lines, polygons and words of an SVG, in the colours of a page or in fixed ones. Knows no charts.

use std::fmt::Write as _;

/// Size of letters in a picture.
pub const TEXT: f64 = 13.0;

/// Colours that can be told apart, also by most who see colours differently; each readable on white.
pub const COLOURS: [&str; 8] = [
    "#005FB0", "#C2410C", "#007A57", "#8244C0", "#9A5C00", "#0B6F8A", "#B5175C", "#5A5A5A",
];

/// Where a picture stands.
#[derive(Clone, Copy, PartialEq)]
pub enum Place {
    /// In a page, whose colours follow the reader's theme.
    Page,
    /// In a file of its own.
    File,
}

impl Place {
    pub fn ink(self) -> &'static str {
        self.either("currentColor", "#222222")
    }

    pub fn axis(self) -> &'static str {
        self.either("var(--axis)", "#8C8C8C")
    }

    pub fn grid(self) -> &'static str {
        self.either("var(--grid)", "#E4E4E4")
    }

    pub fn colour(self, style: usize) -> String {
        let n = style % COLOURS.len();
        match self {
            Place::Page => format!("var(--c{n})"),
            Place::File => COLOURS[n].into(),
        }
    }

    fn either(self, page: &'static str, file: &'static str) -> &'static str {
        match self {
            Place::Page => page,
            Place::File => file,
        }
    }
}

/// Which side of a text is at its place.
#[derive(Clone, Copy)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// What a point stands for.
pub struct Point<'a> {
    /// In words.
    pub about: &'a str,
    pub to: To<'a>,
}

/// Where a point of a page leads.
pub enum To<'a> {
    Nothing,
    /// To the prompt with this id.
    Prompt(&'a str),
    /// To the part of the page that is named so behind `#`.
    Part(&'a str),
}

/// The content of a picture, without its outermost tags.
pub struct Svg {
    pub place: Place,
    pub text: String,
}

impl Svg {
    pub fn new(place: Place) -> Svg {
        Svg {
            place,
            text: String::new(),
        }
    }

    /// Joins the points. `more`: further attributes.
    pub fn line(&mut self, points: &[(f64, f64)], colour: &str, width: f64, more: &str) {
        let points = joined(points.iter().copied());
        let _ = writeln!(
            self.text,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"{more}/>"
        );
    }

    /// Corners are around the point.
    pub fn polygon(&mut self, (x, y): (f64, f64), corners: &[(f64, f64)], colour: &str) {
        let points = joined(corners.iter().map(|(a, b)| (x + a, y + b)));
        let _ = writeln!(
            self.text,
            "<polygon points=\"{points}\" fill=\"{colour}\"/>"
        );
    }

    /// A polygon that in a page says what it is, and leads somewhere. A rim in the page's colour tells it from what it stands on.
    pub fn point(&mut self, at: (f64, f64), corners: &[(f64, f64)], colour: &str, of: &Point) {
        if self.place == Place::File {
            return self.polygon(at, corners, colour);
        }
        let about = escape(of.about);
        let (begin, end) = match &of.to {
            To::Nothing => ("<g class=\"mark\">".into(), "</g>"),
            To::Prompt(id) => (
                format!(
                    "<a class=\"point\" href=\"#samples\" tabindex=\"-1\" data-prompt=\"{}\">",
                    escape(id)
                ),
                "</a>",
            ),
            To::Part(part) => (
                format!("<a class=\"mark\" href=\"#{}\">", escape(part)),
                "</a>",
            ),
        };
        let _ = write!(self.text, "{begin}<title>{about}</title>");
        self.polygon(at, corners, colour);
        let _ = writeln!(self.text, "{end}");
    }

    /// A line of text whose middle is at this height.
    pub fn text(&mut self, at: (f64, f64), anchor: Anchor, size: f64, text: &str) {
        self.turned(at, anchor, size, text, "");
    }

    /// A line of text from below to above.
    pub fn upwards(&mut self, (x, y): (f64, f64), text: &str) {
        let turn = format!(" transform=\"rotate(-90 {} {})\"", number(x), number(y));
        self.turned((x, y), Anchor::Middle, TEXT, text, &turn);
    }

    fn turned(&mut self, (x, y): (f64, f64), anchor: Anchor, size: f64, text: &str, turn: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = writeln!(
            self.text,
            "<text x=\"{}\" y=\"{}\" dy=\"0.35em\" text-anchor=\"{anchor}\" font-family=\"sans-serif\" font-size=\"{size}\" \
             fill=\"{}\"{turn}>{}</text>",
            number(x),
            number(y),
            self.place.ink(),
            escape(text)
        );
    }
}

fn joined(points: impl Iterator<Item = (f64, f64)>) -> String {
    let points: Vec<String> = points
        .map(|(x, y)| format!("{},{}", number(x), number(y)))
        .collect();
    points.join(" ")
}

/// To a tenth of a pixel.
fn number(value: f64) -> f64 {
    (value * 10.0).round() / 10.0 + 0.0
}

/// Text for HTML and XML, as content or as an attribute's value.
pub fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            // What XML cannot hold.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
