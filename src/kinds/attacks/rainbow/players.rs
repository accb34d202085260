//! Who speaks in rainbow teaming: models, or the built-in world as mutator and judge.

use super::archive::Elite;
use super::hunt::{Asked, Cast, Said, Stage};
use super::params::Params;
use super::told::Told;
use crate::attacks::part::params::{From, Part};
use crate::attacks::part::{Question, Replies};
use anyhow::{Context, Result};
use base::rng::{Rng, Seed};
use base::rows::{Message, Prompt};
use world::{Guise, World, attack, judge};

pub struct Players<'a> {
    pub p: &'a Params,
    pub risks: &'a [String],
    pub styles: &'a [String],
    pub prompts: &'a [Prompt],
    pub told: &'a Told,
    pub speakers: &'a mut dyn Replies,
    pub world: World,
}

impl Cast for Players<'_> {
    fn say(&mut self, stage: Stage, asked: &[Asked]) -> Result<Vec<Vec<Said>>> {
        let part = self.part(stage);
        if part.from == From::World {
            return asked.iter().map(|a| self.by_world(stage, a)).collect();
        }
        let mut questions = vec![];
        let mut counts = vec![];
        for asked in asked {
            let own = self.questions(&part, stage, asked);
            counts.push(own.len());
            questions.extend(own);
        }
        let replies = self.speakers.replies(part.block, &questions)?;
        let mut said = replies.iter().map(|reply| Said {
            text: reply.answer(),
            origin: None,
            asked: true,
            tokens: reply.tokens,
        });
        let each = counts.into_iter().map(|n| said.by_ref().take(n).collect());
        Ok(each.collect())
    }
}

impl Players<'_> {
    fn part(&self, stage: Stage) -> Part {
        match stage {
            Stage::Risk | Stage::Style => self.p.mutator(),
            Stage::Answer => self.p.target(),
            Stage::Rating | Stage::Comparison => self.p.judge(),
        }
    }

    fn risk(&self, cell: usize) -> &str {
        &self.risks[cell / self.styles.len()]
    }

    fn style(&self, cell: usize) -> &str {
        &self.styles[cell % self.styles.len()]
    }

    fn questions(&self, part: &Part, stage: Stage, asked: &Asked) -> Vec<Question> {
        let (mutant, told) = (asked.mutant, self.told);
        let (risk, style) = (self.risk(mutant.cell), self.style(mutant.cell));
        let own = mutant.text.as_str();
        let texts = match stage {
            Stage::Risk => vec![told.risk(own, risk)],
            Stage::Style => vec![told.style(own, risk, style)],
            Stage::Answer => {
                let unknown = asked.incumbent.filter(|elite| elite.answer.is_none());
                let both = std::iter::once(own).chain(unknown.map(|elite| elite.text.as_str()));
                both.map(String::from).collect()
            }
            Stage::Rating => vec![told.rating(own, &mutant.answer)],
            Stage::Comparison => {
                let challenger = (own, mutant.answer.as_str());
                let incumbent = asked.incumbent.map_or(("", ""), |elite| {
                    (elite.text.as_str(), elite.answer.as_deref().unwrap_or(""))
                });
                let ways = [
                    told.comparison(incumbent, challenger),
                    told.comparison(challenger, incumbent),
                ];
                let all = std::iter::repeat_n(ways, self.p.rounds);
                all.flatten().collect()
            }
        };
        let each = texts.into_iter().enumerate().map(|(i, text)| Question {
            id: format!("{}/{}/{stage:?}/{i}", asked.archive, mutant.iteration),
            messages: vec![Message::new("user", &text)],
            sample: sample(part, asked, i),
            begun: None,
        });
        each.collect()
    }

    fn by_world(&self, stage: Stage, asked: &Asked) -> Result<Vec<Said>> {
        let mutant = asked.mutant;
        let text = |text: String| Said {
            text,
            ..Said::default()
        };
        Ok(match stage {
            Stage::Risk => vec![self.of_risk(asked)?],
            Stage::Style => vec![text(self.of_style(asked)?)],
            Stage::Answer => unreachable!("the world is no target"),
            Stage::Rating => {
                let rating = self.rated(mutant.origin, &mutant.answer)?;
                vec![text(format!("[[{rating}]]"))]
            }
            Stage::Comparison => {
                let own = self.rated(mutant.origin, &mutant.answer)?;
                let rated =
                    |elite: &Elite| self.rated(elite.origin, elite.answer.as_deref().unwrap_or(""));
                let other = asked.incumbent.map(rated).transpose()?.unwrap_or(0);
                let vote = |first: u32, second: u32| match first.cmp(&second) {
                    std::cmp::Ordering::Greater => text("[[1]]".into()),
                    std::cmp::Ordering::Less => text("[[2]]".into()),
                    std::cmp::Ordering::Equal => text("[[0]]".into()),
                };
                let ways = [vote(other, own), vote(own, other)];
                let all = std::iter::repeat_n(ways, self.p.rounds);
                all.flatten().collect()
            }
        })
    }

    fn rng(&self, asked: &Asked, what: &str) -> Rng {
        let seed = Seed::new(self.p.seed).child("rainbow").child(what);
        let seed = seed.at(asked.archive as u64);
        seed.at(asked.mutant.iteration as u64).rng()
    }

    /// A prompt with that effect which has nothing around it that the style has not; nothing where there is none.
    fn of_risk(&self, asked: &Asked) -> Result<Said> {
        let (risk, wanted) = (self.risk(asked.mutant.cell), self.guise(asked)?);
        let mut fitting = vec![];
        for (i, prompt) in self.prompts.iter().enumerate() {
            let of_risk = prompt.truth.as_ref().and_then(attack::risk) == Some(risk);
            if of_risk && wanted.holds(attack::guise(prompt)?) {
                fitting.push(i);
            }
        }
        if fitting.is_empty() {
            return Ok(Said::default());
        }
        let origin = *self.rng(asked, "risk").pick(&fitting);
        Ok(Said {
            text: self.prompts[origin].prompt.clone(),
            origin: Some(origin),
            ..Said::default()
        })
    }

    /// That prompt in its guise; nothing where its words do not go so far.
    fn of_style(&self, asked: &Asked) -> Result<String> {
        let origin = asked.mutant.origin;
        let prompt = origin.map(|i| &self.prompts[i]);
        let prompt = prompt.context("a mutant of the world comes from one of its prompts")?;
        let wanted = self.guise(asked)?;
        let mut rng = self.rng(asked, "style");
        let (text, now) = self.world.rewrite(prompt, wanted, &mut rng)?;
        Ok(if now == wanted { text } else { String::new() })
    }

    fn guise(&self, asked: &Asked) -> Result<Guise> {
        let style = self.style(asked.mutant.cell);
        Guise::from_word(style).with_context(|| format!("`{style}` is no guise of the world"))
    }

    fn rated(&self, origin: Option<usize>, answer: &str) -> Result<u32> {
        let prompt = origin.map(|i| &self.prompts[i]);
        judge::rating(prompt.and_then(|p| p.truth.as_ref()), answer)
    }
}

/// Of questions that may be the same, what is drawn differs by archive, iteration and place.
fn sample(part: &Part, asked: &Asked, place: usize) -> u32 {
    if part.temperature == 0.0 {
        return 0;
    }
    let draw = Seed::new(asked.archive as u64).at(asked.mutant.iteration as u64);
    (draw.at(place as u64).rng().next_u64() >> 33) as u32
}
