//! Finding tools by words.

use std::collections::BTreeMap;

use super::tool::Tool;

/// The most different words of a search that count.
const MOST: usize = 32;

/// How well a word fits, the best first.
type Fit = u8;

/// Where a word stands: in the tool's id or name, or anywhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Head,
    Rest,
}

/// A word, and the tools that have it.
type Entry = (Box<str>, Vec<(u32, Place)>);

/// Every word of every tool. Tools are known by their place in the order of ids.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// In the order of the words.
    words: Vec<Entry>,
    count: usize,
}

impl Index {
    /// Reads the words of `tools`, which are in the order of their ids.
    pub(super) fn new<'a>(tools: impl ExactSizeIterator<Item = &'a Tool>) -> Self {
        let count = tools.len();
        let mut words = BTreeMap::<Box<str>, Vec<(u32, Place)>>::new();
        for (at, tool) in (0..).zip(tools) {
            for (place, text) in texts(tool) {
                for word in split(&text) {
                    let tools = words.entry(word.into()).or_default();
                    match tools.last_mut() {
                        Some((last, best)) if *last == at => *best = place.min(*best),
                        Some(_) | None => tools.push((at, place)),
                    }
                }
            }
        }
        Self { words: words.into_iter().collect(), count }
    }

    /// The tools that have a word beginning with each word of `text`, the best ones first and then
    /// by id; `None` when nothing is searched for.
    ///
    /// Id and name count before everything else, whole words before beginnings.
    pub(super) fn find(&self, text: &str) -> Option<Vec<u32>> {
        if text.trim().is_empty() {
            return None;
        }
        let mut wanted = split(text);
        wanted.sort_unstable();
        wanted.dedup();
        wanted.truncate(MOST);
        if wanted.is_empty() {
            return Some(Vec::new());
        }
        let mut sums = vec![Some(0_u32); self.count];
        for word in &wanted {
            let fits = self.fits(word);
            for (sum, fit) in sums.iter_mut().zip(fits) {
                *sum = sum.zip(fit).map(|(sum, fit)| sum + u32::from(fit));
            }
        }
        let mut by_sum = BTreeMap::<u32, Vec<u32>>::new();
        for (at, sum) in (0..).zip(sums) {
            if let Some(sum) = sum {
                by_sum.entry(sum).or_default().push(at);
            }
        }
        Some(by_sum.into_values().flatten().collect())
    }

    /// How well each tool fits one word.
    fn fits(&self, wanted: &str) -> Vec<Option<Fit>> {
        let mut fits = vec![None::<Fit>; self.count];
        let start = self.words.partition_point(|(word, _)| &**word < wanted);
        let found = self.words.iter().skip(start).take_while(|(word, _)| word.starts_with(wanted));
        for (word, tools) in found {
            let is_whole = word.len() == wanted.len();
            for (at, place) in tools {
                let fit = match (place, is_whole) {
                    (Place::Head, true) => 0,
                    (Place::Head, false) => 1,
                    (Place::Rest, true) => 2,
                    (Place::Rest, false) => 3,
                };
                if let Some(best) = fits.get_mut(*at as usize) {
                    *best = Some(best.map_or(fit, |best| best.min(fit)));
                }
            }
        }
        fits
    }
}

/// Everything about a tool that is searched.
fn texts(tool: &Tool) -> Vec<(Place, String)> {
    let mut texts = vec![
        (Place::Head, tool.id.clone()),
        (Place::Head, tool.name.clone()),
        (Place::Rest, tool.description.clone()),
        (Place::Rest, tool.category.as_str().to_owned()),
        (Place::Rest, tool.action.to_string()),
    ];
    let inputs = tool.inputs().get("properties").and_then(serde_json::Value::as_object);
    texts.extend(inputs.into_iter().flatten().map(|(name, _)| (Place::Rest, name.clone())));
    texts
}

/// The words of a text in small letters. What people put between words separates them; every other
/// character is part of a word, so that a search for it finds nothing else.
fn split(text: &str) -> Vec<String> {
    let separates = |c: char| c.is_whitespace() || "-_/.,:;!?()[]{}\"'`".contains(c);
    text.split(separates).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}
